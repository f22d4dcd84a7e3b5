"""Metrics of tracks against pysot-toolkit's own output, and against shapely's exact overlaps."""

import numpy as np
import pytest

from models.geometry import polygon_iou
from models.geometry.raster_overlap import raster_overlap
from models.metrics.tracking import one_pass


@pytest.fixture(scope="module")
def ope(golden):
    return np.load(golden / "ope_toolkit.npz")


def test_every_curve_of_every_tracker_on_every_clip(ope):
    for row, video in enumerate(ope["videos"]):
        present = ope.get(f"{video}/present_mask")
        for column, tracker in enumerate(ope["trackers"]):
            found = one_pass(ope[f"{video}/gt_xywh"], ope[f"{video}/pred_{tracker}"], present)
            wanted = (name + "_curves_" for name in ("success", "precision", "norm_precision"))
            for curve, name in zip((found.success, found.precision, found.norm_precision), wanted, strict=True):
                np.testing.assert_allclose(curve, ope[f"{name}{len(curve)}"][column, row], atol=1e-6, err_msg=name)
            assert found.auc == pytest.approx(ope["auc_per_video"][column, row], abs=1e-6)
            assert found.precision20 == pytest.approx(ope["precision20_per_video"][column, row], abs=1e-6)
            assert found.norm_precision20 == pytest.approx(ope["normprecision20_per_video"][column, row], abs=1e-6)


def test_means_over_clips_are_the_summary(ope):
    for column, tracker in enumerate(ope["trackers"]):
        found = []
        for video in ope["videos"]:
            present = ope.get(f"{video}/present_mask")
            one = one_pass(ope[f"{video}/gt_xywh"], ope[f"{video}/pred_{tracker}"], present)
            found.append([one.auc, one.precision20, one.norm_precision20])
        np.testing.assert_allclose(np.mean(found, axis=0), ope["summary_auc_p20_np20"][column], atol=1e-6)


def test_overlap_of_rotated_boxes_exact_and_in_pixels(golden):
    numbers = np.load(golden / "vot_polygon_overlap.npz")
    a, b = (numbers[name].reshape(-1, 4, 2) for name in ("quad_a", "quad_b"))
    np.testing.assert_allclose(polygon_iou(a, b), numbers["iou_exact"], atol=1e-9)
    np.testing.assert_allclose(raster_overlap(a, b), numbers["overlap_toolkit"], atol=1e-6)
    bounded = raster_overlap(a, b, (640, 360))
    np.testing.assert_allclose(bounded, numbers["overlap_toolkit_bounds_640x360"], atol=1e-6)

"""Metrics of tracks on cases that can be counted by hand; agreement with pysot-toolkit is in tests/golden."""

import numpy as np
import pytest

from models.geometry import box_to_quad
from models.geometry.raster_overlap import raster_overlap, rasterise
from models.metrics.tracking import (
    Grid,
    attributes_of,
    box_overlap,
    mean_grid_iou,
    mean_overlap,
    one_pass,
    paired_difference,
)  # fmt: skip


def test_a_perfect_track_misses_only_the_threshold_one():
    boxes = np.tile([10.0, 20, 30, 40], (5, 1))
    found = one_pass(boxes, boxes)
    assert found.auc == pytest.approx(20 / 21)   # IoU must exceed 1.0 at the last threshold
    assert found.precision20 == found.norm_precision20 == 1


def test_inputs_stay_as_they_were():
    truth, found = np.tile([-5.0, 20, 30, 40], (3, 1)), np.tile([900.0, 20, 30, 40], (3, 1))
    before = truth.copy(), found.copy()
    one_pass(truth, found, [True, False, True])
    np.testing.assert_array_equal(truth, before[0])
    np.testing.assert_array_equal(found, before[1])


@pytest.mark.parametrize(
    ("truth", "found", "told"),
    [
        (np.ones((3, 4)), np.ones((2, 4)), "as many found as true"),
        (np.ones((0, 4)), np.ones((0, 4)), "as many found as true"),
        (np.ones((1, 4)), np.full((1, 4), np.nan), "not finite"),
    ],
)
def test_boxes_that_cannot_be_compared(truth, found, told):
    with pytest.raises(ValueError, match=told):
        one_pass(truth, found)


def test_overlap_of_upright_boxes():
    assert box_overlap([0, 0, 10, 10], [5, 0, 10, 10]) == pytest.approx(1 / 3)
    assert box_overlap([0, 0, 10, 10], [20, 0, 10, 10]) == 0
    assert box_overlap([3, 3, 0, 0], [3, 3, 0, 0]) == 0


def test_rotated_overlap_leaves_unknown_frames_out():
    square = box_to_quad(np.asarray([0.0, 0, 10, 10]))
    truth = np.stack([square, np.full((4, 2), np.nan), square])
    found = np.stack([square, square, square + np.asarray([5, 0])])
    assert mean_overlap(truth, found) == pytest.approx((1 + 1 / 3) / 2)
    assert mean_overlap(truth[1:2], found[1:2]) is None


def test_raster_counts_both_edges_of_a_square():
    square = np.asarray([[[0, 0], [3, 0], [3, 3], [0, 3]]], np.float32)
    assert rasterise(square[0], (6, 6)).sum() == 16
    assert raster_overlap(square, square)[0] == 1
    assert raster_overlap(square, square + 10)[0] == 0
    assert raster_overlap(square, square + np.float32(2))[0] == pytest.approx(4 / 28)
    assert raster_overlap(square, square + np.float32(2), (3, 3))[0] == pytest.approx(4 / 16)


def test_grid_of_quads_and_of_masks_agree_on_whole_cells():
    grid = Grid((140, 70), cells=(7, 14))
    mask = np.zeros((1, 70, 140), bool)
    mask[0, 20:40, 30:60] = True
    quad = box_to_quad(np.asarray([[30.0, 20, 60, 40]]))
    wanted = np.zeros((7, 14), bool)
    wanted[2:4, 3:6] = True
    np.testing.assert_array_equal(grid.selected(quad)[0], wanted)
    np.testing.assert_array_equal(grid.selected_by_mask(mask)[0], wanted)
    larger = np.kron(mask[0], np.ones((2, 2), bool))[None]   # a mask of twice the frame's size
    np.testing.assert_array_equal(grid.selected_by_mask(larger)[0], wanted)


def test_grid_over_the_centre_crop():
    grid = Grid((455, 256), crop=224)
    mask = np.zeros((1, 256, 455), bool)
    mask[0, 16:32, 116:148] = True   # the first row's first two cells
    assert np.argwhere(grid.selected_by_mask(mask)[0]).tolist() == [[0, 0], [0, 1]]
    assert np.argwhere(grid.selected(box_to_quad(np.asarray([116.0, 16, 148, 32])))).tolist() == [[0, 0], [0, 1]]


def test_grid_iou_counts_frames_with_a_true_cell():
    truth, found = np.zeros((3, 2, 2), bool), np.zeros((3, 2, 2), bool)
    truth[0, 0, 0] = found[0, 0, 0] = True
    truth[1, 0, :] = found[1, :, 0] = True
    found[2] = True
    assert mean_grid_iou(truth, found) == pytest.approx((1 + 1 / 3) / 2)
    assert mean_grid_iou(truth[2:], found[2:]) is None
    assert not Grid((10, 10)).selected(np.full((1, 4, 2), np.nan)).any()


def test_paired_difference_sees_what_the_means_hide():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 1, 40)
    mean, low, high = paired_difference(hard + 0.05 + rng.normal(0, 0.01, 40), hard)
    assert low < mean < high
    assert mean == pytest.approx(0.05, abs=0.01)
    assert low > 0.03
    assert paired_difference([0.5], [0.4]) is None
    assert paired_difference([0.2, 0.4, 0.9], [0.2, 0.4, 0.9]) == (0, 0, 0)
    with pytest.raises(ValueError, match="same clips"):
        paired_difference([0.5], [0.4, 0.3])


@pytest.mark.parametrize(
    ("boxes", "wanted"),
    [
        ([[10, 10, 30, 30], [12, 10, 30, 30]], set()),
        ([[10, 10, 30, 30], [-5.5, -5.5, 61, 61]], {"scale_variation"}),
        ([[10, 10, 30, 30], [31, 10, 30, 30]], {"fast_motion"}),
        ([[10, 10, 30, 30], [20, 20, 19, 20]], {"low_resolution"}),
        ([[10, 10, 30, 30], [np.nan] * 4], {"out_of_view"}),
    ],
)
def test_what_makes_a_clip_hard(boxes, wanted):
    assert attributes_of(boxes) == wanted

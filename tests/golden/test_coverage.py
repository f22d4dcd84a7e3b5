"""Coverage and tube masks of 40 real tracks against areas computed independently, and against the released masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.geometry import coverage, polygon_iou, quads_to_crop, scale_quads, tube_mask
from tasks.masks import MasksConfig, build_masks

RELEASED_STARTS = (0, 16, 32, 48, 64, 80, 87)
ANNOTATED, NORMALISED = (640, 360), (455, 256)


@pytest.fixture(scope="module")
def exact(golden: Path) -> Any:
    return np.load(golden / "coverage_exact.npz")


@pytest.fixture(scope="module")
def released(golden: Path) -> Any:
    return np.load(golden / "masks_official.npz")


@pytest.fixture(scope="module")
def quads(released: Any) -> NDArray[np.float64]:
    tracks: NDArray[np.float64] = released["boxes"].reshape(40, 103, 4, 2).astype(np.float64)
    return tracks


def unpack(data: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.unpackbits(data[name])[: int(np.prod(shape))].reshape(shape).astype(bool)


def test_whole_frame(exact: Any, quads: NDArray[np.float64]) -> None:
    assert np.abs(coverage(quads, (14, 14), ANNOTATED) - exact["coverage_full"]).max() < 1e-5


def test_whole_frame_of_unrounded_tracks(exact: Any) -> None:
    tracks = exact["boxes_float"].reshape(-1, 103, 4, 2)
    assert np.abs(coverage(tracks, (14, 14), ANNOTATED) - exact["coverage_full_float"]).max() < 1e-5


def test_crop_seen_by_the_network(exact: Any, quads: NDArray[np.float64]) -> None:
    seen = quads_to_crop(scale_quads(quads, ANNOTATED, NORMALISED), NORMALISED, 224)
    assert np.abs(coverage(seen, (14, 14), (224, 224)) - exact["coverage_crop"]).max() < 1e-5


def test_crossed_corners_are_read_as_their_hull(exact: Any, quads: NDArray[np.float64]) -> None:
    """These three tracks have their corners in bow-tie order: the even-odd reading would leave out two triangles."""
    crossed = exact["coverage_full_evenodd_tracks"]
    ours = coverage(quads[crossed], (14, 14), ANNOTATED)
    assert np.abs(ours - exact["coverage_full"][crossed]).max() < 1e-5
    assert (ours - exact["coverage_full_evenodd"]).max() > 0.5


def test_equation_1_selects_the_same_cells(exact: Any, quads: NDArray[np.float64]) -> None:
    covered = coverage(quads, (14, 14), ANNOTATED)
    expected = unpack(exact, "eq1_perframe_packed", covered.shape)
    tie = np.abs(exact["coverage_full"] - 0.5) < 1e-6
    assert tie.sum() == 3  # cells that lie on the threshold to the last digit: either answer is right
    np.testing.assert_array_equal((covered >= 0.5)[~tie], expected[~tie])


@pytest.mark.parametrize(("region", "name"), [("frame", "eq1_pooled_packed"), ("crop", "eq1_crop_pooled_packed")])
def test_tube_masks(exact: Any, quads: NDArray[np.float64], region: str, name: str) -> None:
    expected = unpack(exact, name, tuple(exact["pooled_shape"])).reshape(40, 7, 4, 14, 14)
    if region == "frame":
        found = tube_mask(coverage(quads, (14, 14), ANNOTATED), starts=RELEASED_STARTS)
    else:
        config = MasksConfig(starts=RELEASED_STARTS)
        normalised = scale_quads(quads, ANNOTATED, NORMALISED)
        found = np.stack([build_masks(track[None], NORMALISED, config)["mask"] for track in normalised])
    np.testing.assert_array_equal(found, expected)


def test_released_masks_differ_by_a_rim_only(released: Any, quads: NDArray[np.float64]) -> None:
    """The released code draws truncated polygons, outline included, which selects more cells than Eq. 1 does."""
    drawn = unpack(released, "official_mask_packed", tuple(released["official_mask_shape"])).reshape(40, 7, 4, 14, 14)
    ours = tube_mask(coverage(quads, (14, 14), ANNOTATED), starts=RELEASED_STARTS)
    assert (ours & ~drawn).sum() < 0.05 * ours.sum()
    assert drawn.sum() > ours.sum()


def test_released_masks_are_reproduced(released: Any, quads: NDArray[np.float64]) -> None:
    """Cell by cell, all 40 tracks, when the released geometry is asked for."""
    config = MasksConfig(starts=RELEASED_STARTS, geometry="released")
    ours = np.stack([build_masks(track[None], ANNOTATED, config)["mask"] for track in quads])
    drawn = unpack(released, "official_mask_packed", tuple(released["official_mask_shape"])).reshape(40, 7, 4, 14, 14)
    assert np.array_equal(ours, drawn)


def test_polygon_iou_of_200_pairs(golden: Path) -> None:
    pairs = np.load(golden / "vot_polygon_overlap.npz")
    found = polygon_iou(pairs["quad_a"].reshape(-1, 4, 2), pairs["quad_b"].reshape(-1, 4, 2))
    np.testing.assert_allclose(found, pairs["iou_exact"], atol=1e-9)
    toolkit = pairs["overlap_toolkit"]  # counts pixels, so it is near and never equal
    assert np.abs(found - toolkit).max() < 0.05

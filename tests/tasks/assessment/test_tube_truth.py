"""Tubes against the truth: figures that can be worked out by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.geometry import box_to_quad
from models.geometry.rle import pack_runs
from tasks.assessment.truth import Truth
from tasks.assessment.truth_figures import TruthFigures, compare_with_truth, means
from tasks.masks import MasksConfig, PixelMasks, TubeMasks, build_masks

FRAME = (455, 256)
CONFIG = MasksConfig()
FRAMES = 103


def standing(*boxes: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Athletes who do not move: (A, 103, 4, 2)."""
    return np.repeat(box_to_quad(np.asarray(boxes))[:, None], FRAMES, axis=1)


def compare(quads: NDArray[np.float32], truth: Truth, config: MasksConfig = CONFIG, **changes: object) -> TruthFigures:
    made: TubeMasks = build_masks(quads, FRAME, config.model_copy(update={"source": "quad"}))
    given = {"covered": made["coverage"], "mask": made["mask"], "lost": np.zeros(quads.shape[:2], bool)} | changes
    return compare_with_truth(quads, truth=truth, frame_wh=FRAME, config=config, **given)  # type: ignore[arg-type]


def seen(quads: NDArray[np.float32]) -> Truth:
    return Truth(quads, np.ones(quads.shape[:2], bool))


# Boxes of whole cells (16 px, from 116 and 16): 4 x 6 cells, and the same two cells further right.
BOX, ASIDE = (148, 48, 212, 144), (180, 48, 244, 144)


def test_a_perfect_tube() -> None:
    found = compare(standing(BOX), seen(standing(BOX)))
    assert found == TruthFigures(grid=1.0, rotated=1.0, half=1.0, lost=0.0, empty_segments=0)


def test_a_tube_that_stands_aside_by_half_its_width() -> None:
    lost = np.arange(FRAMES)[None] >= 93
    found = compare(standing(ASIDE), seen(standing(BOX)), lost=lost)
    assert found.grid == pytest.approx(1 / 3)
    assert found.rotated == pytest.approx(1 / 3)
    assert found.half == 0
    assert found.lost == pytest.approx(10 / 103)


def test_frames_in_which_nobody_is_in_sight_do_not_count() -> None:
    truth = seen(standing(BOX))
    truth.visible[:, 50:] = False
    quads = standing(BOX)
    quads[:, 50:] = standing(ASIDE)[:, 50:]
    assert compare(quads, truth) == TruthFigures(1.0, 1.0, 1.0, 0.0, 0)
    truth.visible[:] = False
    assert compare(quads, truth) == TruthFigures(None, None, None, 0.0, 0)


def test_athletes_are_paired_whatever_their_order_and_one_without_a_tube_counts() -> None:
    other = (260, 100, 324, 196)
    truth = seen(standing(BOX, other))
    assert compare(standing(other, BOX), truth).rotated == 1
    alone = compare(standing(other), truth)
    assert alone.rotated == pytest.approx(0.5)
    assert alone.half == pytest.approx(0.5)
    assert alone.grid == pytest.approx(0.5, abs=0.05)   # cells of both are true, those of one are selected


def test_a_tube_of_masks_is_compared_with_the_true_pixels() -> None:
    """The true masks have the source's size, twice the frame's; the quads are those of the box around."""
    config = MasksConfig(source="mask")
    big = np.zeros((1, FRAMES, 512, 910), bool)
    big[:, :, 96:192, 296:424] = True   # the upper half of BOX, in the source's pixels
    truth = Truth(standing(BOX), np.ones((1, FRAMES), bool), big)
    upper = np.zeros((256, 455), bool)
    upper[48:96, 148:212] = True
    packed = pack_runs([upper] * FRAMES)
    made = build_masks(standing(BOX), FRAME, config, PixelMasks(packed["rle"], packed["rle_offsets"]))
    found = compare(standing(BOX), truth, config, covered=made["coverage"], mask=made["mask"])
    assert found.grid == 1
    assert found.rotated == 1
    by_box = compare(standing(BOX), truth, config)
    assert by_box.grid == pytest.approx(0.5)


def test_the_released_geometry_has_the_truth_go_the_same_way() -> None:
    config = MasksConfig(geometry="released")
    assert compare(standing(BOX), seen(standing(BOX)), config).grid == 1


def test_means_leave_out_what_is_not_known() -> None:
    found = means([TruthFigures(0.5, 0.4, 0.3, 0.0, 2), TruthFigures(None, 0.8, 0.9, 0.5, 1)])
    assert (found.clips, found.grid, found.empty_segments) == (2, 0.5, 3)
    assert (found.rotated, found.half, found.lost) == pytest.approx((0.6, 0.6, 0.25))
    assert means([TruthFigures(None, None, None, 0.0, 0)]).grid is None

"""Coverage of grid cells by pixel masks: exact against counting pixels, whatever the grid and the masks look like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.geometry import box_to_quad, coverage, crop_origin, mask_coverage, quads_to_crop
from models.geometry.mask_coverage import Window, has_mask, runs_coverage, tube_coverage
from models.geometry.rle import pack_runs

FRAME = (455, 256)
CROP = Window(116, 16, 224, 224, (14, 14))


def by_pixels(mask: NDArray[np.bool_], window: Window) -> NDArray[np.float64]:
    """The slow form: every pixel's overlap with every cell."""
    rows, columns = window.cells
    cell_h, cell_w = window.height / rows, window.width / columns
    covered = np.zeros((rows, columns))
    for y, x in np.argwhere(mask):
        for i in range(rows):
            top = window.top + i * cell_h
            high = max(0.0, min(y + 1, top + cell_h) - max(y, top))
            for j in range(columns):
                left = window.left + j * cell_w
                covered[i, j] += high * max(0.0, min(x + 1, left + cell_w) - max(x, left))
    return covered / (cell_h * cell_w)


def packed(masks: list[NDArray[np.bool_] | None]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    made = pack_runs(masks)
    return made["rle"], made["rle_offsets"]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frame=st.tuples(st.integers(1, 23), st.integers(1, 19)),
    density=st.sampled_from([0.0, 0.03, 0.5, 0.97, 1.0]),
    cells=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    corner=st.tuples(st.floats(-6, 12), st.floats(-6, 12)),
    size=st.tuples(st.floats(0.7, 25), st.floats(0.7, 25)),
)
def test_it_is_what_counting_pixels_gives(seed, frame, density, cells, corner, size) -> None:
    """Random pixels make runs that go over from column to column; the window may reach over the border."""
    width, height = frame
    rng = np.random.default_rng(seed)
    masks = [rng.random((height, width)) < density, None, rng.random((height, width)) < 0.5]
    window = Window(*corner, *size, cells)
    found = runs_coverage(*packed(masks), frame, window)
    assert found.shape == (3, *cells)
    assert found.dtype == np.float32
    assert (found[1] == 0).all()
    for index in (0, 2):
        np.testing.assert_allclose(found[index], by_pixels(masks[index], window), atol=2e-6)


def test_small_pieces_of_work_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [np.random.default_rng(1).random((256, 455)) < 0.5 for _ in range(2)]
    whole = runs_coverage(*packed(masks), FRAME, CROP)
    monkeypatch.setattr(mask_coverage, "_CHUNK", 97)
    np.testing.assert_allclose(runs_coverage(*packed(masks), FRAME, CROP), whole, atol=1e-7)
    inside = masks[0][16:240, 116:340].reshape(14, 16, 14, 16).mean(axis=(1, 3))
    np.testing.assert_array_equal(whole[0], inside.astype(np.float32))


def test_a_mask_that_is_a_box_covers_what_the_box_does() -> None:
    """The same crop as quads go through, whole-pixel cells and others."""
    rng = np.random.default_rng(2)
    corners = rng.integers((60, 0), (300, 200), size=(40, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 90, (40, 2))], axis=1)
    masks = []
    for x1, y1, x2, y2 in boxes:
        mask = np.zeros((256, 455), bool)
        mask[y1:y2, x1:x2] = True
        masks.append(mask)
    for grid, crop in (((14, 14), 224), ((9, 13), 201)):
        left, top = crop_origin(FRAME, crop)
        found = runs_coverage(*packed(masks), FRAME, Window(left, top, crop, crop, grid))
        boxed = np.clip(box_to_quad(boxes), 0, np.asarray(FRAME))
        expected = coverage(quads_to_crop(boxed, FRAME, crop), grid, (crop, crop))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_cell_that_is_covered_by_exactly_half_reaches_a_half() -> None:
    mask = np.zeros((256, 455), bool)
    mask[16:24, 116:132] = True
    assert runs_coverage(*packed([mask]), FRAME, CROP)[0, 0, 0] == 0.5


def test_masks_of_another_size_are_refused() -> None:
    right, wrong = np.ones((256, 455), bool), np.ones((250, 455), bool)
    message = r"a mask has 113750 pixels, a frame of 455x256 has 116480"
    with pytest.raises(ValueError, match=message):
        runs_coverage(*packed([right, None, wrong]), FRAME, CROP)


def test_no_mask_and_no_frame() -> None:
    assert runs_coverage(*packed([None, None]), FRAME, CROP).tolist() == np.zeros((2, 14, 14)).tolist()
    assert runs_coverage(*packed([]), FRAME, CROP).shape == (0, 14, 14)


def test_the_quad_stands_in_where_there_is_no_mask_and_only_there() -> None:
    quads = np.stack([box_to_quad([[132, 32, 180, 80]] * 4), box_to_quad([[200, 100, 248, 164]] * 4)])
    seen = np.zeros((256, 455), bool)
    seen[100:130, 250:300] = True   # elsewhere than the quads, so that the two can be told apart
    masks = [None, seen, np.zeros_like(seen), seen, None, None, seen, None]
    rle, offsets = packed(masks)
    assert has_mask(rle, offsets).tolist() == [False, True, False, True, False, False, True, False]
    found = tube_coverage(quads, rle, offsets, FRAME, (14, 14), 224)
    by_quad = coverage(quads_to_crop(quads, FRAME, 224), (14, 14), (224, 224))
    by_mask = runs_coverage(rle, offsets, FRAME, CROP).reshape(2, 4, 14, 14)
    for athlete in range(2):
        for frame in range(4):
            expected = by_mask if (athlete, frame) in ((0, 1), (0, 3), (1, 2)) else by_quad
            np.testing.assert_array_equal(found[athlete, frame], expected[athlete, frame])
    with pytest.raises(ValueError, match="8 masks do not belong to 1 tubes of 4 frames"):
        tube_coverage(quads[:1], rle, offsets, FRAME, (14, 14), 224)

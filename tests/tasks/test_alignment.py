"""Pixels, quads and masks stay where the others are under flip and temporal shift, through the real pack and loader."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from data_catalog.pack.file import ClipArrays, PackReader
from data_catalog.pack.loader import Augmentation, ClipLoader, augment
from tasks.masks import MasksConfig, build_masks
from tasks.pack import PackClip, PackConfig, write_pack
from tasks.training.remask import Remask

LENGTH, WIDTH, HEIGHT, CROP, LEFT, TOP, CELL = 109, 455, 256, 224, 116, 16, 16
MASKS = MasksConfig()  # the published ones


def corners() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Upper left corner (L,) of an athlete of 40×56 whole pixels who crosses the frame and leaves the crop."""
    times = np.arange(LENGTH)
    return 60 + 3 * times, 20 + times


def quads() -> NDArray[np.float32]:
    x, y = (corner.astype(np.float32) for corner in corners())
    return np.stack([np.stack(c, axis=-1) for c in ((x, y), (x + 40, y), (x + 40, y + 56), (x, y + 56))], axis=1)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> PackReader:
    """One clip in which the athlete is white and all else black."""
    frames = np.zeros((LENGTH, HEIGHT, WIDTH, 3), np.uint8)
    for frame, x, y in zip(frames, *corners(), strict=True):
        frame[y : y + 56, x : x + 40] = 255
    tube = build_masks(quads()[None], (WIDTH, HEIGHT), MASKS)
    clip = PackClip("c", "train", "diving", lambda: frames, tube["coverage"], tube["mask"], score=1.0)
    path = tmp_path_factory.mktemp("aligned") / "pack.h5"
    write_pack(path, iter([clip]), PackConfig(input_size=CROP), MASKS)
    return PackReader(path)


def mask_of_pixels(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Equations 1 to 3 read off the picture: a cell is in the tube where half of its pixels are white."""
    white = frames[..., 0].reshape(len(frames), CROP // CELL, CELL, CROP // CELL, CELL).mean(axis=(2, 4)) / 255
    mask = np.zeros((10, 4, 14, 14), bool)
    for segment, start in enumerate((0, 10, 20, 30, 40, 50, 60, 70, 80, 87)):
        for step in range(4):
            for frame in range(start + 4 * step, start + 4 * step + 4):
                mask[segment, step] |= white[frame] >= 0.5
    return mask


def mask_of_quads(flip: bool, shift: int) -> NDArray[np.bool_]:
    """The masks stage on quads that were moved themselves: mirrored at the middle of the crop, later by `shift`."""
    moved = quads()[np.minimum(np.arange(LENGTH) + shift, LENGTH - 1)]
    if flip:
        moved = moved[:, [1, 0, 3, 2]]  # still clockwise
        moved[..., 0] = 2 * LEFT + CROP - moved[..., 0]
    tube: NDArray[np.bool_] = build_masks(moved[None], (WIDTH, HEIGHT), MASKS)["mask"]
    return tube


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", range(7))
def test_mask_quads_and_pixels_agree(reader: PackReader, flip: bool, shift: int) -> None:
    clip: ClipArrays = reader.read(0)
    frames, mask = augment(clip, flip=flip, shift=shift, remask=Remask(reader.geometry))
    assert mask.any()
    assert not mask[-1].all()
    np.testing.assert_array_equal(mask, mask_of_pixels(frames))
    np.testing.assert_array_equal(mask, mask_of_quads(flip, shift))
    if flip or shift:
        assert (mask != clip.mask).any()


def test_the_loader_draws_every_flip_and_shift_and_keeps_them_together(reader: PackReader) -> None:
    loader = ClipLoader(
        reader, [0], batch_size=1, shuffle=True, augmentation=Augmentation(0.5, (0, 6)), remask=Remask(reader.geometry)
    )
    drawn = set()
    for epoch in range(24):
        (batch,) = loader
        drawn.add(Augmentation(0.5, (0, 6)).draw(0, epoch, "c"))
        np.testing.assert_array_equal(batch["mask"][0].numpy(), mask_of_pixels(batch["frames"][0].numpy()))
    assert {shift for _, shift in drawn} == set(range(7))
    assert {flip for flip, _ in drawn} == {False, True}

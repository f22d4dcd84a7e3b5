"""Packing: the network's pixels, streaming, labels and ranges."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_catalog.pack.file import PackReader
from models.geometry import crop_origin, quads_to_crop
from tasks.masks import MasksConfig
from tasks.pack import PackClip, PackConfig, network_frames, write_pack
from tests.support.tiny_training import MASKS, tiny_clips

CONFIG = PackConfig(input_size=16)


@pytest.mark.parametrize(("width", "height"), [(455, 256), (456, 257), (224, 224)])
def test_pixels_take_the_way_of_the_quads(width: int, height: int) -> None:
    left, top = crop_origin((width, height), 224)
    x, y = left + 40, top + 60
    frames = np.zeros((2, height, width, 3), np.uint8)
    frames[:, y : y + 8, x : x + 16] = 200
    quad = np.array([[x, y], [x + 16, y], [x + 16, y + 8], [x, y + 8]], np.float32)
    for size in (224, 112, 56):
        seen = network_frames(frames, 224, size)
        assert seen.shape == (2, size, size, 3)
        assert seen.dtype == np.uint8
        (x0, y0), _, (x1, y1), _ = np.round(quads_to_crop(quad, (width, height), 224) * size / 224).astype(int)
        expected = np.zeros((size, size), np.uint8)
        expected[y0:y1, x0:x1] = 200
        np.testing.assert_array_equal(seen[1, :, :, 0], expected)


def test_halving_is_the_mean_of_four_pixels() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    seen = network_frames(frames, 8, 4)
    mean = frames.astype(float).reshape(3, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    assert np.abs(seen - mean).max() <= 0.5


def test_a_crop_of_the_networks_size_is_not_touched() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 10, 14, 3), dtype=np.uint8)
    np.testing.assert_array_equal(network_frames(frames, 8, 8), frames[:, 1:9, 3:11])


def test_a_crop_larger_than_the_frame_says_what_to_do() -> None:
    with pytest.raises(
        ValueError, match=r"a crop of 224 px does not fit into frames of 455 by 200 px; lower masks\.crop"
    ):
        network_frames(np.zeros((1, 200, 455, 3), np.uint8), 224, 224)


def test_everything_arrives(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    info = write_pack(path, tiny_clips(), CONFIG, MASKS)
    assert (info.clips, info.splits, info.empty_tubes) == (20, {"test": 6, "train": 14}, 0)
    reader = PackReader(path)
    reader.verify()
    g = reader.geometry
    assert (g.length, g.input_size, g.crop, g.grid, g.starts) == (24, 16, 32, (4, 4), (0, 8))
    assert (g.segment_length, g.stride, g.steps, g.tau) == (16, 4, 4, 0.5)
    for number, clip in enumerate(tiny_clips()):
        found = reader.read(number)
        np.testing.assert_array_equal(found.frames, network_frames(clip.frames(), 32, 16))
        np.testing.assert_array_equal(found.coverage, clip.coverage)
        np.testing.assert_array_equal(found.mask, clip.mask)
        assert reader.labels.score[number] == clip.score
        np.testing.assert_allclose(reader.labels.judges[number], clip.judges)
    scores = [clip.score or 0.0 for clip in tiny_clips()]
    assert info.score_ranges["diving"]["all"] == (min(scores), max(scores))
    assert info.score_ranges["diving"]["train"] == (min(scores[:14]), max(scores[:14]))


def test_one_clip_in_memory_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []

    def fresh(clip: PackClip) -> NDArray[np.uint8]:
        frames = clip.frames().copy()
        alive.append(weakref.ref(frames))
        return frames

    def clips() -> Iterator[PackClip]:
        for clip in tiny_clips(8):
            assert sum(ref() is not None for ref in alive) == 0
            yield replace(clip, frames=lambda c=clip: fresh(c))

    write_pack(tmp_path / "p.h5", clips(), CONFIG, MASKS)
    assert len(alive) == 8


def test_same_clips_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_pack(tmp_path / name, tiny_clips(4), CONFIG, MASKS)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_compressed_frames_are_the_same_frames(tmp_path: Path) -> None:
    write_pack(tmp_path / "raw.h5", tiny_clips(3), CONFIG, MASKS)
    write_pack(tmp_path / "lzf.h5", tiny_clips(3), PackConfig(input_size=16, compression="lzf"), MASKS)
    raw, lzf = PackReader(tmp_path / "raw.h5"), PackReader(tmp_path / "lzf.h5")
    for number in range(3):
        np.testing.assert_array_equal(raw.read(number).frames, lzf.read(number).frames)


def test_an_empty_tube_is_packed_and_counted(tmp_path: Path) -> None:
    def clips() -> Iterator[PackClip]:
        for clip in tiny_clips(3):
            empty = clip.clip_id == "c1"
            yield replace(clip, mask=clip.mask & False, coverage=clip.coverage * 0) if empty else clip

    info = write_pack(tmp_path / "p.h5", clips(), CONFIG, MASKS)
    assert info.empty_tubes == 1
    assert not PackReader(tmp_path / "p.h5").read(1).mask.any()


def test_actions_without_scores_have_no_range(tmp_path: Path) -> None:
    info = write_pack(tmp_path / "p.h5", tiny_clips(7, score=lambda n: float("nan")), CONFIG, MASKS)
    assert info.score_ranges == {"diving": {"train": None, "all": None}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip_id": "c0"}, "clip 'c0' comes twice"),
        ({"mask": np.zeros((2, 3, 4, 4), bool)}, "mask of clip 'c1' has shape"),
        ({"coverage": np.zeros((23, 4, 4), np.float32)}, "coverage of clip 'c1' has shape"),
        ({"frames": lambda: np.zeros((23, 32, 40, 3), np.uint8)}, "frames of clip 'c1' has shape"),
    ],
)
def test_clips_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    def clips() -> Iterator[PackClip]:
        first, second = tiny_clips(2)
        yield first
        yield replace(second, **changes)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=words):
        write_pack(tmp_path / "p.h5", clips(), CONFIG, MASKS)


def test_nothing_to_pack_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clip to pack"):
        write_pack(tmp_path / "p.h5", [], CONFIG, MasksConfig())

"""Stored frames: loss, random access, determinism."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from data_catalog.errors import BadVideo
from data_catalog.media.frame_codec import decode_frames, encode_frames


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    rough = rng.integers(0, 256, (9, 12, 20, 3), np.uint8)
    return np.stack([cv2.resize(frame, (91, 57), interpolation=cv2.INTER_CUBIC) for frame in rough])


def test_loss_is_small(frames: NDArray[np.uint8]) -> None:
    error = decode_frames(encode_frames(frames)).astype(float) - frames
    assert np.sqrt((error**2).mean()) < 2.5
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 0.5   # no colour shift: the channels are in order


def test_same_frames_same_bytes(frames: NDArray[np.uint8]) -> None:
    first, second = encode_frames(frames), encode_frames(frames.copy())
    np.testing.assert_array_equal(first["frames"], second["frames"])
    np.testing.assert_array_equal(first["frame_offsets"], second["frame_offsets"])
    assert (first["frames"].dtype, first["frame_offsets"].dtype) == (np.uint8, np.int64)


@pytest.mark.parametrize("indices", [[0], [8], [3, 4, 5], [8, 0, 8], [5, 1]])
def test_any_frame_alone(frames: NDArray[np.uint8], indices: list[int]) -> None:
    arrays = encode_frames(frames)
    np.testing.assert_array_equal(decode_frames(arrays, indices), decode_frames(arrays)[indices])


def test_one_frame_reads_its_own_bytes_only(frames: NDArray[np.uint8], tmp_path: Path) -> None:
    arrays = encode_frames(frames)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values

    class Watched:
        def __init__(self, dataset: h5py.Dataset) -> None:
            self.dataset, self.bytes = dataset, 0

        def __getitem__(self, key: slice) -> NDArray[np.uint8]:
            values = self.dataset[key]
            self.bytes += len(values)
            return values

    with h5py.File(tmp_path / "a.h5") as file:
        watched = Watched(file["frames"])
        first = decode_frames({"frames": watched, "frame_offsets": file["frame_offsets"]}, [0])
        assert watched.bytes == int(arrays["frame_offsets"][1])
    np.testing.assert_array_equal(first[0], decode_frames(arrays)[0])


def test_bad_requests_and_bytes(frames: NDArray[np.uint8]) -> None:
    arrays = encode_frames(frames)
    for index in (-1, 9):
        with pytest.raises(IndexError, match="frames 0 to 8 are stored"):
            decode_frames(arrays, [index])
    with pytest.raises(ValueError, match="no frame"):
        decode_frames(arrays, [])
    with pytest.raises(ValueError, match="uint8"):
        encode_frames(frames.astype(np.float32))
    spoilt = arrays | {"frames": np.zeros_like(arrays["frames"])}
    with pytest.raises(BadVideo, match="Stored frame 2 does not decode"):
        decode_frames(spoilt, [2])

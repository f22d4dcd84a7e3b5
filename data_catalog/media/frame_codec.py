"""How normalised frames are stored: one JPEG a frame, quality 95, colour at full resolution (4:4:4).

Chosen by `benchmarks/frame_codec.py` (103 frames of 455x256, one core; parkour / Crossing of the real clips):

    codec                  MB a clip      encode ms   decode ms a frame   PSNR dB
    raw                    36.0           0           0.3 (36 MB read)    exact
    gzip-4 + shuffle       24.5 / 20.3    7.5 / 7.1   1.9 / 1.8           exact
    lzf (+ shuffle)        29.6 / 26.5    2.8 / 2.6   1.2 / 1.2           exact
    PNG-1                  18.6 / 14.4    6.5 / 5.5   2.9 / 2.7           exact
    WebP lossless          11.7 /  9.0     96 / 84    2.2 / 2.0           exact
    WebP-95                 3.8 /  2.4     12 / 11    2.2 / 1.6           43.5 / 44.7
    JPEG-90 4:4:4           3.9 /  2.7    0.6 / 0.5   0.6 / 0.5           39.8 / 44.0
    JPEG-95 4:4:4           5.7 /  3.9    0.7 / 0.6   0.9 / 0.6           43.4 / 46.1

Video frames are dense noise to a lossless filter, and already lossy when they reach us: JPEG-95 costs about a
quarter of the best exact codec that is not glacial, decodes faster than every one of them, and its error (under 2 grey
levels RMS) is far below what the source's own H.264 left. Lossless H.264 is larger than WebP's (17.3 / 13.2 MB) and
slow to start (15-90 ms for frame 0); here frame k is one slice of bytes, so that `detect` reads frame 0 only.

Layout: `frames` (bytes,) uint8, all JPEG streams one after the other; `frame_offsets` (L + 1,) int64, stream k is
`frames[frame_offsets[k]:frame_offsets[k + 1]]`. The same frames give the same bytes (libjpeg-turbo, no metadata).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import BadVideo

QUALITY = 95


def encode_frames(frames: NDArray[np.uint8], quality: int = QUALITY) -> dict[str, NDArray[Any]]:
    """Encode (L, H, W, 3) uint8 RGB frames to the arrays `frames` and `frame_offsets` described above."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames must be (L, H, W, 3) uint8, got {frames.shape} {frames.dtype}")
    import cv2  # here, as every stage names this module and planning one encodes nothing

    settings = [
        cv2.IMWRITE_JPEG_QUALITY, quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    streams = [cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), settings)[1] for frame in frames]
    offsets = np.zeros(len(streams) + 1, np.int64)
    np.cumsum([len(stream) for stream in streams], out=offsets[1:])
    return {"frames": np.concatenate(streams).astype(np.uint8, copy=False), "frame_offsets": offsets}


def decode_frames(
    arrays: Mapping[str, Any], indices: Sequence[int] | None = None, half: bool = False
) -> NDArray[np.uint8]:
    """Decode stored frames.

    Args:
        arrays: `frames` and `frame_offsets` as NumPy arrays, or as open HDF5 datasets, of which only the bytes of
            the wanted frames are then read.
        indices: frame numbers in any order; None means all.
        half: at half their width and height, rounded up, which takes about a quarter less time.

    Returns:
        (n, H, W, 3) uint8 RGB.

    Raises:
        BadVideo: stored bytes do not decode, or are not there.
        IndexError: an index outside 0 … L - 1.
    """
    offsets = np.asarray(arrays["frame_offsets"][:], np.int64)
    wanted = range(len(offsets) - 1) if indices is None else [int(index) for index in indices]
    if len(wanted) == 0:
        raise ValueError("no frame asked for")
    if min(wanted) < 0 or max(wanted) >= len(offsets) - 1:
        raise IndexError(f"frames 0 to {len(offsets) - 2} are stored, asked for {list(wanted)}")
    begin, end = int(offsets[min(wanted)]), int(offsets[max(wanted) + 1])
    # One contiguous read is cheaper than many, except when a few far-apart frames are wanted.
    together = max(wanted) - min(wanted) < 4 * len(wanted)
    block = np.asarray(arrays["frames"][begin:end], np.uint8) if together else None
    frames: NDArray[np.uint8] | None = None
    for row, index in enumerate(wanted):
        first, last = int(offsets[index]), int(offsets[index + 1])
        stream = arrays["frames"][first:last] if block is None else block[first - begin : last - begin]
        image = _decode_one(np.asarray(stream, np.uint8), index, half)
        if frames is None:
            frames = np.empty((len(wanted), *image.shape), np.uint8)
        frames[row] = image
    assert frames is not None
    return frames


def _decode_one(stream: NDArray[np.uint8], index: int, half: bool) -> NDArray[np.uint8]:
    import cv2  # as above

    how = cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR
    image = cv2.imdecode(stream, how) if len(stream) else None
    if image is None:
        raise BadVideo(
            f"Stored frame {index} does not decode.", "Delete the normalize artifact, it is then made again."
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), np.uint8)

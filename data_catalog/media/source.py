"""What is known of a video or a folder of frames, and how it is to be read; nothing here opens one."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        tone_map: show HDR (HLG, PQ) as on a standard display; False takes its signal as it is, which looks washed out.
        deinterlace: make interlaced frames whole; False leaves both fields in them.
        skip_damaged: leave out what does not decode instead of refusing the file.
        root: the folder that every file has to lie in, links resolved; None allows every place, and for the images of
            a folder that folder alone.
    """

    tone_map: bool = True
    deinterlace: bool = True
    skip_damaged: bool = False
    root: Path | None = None


AS_SEEN = Reading()


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What is known of a source.

    Attributes:
        path: the file or folder.
        num_frames: frames that can be shown, not those announced.
        width, height: size in pixels of an upright frame.
        fps: mean frame rate, or None for a folder and wherever the container does not say.
        times_sec: (num_frames + 1,) float64, when each frame appears and, last, when the final one ends, from 0;
            None for a folder and for containers without timestamps.
        rotation_deg: counter-clockwise turn that the display matrix asks for (0, 90, 180 or 270).
        hdr: "hlg" or "pq"; "" for standard video.
        interlaced: the first frame is.
        damaged_packets: packets that were skipped (`Reading.skip_damaged`).
    """

    path: Path
    num_frames: int
    width: int
    height: int
    fps: Fraction | None
    times_sec: NDArray[np.float64] | None
    rotation_deg: int = 0
    hdr: str = ""
    interlaced: bool = False
    damaged_packets: int = 0

"""Stage `normalize`: a source video or frame folder → L upright RGB frames of one size.

Reads the clip's video; writes `frames` and `frame_offsets` (see `data_catalog.media.frame_codec`), `source_index` (L,)
int64 and the attributes of `Normalized`. Frames look as people see them: upright, HDR as on a standard display,
interlaced ones made whole (`data_catalog.media.video`). It crops nothing and corrects no colour beyond that.

Two index rules (`select_frames`) for a clip of F frames, numbered from 0:

    uniform   index_i = floor((i + 0.5) * F / L): the frame shown at the middle of the i-th of L equal slices of the
              clip. Symmetric in time; F > L skips frames, F < L repeats them, F = L takes each once. Where frames
              last unequally long (variable frame rate) the slices are of time, not of frames.
    tail      index_i = end - L + i: the L frames that end with the clip, as the released TSA-Net code takes them.
              A clip cut out of a longer video reaches back before its start when it is shorter than L, also as
              released; where the video itself begins later, its first frame is repeated in front.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_catalog.datasets.records import ClipRecord
from data_catalog.errors import BadVideo
from data_catalog.media.frame_codec import encode_frames
from data_catalog.media.source import Reading, VideoInfo
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Product
from tasks.engine.stage import Stage, each

STAGE_VERSION = 1
"""1: first."""

Window = Literal["uniform", "tail"]
SKIP_REMEDY = "Or leave out what is damaged: normalize.damaged=skip"


class NormalizeConfig(StageConfig):
    """What a normalised clip looks like. Every field changes all stages."""

    added: ClassVar[Mapping[str, Any]] = {"hdr": "tone_map", "interlaced": "deinterlace", "damaged": "refuse"}

    length: int = Field(103, ge=1, le=10_000, description="Frames per clip (L).")
    width: int = Field(455, ge=16, le=4096, description="Frame width in pixels; the aspect ratio is not kept.")
    height: int = Field(256, ge=16, le=4096, description="Frame height in pixels.")
    window: Window = Field("uniform", description="Which frames: spread over the clip, or the last L.")
    jpeg_quality: int = Field(95, ge=50, le=100, description="Quality of the stored frames (JPEG 4:4:4).")
    hdr: Literal["tone_map", "keep"] = Field(
        "tone_map", description="HDR video (HLG, PQ): as a standard display shows it, or its signal as it is."
    )
    interlaced: Literal["deinterlace", "keep"] = Field(
        "deinterlace", description="Interlaced frames: made whole, or left with both of their fields."
    )
    damaged: Literal["refuse", "skip"] = Field(
        "refuse", description="A video with damaged packets: set aside, or used without the frames that don't decode."
    )

    def reading(self, root: Path | None = None) -> Reading:
        """How sources are read; `root` is the folder that all of their files have to lie in."""
        return Reading(
            tone_map=self.hdr == "tone_map",
            deinterlace=self.interlaced == "deinterlace",
            skip_damaged=self.damaged == "skip",
            root=root,
        )


@dataclass(frozen=True, eq=False)
class Normalized:
    """A normalised clip.

    Attributes:
        frames: (L, H, W, 3) uint8 RGB.
        source_index: (L,) int64, number of the source frame behind each frame, from 0 in the whole source.
        source_size_wh: upright source size in pixels; boxes in labels refer to it.
        source_frames: frames of the clip inside the source (after the start and end cut).
        fps: mean frame rate of the source as text such as "30000/1001", or "" when unknown.
        jpeg_quality: quality to store the frames with.
        rotation_deg: counter-clockwise turn that was applied.
        tone_mapped: "hlg" or "pq" where the source is HDR and was tone-mapped, else "".
        deinterlaced: the source is interlaced and its frames were made whole.
        missing_frames: frames of the clip that were dropped or lost, by the times of those that are there.
        damaged_packets: packets of the source that were skipped.
    """

    frames: NDArray[np.uint8]
    source_index: NDArray[np.int64]
    source_size_wh: tuple[int, int]
    source_frames: int
    fps: str
    jpeg_quality: int = 95
    rotation_deg: int = 0
    tone_mapped: str = ""
    deinterlaced: bool = False
    missing_frames: int = 0
    damaged_packets: int = 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the artifact holds: what `encode_frames` returns, and `source_index` (L,) int64."""
        return {**encode_frames(self.frames, self.jpeg_quality), "source_index": self.source_index}

    def attributes(self) -> dict[str, str | int]:
        """What the artifact remembers about the source."""
        return {
            "source_width": self.source_size_wh[0],
            "source_height": self.source_size_wh[1],
            "source_frames": self.source_frames,
            "fps": self.fps,
            "height": self.frames.shape[1],
            "width": self.frames.shape[2],
            "rotation_deg": self.rotation_deg,
            "tone_mapped": self.tone_mapped,
            "deinterlaced": int(self.deinterlaced),
            "missing_frames": self.missing_frames,
            "damaged_packets": self.damaged_packets,
        }

    def notes(self, name: str) -> Sequence[str]:
        """Sentences for the user on what the clip `name` lacks."""
        lacks = []
        if self.missing_frames:
            lacks.append(
                f"{name}: {_counted(self.missing_frames, 'frame')} missing in its video (dropped or lost); "
                f"the {self.source_frames} that are there are used."
            )
        if self.damaged_packets:
            lacks.append(f"{name}: {_counted(self.damaged_packets, 'damaged packet')} skipped in its video.")
        return lacks


def _counted(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"


def normalize_clip(
    source: Path,
    config: NormalizeConfig,
    start_frame: int | None = None,
    end_frame: int | None = None,
    root: Path | None = None,
) -> Normalized:
    """Decode, select and resize one clip.

    Args:
        source: video file or folder of frames.
        config: length, size and window.
        start_frame: first frame of the clip in the source, from 0; None is the first.
        end_frame: one past the clip's last frame; None is the source's end.
        root: the folder that every file has to lie in, links resolved; None allows every place.

    Raises:
        BadClip: the source cannot be read, or the clip has fewer than two frames.
        OSError: the file system refuses.
    """
    # Here and below, as planning this stage decodes nothing: PyAV and OpenCV.
    from data_catalog.media.video import DamagedVideo, ShortDecode, probe

    how = config.reading(root)
    try:
        info = probe(source, how)
        while True:
            expected = info
            try:
                clip = _normalize(info, config, how, start_frame, end_frame)
            except ShortDecode:
                info = probe(source, how)
                if info.num_frames == expected.num_frames:
                    raise
                continue
            info = probe(source, how)   # decoding may have shown another number of frames
            if info.num_frames == expected.num_frames:
                return clip
    except DamagedVideo as exc:
        raise BadClip(exc.reason, f"{exc.remedy} {SKIP_REMEDY}.") from exc
    except BadVideo as exc:
        raise BadClip(exc.reason, exc.remedy) from exc


def _normalize(
    info: VideoInfo, config: NormalizeConfig, how: Reading, start: int | None, end: int | None
) -> Normalized:
    from data_catalog.media.video import holes, read_frames  # as above

    to_end = end is None
    start, end = _clip_range(info, start, end)
    index = select_frames(start, end, config.length, config.window, info.times_sec)
    frames = read_frames(info.path, index, (config.width, config.height), how, to_end)
    missing = 0 if info.times_sec is None else int(holes(info.times_sec[:-1])[start : end - 1].sum())
    return Normalized(
        frames=frames,
        source_index=index,
        source_size_wh=(info.width, info.height),
        source_frames=end - start,
        fps=str(info.fps) if info.fps else "",
        jpeg_quality=config.jpeg_quality,
        rotation_deg=info.rotation_deg,
        tone_mapped=info.hdr if how.tone_map else "",
        deinterlaced=info.interlaced and how.deinterlace,
        missing_frames=missing,
        damaged_packets=info.damaged_packets,
    )


def _clip_range(info: VideoInfo, start: int | None, end: int | None) -> tuple[int, int]:
    first = 0 if start is None else start
    last = info.num_frames if end is None else end
    if first < 0 or last <= first or last > info.num_frames:
        raise BadClip(
            f"Frames {first} to {last} are asked of {info.path}, which has {info.num_frames}.",
            "Correct start_frame and end_frame (counted from 0, the end not included).",
        )
    if last - first < 2:
        raise BadClip(f"{info.path} has one frame, a clip needs at least two.", "Give a video, not a still picture.")
    return first, last


def select_frames(
    start: int, end: int, length: int, window: Window, times_sec: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """The source frame behind each of `length` frames, by the rules at the top of this file.

    Args:
        start: first frame of the clip in the source, from 0.
        end: one past its last frame.
        length: L.
        window: "uniform" or "tail".
        times_sec: (F + 1,) start time of every source frame and the end of the last, or None.

    Returns:
        (L,) int64, non-decreasing.
    """
    steps = np.arange(length, dtype=np.int64)
    if window == "tail":
        return np.maximum(end - length + steps, 0)
    if times_sec is not None and not is_constant_rate(times_sec[start : end + 1]):
        begin, finish = times_sec[start], times_sec[end]
        middles = begin + (steps + 0.5) * (finish - begin) / length
        shown = np.searchsorted(times_sec[start : end + 1], middles, side="right") - 1
        return np.asarray(start + np.clip(shown, 0, end - start - 1), np.int64)
    # Whole numbers: (2i + 1) F // 2L is floor((i + 0.5) F / L) without rounding.
    return start + (2 * steps + 1) * (end - start) // (2 * length)


def is_constant_rate(times_sec: NDArray[np.float64]) -> bool:
    """Whether frames follow each other evenly: none strays from its even place by half a frame.

    Containers round times (Matroska to 1 ms, so 30 fps reads 33, 33, 34 ms); that is not a variable rate.
    """
    even = np.linspace(times_sec[0], times_sec[-1], len(times_sec))
    step = (times_sec[-1] - times_sec[0]) / max(len(times_sec) - 1, 1)
    return bool(np.abs(times_sec - even).max() <= 0.5 * step)


def _cut(clip: ClipRecord, config: NormalizeConfig) -> dict[str, int]:
    """What of the labels decides which frames are read."""
    ends = {"start_frame": clip.start_frame, "end_frame": clip.end_frame}
    return {name: value for name, value in ends.items() if value is not None}


def _normalize_job(job: Job, config: NormalizeConfig, context: Context) -> Product:
    clip = job.clip
    if clip is None:
        raise ValueError("normalize works on one clip at a time")
    root = context.workspace.datasets.info(job.dataset).confined_root
    normalized = normalize_clip(Path(clip.video), config, clip.start_frame, clip.end_frame, root)
    return Product(normalized.arrays(), normalized.attributes(), notes=normalized.notes(f"clip '{job.clip_id}'"))


STAGE = Stage("normalize", STAGE_VERSION, (), each(_normalize_job), inputs=_cut, sees_source=True)

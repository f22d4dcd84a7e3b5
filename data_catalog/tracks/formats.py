"""Every format of tracks that is read and written, by name; a format's file is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from data_catalog.foreign_text import has_control
from data_catalog.suggest import nearest
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import VideoTracks


@dataclass(frozen=True)
class TrackFormat:
    """One format.

    Attributes:
        title: what it is called elsewhere.
        module: of this folder; has `read_NAME` and `write_NAME` for a format of whole videos. Empty where a line is a
            frame of one target, or a file a mapping from clip to quads (`data_catalog.tracks.files`).
        needs_size: its coordinates are shares of a frame whose size the files may not say.
        writes: whether it is written, too.
    """

    title: str
    module: str = ""
    needs_size: bool = False
    writes: bool = True


FORMATS: Mapping[str, TrackFormat] = {
    "pysot": TrackFormat("pysot-toolkit, results"),
    "otb": TrackFormat("OTB"),
    "vot": TrackFormat("VOT, results"),
    "frfs": TrackFormat("FRFS_Boxes.json"),
    "published": TrackFormat("boxes of AQA-7 and MTL-AQA as JSON, pickle or text", writes=False),
    "cvat_xml": TrackFormat("CVAT for video 1.1", "cvat.cvat_xml"),
    "cvat_json": TrackFormat("CVAT, annotations of a task", "cvat.cvat_json"),
    "label_studio": TrackFormat("Label Studio, video tasks", "label_studio", needs_size=True),
    "coco_vid": TrackFormat("COCO-VID", "coco_vid"),
    "youtube_vis": TrackFormat("YouTube-VIS", "youtube_vis"),
    "mot": TrackFormat("MOTChallenge", "mot"),
    "fiftyone": TrackFormat("FiftyOne, FiftyOneVideoLabelsDataset", "fiftyone_labels", needs_size=True),
}


def track_format(name: str) -> TrackFormat:
    """The format of that name. Raises TrackFileError with the nearest and all that there are."""
    if name in FORMATS:
        return FORMATS[name]
    near = nearest(name, FORMATS)
    hint = f" (did you mean '{near}'?)" if near else ""
    raise TrackFileError(f"unknown track format '{name}'; use {', '.join(FORMATS)}{hint}")


def read_videos(path: Path, name: str, frame_wh: tuple[int, int] | None = None) -> list[VideoTracks]:
    """The videos of a file or folder in a format of whole videos.

    Args:
        path: the file or folder.
        name: of the format.
        frame_wh: size of the videos in pixels, where the format doesn't say it.

    Raises:
        TrackFileError: no such format or file, or it can't be used.
    """
    format_ = track_format(name)
    if not path.exists():
        raise TrackFileError(f"there is no file or folder {path}")
    options: dict[str, Any] = {"frame_wh": frame_wh} if format_.needs_size else {}
    found: list[VideoTracks] = _function(format_, f"read_{name}")(path, **options)
    return found


def write_videos(path: Path, clips: Sequence[VideoTracks], name: str, shape: Shape = "box") -> list[Path]:
    """Write clips in a format of whole videos; returns the files.

    Args:
        path: the file, or the folder, as the format has it.
        clips: with sizes.
        name: of the format.
        shape: upright boxes, or quads as exactly as the format can say them.

    Raises:
        TrackFileError: no such format, a name that is no file name, or what the format can't hold.
    """
    format_ = track_format(name)
    for clip in clips:
        if not clip.name or clip.name in (".", "..") or set(clip.name) & set("/\\") or has_control(clip.name):
            raise TrackFileError(f"clip name '{clip.name}' cannot be a file name; rename the clip")
    written: list[Path] = _function(format_, f"write_{name}")(path, clips, shape)
    return written


def _function(format_: TrackFormat, name: str) -> Any:
    return getattr(import_module(f"data_catalog.tracks.{format_.module}"), name)

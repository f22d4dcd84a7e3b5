"""MOTChallenge: a line `frame, id, left, top, width, height, confidence, class, visibility` for each target and frame.

Frames, ids and pixels are counted from 1: the upper left pixel is (1, 1), so left = our x + 1. Ground truth (gt.txt, or
nine columns) has confidence 0 where a target isn't to be considered; results have ten columns. Boxes are upright.
CVAT and Datumaro write a labels.txt beside gt.txt, with the names of the classes, and leave pixels counted from 0.
"""

from __future__ import annotations

import configparser
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.tracks.foreign_files import check_size
from data_catalog.tracks.text import Shape, TrackFileError
from data_catalog.tracks.video_tracks import VideoTracks, box_quads, checked_count, quad_boxes

ORIGIN = 1.0
LABELS = "labels.txt"
TRUTH_COLUMNS = 9


def read_mot(path: Path) -> list[VideoTracks]:
    """A file, or the sequences of a folder: NAME/gt/gt.txt with seqinfo.ini beside `gt`, or NAME.txt.

    Raises:
        TrackFileError: no such file, or a line isn't of this form; names it.
    """
    if not path.is_dir():
        return [_read_file(path)]
    texts = [file for file in sorted(path.glob("*.txt")) if file.name != LABELS]
    files = [*sorted(path.glob("*/gt/gt.txt")), *texts] or sorted(path.glob("gt/gt.txt"))
    if not files:
        raise TrackFileError(f"folder {path} holds no NAME/gt/gt.txt and no NAME.txt")
    return [_read_file(file) for file in files]


def _read_file(file: Path) -> VideoTracks:
    rows = _rows(file)
    sequence = file.parents[1] if file.name == "gt.txt" and file.parent.name == "gt" else None
    name = file.stem if sequence is None else sequence.resolve().name
    info = {} if sequence is None else _sequence_info(sequence / "seqinfo.ini")
    if rows.shape[1] == TRUTH_COLUMNS or sequence is not None:
        rows = rows[rows[:, 6] != 0]
    classes = _classes(file.with_name(LABELS)) if sequence is not None else None
    rows, notes = _identified(rows, file.name)
    ids, first = np.unique(rows[:, 1], return_index=True)
    frames = rows[:, 0].astype(np.int64)
    count = checked_count(int(max(frames.max(initial=0), info.get("seqLength", 0))), len(ids), file.name)
    quads = np.full((len(ids), count, 4, 2), np.nan)
    corner = rows[:, 2:4] - (ORIGIN if classes is None else 0)
    quads[np.searchsorted(ids, rows[:, 1]), frames - 1] = box_quads(np.concatenate([corner, corner + rows[:, 4:6]], 1))
    size = (int(info["imWidth"]), int(info["imHeight"])) if {"imWidth", "imHeight"} <= info.keys() else None
    labels = [_label(row, classes or ()) for row in rows[first]]
    return VideoTracks(name, quads, tuple(labels), frame_wh=size, fps=info.get("frameRate"), notes=notes)


def _classes(file: Path) -> list[str] | None:
    """The names of labels.txt, that of class 1 first; None where there is no such file. Raises TrackFileError."""
    if not file.is_file():
        return None
    check_size(file)
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise TrackFileError(f"{file.name} is not a text file") from None


def _label(row: NDArray[np.float64], classes: Sequence[str]) -> str:
    """The name of a row's class; its target's id where nobody names classes."""
    number = int(row[7]) if len(row) > 7 and np.isfinite(row[7]) else 0
    return classes[number - 1] if 0 < number <= len(classes) else f"{row[1]:g}"


def _identified(rows: NDArray[np.float64], name: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Without boxes that belong to no target (id -1), and a note of them. Raises TrackFileError."""
    known = rows[:, 1] >= 0
    if len(rows) and not known.any():
        raise TrackFileError(f"{name} has boxes without identity (id -1): detections, not tracks")
    seen, counts = np.unique(rows[known, :2], axis=0, return_counts=True)
    if (counts > 1).any():
        frame, target = seen[counts > 1][0]
        raise TrackFileError(f"{name} has target {target:g} twice in frame {frame:g}")
    left = int((~known).sum())
    return rows[known], (f"{left} boxes of no target (id -1) were left out",) if left else ()


def _rows(file: Path) -> NDArray[np.float64]:
    """(K, at least 7) float64. Raises TrackFileError."""
    check_size(file)
    try:
        text = file.read_text(encoding="utf-8")
        if not text.strip():
            raise TrackFileError(f"{file.name} has no lines")
        rows = np.loadtxt(io.StringIO(text.replace(",", " ")), np.float64, ndmin=2)
    except TrackFileError:
        raise
    except (UnicodeDecodeError, ValueError) as exc:
        raise TrackFileError(f"{file.name} is not made of lines with as many numbers each: {exc}") from None
    if rows.shape[1] < 7:
        raise TrackFileError(f"{file.name} has {rows.shape[1]} numbers a line; frame, id, box and confidence are seven")
    frames = rows[:, 0]
    if not np.isfinite(rows[:, :6]).all() or (rows[:, 4:6] < 0).any():
        raise TrackFileError(f"{file.name} has a box that is none: a number is missing, or a size negative")
    if (frames < 1).any() or (frames != frames.round()).any() or (frames > 1e9).any():
        raise TrackFileError(f"{file.name} has a frame {frames.min():g}; frames are counted from 1")
    return rows


def _sequence_info(file: Path) -> dict[str, float]:
    """Numbers of seqinfo.ini; empty where there is none."""
    if not file.is_file():
        return {}
    check_size(file)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their capitals
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
        said = dict(parser["Sequence"])
        wanted = ("seqLength", "imWidth", "imHeight", "frameRate")
        return {name: float(said[name]) for name in wanted if name in said}
    except (configparser.Error, UnicodeDecodeError, KeyError, ValueError) as exc:
        raise TrackFileError(f"{file} is no seqinfo.ini of MOTChallenge: {' '.join(str(exc).split())}") from None


def write_mot(path: Path, clips: Sequence[VideoTracks], shape: Shape) -> list[Path]:
    """NAME/gt/gt.txt and NAME/seqinfo.ini a clip into the folder `path`.

    Raises:
        TrackFileError: polygons are asked for, which the format doesn't have, or a clip's frame size isn't known.
    """
    if shape == "polygon":
        raise TrackFileError("MOTChallenge has upright boxes only; export boxes, or choose another format")
    written = []
    for clip in clips:
        folder = path / clip.name
        width, height = clip.size()
        said = {"name": clip.name, "imDir": "img1", "frameRate": f"{clip.fps or 25:g}",
                "seqLength": clip.quads.shape[1], "imWidth": width, "imHeight": height, "imExt": ".jpg"}  # fmt: skip
        info = "\n".join(["[Sequence]", *(f"{name}={value}" for name, value in said.items())]) + "\n"
        for file, text in ((folder / "gt" / "gt.txt", _text(clip)), (folder / "seqinfo.ini", info)):
            with replacing(file) as temporary:
                temporary.write_text(text, encoding="utf-8")
            written.append(file)
    return written


def _text(clip: VideoTracks) -> str:
    boxes = quad_boxes(clip.quads)
    boxes[..., :2] += ORIGIN
    lines = [
        f"{frame + 1},{target + 1},{','.join(f'{value:.4f}' for value in boxes[target, frame])},1,1,1\n"
        for frame, target in np.argwhere(clip.present.T)
    ]
    return "".join(lines)

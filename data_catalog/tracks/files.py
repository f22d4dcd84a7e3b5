"""Tracks in other people's result formats: pysot-toolkit, OTB and VOT text, ``FRFS_Boxes.json``, and the like.

A track is (L, 4, 2) float32: the corners of each frame's quad in continuous pixels of the source
video, frame's top left corner = (0, 0); a frame without a box is NaN. Corners are kept in the
order of the file: where their sides cross (``FRFS_Boxes.json`` lists the first frame in Z order),
`TrackFile.crossed` says so and the caller orders them with ``models.geometry.quads.order_clockwise``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data_catalog.atomic import replacing
from data_catalog.safe_pickle import load_pickle
from data_catalog.tracks.formats import track_format
from data_catalog.tracks.text import (
    Shape,
    TextFormat,
    Track,
    TrackFileError,
    is_text_format,
    read_text_track,
    write_text_track,
)


@dataclass(frozen=True, eq=False)
class TrackFile:
    """What was read from one file or folder.

    Attributes:
        tubes: name of the clip → (L, 4, 2) float32, NaN rows where the file has no box.
        rejected: name → why its track was left out.
        crossed: name → frames whose quad has crossing sides, so that its corners need ordering.
        notes: what was recognised, one sentence each.
    """

    tubes: Mapping[str, Track]
    rejected: Mapping[str, str] = field(default_factory=dict)

    @property
    def crossed(self) -> dict[str, tuple[int, ...]]:
        """Track → frames, from 0, whose quad has crossing sides; only tracks that have such."""
        found = {name: np.flatnonzero(crossed_sides(track)) for name, track in self.tubes.items()}
        return {name: tuple(frames.tolist()) for name, frames in found.items() if frames.size}

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence each on what was recognised."""
        notes = []
        if crossed := self.crossed:
            quads = sum(len(frames) for frames in crossed.values())
            name, frames = next(iter(crossed.items()))
            notes.append(
                f"{quads} quads of {len(crossed)} clips list their corners crosswise (first: clip '{name}' "
                f"frame {frames[0]}) and have to be reordered"
            )
        notes += [f"the track of clip '{name}' was left out: {why}" for name, why in self.rejected.items()]
        return tuple(notes)


def crossed_sides(quads: ArrayLike) -> NDArray[np.bool_]:
    """Whether two opposite sides of a quad properly cross: (…, 4, 2) → (…) bool; NaN quads do not."""
    corners = np.asarray(quads, dtype=np.float64)
    a, b, c, d = (corners[..., i, :] for i in range(4))
    crossed: NDArray[np.bool_] = _cross(a, b, c, d) | _cross(b, c, d, a)
    return crossed


def _cross(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.bool_]:
    def side(p: NDArray[np.float64], q: NDArray[np.float64], r: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = q - p, r - p
        return np.asarray(np.sign(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]))

    return np.asarray((side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0))


def fill_absent(track: Track) -> tuple[Track, NDArray[np.bool_]]:
    """Give frames without a box the quad before them, the leading ones the first quad there is.

    Returns:
        The whole track (L, 4, 2) float32 and (L,) bool, which frames were filled.

    Raises:
        TrackFileError: no frame has a box.
    """
    absent = np.asarray(~np.isfinite(track.reshape(len(track), 8)).all(axis=1))
    if absent.all():
        raise TrackFileError(f"none of its {len(track)} frames has a box")
    source = np.maximum.accumulate(np.where(absent, -1, np.arange(len(track))))
    source[source < 0] = int(np.flatnonzero(~absent)[0])
    return track[source], absent


def read_frfs_boxes(path: Path) -> TrackFile:
    """``FRFS_Boxes.json``: ``{clip key: [[x1, y1, ..., x4, y4], ...]}``, one entry a frame.

    Raises:
        TrackFileError: the file is no such JSON object. A single broken clip is only left out.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise TrackFileError(f"{path.name} is damaged or no JSON ({type(exc).__name__})") from exc
    return _from_mapping(content, path.name)


def write_frfs_boxes(path: Path, tubes: Mapping[str, Track]) -> None:
    """Write tubes as ``FRFS_Boxes.json``; corners are rounded to whole pixels, which its readers require.

    Args:
        path: the file.
        tubes: by clip, quads (L, 4, 2) float32 in pixels.

    Raises:
        TrackFileError: a frame has no box, which the format cannot say.
    """
    rows: dict[str, list[list[int]]] = {}
    for name, track in tubes.items():
        if not np.isfinite(track).all():
            raise TrackFileError(f"the track of clip '{name}' has frames without a box; fill them before export")
        rows[name] = np.rint(track.reshape(len(track), 8)).astype(int).tolist()
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(rows), encoding="utf-8")


def read_tracks(path: Path, style: str) -> TrackFile:
    """Read any of the formats of `data_catalog.tracks.formats.FORMATS` that keep a quad a frame and no video.

    Text formats hold one sequence a file: `path` is one file, or a folder of ``NAME.txt`` or of
    ``NAME/NAME_001.txt``. ``published`` takes what boxes of AQA-7 and MTL-AQA are passed around in:
    JSON, pickle or text with 8 numbers a frame, keys nested or tuples; keys are joined by ``_``.

    Raises:
        TrackFileError: nothing there can be read in that format.
    """
    if not path.exists():
        raise TrackFileError(f"there is no file or folder {path}")
    if style == "frfs":
        return read_frfs_boxes(path)
    if style == "published" and path.is_file() and path.suffix == ".json":
        return read_frfs_boxes(path)
    if style == "published" and path.is_file() and path.suffix in (".pkl", ".pickle"):
        return _from_mapping(load_pickle(path), path.name)
    if style == "published":
        return _read_text_files(path, "pysot")
    if is_text_format(style):
        return _read_text_files(path, style)
    track_format(style)
    raise TrackFileError(f"format '{style}' is of whole videos; read it with data_catalog.tracks.formats.read_videos")


def write_tracks(path: Path, tubes: Mapping[str, Track], style: str, shape: Shape = "box") -> list[Path]:
    """Write tubes: ``frfs`` into the file `path`, text formats as ``NAME.txt`` into the folder `path`.

    Args:
        path: file or folder.
        tubes: by clip, quads (L, 4, 2) float32 in pixels.
        style: pysot, otb, vot or frfs.
        shape: of a line in a text format.

    Returns:
        The files.

    Raises:
        TrackFileError: unknown format, a name that is no file name, or a track the format cannot hold.
    """
    if style == "frfs":
        write_frfs_boxes(path, tubes)
        return [path]
    if not is_text_format(style):
        track_format(style)
        raise TrackFileError(f"tracks are not written in format '{style}'; choose another")
    files = []
    for name, track in tubes.items():
        if not name or "/" in name or "\\" in name or "\0" in name:
            raise TrackFileError(f"clip name '{name}' cannot be a file name; rename the clip")
        files.append(path / f"{name}.txt")
        write_text_track(files[-1], track, style, shape)
    return files


def _read_text_files(path: Path, style: TextFormat) -> TrackFile:
    if path.is_file():
        return TrackFile({path.stem: read_text_track(path, style)})
    # The VOT toolkit keeps repetitions of one sequence side by side; the first is the result.
    files = {file.stem: file for file in sorted(path.glob("*.txt"))}
    files |= {file.parent.name: file for file in sorted(path.glob("*/*_001.txt"))}
    if not files:
        raise TrackFileError(f"folder {path} holds no NAME.txt and no NAME/NAME_001.txt")
    tubes: dict[str, Track] = {}
    rejected: dict[str, str] = {}
    for name, file in files.items():
        try:
            tubes[name] = read_text_track(file, style)
        except TrackFileError as exc:
            rejected[name] = str(exc)
    return TrackFile(tubes, rejected)


def _from_mapping(content: object, file: str) -> TrackFile:
    if not isinstance(content, Mapping):
        raise TrackFileError(f"{file} holds a {type(content).__name__}, not an object of clips")
    tubes: dict[str, Track] = {}
    rejected: dict[str, str] = {}
    for name, rows in _flatten(content):
        try:
            tubes[name] = _as_track(rows)
        except TrackFileError as exc:
            rejected[name] = f"{file}: {exc}"
    if not tubes:
        raise TrackFileError(f"{file} holds no track of 8 numbers a frame")
    return TrackFile(tubes, rejected)


def _flatten(content: Mapping[object, object], outer: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in content.items():
        parts = key if isinstance(key, tuple) else (key,)
        name = "_".join(f"{part:02d}" if isinstance(part, int) else str(part) for part in parts)
        name = f"{outer}_{name}" if outer else name
        found += _flatten(value, name) if isinstance(value, Mapping) else [(name, value)]
    return found


def _as_track(rows: object) -> Track:
    if not isinstance(rows, Sequence | np.ndarray) or isinstance(rows, str) or not len(rows):
        raise TrackFileError("it has no frames")
    try:
        track = np.asarray(rows, dtype=np.float64)
    except (ValueError, TypeError):
        raise TrackFileError("its frames are not 8 numbers each") from None
    if track.ndim not in (2, 3) or track[0].size != 8:
        raise TrackFileError(f"its frames have {track[0].size} numbers each, not 8")
    if np.isinf(track).any():
        raise TrackFileError("it holds an infinite number")
    return track.reshape(-1, 4, 2).astype(np.float32)

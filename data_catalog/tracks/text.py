"""One sequence a text file: the result formats of pysot-toolkit, OTB and VOT."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from data_catalog.atomic import replacing

Track = NDArray[np.float32]
TextFormat = Literal["pysot", "otb", "vot"]
Shape = Literal["box", "polygon"]

# The coordinate of the top left pixel in each format: OTB is MATLAB's child and counts from 1.
ORIGIN: dict[str, float] = {"pysot": 0.0, "otb": 1.0, "vot": 0.0}
# VOT writes a single number instead of a region: 1 = started here, 2 = failed here, 0 = skipped.
VOT_CODES = {"0": "skipped", "1": "initialised", "2": "failed"}
_SEPARATOR = re.compile(r"[,;\s]+")


def is_text_format(style: str) -> TypeGuard[TextFormat]:
    """Whether a format keeps one sequence a text file."""
    return style in ORIGIN


class TrackFileError(ValueError):
    """A file of tracks cannot be read or written; one plain sentence with the place."""


def read_text_track(path: Path, style: TextFormat) -> Track:
    """One sequence: a line a frame with ``x, y, w, h``, an 8-number polygon, or a VOT code.

    Returns:
        Quads (L, 4, 2) float32 in pixels, counted from 0; nan in frames without a region.

    Raises:
        TrackFileError: a line is none of these; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise TrackFileError(f"{path.name} is not a text file") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise TrackFileError(f"{path.name} has no lines; one line a frame is expected")
    return np.stack([_parse_line(line, f"{path.name} line {n}", style) for n, line in enumerate(lines, start=1)])


def write_text_track(path: Path, track: Track, style: TextFormat, shape: Shape = "box") -> None:
    """The inverse of `read_text_track`, quads (L, 4, 2), to 4 decimals; a ``box`` is the upright box around the quad.

    In ``vot`` style the first line is the code 1, as that toolkit's results have it, so that the
    first quad itself is not in the file.

    Raises:
        TrackFileError: the track has no frames, or OTB is asked for polygons, which it does not know.
    """
    if style == "otb" and shape == "polygon":
        raise TrackFileError("the OTB format has no polygons; export boxes, or choose pysot or vot")
    if not len(track):
        raise TrackFileError(f"the track for {path.name} has no frames")
    rows = _boxes(track) if shape == "box" else track.reshape(len(track), 8).astype(np.float64)
    rows[:, : 2 if shape == "box" else 8] += ORIGIN[style]
    lines = [_line(row, style) for row in rows]
    if style == "vot":
        lines[0] = "1"
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _parse_line(line: str, place: str, style: TextFormat) -> Track:
    cells = [cell for cell in _SEPARATOR.split(line.strip()) if cell]
    if len(cells) == 1 and cells[0].split(".")[0] in VOT_CODES:
        return np.full((4, 2), np.nan, dtype=np.float32)
    try:
        numbers = np.array([float(cell) for cell in cells])
    except ValueError:
        raise TrackFileError(f"{place} is not made of numbers: '{line.strip()[:60]}'") from None
    if len(numbers) not in (4, 8):
        raise TrackFileError(f"{place} has {len(numbers)} numbers; 4 (x, y, w, h) or 8 (polygon) are expected")
    if np.isinf(numbers).any():
        raise TrackFileError(f"{place} holds an infinite number")
    if len(numbers) == 8:
        return (numbers - ORIGIN[style]).reshape(4, 2).astype(np.float32)
    x, y, w, h = numbers
    if w < 0 or h < 0:
        raise TrackFileError(f"{place} has a box of negative size {w:g} x {h:g}")
    x, y = x - ORIGIN[style], y - ORIGIN[style]
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], dtype=np.float32)


def _line(row: NDArray[np.float64], style: TextFormat) -> str:
    if not np.isfinite(row).all():
        return "0" if style == "vot" else ",".join(["nan"] * len(row))
    return ",".join(f"{value:.4f}" for value in row)


def _boxes(track: Track) -> NDArray[np.float64]:
    corners = track.astype(np.float64)
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high - low], axis=1)

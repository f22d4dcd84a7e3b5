"""The tube mask in a terminal: one small grid a segment, two grid rows in one line of text.

`tube_mask_text` is for pipes and logs (plain characters); `tube_mask_colours` is for colour terminals and shades each
cell by how many of the segment's T steps select it.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

_GAP = 2
_MIN_BLOCK = 14
_EMPTY_RGB = (38, 42, 50)
_FEW_RGB, _ALL_RGB = (122, 40, 74), (255, 120, 170)


def tube_mask_text(
    mask: NDArray[np.bool_],
    starts: Sequence[int],
    *,
    clip_id: str = "",
    segment_length: int = 16,
    width: int = 100,
) -> str:
    """The tube mask as plain text: a cell is drawn where any of the segment's steps selects it.

    Args:
        mask: (N, T, Hf, Wf) bool.
        starts: First frame of each of the N segments.
        clip_id: Named in the first line where given.
        segment_length: Frames in a segment.
        width: Columns that the text may take.

    Returns:
        Lines joined by newlines, none wider than `width`, without colour codes. A segment that selects nothing says
        "empty tube".

    Raises:
        ValueError: The mask isn't (N, T, Hf, Wf) bool, `starts` has another length, or one grid is wider than `width`.
    """
    return _compose(mask, starts, clip_id, segment_length, width, colours=False).plain


def tube_mask_colours(
    mask: NDArray[np.bool_],
    starts: Sequence[int],
    *,
    clip_id: str = "",
    segment_length: int = 16,
    width: int = 100,
) -> Text:
    """The same as `tube_mask_text` for `rich`: brighter cells are selected in more of the T steps, with a legend."""
    return _compose(mask, starts, clip_id, segment_length, width, colours=True)


def _compose(
    mask: NDArray[np.bool_],
    starts: Sequence[int],
    clip_id: str,
    segment_length: int,
    width: int,
    *,
    colours: bool,
) -> Text:
    if mask.ndim != 4 or mask.dtype != np.bool_:
        raise ValueError(f"a tube mask is (N, T, Hf, Wf) bool, found {mask.shape} {mask.dtype}")
    if len(starts) != len(mask):
        raise ValueError(f"the tube mask has {len(mask)} segments, but {len(starts)} start frames are given")
    segments, steps, _, columns = mask.shape
    block = max(columns, _MIN_BLOCK)
    per_line = (width + _GAP) // (block + _GAP)
    if per_line < 1:
        raise ValueError(
            f"a grid of {columns} columns does not fit {width} columns of text; widen the terminal"
        )
    lines = [Text(_fit(line, width), no_wrap=True) for line in _heading(mask, starts, clip_id)]
    if colours:
        lines.append(_legend(steps))
    # Rows of equal length (5 + 5, not 6 + 4) read better.
    per_line = math.ceil(segments / math.ceil(segments / per_line)) if segments else 1
    for first in range(0, segments, per_line):
        chosen = range(first, min(first + per_line, segments))
        blocks = [_block(mask[n], n, int(starts[n]), segment_length, block, colours) for n in chosen]
        lines.append(Text(""))
        lines.extend(Text(" " * _GAP).join(parts) for parts in zip(*blocks, strict=True))
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _heading(mask: NDArray[np.bool_], starts: Sequence[int], clip_id: str) -> list[str]:
    segments, steps, rows, columns = mask.shape
    name = f"Tube mask of {clip_id}" if clip_id else "Tube mask"
    lines = [
        f"{name}: {segments} segments × {steps} steps of a {rows}×{columns} grid",
        f"{int(mask.sum())} of {mask.size} positions selected",
    ]
    empty = [str(int(starts[n])) for n in range(segments) if not mask[n].any()]
    if empty:
        noun = "segment" if len(empty) == 1 else "segments"
        lines.append(f"{len(empty)} {noun} with an empty tube, starting at frame {', '.join(empty)}")
    return lines


def _fit(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"


def _block(
    mask: NDArray[np.bool_], number: int, start: int, segment_length: int, width: int, colours: bool
) -> list[Text]:
    """One segment (T, Hf, Wf) as lines of equal width: number and frames, the grid, what it selects."""
    counts = mask.sum(axis=0)
    steps, rows, columns = mask.shape
    lines = [Text(f"{number + 1}: {start}–{start + segment_length - 1}".ljust(width), style="bold")]
    for row in range(0, rows, 2):
        line = Text()
        for column in range(columns):
            below = int(counts[row + 1, column]) if row + 1 < rows else 0
            line.append_text(_pair(int(counts[row, column]), below, steps, colours))
        line.append(" " * (width - columns))
        lines.append(line)
    # Positions add up over the steps, as omega of the paper does.
    total = int(counts.sum())
    words = f"{total} position{'' if total == 1 else 's'}" if total else "empty tube"
    lines.append(Text(words.ljust(width), style="dim" if total else "bold red"))
    return lines


def _pair(upper: int, lower: int, steps: int, colours: bool) -> Text:
    """Two cells, one above the other, as one character."""
    if colours:
        return Text(
            "▀", Style.parse(f"rgb{_shade(upper, steps)} on rgb{_shade(lower, steps)}".replace(", ", ","))
        )
    return Text(
        {(False, False): "·", (True, False): "▀", (False, True): "▄"}.get((upper > 0, lower > 0), "█")
    )


def _shade(count: int, steps: int) -> tuple[int, int, int]:
    if count == 0:
        return _EMPTY_RGB
    part = 1.0 if steps == 1 else (count - 1) / (steps - 1)
    red, green, blue = (
        round(few + (full - few) * part) for few, full in zip(_FEW_RGB, _ALL_RGB, strict=True)
    )
    return red, green, blue


def _legend(steps: int) -> Text:
    line = Text("selected in ", style="dim", no_wrap=True)
    for count in range(steps + 1):
        line.append("██", Style.parse(f"rgb{_shade(count, steps)}".replace(", ", ",")))
        line.append(f" {count}  ")
    line.append(f"of {steps} steps")
    return line

"""Steps of clips: out of a label a frame, and what an adapter may call so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.records import STEPS, ClipRecord, Listing, Step

FILE = "steps.csv"


def find_steps(folder: Path) -> Path | None:
    """``steps.csv`` in a folder; None where there is none."""
    path = folder / FILE
    return path if path.is_file() else None


def steps_of_frames(labels: NDArray[np.integer], first: int = 0) -> list[Step]:
    """Steps out of a label a frame: each run of one label is a step of that name.

    Args:
        labels: (n,) integers, of frame `first` on.
        first: frame of the video that the first label is of.
    """
    flat = np.asarray(labels).ravel()
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), len(flat)]
    return [Step(str(int(flat[begin])), first + begin, first + end) for begin, end in pairwise(edges) if end > begin]


def without_odd_steps(listing: Listing) -> Listing:
    """The listing of an adapter without what its clips' `extra` calls steps and isn't; one sentence says so."""
    odd = [clip.clip_id for clip in listing.annotated if not _well_formed((clip.extra or {}).get(STEPS, []))]
    if not odd:
        return listing
    sentence = (
        f"extra['{STEPS}'] of clip '{odd[0]}'{f' and {len(odd) - 1} others' if len(odd) > 1 else ''} is no list of "
        "[name, start, end], so these clips have no steps; make the adapter write ClipRecord.with_steps"
    )
    named = set(odd)

    def cleared(clips: Sequence[ClipRecord]) -> tuple[ClipRecord, ...]:
        return tuple(clip.with_steps([]) if clip.clip_id in named else clip for clip in clips)

    return replace(
        listing,
        records=cleared(listing.records),
        missing=cleared(listing.missing),
        warnings=(*listing.warnings, sentence),
    )


def _well_formed(rows: object) -> bool:
    """Whether it is a list of ``[name, start, end]`` in order of time, none overlapping."""
    if not isinstance(rows, list | tuple) or not all(
        isinstance(row, list | tuple) and [type(cell) for cell in row] == [str, int, int] for row in rows
    ):
        return False
    frames = [frame for _, *span in rows for frame in span]
    ordered = all(before <= after for before, after in pairwise([0, *frames]))
    return ordered and all(start < end for _, start, end in rows)

"""Correct the labels of a clip, with history."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.tables.edits import Edit, EditError, column_of, parse_value


def set_labels(
    workspace: Workspace, dataset: str, clip_id: str, assignments: Sequence[str], who: str | None = None
) -> list[Edit]:
    """Set labels of one clip; returns what really changed.

    Args:
        workspace: the workspace.
        dataset: name of the dataset.
        clip_id: the clip.
        assignments: `field=value`; `box=x,y,w,h` once an athlete; an empty value means none.
        who: who says so; by default the user of this machine, or `TUBEFLOW_USER`.

    Raises:
        CatalogError: no such clip or field, or a value that doesn't fit; then nothing is set.
    """
    row = _row(workspace, dataset, clip_id)
    try:
        new = {column_of(field): parse_value(field, texts) for field, texts in _grouped(assignments).items()}
        _check_together(row | new)
    except EditError as exc:
        raise CatalogError(f"The labels of clip '{clip_id}' stay as they are: {exc}.") from exc
    when, who = datetime.now(UTC).isoformat(timespec="seconds"), who or person()
    edits = [
        Edit(clip_id, field, row[field], value, who, when) for field, value in new.items() if row[field] != value
    ]
    if edits:
        workspace.datasets.edits(dataset).append(edits)
    return edits


@dataclass(frozen=True)
class HistoryRow:
    """One correction of one dataset; see `Edit`."""

    dataset: str
    clip_id: str
    field: str
    old: object
    new: object
    who: str
    when: str


def label_history(workspace: Workspace, dataset: str | None = None, clip_id: str | None = None) -> list[HistoryRow]:
    """Who corrected what, oldest first: of one dataset or of all, of one clip or of every clip.

    Raises:
        CatalogError: the workspace has no such dataset.
    """
    names = workspace.datasets.names()
    if dataset is not None and dataset not in names:
        raise CatalogError(f"This workspace has no dataset '{dataset}'; list them with: tubeflow datasets list")
    return [
        HistoryRow(name, **vars(edit))
        for name in (names if dataset is None else [dataset])
        for edit in workspace.datasets.edits(name).read()
        if clip_id in (None, edit.clip_id)
    ]


def person() -> str:
    """Who is typing: `TUBEFLOW_USER`, or user@machine."""
    return os.environ.get("TUBEFLOW_USER") or f"{getpass.getuser()}@{socket.gethostname()}"


def _row(workspace: Workspace, dataset: str, clip_id: str) -> dict[str, object]:
    rows = workspace.datasets.table(dataset, only=[clip_id]).to_pylist()
    if not rows:
        raise CatalogError(f"Dataset '{dataset}' has no clip '{clip_id}'; look for it with: tubeflow catalog query")
    found: dict[str, object] = rows[0]
    return found


def _grouped(assignments: Sequence[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for assignment in assignments:
        field, sign, value = assignment.partition("=")
        if not sign:
            raise EditError(f"'{assignment}' is no field=value, such as score=81.5")
        grouped.setdefault(field.strip(), []).append(value)
    return grouped


def _check_together(row: Mapping[str, object]) -> None:
    """What the values of one clip must be like together, as ingest demands it."""
    if row["score"] is None and row["label"] is None:
        raise EditError("a clip needs a score or a label; mark it bad=true to leave it out")
    start, end = row["start_frame"] or 0, row["end_frame"]
    if isinstance(start, int) and isinstance(end, int) and end <= start:
        raise EditError(f"end_frame {end} must be above start_frame {start}")

"""The clips that a run works on: the dataset's, edits included, without the bad ones, or a selection of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from data_catalog.catalog import CatalogError, ClipTableLost, Workspace
from data_catalog.datasets.records import ClipRecord, RejectedRow
from data_catalog.query import select_clips
from data_catalog.suggest import nearest
from flows.datasets.ingest import ingest_again

SHOWN = 5
PREDICTED = "predict"  # adapter of the datasets that `tubeflow predict` makes of single videos

T = TypeVar("T")


def dataset_clips(
    workspace: Workspace, dataset: str, where: str | None = None, only: Collection[str] | None = None
) -> list[ClipRecord]:
    """The clips of a dataset that aren't marked bad, their videos as absolute paths.

    Args:
        workspace: the workspace.
        dataset: name of the dataset.
        where: an SQL condition on the columns of the clip table; all clips where None.
        only: the clips of these ids alone, of those that `where` leaves.

    Raises:
        CatalogError: no such dataset, or a wrong condition.
    """
    return [clip for clip in every_clip(workspace, dataset, where, only) if not clip.bad]


def wanted_clips(workspace: Workspace, dataset: str, where: str | None, ids: Collection[str]) -> list[ClipRecord]:
    """The clips that somebody asked for; all where no `ids` are given.

    Raises:
        CatalogError: as `dataset_clips`; there is none, or one of `ids` is not among them.
    """
    clips = dataset_clips(workspace, dataset, where, ids or None)
    lacking = set(ids) - {clip.clip_id for clip in clips}
    if not clips or lacking:
        which = f" for which {where}" if where else ""
        which += f" called {', '.join(sorted(lacking))}, or they are marked bad" if lacking else ""
        raise CatalogError(f"Dataset '{dataset}' has no clips{which}; look at: tubeflow catalog")
    return clips


def every_clip(
    workspace: Workspace, dataset: str, where: str | None = None, only: Collection[str] | None = None
) -> list[ClipRecord]:
    """As `dataset_clips`, with those that are marked bad; `only` some ids where given. Raises CatalogError."""
    root = Path(workspace.datasets.info(dataset).root)

    def read() -> list[ClipRecord]:
        chosen = None if where is None else select_clips(workspace, dataset, where)
        if only is not None:
            chosen = set(only) if chosen is None else chosen & set(only)
        return workspace.datasets.clips(dataset, chosen)

    return [replace(clip, video=str(root / clip.video)) for clip in _with_reingest(workspace, dataset, read)]


def no_such_clip(where: str, clip_id: str, known: Iterable[str]) -> str:
    """The sentence for a clip_id that is none: `where` names who was asked, `known` are those there are."""
    near = nearest(clip_id, known)
    hint = f"did you mean '{near}'?" if near else "list them with: tubeflow catalog query \"select clip_id from clips\""
    return f"{where} has no clip '{clip_id}'; {hint}"


def clip_count(workspace: Workspace, dataset: str) -> int:
    """How many clips a dataset has, bad ones included. Raises CatalogError."""
    return _with_reingest(workspace, dataset, lambda: workspace.datasets.count(dataset))


def rejected_rows(workspace: Workspace, dataset: str) -> list[RejectedRow]:
    """Rows that ingest left out, with the reason. Raises CatalogError."""
    return _with_reingest(workspace, dataset, lambda: workspace.datasets.rejected(dataset))


def left_out(workspace: Workspace, dataset: str) -> list[str]:
    """One sentence where clips are marked bad. Raises CatalogError."""
    bad = _with_reingest(workspace, dataset, lambda: workspace.datasets.bad(dataset))
    if not bad:
        return []
    names = ", ".join(bad[:SHOWN]) + (", …" if len(bad) > SHOWN else "")
    count = f"{len(bad)} clip is" if len(bad) == 1 else f"{len(bad)} clips are"
    return [f"{count} marked bad and left out ({names}); to use one again: tubeflow labels set CLIP bad=false"]


def _with_reingest(workspace: Workspace, dataset: str, read: Callable[[], T]) -> T:
    """Read from the clip table; where that is lost, from the dataset's own folder."""
    try:
        return read()
    except ClipTableLost as exc:
        ingest_again(workspace, dataset, exc.path)
        return read()

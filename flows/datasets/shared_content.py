"""Says which clips of different splits show the same: at ingest, in `tubeflow datasets check` and in the report."""

from __future__ import annotations

from dataclasses import dataclass

from data_catalog.catalog import Workspace
from data_catalog.datasets.layouts import abridge
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.shared_content import SharedContent, read_shared_content, write_shared_content
from flows.datasets.clips import dataset_clips
from tasks.engine import progress

MOST_AT_INGEST = 5000  # clips; looking at one takes some 10 ms, and nobody waits for a million
SHOWN = 20
QUERY = 'tubeflow catalog query "select * from shared_content"'


@dataclass(frozen=True)
class SplitReport:
    """Which clips of different splits show the same, and what is to be said of it, one sentence each."""

    rows: tuple[SharedContent, ...]
    sentences: tuple[str, ...]


def compare_splits(workspace: Workspace, dataset: str, most_clips: int | None = None) -> SplitReport:
    """Compare the clips of a dataset, and keep in the catalog which of different splits show the same.

    Args:
        workspace: the workspace.
        dataset: name of the dataset.
        most_clips: above so many clips only their files are compared, not their pictures.

    Raises:
        CatalogError: the workspace has no such dataset.
    """
    if workspace.datasets.info(dataset).holds_features:  # the adapter, which reads all of them, says which are equal
        return SplitReport((), ())
    # Looks at pictures with PyAV and OpenCV, which a list of the datasets doesn't need.
    from tasks.assessment.shared_content import find_shared_content

    clips = dataset_clips(workspace, dataset)
    found = find_shared_content(
        clips, workspace.sources, most_clips, lambda done, total: progress.report("compare", done, total)
    )
    write_shared_content(workspace.datasets.root / dataset, found.rows)
    sentences = []
    if found.rows:
        remedy = "give both one split, or leave one out: tubeflow labels set CLIP bad=true"
        sentences.append(f"{remark(found.rows)}; {remedy}")
        sentences += [f"  {row}" for row in found.rows[:SHOWN]]
    if len(found.rows) > SHOWN:
        sentences.append(f"  … all {len(found.rows)} of them: {QUERY}")
    if found.unread:
        count = f"{len(found.unread)} clip{'s' if len(found.unread) > 1 else ''}"
        sentences.append(f"{count} can't be decoded and took no part in comparing the splits: {abridge(found.unread)}")
    if not found.by_pictures:
        sentences.append(
            f"the {len(clips)} clips were compared by their files alone; tubeflow datasets check {dataset} also looks "
            "at their pictures"
        )
    return SplitReport(found.rows, tuple(sentences))


def known_remark(workspace: Workspace, dataset: str) -> str | None:
    """What was found when the splits were compared, as far as it holds for the splits of now; None for nothing.

    Raises:
        CatalogError: the workspace has no such dataset.
    """
    try:
        rows = read_shared_content(workspace.datasets.root / dataset)
    except ArtifactDamaged as exc:
        rows = list(compare_splits(workspace, dataset, MOST_AT_INGEST).rows)
        workspace.notice(f"{exc.path} {exc.what}; the splits were compared again.")
    if not rows:
        return None
    ids = {clip_id for row in rows for clip_id in (row.first, row.second)}
    splits = {clip.clip_id: clip.split for clip in dataset_clips(workspace, dataset, only=ids)}
    rows = [row for row in rows if {row.first, row.second} <= splits.keys() and splits[row.first] != splits[row.second]]
    return f"{remark(rows)}: {abridge(map(str, rows))}." if rows else None


def remark(rows: tuple[SharedContent, ...] | list[SharedContent]) -> str:
    """What it means that there are such pairs, without a full stop."""
    pairs = "one pair of clips" if len(rows) == 1 else f"{len(rows)} pairs of clips"
    return f"{pairs} of different splits show the same, so that a model is tested on what it has learnt by heart"

"""`tubeflow gc`: artifacts that no recent run needs.

What a run stands on is in its references.parquet. An artifact is kept while one of the newest `keep` runs of any
dataset refers to it; the others are what tracker and config experiments left behind. What `predict` made of a training
(stage `novelty`) stays and goes with it. A run that is under way, or was
killed, has no such list yet: what no run at all refers to stays for some hours before it counts as left behind.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged, read_lineage
from data_catalog.tables.runs import REFERENCES_FILE, read_references
from flows.experiments.contenders import experiment_runs
from flows.runs.record import RunRecord, read_all_runs
from flows.stages import IN_ORDER
from tasks import novelty
from tasks.engine import progress

GRACE_HOURS = 24.0


class GarbageRow(TypedDict):
    """One artifact of `tubeflow gc --json`."""

    path: str
    bytes: int
    runs: list[str]


@dataclass(frozen=True)
class Garbage:
    """One artifact that would go: its size in bytes (with its work folder), and the older runs that refer to it."""

    stage: str
    key: str
    path: Path
    size: int
    runs: tuple[str, ...]

    def as_json(self) -> GarbageRow:
        """What `tubeflow gc --json` prints of it."""
        return {"path": str(self.path), "bytes": self.size, "runs": list(self.runs)}


def references(workspace: Workspace) -> dict[str, set[tuple[str, str]]]:
    """For every run, oldest first, the (stage, key) of the artifacts that it stands on, or that stand on its training.

    Raises:
        CatalogError: the record or the list of a run can't be read; its artifacts would be taken for unused ones.
    """
    found = {}
    made_later = _novelty(workspace)
    for run in progress.each("runs", read_all_runs(workspace)):
        folder = workspace.runs / run.run_id
        try:
            table = read_references(folder, run.files.get(REFERENCES_FILE)).to_pydict()
        except (FileNotFoundError, ArtifactDamaged) as exc:
            raise CatalogError(
                f"Run {run.run_id} has no readable list of the artifacts that it stands on, so nothing is removed; "
                f"run it again and delete {folder}, then try again."
            ) from exc
        own = set(zip(table["stage"], table["key"], strict=True))
        found[run.run_id] = own.union(*(made_later[name] for name in own & made_later.keys()))
    return found


def _novelty(workspace: Workspace) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """The (stage, key) of what was made of each training after its run, by those of the training."""
    found: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for key in workspace.store.scan(novelty.STAGE.name):
        with contextlib.suppress(ArtifactDamaged, FileNotFoundError):  # nobody can use it
            lineage = read_lineage(workspace.store.path(novelty.STAGE.name, key))
            found["train", lineage.parents["train"]].add((lineage.stage, lineage.key))
    return found


def find_garbage(workspace: Workspace, keep: int, grace_hours: float = GRACE_HOURS) -> list[Garbage]:
    """Artifacts that none of the `keep` newest runs of each dataset refers to; raises as `references`.

    A run of single clips (`--clip`) or of fewer stages (`--only`, `--until`) doesn't count among them, and is kept
    while it is newer than the oldest that is: it stands beside the last whole run, not in its place. Those that no run
    at all refers to are left alone while they are younger than `grace_hours`.
    """
    referring = references(workspace)
    by_dataset: dict[str, list[RunRecord]] = defaultdict(list)
    for run in read_all_runs(workspace):
        by_dataset[run.dataset].append(run)
    recent = {run_id for runs in by_dataset.values() for run_id in newest_runs(runs, keep)}
    for runs_together in experiment_runs(workspace):
        if runs_together & recent:  # an experiment is kept or goes as a whole
            recent |= runs_together
    needed = set().union(*(referring.get(run, set()) for run in recent))
    older: Mapping[tuple[str, str], list[str]] = defaultdict(list)
    for run_id, artifacts in referring.items():
        for artifact in artifacts - needed:
            older[artifact].append(run_id)
    garbage = []
    youngest = _now(workspace) - 3600 * grace_hours
    folders = [folder for folder in sorted(workspace.artifacts.glob("*")) if folder.is_dir() and folder.name != "tmp"]
    for folder in progress.each("artifacts", folders, lambda folder: folder.name):
        for key, stat in sorted(workspace.store.scan(folder.name).items()):
            runs = tuple(older.get((folder.name, key), ()))
            if (folder.name, key) not in needed and (runs or stat.st_mtime < youngest):
                path = workspace.store.path(folder.name, key)
                size = stat.st_size + _folder_size(path.with_suffix(".work"))
                garbage.append(Garbage(folder.name, key, path, size, runs))
        for work in sorted(folder.glob("*/*.work")):  # of trainings that were killed and never taken up again
            if not work.with_suffix(".h5").exists() and work.stat().st_mtime < youngest:
                garbage.append(Garbage(folder.name, work.stem, work.with_suffix(".h5"), _folder_size(work), ()))
    return garbage


def _now(workspace: Workspace) -> float:
    """The time by the clock that the workspace's files get theirs from, which may be another machine's."""
    path = workspace.store.scratch("now")
    path.touch()
    try:
        return path.stat().st_mtime
    finally:
        path.unlink()


def newest_runs(runs: Sequence[RunRecord], keep: int) -> list[str]:
    """Of one dataset's runs, oldest first: the last `keep` whole ones, and the partial ones since then.

    Whole is a run of all clips that went as far as any did: trying a tracker does not cost the trained network.
    """
    of_all_clips = [run for run in runs if not run.clips]
    furthest = max((_last_stage(run) for run in of_all_clips), default=-1)
    whole = [run.run_id for run in of_all_clips if _last_stage(run) == furthest][-keep:]
    ids = [run.run_id for run in runs]
    return ids[ids.index(whole[0]) :] if whole else ids


def _last_stage(run: RunRecord) -> int:
    """Place of the last stage that a run was asked for."""
    return max((IN_ORDER.index(name) for name in run.selected if name in IN_ORDER), default=-1)


def _folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0


def remove(workspace: Workspace, garbage: list[Garbage]) -> None:
    """Delete artifacts and the work folders of their trainings."""
    for one in progress.each("delete", garbage):
        workspace.store.remove(one.stage, one.key)
        shutil.rmtree(one.path.with_suffix(".work"), ignore_errors=True)
        workspace.index.forget(one.stage, one.key)
    workspace.index.save()
    workspace.tube_quality.prune()

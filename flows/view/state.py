"""What the server knows of the workspace: every dataset's plan and gallery rows, read again when the disk changes.

Planning 10,000 clips takes seconds, an answer may take a tenth of one. So a snapshot is kept, and compared with the
catalog's files at each request by their times alone. A snapshot that takes long to make is made in the background
while the older one keeps answering; what a person changes in the browser is planned again at once, for that clip.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from flows.config import ConfigError, PipelineConfig, load_config
from flows.datasets.clips import every_clip
from flows.runs.last import last_config, last_where
from flows.stages import section, stages_of_clips
from flows.view.clip_rows import ClipRow, RowQuery, choose, count_facets
from flows.view.rows import make_rows
from tasks.engine.plan import Planner, StagePlan

logger = logging.getLogger(__name__)

QUICK_SECONDS = 0.5  # a snapshot that took longer is made again in the background
KEPT_QUERIES = 64
Fingerprint = tuple[tuple[str, int, int], ...]


class UnknownClip(CatalogError):
    """No dataset of the workspace has this clip, or no such dataset is there."""


@dataclass
class DatasetState:
    """One dataset: its clips, and the plan of their stages under the config that the pages show.

    Attributes:
        config: of the dataset's last run, or of the preset that the server was started with; None where there is none.
        note: why there is no config, or which part of the dataset is shown.
        records: every clip, those marked bad too, with absolute video paths.
        plans: the clip stages' plans; empty without a config.
    """

    name: str
    procedural: bool
    config: PipelineConfig | None
    note: str | None
    records: dict[str, ClipRecord]
    plans: dict[str, StagePlan] = field(default_factory=dict)
    rows: dict[str, ClipRow] = field(default_factory=dict)


@dataclass
class Snapshot:
    """The whole workspace at one moment."""

    workspace: Workspace
    fingerprint: Fingerprint
    generation: int
    datasets: dict[str, DatasetState]
    seconds: float = 0.0
    chosen: dict[RowQuery, list[ClipRow]] = field(default_factory=dict)
    counted: dict[RowQuery, dict[str, dict[str, int]]] = field(default_factory=dict)

    @property
    def rows(self) -> list[ClipRow]:
        """Of all datasets."""
        return [row for dataset in self.datasets.values() for row in dataset.rows.values()]

    def dataset(self, name: str) -> DatasetState:
        """Raises UnknownClip."""
        if name not in self.datasets:
            known = ", ".join(self.datasets) or "none"
            raise UnknownClip(f"This workspace has no dataset '{name}' (it has: {known}).")
        return self.datasets[name]

    def clip(self, dataset: str, clip: str) -> tuple[DatasetState, ClipRecord]:
        """Raises UnknownClip."""
        state = self.dataset(dataset)
        if clip not in state.records:
            raise UnknownClip(f"Dataset '{dataset}' has no clip '{clip}'.")
        return state, state.records[clip]

    def choose(self, query: RowQuery) -> list[ClipRow]:
        """As `clip_rows.choose`, remembered: a page that scrolls asks the same again and again."""
        if query not in self.chosen:
            if len(self.chosen) >= KEPT_QUERIES:
                self.chosen.clear()
                self.counted.clear()
            self.chosen[query] = choose(self.rows, query)
        return self.chosen[query]

    def facets(self, query: RowQuery) -> dict[str, dict[str, int]]:
        """As `clip_rows.count_facets`, remembered in the same way."""
        if query not in self.counted:
            self.counted[query] = count_facets(self.rows, query)
        return self.counted[query]


class ViewState:
    """The server's view of one workspace.

    Args:
        root: the workspace.
        only: show this dataset alone.
        preset, overrides: the config to show; by default each dataset's last run's.
    """

    def __init__(
        self, root: Path, only: str | None = None, preset: str | None = None, overrides: Sequence[str] = ()
    ) -> None:
        self.root = root.absolute()
        self._only, self._preset, self._overrides = only, preset, overrides
        self._lock, self._making = threading.RLock(), threading.Lock()
        self._snapshot: Snapshot | None = None
        self.refreshing = False

    @property
    def workspace(self) -> Workspace:
        """The workspace as the current snapshot opened it."""
        return self.current().workspace

    def current(self) -> Snapshot:
        """The newest snapshot there is; where the disk has changed, and it is quick, a new one."""
        with self._lock:
            found = self._snapshot
            if found is None:
                return self._renew()
            if found.fingerprint == fingerprint(self.root):
                return found
            if found.seconds < QUICK_SECONDS:
                return self._renew()
            if not self.refreshing:
                self.refreshing = True
                threading.Thread(target=self._renew_behind, daemon=True).start()
            return found

    def _renew_behind(self) -> None:
        try:
            fresh = self._make()
            with self._lock:
                self._snapshot = fresh
        except Exception:  # the older snapshot keeps answering, and the next request tries again
            logger.exception("the workspace could not be read again")
        finally:
            self.refreshing = False

    def _renew(self) -> Snapshot:
        self._snapshot = self._make()
        return self._snapshot

    def _make(self) -> Snapshot:
        with self._making:
            started = time.perf_counter()
            before = fingerprint(self.root)  # taken first: what changes meanwhile is noticed next time
            workspace = Workspace(self.root)
            names = [name for name in workspace.datasets.names() if self._only in (None, name)]
            if self._only is not None and not names:
                workspace.datasets.info(self._only)  # raises the sentence that says what there is
            datasets = {name: self._read_dataset(workspace, name) for name in names}
            generation = self._snapshot.generation + 1 if self._snapshot else 1
            return Snapshot(workspace, before, generation, datasets, time.perf_counter() - started)

    def _config(self, workspace: Workspace, name: str) -> tuple[PipelineConfig | None, str | None]:
        try:
            if self._preset is not None:
                return load_config(self._preset, self._overrides), None
            return last_config(workspace, name, self._overrides), None
        except (CatalogError, ConfigError) as exc:
            if self._preset is not None:
                raise
            return None, str(exc)

    def _read_dataset(self, workspace: Workspace, name: str) -> DatasetState:
        info = workspace.datasets.info(name)
        config, note = self._config(workspace, name)
        where = last_where(workspace, name) if config is not None else None
        if where is not None:
            note = f"Shown is the part that the last run worked on: {where}"
        clips = every_clip(workspace, name, where)
        state = DatasetState(name, info.procedural, config, note, {clip.clip_id: clip for clip in clips})
        if config is not None:
            state.plans = plan_clip_stages(workspace, name, clips, config)
        state.rows = make_rows(workspace, state.name, clips, state.plans, config)
        return state

    def clip_changed(self, dataset: str, clip: str, since: Fingerprint | None = None) -> Snapshot:
        """Plan one clip anew after a person changed its labels, or its files; returns what is shown from then on.

        Where the disk was at `since` just before, the change is all that is new, and nothing else is read again.
        """
        with self._lock:
            before = self._snapshot or self._renew()
            alone = since is not None and since == before.fingerprint
            state = before.dataset(dataset)
            # Labels don't touch the index; a run does, and then it is read again.
            workspace = before.workspace if alone else Workspace(self.root)
            clips = every_clip(workspace, dataset, only=[clip])
            if not clips:
                raise UnknownClip(f"Dataset '{dataset}' has no clip '{clip}'.")
            plans = plan_clip_stages(workspace, dataset, clips, state.config) if state.config else {}
            rows = make_rows(workspace, dataset, clips, plans, state.config)
            changed = replace(
                state,
                records={**state.records, clip: clips[0]},
                plans={name: with_clip(state.plans[name], plan, clip) for name, plan in plans.items()},
                rows={**state.rows, **rows},
            )
            self._snapshot = replace(
                before,
                workspace=workspace,
                fingerprint=fingerprint(self.root) if alone else before.fingerprint,
                generation=before.generation + 1,
                datasets={**before.datasets, dataset: changed},
                chosen={},
                counted={},
            )
            return self._snapshot


def plan_clip_stages(
    workspace: Workspace, dataset: str, clips: Sequence[ClipRecord], config: PipelineConfig
) -> dict[str, StagePlan]:
    """Plan normalize … masks, and features where the config has them, of some clips."""
    planner = Planner(workspace, dataset, clips)
    return planner.plan([(stage, section(stage, config)) for stage in stages_of_clips(config)], [])


def with_clip(whole: StagePlan, one: StagePlan, clip: str) -> StagePlan:
    """A stage's plan in which one clip is as another plan says."""
    jobs = {**whole.jobs, **one.jobs}
    if clip not in one.jobs:
        jobs.pop(clip, None)
    return replace(
        whole,
        jobs=jobs,
        hits=(whole.hits - {clip}) | one.hits,
        reasons={name: why for name, why in whole.reasons.items() if name != clip} | one.reasons,
        quarantined={name: row for name, row in whole.quarantined.items() if name != clip} | one.quarantined,
    )


def fingerprint(root: Path) -> Fingerprint:
    """Name, time and size of every file that a snapshot is read from; another value means that something changed."""
    catalog = root / "catalog"
    fixed = [catalog / name for name in ("artifacts.parquet", "sources.parquet", "tube_quality.parquet", "quarantine")]
    paths = [*fixed, root / "runs", *catalog.glob("quarantine/*"), *catalog.glob("datasets/*/*")]
    found = []
    for path in sorted(paths):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        if not path.name.endswith(".lock"):
            found.append((str(path), stat.st_mtime_ns, stat.st_size))
    return tuple(found)

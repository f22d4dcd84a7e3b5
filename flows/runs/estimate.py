"""How long what is missing of a plan takes, and how large it is: from the seconds and bytes of the store's artifacts.

An artifact counts for a plan that would make one with the same settings (seeds aside), of the same dataset where that
has any. What was never made with these settings is not known, and no figure stands in for it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_catalog.tables.index import Record
from flows.config import EngineConfig
from flows.console import duration_text, size_text
from tasks import pack
from tasks.engine.plan import StagePlan
from tasks.engine.progress import Forecast

Rows = Mapping[tuple[str, str], Record]


@dataclass(frozen=True)
class StageEstimate:
    """What is missing of one stage.

    Attributes:
        stage: its name.
        todo: artifacts that are to be made.
        seconds: of wall time, all workers busy; None where nothing was measured with these settings.
        bytes: on the disk; None as `seconds`.
    """

    stage: str
    todo: int
    seconds: float | None
    bytes: int | None


@dataclass(frozen=True)
class Estimate:
    """What is missing of a plan, a row for each stage that has something to do."""

    stages: tuple[StageEstimate, ...]

    @property
    def seconds(self) -> float | None:
        """Of wall time in all; None where a stage was never measured."""
        known = [one.seconds for one in self.stages if one.seconds is not None]
        return sum(known) if len(known) == len(self.stages) else None

    @property
    def bytes(self) -> int | None:
        """On the disk in all; None likewise."""
        known = [one.bytes for one in self.stages if one.bytes is not None]
        return sum(known) if len(known) == len(self.stages) else None

    def forecast(self) -> Forecast:
        """What those hear who show the progress."""
        return Forecast({one.stage: one.seconds for one in self.stages}, self.sentence())

    def sentence(self) -> str:
        """`About 14 minutes: track 11, train 3; 1.2 GB.`; empty where nothing is to be done."""
        known = {one.stage: one.seconds for one in self.stages if one.seconds is not None}
        unknown = [one.stage for one in self.stages if one.seconds is None]
        if not known:
            return f"How long it takes is not known: {_never(unknown)}." if unknown else ""
        size = size_text(sum(one.bytes or 0 for one in self.stages))
        said = f"About {duration_text(known)}; {size}."
        return f"{said} Not known for the rest: {_never(unknown)}." if unknown else said


def _never(stages: Sequence[str]) -> str:
    verb = "was" if len(stages) == 1 else "were"
    return f"{', '.join(stages)} {verb} never run with these settings"


def estimate(rows: Rows, plans: Mapping[str, StagePlan], selected: Collection[str], workers: int | None) -> Estimate:
    """Estimate what is missing of the selected stages of a plan.

    Args:
        rows: the index of the store.
        plans: of every stage that the selected ones stand on.
        selected: names of stages.
        workers: how many clips are worked on at once; None where nobody knows, and then no time is known.
    """
    by_stage: dict[str, list[Record]] = defaultdict(list)
    for row in rows.values():
        by_stage[row.stage].append(row)
    found = []
    for name, plan in plans.items():
        if name in selected and plan.reasons:
            measured = _of_dataset(_same_settings(by_stage[name], plan), plan)
            work = _work(measured, plan, plans, rows)
            found.append(StageEstimate(name, len(plan.reasons), *_amounts(measured, plan, work, workers)))
    return Estimate(tuple(found))


def workers_of(engine: EngineConfig, processors: int) -> int | None:
    """How many clips a run works on at once; None for a cluster elsewhere that doesn't say how large it is."""
    return engine.workers or (None if engine.address else processors)


def _same_settings(rows: Sequence[Record], plan: StagePlan) -> list[Record]:
    wanted = _settings(plan.stage.config_of(plan.config))
    alike = {text: _settings(json.loads(text)) == wanted for text in {row.config for row in rows}}
    return [row for row in rows if alike[row.config] and row.stage_version == plan.stage.version]


def _settings(config: Any) -> Any:
    """A config as plain JSON, without its seeds, which cost no time."""
    plain = json.loads(json.dumps(config))
    return {
        name: {field: value for field, value in section.items() if field != "seed"}
        if isinstance(section, dict)
        else section
        for name, section in plain.items()
    }


def _of_dataset(rows: list[Record], plan: StagePlan) -> list[Record]:
    """Those of the planned dataset, or all: another one's videos may be longer."""
    dataset = next(iter(plan.jobs.values())).dataset
    return [row for row in rows if row.dataset == dataset] or rows


def _work(
    measured: list[Record], plan: StagePlan, plans: Mapping[str, StagePlan], rows: Rows
) -> tuple[float, float] | None:
    """Units of work that were measured and that are planned: artifacts, or for a whole dataset its clips."""
    if "" not in plan.jobs:
        return len(measured), len(plan.reasons)
    before = [_clips_of(row, rows) for row in measured]
    planned = _clips_planned(plan, plans)
    if planned is None or None in before:
        return None
    return sum(count or 0 for count in before), planned


def _clips_of(row: Record, rows: Rows) -> int | None:
    """How many clips an artifact of a whole dataset was made of; None where nobody knows any more."""
    clips = json.loads(row.inputs).get("clips")
    if isinstance(clips, int):
        return clips
    parents = [rows.get((stage, key)) for stage, key in json.loads(row.parents).items()]
    counts = [_clips_of(parent, rows) for parent in parents if parent is not None and not parent.clip_id]
    return next((count for count in counts if count is not None), None)


def _clips_planned(plan: StagePlan, plans: Mapping[str, StagePlan]) -> int | None:
    members = plan.jobs[""].members
    if members:
        return len(members)
    counts = [_clips_planned(plans[one], plans) for one in plan.stage.parents if "" in plans[one].jobs]
    return next((count for count in counts if count is not None), None)


def _amounts(
    measured: list[Record], plan: StagePlan, work: tuple[float, float] | None, workers: int | None
) -> tuple[float | None, int | None]:
    """Seconds of wall time, and bytes."""
    if not measured or work is None or not work[0]:
        return None, None
    ratio = work[1] / work[0]
    seconds, size = sum(row.seconds for row in measured), sum(row.size for row in measured)
    if "" not in plan.jobs:
        wall = None if workers is None else seconds * ratio / min(workers, len(plan.reasons))
        return wall, round(size * ratio)
    grows = plan.stage.name == pack.STAGE.name  # a checkpoint is as large for many clips as for few
    return seconds * ratio, round(size * ratio if grows else size / len(measured))

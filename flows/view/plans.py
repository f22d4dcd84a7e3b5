"""What a clip's labels leave to be done, why, and the commands that do exactly that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.system import processors
from flows.config import PipelineConfig
from flows.execution.run_options import RunOptions
from flows.runs.estimate import estimate, workers_of
from flows.runs.last import last_whole_run
from flows.stages import CLIP_STAGES, IN_ORDER, Selection, section, stage_name, stages_of_dataset
from flows.view.clip_rows import StageState
from flows.view.command import run_words, shown
from flows.view.rows import stage_state
from flows.view.state import DatasetState, Snapshot
from tasks.engine.plan import Planner, StagePlan

ABOUT = {
    "clip": "Makes this clip's tube again, nothing else; its new score is then computed by the network that is there.",
    "all": "Makes everything that follows as well: the pack, the training and the report.",
}


class PlannedStage(TypedDict):
    """Where a clip, or the whole dataset, stands in one stage, and why."""

    stage: str
    state: StageState
    why: str | None


class CommandRow(TypedDict):
    """A command that has something to do: for one clip's tube (`clip`), or for everything that follows (`all`).

    `time` is a sentence: how long it takes, from what the store's own artifacts took.
    """

    scope: str
    command: str
    title: str
    about: str
    time: str


class PlanRecord(TypedDict):
    """The answer of /api/plan: stages of the clip and of its dataset, and the commands."""

    stages: list[PlannedStage]
    dataset: list[PlannedStage]
    commands: list[CommandRow]
    note: str | None


def plan_json(snapshot: Snapshot, dataset: str, clip: str) -> PlanRecord:
    """The state of every stage for one clip and its dataset, and the commands. Raises UnknownClip."""
    state, record = snapshot.clip(dataset, clip)
    if state.config is None:
        return {"stages": [], "dataset": [], "commands": [], "note": state.note}
    stages: list[PlannedStage] = [
        {
            "stage": name,
            "state": stage_state(plan, clip),
            "why": plan.quarantined[clip].reason if clip in plan.quarantined else plan.reasons.get(clip),
        }
        for name, plan in state.plans.items()
    ]
    run = last_whole_run(snapshot.workspace, dataset)
    until = (run.last_stage if run else None) or IN_ORDER[-1]
    following, planned = dataset_stages(snapshot.workspace, state, until)
    of_clip = {name: of_one_clip(plan, clip) for name, plan in state.plans.items()}
    time = {"clip": _time(snapshot, state, of_clip), "all": _time(snapshot, state, planned)}
    return {
        "stages": stages,
        "dataset": following,
        "commands": [
            {"scope": scope, "command": shown(words), "title": title, "about": ABOUT[scope], "time": time[scope]}
            for scope, title, words in _wanted(snapshot, state, clip, following)
        ],
        "note": "This clip is marked bad; runs leave it out." if record.bad else None,
    }


def dataset_stages(
    workspace: Workspace, state: DatasetState, until: str
) -> tuple[list[PlannedStage], dict[str, StagePlan]]:
    """pack, train and evaluate as they are planned for all clips that aren't marked bad, and every stage's plan."""
    assert state.config is not None
    good = [record for record in state.records.values() if not record.bad]
    planner = Planner(workspace, state.name, good)
    plans: dict[str, StagePlan] = {name: without_bad(state, plan) for name, plan in state.plans.items()}
    found: list[PlannedStage] = []
    wanted = IN_ORDER[: IN_ORDER.index(until) + 1]
    for stage in [one for one in stages_of_dataset(state.config) if one.name in wanted]:
        try:
            plan = planner.dataset_stage(stage, section(stage, state.config), plans)
        except CatalogError as exc:
            found.append({"stage": stage.name, "state": "waiting", "why": str(exc)})
            break
        plans[stage.name] = plan
        why = ", ".join(plan.summary()) or None
        found.append({"stage": stage.name, "state": stage_state(plan, ""), "why": why})
    return found, plans


def of_one_clip(plan: StagePlan, clip: str) -> StagePlan:
    """A stage's plan of one clip alone."""
    jobs = {name: job for name, job in plan.jobs.items() if name == clip}
    return replace(plan, jobs=jobs, reasons={name: why for name, why in plan.reasons.items() if name == clip})


def _time(snapshot: Snapshot, state: DatasetState, plans: dict[str, StagePlan]) -> str:
    assert state.config is not None
    workers = workers_of(state.config.engine, processors())
    return estimate(snapshot.workspace.index.rows, plans, set(plans), workers).sentence()


def without_bad(state: DatasetState, plan: StagePlan) -> StagePlan:
    """A stage's plan without the clips that are marked bad."""
    bad = {name for name, record in state.records.items() if record.bad}
    if not bad:
        return plan
    jobs = {name: job for name, job in plan.jobs.items() if name not in bad}
    reasons = {name: why for name, why in plan.reasons.items() if name not in bad}
    return replace(plan, jobs=jobs, hits=plan.hits - bad, reasons=reasons)


def _wanted(
    snapshot: Snapshot, state: DatasetState, clip: str, following: list[PlannedStage]
) -> list[tuple[str, str, list[str]]]:
    """Scope, title and words of each command that has something to do."""
    found = []
    of_tube = [state.plans[stage.name] for stage in CLIP_STAGES if stage.name in state.plans]
    if not state.records[clip].bad and any(clip in plan.reasons for plan in of_tube):
        found.append(("clip", "Make this clip's tube again", rerun(snapshot, state.name, clip).words()))
    if any(one["state"] != "hit" for one in following):
        found.append(("all", "Run everything that follows", rerun(snapshot, state.name, None).words()))
    return found


@dataclass(frozen=True)
class Rerun:
    """A run as the pages start it: by its command on this machine, or by its flow's parameters on a Prefect server."""

    config: PipelineConfig
    dataset: str
    workspace: Path
    selection: Selection
    options: RunOptions

    def words(self) -> list[str]:
        """The words of the command."""
        clip = self.options.clips[0] if self.options.clips else None
        until = self.selection.until or IN_ORDER[-1]
        return run_words(
            self.config, self.dataset, self.workspace, clip=clip, where=self.options.where, until=until
        )

    def parameters(self) -> dict[str, object]:
        """The parameters of the flow `pipeline`, as JSON has them."""
        return {
            "dataset": self.dataset,
            "config": self.config.model_dump(mode="json"),
            "overrides": [],
            "workspace": str(self.workspace),
            "options": self.options.model_dump(mode="json", exclude_defaults=True),
            "until": self.selection.until,
        }


def rerun(snapshot: Snapshot, dataset: str, clip: str | None) -> Rerun:
    """The run for one clip up to its tube, or for the whole dataset as it was run last.

    Raises:
        CatalogError: the dataset was never run, so nobody knows how.
        ConfigError: its last run ended with a stage that there isn't.
    """
    state = snapshot.dataset(dataset)
    if state.config is None:
        raise CatalogError(state.note or f"Dataset '{dataset}' was never run.")
    run = last_whole_run(snapshot.workspace, dataset)
    until = stage_name((run.last_stage if run else None) or IN_ORDER[-1])
    options = RunOptions(where=run.where if run else None)
    if clip is not None:
        until = IN_ORDER[min(IN_ORDER.index(until), len(CLIP_STAGES) - 1)]
        options = RunOptions(clips=(clip,))
    return Rerun(state.config, dataset, snapshot.workspace.root, Selection(until=until), options)

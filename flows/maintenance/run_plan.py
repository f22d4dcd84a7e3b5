"""What a run would do, as `tubeflow plan` and the Python API say it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from data_catalog.catalog import Workspace
from data_catalog.system import processors
from flows.config import PipelineConfig
from flows.datasets.clips import left_out, wanted_clips
from flows.maintenance.features_space import FeaturesSpace, features_space
from flows.runs.estimate import Estimate, estimate, workers_of
from flows.stages import Selection, check_kind, make_plan, stages_there
from tasks.engine import progress
from tasks.engine.plan import Planner, StagePlan


@dataclass(frozen=True)
class RunPlan:
    """The selected stages of a run as they are planned.

    Attributes:
        stages: by name, in order.
        space: what the features take on the disk; None where the config has none.
        left_out: one sentence where clips are marked bad.
        estimate: how long what is missing takes, and how large it is.
    """

    stages: dict[str, StagePlan]
    space: FeaturesSpace | None
    left_out: tuple[str, ...]
    estimate: Estimate

    def remarks(self) -> list[str]:
        """What is said below the table: time and size, the features' space, who is left out, and what is damaged."""
        time = [sentence] if (sentence := self.estimate.sentence()) else []
        space = [] if self.space is None else [self.space.sentence()]
        damaged = [str(problem) for plan in self.stages.values() for problem in plan.damaged]
        return [*time, *space, *self.left_out, *damaged]

    def as_json(self) -> dict[str, dict[str, object]]:
        """What `tubeflow plan --json` prints."""
        more = {} if self.space is None else {"features": self.space.as_json()}
        costs = {one.stage: {"estimate": {"seconds": one.seconds, "bytes": one.bytes}} for one in self.estimate.stages}
        return {
            name: plan.as_json() | more.get(name, {}) | costs.get(name, {}) for name, plan in self.stages.items()
        }


def plan_run(
    workspace: Workspace,
    dataset: str,
    config: PipelineConfig,
    selection: Selection,
    where: str | None = None,
    clips: Sequence[str] = (),
    verify: bool = False,
) -> RunPlan:
    """Plan a run and do nothing.

    Args:
        workspace: the workspace.
        dataset: name of the dataset.
        config: what the stages are configured with.
        selection: which stages.
        where: an SQL condition on the clip table; all clips where None.
        clips: the clips of these ids alone, where there are any.
        verify: read every artifact, even where its stat says that nothing changed.

    Raises:
        CatalogError, ConfigError: there is no such dataset, clip or stage, or they don't go together.
    """
    selected = stages_there(config, selection.stages())
    check_kind(workspace, dataset, config)
    with progress.uncounted("plan"):
        planner = Planner(workspace, dataset, wanted_clips(workspace, dataset, where, clips), verify=verify)
        planned = make_plan(planner, config, selected)
        if any(plan.damaged for plan in planned.values()):
            with contextlib.suppress(OSError):  # a workspace that may only be read
                workspace.index.save()  # so that nobody trusts the stat of what is damaged
        stages: dict[str, StagePlan] = {name: planned[name] for name in selected}
        workers = workers_of(config.engine, processors())
        cost = estimate(workspace.index.rows, planned, selected, workers)
    return RunPlan(stages, features_space(stages, workspace.weights), tuple(left_out(workspace, dataset)), cost)

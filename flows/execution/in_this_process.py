"""A run whose plan has only hits: nothing is computed, so nobody has to watch, and no server is started for it.

It is the same run (`execute`), recorded in the same way; only what hands shards to Prefect is another. What turns out
damaged while its results are read is made again here, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.datasets.clips import wanted_clips
from flows.execution.run_options import RunOptions
from flows.stages import StageName, make_plan, stages_there
from tasks.engine.job import Context, Job
from tasks.engine.plan import Planner, StagePlan
from tasks.engine.reports import ShardReport
from tasks.engine.run import run_jobs

IN_PROCESS = ("local", "processes")  # a cluster is asked for by those who want it to be looked at


def nothing_to_do(
    config: PipelineConfig, dataset: str, workspace: Workspace, selected: Sequence[StageName], options: RunOptions
) -> bool:
    """Whether every artifact that a run of these stages wants is there, or known to be out of reach (quarantined).

    Raises:
        CatalogError, ConfigError: the run can't be begun; the message is for the user.
    """
    if config.engine.runner not in IN_PROCESS or options.verify or options.retry_quarantined:
        return False
    if options.make_procedural is not None and dataset not in workspace.datasets.names():
        return False
    clips = wanted_clips(workspace, dataset, options.where, options.clips)
    plans = make_plan(Planner(workspace, dataset, clips), config, stages_there(config, selected))
    return all(plan.jobs and not plan.reasons and not plan.damaged for plan in plans.values())


@dataclass(frozen=True)
class Done:
    """What has become of a shard: its report, or what ended it, as Prefect's futures say it."""

    outcome: ShardReport | Exception

    def wait(self) -> None:
        """Nothing to wait for."""

    def result(self, raise_on_failure: bool) -> ShardReport | Exception:
        """The outcome; it is never raised, as nobody wants it to be."""
        return self.outcome

    def add_done_callback(self, function: Callable[[Done], None]) -> None:
        """Call it, as the shard is done."""
        function(self)


class InThisProcess:
    """Runs each shard when it is handed over; with no worker and no server."""

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def run(self, plan: StagePlan, jobs: Sequence[Job], context: Context) -> Done:
        """What `tasks.engine.task_run.run_shard` does, less Prefect's part in it."""
        try:
            return Done(run_jobs(plan.stage, jobs, plan.config, context))
        except Exception as exc:  # for `scheduler.collect`, which says what it means
            return Done(exc)

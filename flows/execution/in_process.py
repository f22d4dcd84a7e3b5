"""Shards run where they are handed over, without Prefect: of a run that has nothing to do, which needs neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.engine.job import Context, Job
from tasks.engine.plan import StagePlan
from tasks.engine.reports import ShardReport
from tasks.engine.run import run_jobs


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
    """Runs each shard when it is handed over, with no worker and no server: of a run whose plan has only hits.

    What turns out damaged while its results are read is made again here, one after the other.
    """

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

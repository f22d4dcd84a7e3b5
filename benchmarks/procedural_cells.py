"""Cells of a matrix side by side: each run in a process of its own with one thread, as many at once as there are cores.

On small networks two trainings of one thread each are done sooner than two of two threads one after the other.
"""

import flows.quiet  # noqa: F401  # isort: skip  # before anything that imports Prefect

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig
from flows.execution.execute import execute
from flows.execution.run_options import RunOptions
from flows.experiments.matrix import Cell, RunCell
from flows.runs.summary import RunSummary
from flows.stages import IN_ORDER
from tasks.engine.assignment import Assignment
from tasks.engine.run import run_jobs


class Done:
    """A shard's outcome, with what the scheduler asks of a future and of its state."""

    def __init__(self, given: Assignment) -> None:
        self.state = self
        self._outcome: Any
        try:
            self._outcome = run_jobs(given.stage, given.jobs, given.config, given.context, given.so_far)
        except Exception as exc:  # for the scheduler, which reports it as any runner's
            self._outcome = exc

    def wait(self) -> None:
        """Nothing to wait for."""

    def result(self, raise_on_failure: bool) -> Any:
        """The report, or the error."""
        return self._outcome

    def add_done_callback(self, function: Callable[[Any], None]) -> None:
        """Called at once."""
        function(self)


class InPlace:
    """Runs shards where they are handed over, without a Prefect server, which takes longer than a small training."""

    def __enter__(self) -> "InPlace":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, task: Any, parameters: Mapping[str, Any]) -> Done:
        """Run a shard."""
        return Done(parameters["assignment"])


def run_cell(config: PipelineConfig, dataset: str, root: Path) -> RunSummary:
    """One run of all stages in this process, without its report."""
    torch.set_num_threads(1)
    runner: Any = InPlace()
    return execute(config, dataset, Workspace.open(root), IN_ORDER, RunOptions(report=False), runner)


@contextmanager
def side_by_side(cells: Sequence[Cell], dataset: str, root: Path, processes: int) -> Iterator[RunCell]:
    """What `run_matrix` runs those cells with, one after the other as it asks: all of them are on their way at once."""
    # A fork of a process that has started threads can hang; a fresh process cannot.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=fresh, initializer=_alone) as pool:
        started: list[Future[RunSummary]] = [pool.submit(run_cell, cell.config, dataset, root) for cell in cells]
        waiting = iter(started)
        try:
            yield lambda config: next(waiting).result()
        finally:
            for future in started:
                future.cancel()


def _alone() -> None:
    """Libraries of this process take one thread each."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"

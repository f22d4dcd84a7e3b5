"""A real workspace that is cheap: a few procedural clips, a config with every stage, and the engine on threads.

`run` is the true engine (planner, store, index, quarantine, scheduler, every stage) without a Prefect server, which
takes seconds to start; the server has tests of its own in `tests/e2e`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from data_catalog.catalog import Workspace
from data_catalog.store import content_digest
from data_catalog.synthetic.sport import make_dataset
from flows.config import PipelineConfig, load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.ingest import ingest
from flows.execution.execute import RunOptions, execute
from flows.runs.summary import RunSummary
from flows.stages import IN_ORDER, make_plan
from tasks.engine.plan import Planner, StagePlan
from tasks.engine.run import run_jobs

DATASET = "tiny"
SETTINGS = (
    "normalize.length=24",
    "normalize.width=228",
    "normalize.height=128",
    "detect.detector=annotation",  # the demo's own detector takes seconds to import
    "detect.select=score",
    "detect.min_score=0.25",
    "track.tracker=mil",  # needs no network
    "track.weights=null",
    "masks.crop=112",
    "masks.starts=[0, 8]",
    "train.epochs=2",
    "train.batch=1",
    "train.checkpoint_steps=1",
    "train.loggers=[csv]",
    "train.difficulty=true",  # the network judges the execution, the dive's difficulty is multiplied in
    "engine.shard_clips=1",
    "engine.workers=2",
    "engine.device=cpu",
)


def tiny_config(*overrides: str) -> PipelineConfig:
    """The demo preset, made small."""
    return load_config("demo", [*SETTINGS, *overrides])


def draw_clips(folder: Path, clips: int = 4) -> Path:
    """A procedural dataset of 320x240 clips, the fourth held out."""
    make_dataset(folder, kind="diving", clips=clips, seed=3, size="320x240", workers=1)
    return folder


def new_workspace(root: Path, videos: Path, dataset: str = DATASET) -> Workspace:
    """A workspace that knows the clips of `videos` and has computed nothing."""
    workspace = Workspace.open(root)
    ingest(workspace, dataset, "procedural", videos)
    return workspace


def copy_workspace(finished: Path, root: Path) -> Path:
    """A copy with links resolved and times kept; the index notices that inodes differ and verifies."""
    return Path(shutil.copytree(finished, root))


class ThreadRunner:
    """Runs shards on threads of this process, with the interface of Prefect's task runners that the engine uses."""

    def __init__(self, workers: int = 2) -> None:
        self._pool = ThreadPoolExecutor(workers)

    def __enter__(self) -> ThreadRunner:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def submit(self, task: Any, parameters: Mapping[str, Any]) -> ShardFuture:
        given = parameters["assignment"]
        values = given.stage, given.jobs, given.config, given.context, given.so_far
        return ShardFuture(self._pool.submit(run_jobs, *values))


class ShardFuture:
    """What the scheduler needs of a future, and of its state."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future
        self.state = self

    def wait(self) -> None:
        self._future.exception()

    def result(self, raise_on_failure: bool) -> Any:
        return self._future.exception() or self._future.result()

    def add_done_callback(self, function: Callable[[Any], None]) -> None:
        self._future.add_done_callback(lambda _: function(self))


def run(
    root: Path,
    *overrides: str,
    dataset: str = DATASET,
    selected: Sequence[str] = IN_ORDER,
    **options: Any,
) -> RunSummary:
    """Run the pipeline as a fresh process would: nothing is remembered but what is on the disk."""
    config, threads = tiny_config(*overrides), torch.get_num_threads()
    torch.set_num_threads(1)  # training is the same to the bit for one number of threads only
    try:
        return execute(config, dataset, Workspace.open(root), selected, RunOptions(**options), ThreadRunner())  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)


def plan(root: Path, *overrides: str, dataset: str = DATASET, verify: bool = False) -> dict[str, StagePlan]:
    """What `tubeflow plan` computes."""
    workspace = Workspace(root)
    planner = Planner(workspace, dataset, dataset_clips(workspace, dataset), verify=verify)
    return make_plan(planner, tiny_config(*overrides))


def forget_reports(root: Path) -> None:
    """Delete every run's report, so that the next run takes none over and draws its own."""
    for report in root.glob("runs/*/report.html"):
        report.unlink()


def digests(root: Path) -> dict[str, str]:
    """Content digest of every artifact, by its path below `artifacts/`."""
    return {str(path.relative_to(root)): content_digest(path) for path in sorted(root.glob("artifacts/*/??/*.h5"))}


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of every artifact: another value means that it was made again."""
    stats = {path: path.stat() for path in sorted(root.glob("artifacts/*/??/*.h5"))}
    return {str(path.relative_to(root)): (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def leftovers(root: Path) -> list[str]:
    """Temporary files and folders anywhere in a workspace."""
    found = [path for path in root.rglob("*") if path.name.endswith((".tmp", ".part")) or path.parent.name == "tmp"]
    return [str(path.relative_to(root)) for path in found]

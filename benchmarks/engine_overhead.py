"""What the engine costs beside decoding, tracking and computing: 1,000 clips whose stages do next to nothing.

Each clip is a small file of its own, each of the four clip stages writes an artifact of a few kilobytes; so nearly
all that is measured is keys, store, index, Prefect's task runs and its temporary server's work. The start of that
server is measured apart: it is paid once a command, whatever the number of clips.

    python -m benchmarks.engine_overhead [--clips 1000] [--plan-clips 10000]

Baseline, measured in the same run: the same artifacts written by a plain loop with h5py, without keys, checksums,
lineage, index or Prefect.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")

import h5py
import numpy as np

from flows import quiet  # isort: skip
from data_catalog.catalog import DatasetInfo, Workspace
from data_catalog.datasets.records import ClipRecord, Listing
from flows import pipeline, stages
from flows.config import PipelineConfig
from flows.datasets.clips import dataset_clips
from flows.runs.summary import RunSummary
from tasks.engine.job import Context, Job, Outcome, Product
from tasks.engine.plan import Planner, resolve_sources
from tasks.engine.run import run_jobs

QUADS = np.zeros((1, 103, 4, 2), np.float32)


def print_line(text: str, *values: Any) -> None:
    sys.stdout.write(text % values + "\n")
    sys.stdout.flush()


def do_nothing(jobs: Sequence[Job], config: Any, context: Context) -> Iterator[Outcome]:
    """A stage that costs nothing but the writing of its artifact."""
    for job in jobs:
        yield job, Product({"quads": QUADS}, {"width": 455, "height": 256})


def make_dataset(workspace: Workspace, count: int) -> None:
    """`count` source files of 1 KB, each different."""
    folder = workspace.root / "sources"
    folder.mkdir(parents=True)
    records = []
    for number in range(count):
        (folder / f"{number:06d}.bin").write_bytes(number.to_bytes(8, "little") * 128)
        records.append(ClipRecord(f"{number:06d}", f"{number:06d}.bin", "train", score=float(number)))
    workspace.datasets.add(DatasetInfo("bench", "folder", str(folder)), Listing(tuple(records)))


def plain_loop(folder: Path, count: int) -> float:
    """Seconds a clip of writing the same arrays with nothing around."""
    folder.mkdir()
    started = time.perf_counter()
    for number in range(count):
        for stage in stages.CLIP_STAGES:
            with h5py.File(folder / f"{stage.name}-{number}.h5", "w") as file:
                file["quads"] = QUADS
    return (time.perf_counter() - started) / count


def run(workspace: Path) -> tuple[float, float, RunSummary]:
    """Wall seconds inside the flow run, processor seconds of this process and its children, and the summary."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    state = pipeline.pipeline(
        "bench", config=PipelineConfig(), workspace=workspace, until="masks", return_state=True
    )
    summary = state.result()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return summary.seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--plan-clips", type=int, default=10_000)
    arguments = parser.parse_args()
    stages.CLIP_STAGES = tuple(
        dataclasses.replace(stage, compute=do_nothing, inputs=lambda clip, config: {}) for stage in stages.CLIP_STAGES
    )
    with tempfile.TemporaryDirectory(prefix="engine-") as name:
        root = Path(name)
        started = time.perf_counter()
        pipeline.flow(lambda: None, name="empty")()
        print_line("start of Prefect's temporary server  %.1f s, once a command", time.perf_counter() - started)
        baseline = plain_loop(root / "plain", min(arguments.clips, 500))
        print_line("plain h5py loop (baseline)  %.2f ms a clip", 1e3 * baseline)
        workspace = Workspace.open(root / "workspace")
        make_dataset(workspace, arguments.clips)
        for label in ("first run", "all cached"):
            wall, cpu, summary = run(workspace.root)
            counts = [(count.computed, count.hits) for count in summary.stages.values()]
            print_line(
                "%-10s  %.2f ms a clip, %.1f × the baseline, %.2f s processor time; computed, cached: %s",
                label, 1e3 * wall / arguments.clips, wall / arguments.clips / baseline, cpu, counts,
            )  # fmt: skip
        plan_many(root / "many", arguments.plan_clips)


def plan_many(root: Path, count: int) -> None:
    """How long `tubeflow plan` takes to answer for a dataset of which everything is cached."""
    workspace = Workspace.open(root)
    make_dataset(workspace, count)
    planner = Planner(workspace, "bench", dataset_clips(workspace, "bench"))
    resolve_sources(planner)
    context = Context(workspace, "cpu")
    configured = [(stage, stages.section(stage, PipelineConfig())) for stage in stages.CLIP_STAGES]
    for stage, config in configured:
        plan = planner.plan(configured, [])[stage.name]
        report = run_jobs(stage, list(plan.jobs.values()), config, context)
        for record in report.made:
            workspace.index.add(record)
    workspace.index.save()
    started = time.perf_counter()
    fresh = Workspace(root)
    planner = Planner(fresh, "bench", dataset_clips(fresh, "bench"))
    plans = stages.make_plan(planner, PipelineConfig())
    seconds = time.perf_counter() - started
    hits = {name: len(plan.hits) for name, plan in plans.items()}
    print_line("plan of %d clips  %.2f s; hits %s", count, seconds, hits)


if __name__ == "__main__":
    main()

__all__ = ["quiet"]

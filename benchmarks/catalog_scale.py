"""A million clips in the catalog: how long ingest takes, and how soon the commands answer for 10,000 of them.

The label file has a row for each of 1,000,000 clips of 10,000 video files; the selection is the test split, every
hundredth clip, whose artifacts are all there (their stages wrote a few kilobytes each instead of computing). Then the
real commands run, each in a process of its own, from the shell's view.

    python -m benchmarks.catalog_scale [--rows 1000000] [--folder DIR to keep and use again]

Baselines, measured in the same run: reading the label file with Python's csv module, and a process that only imports
what the commands import.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_catalog.catalog import Workspace
from flows import stages
from flows.config import load_config
from flows.datasets.clips import dataset_clips
from flows.runs.record import new_run_id, write_record
from flows.runs.summary import RunSummary
from tasks.engine.job import Context, Job, Outcome, Product
from tasks.engine.plan import Planner, resolve_sources
from tasks.engine.run import run_jobs

DATASET, WHERE = "million", "split = 'test'"
FOLDERS, FILES = 50, 200
HEADER = "clip_id,video,split,score,difficulty,judge_1,judge_2,x,y,w,h,start_frame,end_frame"
QUADS = np.zeros((1, 103, 4, 2), np.float32)


def print_line(text: str, *values: Any) -> None:
    sys.stdout.write(text % values + "\n")
    sys.stdout.flush()


def make_folder(folder: Path, rows: int) -> None:
    """10,000 small files and the label file."""
    for number in range(FOLDERS * FILES):
        path = folder / f"v{number % FOLDERS}" / f"{number // FOLDERS}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "little"))
    with (folder / "labels.csv").open("w") as file:
        file.write(HEADER + "\n")
        for i in range(rows):
            video, split = f"v{i % FOLDERS}/{i // FOLDERS % FILES}.mp4", "test" if i % 100 == 7 else "train"
            file.write(f"c{i},{video},{split},{i % 1000 / 10},2.5,8,8.5,10,20,50,100,{i},{i + 103}\n")


def do_nothing(jobs: Sequence[Job], config: Any, context: Context) -> Iterator[Outcome]:
    """A stage that costs nothing but the writing of its artifact."""
    for job in jobs:
        yield job, Product({"quads": QUADS}, {"width": 455, "height": 256})


def fill(root: Path, where: str | None = WHERE) -> None:
    """Have every artifact of the selection up to masks, under the keys that the real stages give."""
    workspace, config = Workspace.open(root), load_config("demo")
    planner = Planner(workspace, DATASET, dataset_clips(workspace, DATASET, where))
    resolve_sources(planner)
    plans = {}
    for stage in stages.CLIP_STAGES:
        own = stages.section(stage, config)
        plans[stage.name] = plan = planner.clip_stage(stage, own, plans)
        report = run_jobs(
            dataclasses.replace(stage, compute=do_nothing), list(plan.jobs.values()), own, Context(workspace, "cpu")
        )
        for record in report.made:
            workspace.index.add(record)
    workspace.index.save()
    workspace.store.close()
    selected = tuple(plans)
    write_record(workspace, RunSummary(new_run_id(), DATASET, where=where), config, plans, selected)


def seconds_of(*command: str) -> tuple[float, str]:
    """Wall seconds of a process, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, done.stdout


def tubeflow(root: Path, *words: str) -> tuple[float, str]:
    program = [sys.executable, "-m", "flows.cli", *words, "--workspace", str(root)]
    return seconds_of(*program)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="catalog-") as name:
        measure(arguments.folder or Path(name), arguments.rows)


def measure(folder: Path, rows: int) -> None:
    root, videos = folder / "workspace", folder / "videos"
    if not (videos / "labels.csv").is_file():
        make_folder(videos, rows)
    started = time.perf_counter()
    with (videos / "labels.csv").open(newline="") as file:
        found = sum(1 for _ in csv.DictReader(file))
    reading = time.perf_counter() - started
    print_line("csv.DictReader (baseline)  %.1f s for %d rows", reading, found)
    ingest, _ = tubeflow(root, "ingest", "folder", "--name", DATASET, "--videos", str(videos))
    print_line("tubeflow ingest folder     %.1f s, %.1f × the baseline", ingest, ingest / reading)
    if not any(root.glob("runs/*/run.json")):
        fill(root)
    start, _ = seconds_of(sys.executable, "-c", "import flows.cli.main, flows.pipeline")
    print_line("import alone (baseline)    %.1f s", start)
    commands = {
        "catalog": ["catalog"],
        "status": ["status"],
        "plan": ["plan", "demo", "--dataset", DATASET, "--where", WHERE, "--until", "masks"],
        "catalog query": ["catalog", "query", "select split, avg(score) from clips group by split"],
    }
    for label, words in commands.items():
        seconds, text = tubeflow(root, *words)
        print_line("tubeflow %-16s  %.1f s, %.1f × the baseline\n%s", label, seconds, seconds / start, text)


if __name__ == "__main__":
    main()

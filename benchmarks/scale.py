"""Many clips: what one more costs, and how soon plan and status answer for 100,000 of them.

Each run of a size is a command of its own, whose four clip stages write an artifact of a few kilobytes and compute
nothing; what a command with ten clips costs is subtracted. Seconds are of the processor, of the command and of all
that it started (workers, Prefect's server), so that a busy machine doesn't count.

    python -m benchmarks.scale                       # 500 to 10,000 clips on local and on 4 Dask workers; plan, status
    python -m benchmarks.scale --sizes 500 2000 --runners local --plans
    python -m benchmarks.scale --sizes --plans 100000 1000000

The artifacts that plan and status look at are links to one file for each 50,000, with rows of the index: neither
command opens them. Baselines, measured in the same run: the cost of a clip among 500; a listing of the same folders.

Limits: a clip among 10,000 costs at most 1.2 times what one among 500 does; the command's memory grows by at most 2 kB
a clip; plan and status of 100,000 clips answer within 3 s, of 1,000,000 within 20 s and 4 GB.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.engine_overhead import do_nothing, make_dataset, print_line
from data_catalog.catalog import DatasetInfo, Workspace
from data_catalog.datasets.records import ClipRecord, Listing
from data_catalog.tables.index import Record
from flows import stages
from flows.config import load_config
from flows.datasets.clips import dataset_clips
from flows.runs.record import new_run_id, write_record
from flows.runs.summary import RunSummary
from tasks.engine.job import Context, Job
from tasks.engine.plan import Planner, StagePlan, resolve_sources
from tasks.engine.run import run_jobs

START_CLIPS, DATASET = 10, "bench"
LINKS = 50_000  # of one file, of which some file systems allow no more than 65,000
GROWTH, CLIP_BYTES = 1.2, 2048
LIMITS = {100_000: (3.0, 4.0), 1_000_000: (20.0, 4.0)}  # clips: seconds, GB


def no_inputs(clip: ClipRecord, config: Any) -> dict[str, Any]:
    """What of a clip enters a key: nothing but its source."""
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[500, 2000, 10_000])
    parser.add_argument("--runners", nargs="*", default=["local", "dask"])
    parser.add_argument("--plans", type=int, nargs="*", default=[100_000])
    parser.add_argument("--folder", type=Path, help="an empty folder for the workspaces, else a temporary one")
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=2, metavar=("RUNNER", "CLIPS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_run(arguments.folder, arguments.one[0])
        return
    if arguments.fill:
        fill(arguments.folder, arguments.fill)
        return
    fine = True
    with tempfile.TemporaryDirectory(prefix="scale-", dir=arguments.folder) as name:
        for runner in arguments.runners if arguments.sizes else ():
            fine &= measure_runs(Path(name), runner, arguments.sizes)
        for count in arguments.plans:
            fine &= measure_plans(Path(name) / str(count), count)
    sys.exit(not fine)


def measure_runs(folder: Path, runner: str, sizes: Sequence[int]) -> bool:
    """A line for each size; whether the last one is within the limits."""
    results = {count: measured_run(folder / f"{runner}-{count}", runner, count) for count in (START_CLIPS, *sizes)}
    start = results.pop(START_CLIPS)
    costs = {count: (one["seconds"] - start["seconds"]) / (count - START_CLIPS) for count, one in results.items()}
    first, last = costs[sizes[0]], sizes[-1]
    for count, cost in costs.items():
        memory = (results[count]["bytes"] - results[sizes[0]]["bytes"]) / max(count - sizes[0], 1)
        print_line(
            "%-5s  %6d clips  %.1f ms CPU a clip, %.2f × the first size; start %.1f s; %.0f bytes more memory a clip",
            runner, count, 1e3 * cost, cost / first, start["seconds"], memory,
        )  # fmt: skip
    grown = (results[last]["bytes"] - results[sizes[0]]["bytes"]) / max(last - sizes[0], 1)
    return costs[last] <= GROWTH * first and grown <= CLIP_BYTES


def measured_run(root: Path, runner: str, count: int) -> dict[str, float]:
    """A run in a process of its own: processor seconds of it and of all that it started, its largest memory."""
    make_dataset(Workspace.open(root), count)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "benchmarks.scale", "--one", runner, str(count), "--folder", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert found["computed"] == 4 * count, found
    return found | {"seconds": used}


def one_run(root: Path, runner: str) -> None:
    """The run itself; the last line says what it made and how much memory this process took."""
    from flows import pipeline

    stages.CLIP_STAGES = tuple(
        dataclasses.replace(stage, compute=do_nothing, inputs=no_inputs) for stage in stages.CLIP_STAGES
    )
    config = load_config("demo", [f"engine.runner={runner}", "engine.workers=4"])
    summary = pipeline.pipeline(DATASET, config=config, workspace=root, until="masks")
    computed = sum(count.computed for count in summary.stages.values())
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print_line("%s", json.dumps({"computed": computed, "bytes": memory}))


def measure_plans(root: Path, count: int) -> bool:
    """Plan and status of a workspace in which everything is there; whether both are within the limits."""
    # In a process of its own, since a process that is started has at least the memory of the one that starts it.
    subprocess.run([sys.executable, "-m", "benchmarks.scale", "--fill", str(count), "--folder", str(root)], check=True)
    started = time.process_time()
    listed = sum(len(names) for stage in stages.CLIP_STAGES for _, _, names in os.walk(root / "artifacts" / stage.name))
    print_line("listing of %d artifacts (baseline)  %.1f s", listed, time.process_time() - started)
    seconds, gigabytes = LIMITS.get(count, (float("inf"), float("inf")))
    fine = True
    for name, words in {
        "import alone": ["--help"], "plan": ["plan", "demo", "-d", DATASET, "--until", "masks"], "status": ["status"]
    }.items():  # fmt: skip
        used, clock, memory = command_of(root, *words)
        print_line("%-12s of %d clips  %.1f s CPU, %.1f s by the clock, %.2f GB", name, count, used, clock, memory)
        fine &= used <= seconds and memory <= gigabytes
    return fine


def command_of(root: Path, *words: str) -> tuple[float, float, float]:
    """Processor seconds, seconds by the clock, and the largest memory in GB of a command."""
    place = [] if "--help" in words else ["-w", str(root)]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "flows.cli", *words, *place], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, words
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started, 1024 * usage.ru_maxrss / 1e9


def fill(root: Path, count: int) -> None:
    """Have every artifact of `count` clips up to masks, under the keys that the real stages give."""
    workspace, config = Workspace.open(root), load_config("demo")
    link_sources(workspace, count)
    planner = Planner(workspace, DATASET, dataset_clips(workspace, DATASET))
    resolve_sources(planner)
    plans: dict[str, StagePlan] = {}
    for stage in stages.CLIP_STAGES:
        plans[stage.name] = plan = planner.clip_stage(stage, stages.section(stage, config), plans)
        jobs = list(plan.jobs.values())
        for first in range(0, count, LINKS):
            link_artifacts(workspace, plan, jobs[first : first + LINKS])
    workspace.index.save()
    workspace.store.close()
    write_record(workspace, RunSummary(new_run_id(), DATASET), config, plans, tuple(plans))


def link_sources(workspace: Workspace, count: int) -> None:
    """A dataset of `count` clips, each with a file, and each beginning elsewhere in it."""
    folder, records = workspace.root / "sources", []
    folder.mkdir()
    for number in range(count):
        name = f"{number:07d}.bin"
        if number % LINKS == 0:
            (folder / name).write_bytes(b"source")
        else:
            os.link(folder / f"{number - number % LINKS:07d}.bin", folder / name)
        records.append(ClipRecord(f"c{number}", name, "train", score=number / 7, start_frame=number))
    workspace.datasets.add(DatasetInfo(DATASET, "folder", str(folder)), Listing(tuple(records)))


def link_artifacts(workspace: Workspace, plan: StagePlan, jobs: Sequence[Job]) -> None:
    """One artifact, and a link to it under each job's key."""
    stage = dataclasses.replace(plan.stage, compute=do_nothing)
    (record,) = run_jobs(stage, jobs[:1], plan.config, Context(workspace, "cpu")).made
    made = workspace.store.path(stage.name, record.key)
    for job in jobs[1:]:
        path = workspace.store.path(stage.name, job.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(made, path)
    stat = made.stat()
    for job in jobs:
        workspace.index.add(row(record, job, stat))


def row(record: Record, job: Job, stat: os.stat_result) -> Record:
    inputs, parents = json.dumps(job.inputs, sort_keys=True), json.dumps(job.parents, sort_keys=True)
    return record._replace(
        key=job.key, clip_id=job.clip_id, inputs=inputs, parents=parents, ctime_ns=stat.st_ctime_ns
    )  # fmt: skip


if __name__ == "__main__":
    main()

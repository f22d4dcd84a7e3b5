"""Tracking by 1, 2 and 4 workers: each with its share of the processors, against one worker that has all of them.

    python -m benchmarks.worker_threads --into docs/speed.md

The baseline beside it is what the libraries do by themselves: every worker on all processors, OpenMP's threads spinning
while they wait. Each row is a process of its own, as that is decided when the library is loaded; the rows take turns
`--repeats` times, and the middle run of each counts. siammask-s follows a box through clips of noise in motion.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data_catalog.threads import ASLEEP

FRAMES = 17
WARM_UP = 3
WORKERS = (1, 2, 4)
BASELINE = "the libraries' own"


class Row(NamedTuple):
    """How the workers run: `share` of the processors each, or all of them for each."""

    workers: int
    form: str
    share: bool

    @property
    def says(self) -> str:
        """How it stands in the table."""
        return f"{self.workers} {self.form}" + ("" if self.share else f", {BASELINE}")


class Measured(NamedTuple):
    """Frames a second by the clock, and the processor's seconds for a thousand frames."""

    rate: float
    processor: float


ROWS = [
    *(Row(workers, form, True) for form in ("threads", "processes") for workers in WORKERS),
    *(Row(workers, "threads", False) for workers in WORKERS),
]


def track(threads: int | None, spread: Callable[[int], None], length: int) -> tuple[float, int]:
    """Track one clip in this worker, told as a run tells its workers; returns the processor's seconds and frames."""
    import cv2
    import numpy as np

    from data_catalog.weights.resolve import resolve_weights
    from models.trackers import build_tracker

    tracker = build_tracker("siammask", weights=resolve_weights("siammask-s", Path("weights")), device="cpu")
    if threads is not None:
        spread(threads)
    coarse = np.random.default_rng(0).integers(0, 256, (16, 28, 3), np.uint8)
    scene = cv2.resize(coarse, (520, 300), interpolation=cv2.INTER_CUBIC)
    frames = np.stack([scene[k : k + 256, 2 * k : 2 * k + 455] for k in range(length)]).astype(np.uint8)
    start = time.process_time()
    tracker.track(frames, np.array([[180, 80, 240, 200]], np.float32))
    return time.process_time() - start, length - 1


def measure(row: Row, clips: int) -> Measured:
    """Clips through the workers of one row, in this process or in those that it starts."""
    if row.form == "threads":
        import torch  # noqa: F401  # before its threads are shared, as in a run, and before `flows` says how they wait

    from data_catalog.threads import pin_threads, share_threads
    from flows.config import EngineConfig
    from flows.execution.task_runners import threads_a_worker

    if row.form == "threads":
        pool: Executor = ThreadPoolExecutor(row.workers)
        spread = share_threads
    else:
        pool = ProcessPoolExecutor(row.workers, mp_context=multiprocessing.get_context("spawn"))
        spread = pin_threads
    runner = "local" if row.form == "threads" else "processes"
    threads = threads_a_worker(EngineConfig(runner=runner, workers=row.workers)) if row.share else None
    work = partial(track, threads, spread)
    with pool:
        list(pool.map(work, [WARM_UP] * row.workers))   # libraries and weights are loaded
        start, before = time.perf_counter(), time.process_time()
        done = list(pool.map(work, [FRAMES] * clips))
        seconds, own = time.perf_counter() - start, time.process_time() - before
    frames = sum(count for _, count in done)
    used = own if row.form == "threads" else sum(spent for spent, _ in done)
    return Measured(frames / seconds, 1000 * used / frames)


def in_own_process(row: Row, clips: int) -> Measured:
    """`measure`, where OpenMP's threads wait as `row` says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    if row.share:
        environment |= ASLEEP
    command = [sys.executable, "-m", "benchmarks.worker_threads", "--clips", str(clips), "--row", json.dumps(row)]
    said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Measured(*json.loads(said.splitlines()[-1]))


def table(found: dict[Row, list[Measured]]) -> str:
    """Every row with its ratio to one worker that has all processors."""
    middle = {row: sorted(runs)[len(runs) // 2] for row, runs in found.items()}
    alone = middle[ROWS[0]].rate
    load = statistics.mean(os.getloadavg()[:2])
    lines = [
        f"{os.cpu_count()} processors, load {load:.1f} with what else ran there, "
        f"{len(found[ROWS[0]])} runs a row:",
        "",
        "| workers | frames/s | ratio | CPU s for 1,000 frames |",
        "|---|--:|--:|--:|",
    ]
    for row, (rate, processor) in middle.items():
        lines.append(f"| {row.says} | {rate:.1f} | {rate / alone:.2f} × | {processor:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--into", type=Path, help="a page with a place for the table, e.g. docs/speed.md")
    parser.add_argument("--row", help="measure this row alone, in this process")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(Row(*json.loads(options.row)), options.clips)))
        return
    found: dict[Row, list[Measured]] = {row: [] for row in ROWS}
    for turn in range(options.repeats):
        for row in ROWS:
            found[row].append(in_own_process(row, options.clips))
            print(f"{turn + 1}/{options.repeats} {row.says}: {found[row][-1].rate:.1f} frames/s", flush=True)
    print("\n" + table(found))
    if options.into:
        from benchmarks.procedural_tables import write_block  # loads Prefect

        write_block(options.into, "worker threads", table(found))


if __name__ == "__main__":
    main()

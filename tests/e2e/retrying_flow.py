"""One shard under a real Prefect server: a bad clip, a clip with I/O trouble once, a good one. Prints JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import flows.quiet  # noqa: F401  # isort: skip

import numpy as np
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from flows.execution.scheduler import collect, submit_shard
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import Context, Job, Product
from tasks.engine.plan import StagePlan
from tasks.engine.run import ShardReport
from tasks.engine.stage import Stage, each

tried: list[str] = []


def compute(job: Job, config: StageConfig, context: Context) -> Product:
    tried.append(job.clip_id)
    if job.clip_id == "bad":
        raise BadClip("Nobody is in it.", "Give a box.")
    if job.clip_id == "trouble" and tried.count("trouble") == 1:
        raise OSError(5, "Input/output error")
    return Product({"x": np.arange(2)})


STAGE = Stage("track", 1, (), each(compute))
JOBS = [
    Job("track", f"{number:02x}" * 20, "tiny", clip, {}, {}, {}, ClipRecord(clip, "v", "train"))
    for number, clip in enumerate(["good", "bad", "trouble"])
]


@flow
def shard(root: Path) -> list[str]:
    context, states = Context(Workspace.open(root), "cpu"), []
    with ThreadPoolTaskRunner(max_workers=1) as runner:
        for _ in range(2):
            jobs = [job for job in JOBS if job.clip_id != "bad" or not states]
            future = submit_shard(StagePlan(STAGE, StageConfig()), jobs, "shard 0", context, runner)
            report: ShardReport = collect("track", jobs, future)
            states.append(str(future.state.name))
            if len(states) == 1:
                first = report
    made, quarantined = [row.clip_id for row in first.made], [row.clip_id for row in first.quarantined]
    print(json.dumps({"tried": tried, "states": states, "made": made, "quarantined": quarantined}))  # noqa: T201
    return states


if __name__ == "__main__":
    shard(Path(sys.argv[1]))

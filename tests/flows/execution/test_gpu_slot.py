"""A stage that computes on a GPU holds a slot of a limit that exists. No GPU is needed: the engine looks at a name."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner

from data_catalog.catalog import CatalogError, Workspace
from flows.execution import prefect_setup as setup
from flows.execution.scheduler import collect, submit_shard
from tasks.engine.config import StageConfig
from tasks.engine.errors import EngineError
from tasks.engine.job import Context, Job, Product
from tasks.engine.plan import StagePlan
from tasks.engine.run import ShardReport
from tasks.engine.stage import Stage, each
from tasks.engine.task_run import GPU_LIMIT
from tests.support.prefect_home import prefect_home
from tests.support.prefect_server import REPO, PrefectServer


@pytest.fixture
def server(prefect_server: PrefectServer) -> Iterator[PrefectServer]:
    """The server, known to this process, without the limit."""
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        with get_client(sync_client=True) as client:
            if any(limit.name == GPU_LIMIT for limit in client.read_global_concurrency_limits(10, 0)):
                client.delete_global_concurrency_limit_by_name(GPU_LIMIT)
        yield prefect_server


class Gauge:
    """A stage's function that looks, while it computes, how many compute with it and how many slots are taken."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.slots: list[int] = []

    def __call__(self, job: Job, config: Any, context: Context) -> Product:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.slots.append(slots_taken())
        time.sleep(0.2)
        with self.lock:
            self.now -= 1
        return Product({"number": np.arange(3)})


def slots_taken() -> int:
    """How many slots of the limit are taken; 0 without a limit."""
    with get_client(sync_client=True) as client:
        try:
            return int(client.read_global_concurrency_limit_by_name(GPU_LIMIT).active_slots)
        except ObjectNotFound:
            return 0


def run_shards(
    workspace: Path, gauge: Gauge, shards: int, device: str = "cuda", uses_device: bool = True
) -> tuple[list[ShardReport], list[str]]:
    """Run shards of one clip each on three threads inside a flow: their reports and the names of their states."""
    stage = Stage("track", 1, (), each(gauge), uses_device=uses_device)
    context = Context(Workspace.open(workspace), device)
    plan = StagePlan(stage, StageConfig())
    jobs = [Job("track", f"{number:040x}", "some", f"clip{number}", {}, {}, {}) for number in range(shards)]

    @flow(persist_result=False)
    def run() -> tuple[list[ShardReport], list[str]]:
        with ThreadPoolTaskRunner(max_workers=3) as runner:
            futures = [submit_shard(plan, [job], job.clip_id, context, runner) for job in jobs]
            reports = [collect("track", [job], future) for job, future in zip(jobs, futures, strict=True)]
        return reports, [future.state.name for future in futures]

    return run()


def test_without_the_limit_the_remedy_is_named_and_nothing_computed(server: PrefectServer, tmp_path: Path) -> None:
    gauge = Gauge()
    with pytest.raises(EngineError, match=r"no concurrency limit 'gpu'.*tubeflow setup"):
        run_shards(tmp_path, gauge, 1)
    assert gauge.slots == []


@pytest.mark.parametrize("slots", [1, 2])
def test_no_more_shards_compute_than_there_are_slots(server: PrefectServer, tmp_path: Path, slots: int) -> None:
    setup.set_up(gpu_slots=slots)
    gauge = Gauge()
    reports, states = run_shards(tmp_path, gauge, 3)
    assert states == ["Completed"] * 3
    assert [len(report.made) for report in reports] == [1, 1, 1]
    assert gauge.most <= slots
    assert all(1 <= taken <= slots for taken in gauge.slots)
    assert slots_taken() == 0


def test_what_is_done_or_on_a_processor_needs_no_slot(server: PrefectServer, tmp_path: Path) -> None:
    assert run_shards(tmp_path, Gauge(), 2, device="cpu")[1] == ["Completed"] * 2
    assert run_shards(tmp_path, Gauge(), 2, device="cuda")[1] == ["Cached"] * 2
    assert run_shards(tmp_path / "other", Gauge(), 1, device="cuda", uses_device=False)[1] == ["Completed"]


def test_setting_up_again_changes_only_what_was_asked(server: PrefectServer) -> None:
    setup.set_up()
    done = setup.set_up(gpu_slots=3)
    assert done.server == server.url
    limits = server.post("/v2/concurrency_limits/filter")
    assert [(limit["name"], limit["limit"]) for limit in limits] == [(GPU_LIMIT, 3)]
    assert [pool["name"] for pool in server.post("/work_pools/filter")] == [setup.WORK_POOL]
    assert [found["name"] for found in server.post("/automations/filter")] == [setup.SILENT_RUNS]


def test_setup_needs_a_server_that_answers() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}), pytest.raises(CatalogError, match="No Prefect server"):
        setup.set_up()
    dead = {PREFECT_API_URL: "http://127.0.0.1:9/api"}
    with temporary_settings(dead), pytest.raises(CatalogError, match="doesn't answer"):
        setup.set_up()


@pytest.mark.slow
def test_a_run_without_a_server_makes_its_own_slot(tmp_path: Path, prefect_server: PrefectServer) -> None:
    source = (
        "from flows.execution.prefect_setup import make_own_gpu_slot, own_server\n"
        "from prefect.concurrency.sync import concurrency\n"
        "assert own_server()\n"
        "make_own_gpu_slot()\n"
        "with concurrency('gpu', strict=True): pass\n"
    )
    environment = prefect_server.environment | {"PREFECT_HOME": str(prefect_home(tmp_path))}
    del environment["PREFECT_API_URL"]
    subprocess.run([sys.executable, "-c", source], cwd=REPO, env=environment, check=True, timeout=280)

"""Workers compute on their share of the processors; afterwards the libraries have all of them again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data_catalog.catalog import Workspace
from data_catalog.system import processors
from data_catalog.threads import ASLEEP, own_threads, torch_threads, wait_asleep
from flows.config import EngineConfig
from flows.execution.task_runners import threads_a_worker
from tasks.engine.assignment import Assignment
from tasks.engine.config import StageConfig
from tasks.engine.job import Context, Job, Product
from tasks.engine.stage import Stage, each
from tasks.engine.task_run import run_shard
from tests.support import REPO

OWN = 2   # threads that torch and BLAS have in the process that is looked at


def test_the_processors_are_shared_by_threads_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for runner in ("local", "processes"):
        one, two = (EngineConfig.model_validate({"runner": runner, "workers": workers}) for workers in (1, 2))
        assert threads_a_worker(one) == processors()
        assert threads_a_worker(two) == max(1, processors() // 2)
        assert threads_a_worker(two, shards=1) == processors()
        assert threads_a_worker(EngineConfig.model_validate({"runner": runner})) == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert threads_a_worker(one) == 1
        monkeypatch.delenv("OMP_NUM_THREADS")


def look() -> dict[str, int]:
    """On how many threads each library would compute in the calling thread."""
    import torch
    from threadpoolctl import threadpool_info

    blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    return {"torch": torch.get_num_threads(), "cv2": cv2.getNumThreads(), "blas": max(blas)}


def shards(root: Path) -> dict[str, Any]:
    """What a stage sees in two worker threads of one thread each, then in one that has all, and what is left behind."""
    seen: list[dict[str, int]] = []

    def compute(job: Job, config: Any, context: Context) -> Product:
        seen.append(look())
        return Product({"number": np.arange(3)})

    workspace = Workspace.open(root)
    stage = Stage("track", 1, (), each(compute), uses_device=True)

    def shard(number: int, threads: int) -> None:
        jobs = [Job("track", f"{number:040x}", "some", f"clip{number}", {}, {}, {})]
        run_shard.fn("shard", Assignment(stage, jobs, StageConfig(), Context(workspace, "cpu"), threads))

    assert "torch" not in sys.modules
    with own_threads(), ThreadPoolExecutor(2) as pool:
        list(pool.map(shard, range(6), [1] * 6))
        whole = torch_threads()
        list(pool.map(shard, range(6, 8), [whole] * 2))
    return {"clips": seen[:6], "dataset": seen[6:], "whole": whole, "after": look()}


def test_a_run_shares_and_gives_back(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.flows.execution.test_worker_threads", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": str(OWN), "OPENBLAS_NUM_THREADS": str(OWN)}
    environment = {name: value for name, value in environment.items() if name not in ASLEEP}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect")}
    said = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout.splitlines()[-1])
    assert found["clips"] == [{"torch": 1, "cv2": 1, "blas": 1}] * 6
    assert found["dataset"] == [{"torch": OWN, "cv2": OWN, "blas": OWN}] * 2
    assert found["whole"] == OWN
    assert found["after"] == {"torch": OWN, "cv2": cv2.getNumberOfCPUs(), "blas": OWN}
    assert found["waits"] == ASLEEP


def waits() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ASLEEP}


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "10000"}])
def test_how_threads_wait_is_the_users_to_say(own: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ASLEEP:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    wait_asleep()
    assert waits() == dict.fromkeys(ASLEEP) | own


if __name__ == "__main__":
    sys.stdout.write(json.dumps({**shards(Path(sys.argv[1])), "waits": waits()}) + "\n")


def test_a_share_waits_for_who_is_loading_torch() -> None:
    """Whole, torch has its share; while another thread loads it, it has nothing that could be set yet."""
    program = """
import sys, threading
import cv2, threadpoolctl
from data_catalog.threads import share_threads
loading = threading.Thread(target=__import__, args=("torch",))
loading.start()
while "torch" not in sys.modules:
    pass
share_threads(1)
print(sys.modules["torch"].get_num_threads())
"""
    told = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("1\n", "")

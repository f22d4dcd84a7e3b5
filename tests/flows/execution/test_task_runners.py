"""A runner that can't be had is refused in one sentence, before anything runs."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import pytest

from flows.config import ConfigError, EngineConfig, load_config
from flows.execution.dask_runner import dask_runner
from flows.execution.ray_runner import ray_runner
from flows.execution.task_runners import task_runner, threads_a_worker
from tasks.engine.errors import EngineError
from tests.support.prefect_server import free_port


@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, runner: str) -> None:
    monkeypatch.setitem(sys.modules, f"prefect_{runner}", None)  # as where it isn't installed
    with pytest.raises(ConfigError) as refused:
        task_runner(EngineConfig.model_validate({"runner": runner}))
    assert str(refused.value) == (
        f"engine.runner is {runner}, which isn't installed; install it with: pip install 'tubeflow[{runner}]'"
    )


@pytest.mark.parametrize("setting", ["engine.address=tcp://scheduler:8786", "engine.resources={GPU: 1}"])
def test_a_cluster_needs_a_runner_that_has_one(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"goes with engine.runner dask or ray, and it is processes"):
        load_config("demo", ["engine.runner=processes", setting])


def test_an_address_or_a_scheduler_file_names_the_scheduler(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "address": "tcp://10.0.0.1:8786"}))
    for address in ("tcp://10.0.0.1:8786", str(file)):
        assert dask_runner(EngineConfig(runner="dask", address=address), 1).address == "tcp://10.0.0.1:8786"
    for content in ("", "[]", "{}"):
        file.write_text(content)
        with pytest.raises(ConfigError, match="is neither an address such as tcp://scheduler:8786 nor a file"):
            dask_runner(EngineConfig(runner="dask", address=str(file)), 1)


def test_a_scheduler_that_is_not_there_is_a_sentence() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    runner = dask_runner(EngineConfig(runner="dask", address=address), 1)
    runner.client_kwargs["timeout"] = 1
    with pytest.raises(EngineError, match=f"^No Dask scheduler answers at {address} .* one with: dask scheduler$"):
        runner.__enter__()


def test_a_ray_head_that_is_not_there_is_a_sentence_within_seconds() -> None:
    port, started = free_port(), time.monotonic()
    for address in (f"ray://127.0.0.1:{port}", f"127.0.0.1:{port}"):
        with pytest.raises(EngineError, match=f"^No Ray cluster answers at {address} .* one with: ray start --head$"):
            ray_runner(EngineConfig(runner="ray", address=address), 1).__enter__()
    assert time.monotonic() - started < 20  # Ray itself looks for half a minute, and for three


@pytest.mark.parametrize("address", ["head", "ray://head", "http://head:8265", ":6379", "head:port"])
def test_what_is_no_address_of_a_ray_head_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=f"engine.address {address} is no address of a Ray head, such as ray://head"):
        ray_runner(EngineConfig(runner="ray", address=address), 1).__enter__()


@pytest.mark.slow
def test_what_listens_and_is_no_ray_head_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"ray://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"^What answers at {address} doesn't let this run in .*; it has to be"):
            ray_runner(EngineConfig(runner="ray", address=address), 1).__enter__()


def test_worker_processes_share_the_processors() -> None:
    assert threads_a_worker(EngineConfig(runner="processes", workers=10_000)) == 1
    assert threads_a_worker(EngineConfig(runner="dask", address="tcp://scheduler:8786")) == 1
    assert threads_a_worker(EngineConfig(runner="dask", threads=3)) == 3

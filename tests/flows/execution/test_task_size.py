"""What leaves this process with a task: keys and settings, below 20 kB on every runner, and no array.

Each runner is the real one, inside a real flow run; what it hands to Dask's client, to Ray or to the pool of
processes is kept instead of sent.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from distributed import Client, LocalCluster
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_dask.client import PrefectDaskClient

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from flows.config import EngineConfig, PipelineConfig
from flows.execution.scheduler import CACHED_SHARD_CLIPS, submit_shard
from flows.execution.task_runners import task_runner
from flows.stages import DATASET_STAGES
from tasks.engine.job import Context, Job
from tasks.engine.plan import StagePlan
from tasks.engine.site import Site
from tests.support.prefect_server import PrefectServer
from tests.support.tiny_workspace import plan, tiny_config

LIMIT_BYTES = 20_000


class Kept(Executor):
    """Takes what a runner sends, and runs nothing."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.sent.append((args, kwargs))
        return Future[Any]()


class KeptByRay(Kept):
    """`ray.remote(function).options(name=…).remote(…)`."""

    def __call__(self, function: Any) -> KeptByRay:
        self._function = function
        return self

    def options(self, **options: Any) -> KeptByRay:
        return self

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        return self.submit(self._function, *args, **kwargs)


@pytest.fixture
def kept(runner: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Kept]]:
    """A runner that is ready, and what it sends."""
    found: Any = task_runner(EngineConfig.model_validate({"runner": runner, "workers": 1}))
    kept = KeptByRay() if runner == "ray" else Kept()
    if runner == "processes":
        with found:
            monkeypatch.setattr(found, "_executor", kept)
            yield found, kept
        return
    found._started = True
    if runner == "ray":
        monkeypatch.setattr("prefect_ray.task_runners.ray", SimpleNamespace(remote=kept))
        yield found, kept
        return
    quiet = LocalCluster(n_workers=0, processes=False, dashboard_address=None)  # type: ignore[no-untyped-call]
    with quiet, PrefectDaskClient(quiet, set_as_default=False) as found._client:
        monkeypatch.setattr(Client, "submit", lambda self, *args, **kwargs: kept.submit(*args, **kwargs))
        yield found, kept


def classes_in(packed: bytes) -> set[str]:
    """The modules of all classes and functions that a pickle names."""
    found: set[str] = set()

    class Looking(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found.add(module.split(".")[0])
            return super().find_class(module, name)

    Looking(io.BytesIO(packed)).load()
    return found


class Sending:
    """What the flow below does, which goes by its name, as `flows.pipeline.pipeline` does."""

    do: Callable[[], None]


SENDING = Sending()


@flow(persist_result=False)
def send(config: PipelineConfig) -> None:
    SENDING.do()


@pytest.mark.parametrize("runner", ["processes", "dask", "ray"])
def test_a_task_is_small_and_holds_no_array(
    runner: str, kept: tuple[Any, Kept], finished_workspace: Path, prefect_server: PrefectServer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    workspace, sending = Workspace.open(tmp_path / "w"), kept[0]
    site = Site.make(workspace, ("/videos",), prefect_server.url)
    plans = plan(finished_workspace)

    def send_all() -> None:
        for planned in plans.values():
            submit_shard(planned, many(planned), "shard 1", Context(workspace, "cpu", site, 1), sending)
        if runner == "processes":
            sending._resolver_executor.shutdown()  # what it sends, it sends from a thread

    monkeypatch.setattr(SENDING, "do", send_all, raising=False)
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        send(tiny_config())
    packed = [cloudpickle.dumps(sent) for sent in kept[1].sent]
    assert len(packed) == len(plans) == 7
    assert max(map(len, packed)) < LIMIT_BYTES
    if runner == "processes":  # whose call is bytes already
        packed = [words[0].args[0] for words, _ in kept[1].sent]
    named = set().union(*map(classes_in, packed))
    assert {"tasks", "prefect"} <= named
    assert not named & {"numpy", "torch", "pandas", "pyarrow"}
    workspace.store.close()


def many(planned: StagePlan) -> list[Job]:
    """As many jobs as the largest shard has; for a stage of the whole dataset the one of 10,000 clips."""
    job = next(iter(planned.jobs.values()))
    if planned.stage in DATASET_STAGES:
        grown = tuple(
            replace(job.members[number % len(job.members)], clip=renamed(job.members[0].clip, number))
            for number in range(10_000 if job.members else 0)
        )
        return [replace(job, members=grown)]
    return [
        replace(job, key=f"{number:040x}", clip_id=f"clip{number}", clip=renamed(job.clip, number))
        for number in range(CACHED_SHARD_CLIPS)
    ]


def renamed(clip: ClipRecord | None, number: int) -> ClipRecord:
    assert clip is not None
    return replace(clip, clip_id=f"clip{number}", video=f"/videos/{number}.mp4", score=number / 7)

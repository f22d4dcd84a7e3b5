"""Kill the worker, the run, or the Prefect server in the middle of a stage: the next run completes all the same.

A real server, a process worker and the deployment `pipeline/demo` on a few procedural clips. The moment of each kill
is drawn with a seed from the seconds in which an undisturbed run of the same deployment was computing.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_catalog.store import Lineage, read_lineage, verify_file
from flows.stages import STAGE_NAMES
from tests.support.prefect_server import PrefectServer, end, server_in, started, working
from tests.support.tiny_workspace import DATASET, SETTINGS, digests, identities, leftovers, new_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # includes what the module sets up once

OVERRIDES = [*SETTINGS, "normalize.length=64", "train.epochs=3"]  # long enough to be met inside of a stage
CLIP_STAGES, TRAINING = STAGE_NAMES[:4], ("pack", "train")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
RUN_SECONDS = 150


@dataclass(frozen=True)
class Moment:
    """When to kill: so long after so many artifacts are there, or when the next one is."""

    artifacts: int
    wait_sec: float
    stage: str


class Undisturbed:
    """What a run without kills made, and when."""

    def __init__(self, root: Path) -> None:
        self.digests = digests(root)
        self._made = [read_lineage(root / path) for path in self.digests]

    def draw(self, stages: Sequence[str], seed: int) -> Moment:
        """A moment inside a computation of one of `stages`; each second of theirs is as likely as any other."""
        chance = random.Random(seed)
        found = {number: one for one in self._made if one.stage in stages and (number := self._complete_before(one))}
        number = chance.choices(list(found), [one.seconds for one in found.values()])[0]
        return Moment(number, chance.uniform(0, found[number].seconds), found[number].stage)

    def _complete_before(self, lineage: Lineage) -> int:
        begin = datetime.fromisoformat(lineage.created) - timedelta(seconds=lineage.seconds)
        return sum(datetime.fromisoformat(other.created) <= begin for other in self._made)


@dataclass(frozen=True)
class Run:
    """One run of the deployment on a workspace."""

    server: PrefectServer
    id: str
    root: Path

    @property
    def state(self) -> dict[str, Any]:
        """What its page says."""
        found: dict[str, Any] = self.server.get(f"/flow_runs/{self.id}")["state"]
        return found

    def ended(self) -> dict[str, Any]:
        """The state in which it ends."""
        until(lambda: self.state["type"] in ENDED, f"run {self.id} ends")
        return self.state

    def process(self, worker: psutil.Process) -> psutil.Process:
        """The process in which the worker runs it."""
        (found,) = [one for one in worker.children() if self.id in _environment(one).get("PREFECT__FLOW_RUN_ID", "")]
        return found

    def record(self) -> dict[str, Any]:
        """Its `run.json`."""
        report = self.state["message"].partition("completed: ")[2]
        found: dict[str, Any] = json.loads((Path(report).parent / "run.json").read_text())
        return found


def _environment(process: psutil.Process) -> dict[str, str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.environ()
    return {}


def until(condition: Callable[[], bool], what: str, seconds: float = RUN_SECONDS, step: float = 0.2) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"still waiting until {what}"
        time.sleep(step)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> PrefectServer:
    return server_in(tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="module")
def deployed(described: PrefectServer) -> PrefectServer:
    """A server whose home has the pool and the deployments; not running."""
    with started(described, "setup"):
        for words in (("flows.cli", "setup"), ("prefect", "--no-prompt", "deploy", "--all")):
            result = described.command(*words)
            assert result.returncode == 0, result.stdout + result.stderr
    return described


@pytest.fixture
def server(deployed: PrefectServer) -> Iterator[psutil.Popen]:
    """The server's process."""
    with started(deployed) as process:
        yield process


@pytest.fixture(scope="module")
def ingested(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_workspace(tmp_path_factory.mktemp("kill") / "ingested", tiny_videos).root


@pytest.fixture(scope="module")
def undisturbed(deployed: PrefectServer, ingested: Path) -> Undisturbed:
    root = Path(shutil.copytree(ingested, ingested.with_name("undisturbed")))
    with started(deployed), working(deployed):
        run = start(deployed, root)
        state = run.ended()
    assert state["type"] == "COMPLETED", state["message"]
    assert leftovers(root) == []
    return Undisturbed(root)


@pytest.fixture
def root(ingested: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ingested, tmp_path / "w"))


def start(server: PrefectServer, root: Path) -> Run:
    """What `prefect deployment run pipeline/demo -p …` does."""
    deployment = server.get("/deployments/name/pipeline/demo")["id"]
    parameters = {"dataset": DATASET, "workspace": str(root), "overrides": OVERRIDES, "options": {}}
    run = server.post(f"/deployments/{deployment}/create_flow_run", parameters=parameters, state={"type": "SCHEDULED"})
    return Run(server, run["id"], root)


def wait_for(moment: Moment, run: Run) -> None:
    """Returns inside the stage that was drawn, and never after its artifact."""
    until(lambda: len(identities(run.root)) >= moment.artifacts, f"{moment} comes", step=0.005)
    limit = time.monotonic() + moment.wait_sec
    while time.monotonic() < limit and len(identities(run.root)) == moment.artifacts:
        time.sleep(0.005)


def check_next_run(run: Run, complete: dict[str, tuple[int, int]], undisturbed: Undisturbed) -> dict[str, Any]:
    """It completes, makes nothing complete again, leaves nothing behind, and ends the same; returns its record."""
    state = run.ended()
    assert state["type"] == "COMPLETED", state["message"]
    assert complete.items() <= identities(run.root).items(), "a complete artifact was made again"
    assert digests(run.root) == undisturbed.digests
    assert leftovers(run.root) == []
    return run.record()


def computed(record: dict[str, Any]) -> int:
    return sum(stage["computed"] for stage in record["stages"].values())


def kill_all(family: Sequence[psutil.Process]) -> None:
    """SIGKILL each, the parent first, so that it sees none of the others die."""
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert psutil.wait_procs(family, timeout=10)[1] == []


def gone(process: psutil.Process) -> bool:
    """Ended, be it that nobody has asked for its exit status yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


@contextlib.contextmanager
def surviving(process: psutil.Process) -> Iterator[psutil.Process]:
    """A process that may outlive the worker that started it; not the test."""
    try:
        yield process
    finally:
        end(process)


@pytest.mark.parametrize(("stages", "seed"), [(CLIP_STAGES, 1), (TRAINING, 2)])
def test_worker_and_run_killed(
    deployed: PrefectServer,
    server: psutil.Popen,
    undisturbed: Undisturbed,
    root: Path,
    stages: Sequence[str],
    seed: int,
) -> None:
    moment = undisturbed.draw(stages, seed)
    with working(deployed) as worker:
        run = start(deployed, root)
        wait_for(moment, run)
        family = [worker, *worker.children(recursive=True)]
        assert run.process(worker) in family
        kill_all(family)
    complete = identities(root)
    assert moment.artifacts <= len(complete) < len(undisturbed.digests)
    for path in complete:
        verify_file(root / path)  # what is there is whole
    with working(deployed, log="next-worker"):
        record = check_next_run(start(deployed, root), complete, undisturbed)
    assert computed(record) == len(undisturbed.digests) - len(complete)
    assert run.state["type"] == "RUNNING"  # nobody is left to say otherwise, until the automation does


@pytest.mark.parametrize(("stages", "seed"), [(CLIP_STAGES, 3), (TRAINING, 4)])
def test_worker_alone_killed_and_the_next_run_meets_the_orphan(
    deployed: PrefectServer,
    server: psutil.Popen,
    undisturbed: Undisturbed,
    root: Path,
    stages: Sequence[str],
    seed: int,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """The run under way outlives its worker until it wants to log a line, which nobody reads any more."""
    moment = undisturbed.draw(stages, seed)
    with working(deployed) as worker:
        run = start(deployed, root)
        wait_for(moment, run)
        with surviving(run.process(worker)) as orphan:
            worker.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            worker.wait(10)
            complete = identities(root)
            assert moment.artifacts <= len(complete) < len(undisturbed.digests)
            with working(deployed, log="next-worker"):
                following = start(deployed, root)
                state = run.ended()
                told = f"{moment}: ended after {time.monotonic() - killed:.1f} s, {state['name']}: {state['message']}"
                record_testsuite_property(f"worker killed, seed {seed}", told)
                assert state["type"] == "CRASHED"
                following.ended()
                until(lambda: gone(orphan), "the orphan ends")
                check_next_run(following, complete, undisturbed)


@pytest.mark.parametrize(("stages", "seed", "away"), [(CLIP_STAGES, 5, False), (TRAINING, 6, True)])
def test_server_killed(
    deployed: PrefectServer,
    undisturbed: Undisturbed,
    root: Path,
    stages: Sequence[str],
    seed: int,
    away: bool,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """It comes back at once or, where it stays `away`, when the run under way has nothing left to compute."""
    moment = undisturbed.draw(stages, seed)
    with contextlib.ExitStack() as stack:
        with started(deployed) as server:
            worker = stack.enter_context(working(deployed))
            run = start(deployed, root)
            wait_for(moment, run)
            process = run.process(worker)
            kill_all([server, *server.children(recursive=True)])
        killed, complete = time.monotonic(), identities(root)
        assert moment.artifacts <= len(complete) < len(undisturbed.digests)
        if away:
            until(lambda: len(identities(root)) == len(undisturbed.digests), "the run has done its work")
        stack.enter_context(started(deployed, "server-again"))
        back = time.monotonic() - killed
        state = run.ended()
        told = f"{moment}: back after {back:.1f} s, run ended after {time.monotonic() - killed:.1f} s, {state['name']}"
        record_testsuite_property(f"server killed, seed {seed}", told)
        assert state["type"] == "COMPLETED", state["message"]
        until(lambda: gone(process), "the run's process ends")
        finished = identities(root)
        assert complete.items() <= finished.items()
        record = check_next_run(start(deployed, root), finished, undisturbed)
        assert computed(record) == 0  # the run under way had finished all of its work
        assert worker.is_running()

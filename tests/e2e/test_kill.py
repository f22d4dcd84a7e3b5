"""Kill a run anywhere: the next one finishes, makes again only what was not complete, and ends the same.

Real processes, really killed (SIGKILL), at moments drawn with a seed from what an undisturbed run did: the begin of
each computation, each sync and each rename, and a random while after it; every stage has its turn, training in the
middle of an epoch too. The default form kills six times, the slow form more than fifty times.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest

from data_catalog.catalog import Workspace
from data_catalog.store import verify_file
from flows.stages import STAGE_NAMES
from tests.support.prefect_home import prefect_home
from tests.support.tiny_workspace import DATASET, SETTINGS, digests, identities, leftovers, new_workspace

OVERRIDES = ["train.epochs=2"]
MOMENTS = (*STAGE_NAMES, "catalog")
WAITS_SEC = (0.0, 0.0, 0.003, 0.02, 0.1)


class Undisturbed:
    """What a run without kills did and gave."""

    def __init__(self, root: Path, summary: dict[str, Any], trace: list[str]) -> None:
        self.digests = digests(root)
        self.metrics = summary["metrics"]
        self.history = training_history(root)
        self.trace = trace
        self.by_stage: dict[str, list[int]] = {stage: [] for stage in MOMENTS}
        for number, moment in enumerate(trace):
            stage = next((name for name in STAGE_NAMES if f" {name} " in moment or f"/{name}/" in moment), "catalog")
            self.by_stage[stage].append(number)


def training_history(root: Path) -> list[str]:
    """The rows of the training's history, without the seconds that they took."""
    rows = []
    for path in sorted(root.glob("artifacts/train/*/*.h5")):
        with h5py.File(path, "r") as file:
            for text in file["history"].asstr()[()]:
                row = json.loads(text)
                rows.append(json.dumps({name: row[name] for name in sorted(row) if "seconds" not in name}))
    return rows


@pytest.fixture(scope="module")
def ingested(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_workspace(tmp_path_factory.mktemp("kill") / "ingested", tiny_videos).root


@pytest.fixture(scope="module")
def undisturbed(ingested: Path, engines: Any, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    root = Path(shutil.copytree(ingested, folder / "w"))
    summary = engines.run(root, overrides=OVERRIDES, trace=str(folder / "trace"))
    assert leftovers(root) == []
    return Undisturbed(root, summary, (folder / "trace").read_text().splitlines())


def test_the_moments_cover_every_stage_and_the_middle_of_an_epoch(undisturbed: Undisturbed) -> None:
    assert all(undisturbed.by_stage[stage] for stage in MOMENTS)
    checkpoints = [moment for moment in undisturbed.trace if moment.startswith("replace") and moment.endswith(".ckpt")]
    assert len(checkpoints) == 6  # three batches an epoch, two epochs
    assert len(undisturbed.history) == 2


def kill_at(engines: Any, root: Path, trace: Path, moment: int, wait_sec: float) -> bool:
    """Start a run and kill it some time after its `moment`-th moment; False where it had ended before."""
    (pid,) = engines.start({"root": str(root), "dataset": DATASET, "overrides": OVERRIDES, "trace": str(trace)})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if trace.exists() and trace.read_bytes().count(b"\n") > moment:
            break
        if _ended(pid):
            break
        time.sleep(0.001)
    time.sleep(wait_sec)
    os.kill(pid, signal.SIGKILL)
    return bool(engines.wait() == [-signal.SIGKILL])


def _ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def check_next_run(engines: Any, root: Path, undisturbed: Undisturbed) -> dict[str, Any]:
    """The run after a kill: finishes, makes nothing complete again, leaves nothing behind, ends the same."""
    complete = identities(root)
    for path in complete:
        verify_file(root / path)  # what is there is whole, at any moment
    summary: dict[str, Any] = engines.run(root, overrides=OVERRIDES)
    after = identities(root)
    assert complete.items() <= after.items(), "a complete artifact was made again"
    made = sum(stage["computed"] for stage in summary["stages"].values())
    assert made == len(after) - len(complete)
    assert digests(root) == undisturbed.digests
    assert summary["metrics"] == undisturbed.metrics
    assert training_history(root) == undisturbed.history
    assert leftovers(root) == []
    assert {(row.stage, row.key) for row in Workspace(root).index.rows.values()} == {
        (Path(path).parts[1], Path(path).stem) for path in after
    }
    return summary


def kill_once(engines: Any, ingested: Path, undisturbed: Undisturbed, folder: Path, stage: str, seed: int) -> None:
    chance = random.Random(f"{stage} {seed}")
    moment = chance.choice(undisturbed.by_stage[stage])
    root = Path(shutil.copytree(ingested, folder / "w"))
    killed = kill_at(engines, root, folder / "trace", moment, chance.choice(WAITS_SEC))
    summary = check_next_run(engines, root, undisturbed)
    assert killed or sum(one["computed"] for one in summary["stages"].values()) == 0


@pytest.mark.parametrize("stage", ["normalize", "track", "pack", "train", "evaluate"])
def test_killed_in_a_stage(
    engines: Any, ingested: Path, undisturbed: Undisturbed, tmp_path: Path, stage: str
) -> None:
    kill_once(engines, ingested, undisturbed, tmp_path, stage, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 8))
@pytest.mark.parametrize("stage", MOMENTS)
def test_killed_anywhere(
    engines: Any, ingested: Path, undisturbed: Undisturbed, tmp_path: Path, stage: str, seed: int
) -> None:
    kill_once(engines, ingested, undisturbed, tmp_path, stage, seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_again_and_again_it_still_gets_there(
    engines: Any, ingested: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Each run gets a little further than the one before: nothing that was complete is ever lost."""
    root, chance, kills = Path(shutil.copytree(ingested, tmp_path / "w")), random.Random(7), 0
    while kills < 40 and kill_at(engines, root, tmp_path / f"trace{kills}", chance.randrange(12, 30), 0.0):
        kills += 1
    assert kills >= 3
    check_next_run(engines, root, undisturbed)


def test_the_command_line_killed_during_training(
    engines: Any, ingested: Path, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """The true `tubeflow run` with Prefect and its server, killed once the first checkpoint is there."""
    root = Path(shutil.copytree(ingested, tmp_path / "w"))
    settings = [word for override in (*SETTINGS, *OVERRIDES) for word in ("-o", override)]
    command = [sys.executable, "-m", "flows.cli", "run", "demo", "--dataset", DATASET, "-w", str(root), *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PREFECT_HOME": str(prefect_home(tmp_path / "prefect"))}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + 200
        while not list(root.glob("artifacts/train/*/*.work/checkpoints/*.ckpt")):
            assert process.poll() is None, process.stdout.read().decode() if process.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("flows.execution.server.server_process" in child.cmdline() for child in children)
        process.kill()
    assert psutil.wait_procs(children, timeout=30)[1] == []  # Prefect's temporary server neither
    assert not list(root.glob("artifacts/train/*/*.h5"))
    check_next_run(engines, root, undisturbed)

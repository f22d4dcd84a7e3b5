"""What is set before Prefect is imported: seen in fresh processes, since it happens at import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = "import flows, json, os; print(json.dumps(dict(os.environ)))"


def environment(*words: str, folder: Path, **settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("PREFECT_HOME", "TUBEFLOW_WORKSPACE")}
    command = [sys.executable, "-c", SHOW, *words]
    done = subprocess.run(command, env=clean | settings, cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("words", "workspace"),
    [((), "workspace"), (("run", "-w", "mine"), "mine"), (("run", "--workspace=mine"), "mine"), (("-w",), "")],
)
def test_without_a_home_libraries_keep_their_things_in_the_workspace(
    tmp_path: Path, words: tuple[str, ...], workspace: str
) -> None:
    found = environment(*words, folder=tmp_path, HOME="/proc/none", PYTHONPATH=str(Path(__file__).parents[2]))
    assert found["PREFECT_HOME"] == str(tmp_path / workspace / "home" / "prefect")
    assert Path(found["PREFECT_HOME"]).is_dir()
    assert found["MPLCONFIGDIR"].startswith(str(tmp_path))


def test_a_home_that_can_be_written_is_used(tmp_path: Path) -> None:
    found = environment(folder=tmp_path, HOME=str(tmp_path), PYTHONPATH=str(Path(__file__).parents[2]))
    assert "PREFECT_HOME" not in found


def test_loopback_is_added_to_what_the_user_keeps_from_the_proxy(tmp_path: Path) -> None:
    found = environment(folder=tmp_path, NO_PROXY="intranet", PYTHONPATH=str(Path(__file__).parents[2]))
    assert found["NO_PROXY"] == "intranet,localhost,127.0.0.1,::1"

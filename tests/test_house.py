"""The house rules that machines can check: layers, style, types, and no machine's path in the sources."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["lint-imports"], id="layers: flows → tasks → models | data_catalog"),
        pytest.param(["ruff", "check"], id="ruff"),
        pytest.param(["mypy"], id="mypy", marks=pytest.mark.timeout(600)),
    ],
)
def test_checker_is_content(command: list[str]) -> None:
    checker = [str(BIN / command[0]), *command[1:]]
    result = subprocess.run(checker, cwd=REPO, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_the_engine_and_the_flows_know_prefect() -> None:
    knowing = [
        path.relative_to(REPO).as_posix()
        for room in ("tasks", "models", "data_catalog")
        for path in sorted((REPO / room).rglob("*.py"))
        if any(line.split()[:1] in (["import"], ["from"]) and line.split()[1].split(".")[0] == "prefect"
               for line in path.read_text().splitlines() if line.strip())
    ]
    assert knowing == ["tasks/engine/task_run.py"]

"""What a command loads: modules are counted, not seconds, each command in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from flows.cli.main import COMMANDS, app
from tests.support import REPO
from tests.support.tiny_workspace import DATASET, SETTINGS

COMPUTING = {
    "PIL", "av", "cv2", "lightning", "matplotlib", "onnx", "pandas", "safetensors", "scipy", "torch", "torchvision",
    "ultralytics",
}  # fmt: skip
SERVING = {"fastapi", "httpx", "jinja2", "prefect", "psutil", "sqlalchemy", "starlette", "uvicorn"}
HEAVY = COMPUTING | SERVING
CATALOG = {"duckdb", "h5py", "numpy", "pyarrow", "pydantic", "yaml"}
CLIP = "diving_0003"
OVERRIDES = [word for override in SETTINGS for word in ("-o", override)]

LOADED = """
import json, sys
from flows.cli.main import app
loaded = {}
for words in json.loads(sys.argv[1]):
    try:
        app(words, standalone_mode=False)
    except SystemExit as end:
        assert not end.code, words
    loaded[" ".join(words)] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(loaded), file=sys.stderr)
"""


def loaded_by(*commands: Sequence[str]) -> dict[str, set[str]]:
    """Command → packages that are loaded when it has ended; one process runs all, each after those before it."""
    words = [sys.executable, "-c", LOADED, json.dumps(commands)]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {command: set(names) for command, names in json.loads(done.stderr.splitlines()[-1]).items()}


def all_commands() -> list[list[str]]:
    program = typer.main.get_command(app)
    program.load_all()
    found, waiting = [], [((), program)]
    while waiting:
        words, command = waiting.pop()
        found.append([*words])
        waiting += [((*words, name), one) for name, one in getattr(command, "commands", {}).items()]
    return found


def test_the_front_page_loads_no_command() -> None:
    (loaded,) = loaded_by(["--help"]).values()
    assert loaded & (HEAVY | CATALOG) == set()


def test_the_front_page_says_what_the_commands_say() -> None:
    program = typer.main.get_command(app)
    listed = {name: command.help for name, command in program.commands.items()}
    program.load_all()
    own = {name: " ".join(command.help.split("\n\n")[0].split()) for name, command in program.commands.items()}
    assert listed == own
    assert list(listed) == list(COMMANDS)


def test_the_front_page_is_in_the_order_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    words = [sys.executable, "-m", "tubeflow", "--help"]
    shown = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=True).stdout.splitlines()
    first = next(line for line in shown if line.strip() and "Usage" not in line)
    assert first.split()[:2] == ["Start", "with"]
    assert all(f"tubeflow {name}" in first for name in ("demo", "ingest", "run"))
    panels = [line.split()[1] for line in shown if line.startswith("╭─")]
    assert panels == ["Options", "Data", "Run", "Look", "Models", "Tracking", "Upkeep"]
    listed = [line.split()[1] for line in shown if line.startswith("│ ") and line[2].islower()]
    assert listed == list(COMMANDS)


def test_importing_tubeflow_loads_nothing_and_its_workspace_nothing_that_computes() -> None:
    script = "import sys, tubeflow; print(*sys.modules); tubeflow.Workspace; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True)
    face, workspace = ({name.partition(".")[0] for name in line.split()} for line in done.stdout.splitlines())
    assert face & (HEAVY | CATALOG | {"flows"}) == set()
    assert workspace & HEAVY == set()


def test_no_help_loads_what_computes_or_serves() -> None:
    loaded = loaded_by(*([*words, "--help"] for words in all_commands()))
    assert len(loaded) > len(COMMANDS)
    assert {command: names & HEAVY for command, names in loaded.items() if names & HEAVY} == {}


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (["plan", "demo", "-d", DATASET, *OVERRIDES], set()),
        (["status"], set()),
        (["datasets", "list"], set()),
        (["catalog"], set()),
        (["catalog", "query", "select action, avg(score) from clips group by action"], {"duckdb"}),
        (["explain", CLIP], set()),
        (["gc"], set()),
        (["labels", "history", CLIP], set()),
        (["weights", "list"], set()),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_looking_at_a_workspace_loads_nothing_that_computes(
    finished_workspace: Path, command: list[str], more: set[str]
) -> None:
    (loaded,) = loaded_by([*command, "-w", str(finished_workspace)]).values()
    assert loaded & (HEAVY | {"duckdb"}) == more

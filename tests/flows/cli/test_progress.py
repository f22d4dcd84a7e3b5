"""Every command that can last says what it does and how far it is; which commands there are is asked of the program."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from data_catalog.weights.registry import load_registry
from flows import console
from flows.cli.main import app
from flows.maintenance import weights_status
from tasks.engine import progress
from tests.flows.pretrain.test_detector import materials, order  # noqa: F401  # a fixture
from tests.support import REPO
from tests.support.material_packages import serve_materials
from tests.support.package_registries import Registries
from tests.support.tiny_workspace import DATASET, SETTINGS, copy_workspace
from tests.support.weight_server import Rule, Server, write_registry

SMALL = " ".join(f"-o '{one}'" for one in SETTINGS)
LINES = {console.PROGRESS: console.PROGRESS_LINES}

# Command → why it is over at once, in whatever workspace.
QUICK = {
    "datasets list": "reads a record a dataset",
    "labels set": "appends an edit of one clip",
    "labels history": "reads the edits, which people make one by one",
    "catalog": "counts what is read anyway",
    "catalog schema": "prints what the program knows of itself",
    "weights list": "looks which files are there",
    "plugins": "asks which packages have entry points",
    "plugin new": "writes a few small files",
}
# Command → its words, and stages that it has to name. {ws}: a finished workspace, {videos}: its clips, {tmp}: a folder.
IN_A_MOMENT = {
    "ingest": ("procedural --name again --videos {videos} -w {tmp}/other", "compare"),
    "datasets check": (DATASET, "compare"),
    "datasets make": ("procedural --name drawn --clips 1 --size 320x240 -w {tmp}/other", "draw"),
    "labels export": (f"{{tmp}}/labels.csv -d {DATASET}", "export"),
    "plan": (f"demo -d {DATASET} --verify {SMALL}", "plan, verify normalize, verify track, verify masks"),
    "status": ("", "datasets, sources"),
    "inspect": (f"diving_0003 -d {DATASET}", "plan, draw"),
    "explain": ("diving_0003", "plan, read"),
    "catalog query": ("'select count(*) from clips'", "query"),
    "gc": ("--grace 0 --delete", "runs, artifacts, delete"),
    "reindex": ("", "verify"),
    "tracks export": (f"{{tmp}}/tracks -d {DATASET}", "read"),
    "tracks import": ("{tmp}/one.txt --out {tmp}/quads.json", "read"),
    "tracks truth": (f"{{tmp}}/truth.json -d {DATASET}", "read"),
    "weights add": ("{tmp}/one.txt --as other.bin", "add"),
    "weights verify": ("", "verify"),
    "flops": (DATASET, "count"),
    "compare": ("last last --repetitions 100", "compare"),
    "setup": ("", "setup"),  # without a server it ends there
}
IN_MINUTES = {
    "demo": (f"--clips 4 {SMALL}", "draw, normalize, detect, track, masks, pack, train, evaluate"),
    "run": (f"demo -d {DATASET} {SMALL} -o train.seed=5", "train, evaluate"),
    "experiment": (f"{{tmp}}/matrix.yaml -d {DATASET} {SMALL}", "experiment, train"),
    "predict": ("{videos}/videos/diving_0003.mp4 --box 100,80,40,90 --difficulty 2", "score, draw"),
    "export": ("last --out {tmp}/exported", "export"),
    "tracks evaluate": ("{tmp}/clips -t mil --length 6 --size source", "evaluate"),
    "detect evaluate": ("{videos} --limit 1", "evaluate"),
    "pretrain tracker": ("--manifest {tmp}/list.toml --material views --material tuxpaint --sequences 3 --people 0 "
                         "--steps 2 --batch 3 --out {tmp}/s.safetensors", "mobilenet_v2, sequences, training"),
    "view": ("--port 0", "read"),
}  # fmt: skip
ELSEWHERE = {"weights pull", "pretrain detector"}  # tests below, which need more than words


def all_commands() -> set[str]:
    """The words of every command that does something; a group of commands that does something by itself as well."""
    program = typer.main.get_command(app)
    program.load_all()
    found, waiting = set(), [(name, one) for name, one in program.commands.items()]
    while waiting:
        name, command = waiting.pop()
        inner = getattr(command, "commands", {})
        if not inner or command.invoke_without_command:
            found.add(name)
        waiting += [(f"{name} {word}", one) for word, one in inner.items()]
    return found


def stages(said: str) -> set[str]:
    """The stages of the lines of progress among what was said."""
    lines = [json.loads(line) for line in said.splitlines() if line.startswith('{"progress"')]
    return {line["progress"]["stage"] for line in lines}


@pytest.fixture(scope="module")
def places(finished_workspace: Path, tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("progress")
    root = copy_workspace(finished_workspace, folder / "ws")
    (folder / "one.txt").write_text("10,10,20,20\n" * 3)
    (folder / "matrix.yaml").write_text("preset: demo\nmatrix:\n  train.seed: [6]\n")
    return {"ws": root, "videos": tiny_videos, "tmp": folder}


def in_full(command: str, places: dict[str, Path]) -> list[str]:
    words, _ = {**IN_A_MOMENT, **IN_MINUTES}[command]
    wherever = "-w " not in words and command not in ("setup", "detect evaluate", "tracks evaluate")
    return [*command.split(), *shlex.split(words.format(**places)), *(["-w", str(places["ws"])] * wherever)]


def wanted(command: str) -> set[str]:
    return set({**IN_A_MOMENT, **IN_MINUTES}[command][1].split(", "))


def test_every_command_is_either_quick_or_shows_what_it_does() -> None:
    named = [*QUICK, *IN_A_MOMENT, *IN_MINUTES, *ELSEWHERE]
    assert len(named) == len(set(named))
    assert set(named) == all_commands()


@pytest.mark.parametrize("command", IN_A_MOMENT)
def test_it_says_what_it_does(command: str, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    result = CliRunner().invoke(app, in_full(command, places), env=LINES)
    assert result.exit_code == (2 if command == "setup" else 0), result.output
    assert wanted(command) <= stages(result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("command", IN_MINUTES)
def test_it_says_what_it_does_for_long(command: str, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    tracking_clip(places["tmp"] / "clips")
    with Server().running() as server:
        registries = Registries(server, places["tmp"], monkeypatch)
        listed = serve_materials(registries, places["tmp"], places["ws"] / "pretrain/materials")
        listed.rename(places["tmp"] / "list.toml")
        process = subprocess.Popen(
            [sys.executable, "-m", "tubeflow", *in_full(command, places)],
            cwd=REPO, env=os.environ | LINES, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if command == "view":  # serves until it is stopped
            assert process.stdout is not None
            assert process.stdout.readline().startswith("http://127.0.0.1:")
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=900)
    assert command == "view" or process.returncode == 0, said
    assert wanted(command) <= stages(said)


def tracking_clip(folder: Path) -> None:
    """A clip of six frames, a bright square over noise, with its truth."""
    (folder / "clip").mkdir(parents=True, exist_ok=True)
    frame = np.random.default_rng(4).integers(0, 60, (90, 120, 3), np.uint8)
    frame[30:60, 20:44] = 200
    for number in range(6):
        cv2.imwrite(str(folder / "clip" / f"{number}.png"), frame)
    rows = ["frame,x,y,w,h", *(f"{number},20,30,24,30" for number in range(6))]
    (folder / "clip_gt.csv").write_text("\n".join(rows) + "\n")


def test_weights_that_are_fetched_say_how_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server().running() as server:
        server.rules["/net.bin"] = Rule(b"network" * 1000)
        entries = write_registry(tmp_path / "registry", "net", file="net.bin", url=f"{server.url}/net.bin")
        monkeypatch.setattr(weights_status, "load_registry", lambda: load_registry(entries))
        result = CliRunner().invoke(app, ["weights", "pull", "net", "-w", str(tmp_path / "ws")], env=LINES)
    last = json.loads([line for line in result.stderr.splitlines() if line.startswith('{"progress"')][-1])["progress"]
    assert (result.exit_code, last["stage"], last["done"]) == (0, "net", 7000)


@pytest.mark.slow
def test_making_a_detector_says_what_it_does(materials: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    result = CliRunner().invoke(app, order(*materials, tmp_path / "own.pth"), env=LINES)
    assert result.exit_code == 0, result.output
    assert {"people", "training"} <= stages(result.stderr)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 100 columns is told on the error stream."""
    screen = io.StringIO()
    monkeypatch.delenv(console.PROGRESS, raising=False)
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=100, highlight=False))
    return screen


def test_a_fast_command_leaves_no_trace_and_a_slow_one_a_bar(terminal: io.StringIO) -> None:
    with console.doing("query"):
        pass
    assert terminal.getvalue() == ""
    with console.stage_bars(0.1):
        progress.report("sources", 1, 4)
        time.sleep(0.5)
        progress.report("sources", 2, 4)
    shown = terminal.getvalue()
    assert "sources" in shown
    assert "1/4" in shown.split("2/4")[0], "what was reported before is there"


def test_bytes_are_said_as_people_read_them(terminal: io.StringIO) -> None:
    with console.stage_bars():
        progress.report("net", 1_200_000, 3_400_000, in_bytes=True)
    assert "1.2 MB/3.4 MB" in terminal.getvalue()


def test_without_a_terminal_a_slow_command_says_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.delenv(console.PROGRESS, raising=False)
    monkeypatch.setattr(console, "err", Console(file=said, highlight=False))
    with console.doing("query"):
        pass
    assert said.getvalue() == ""
    with console.stage_bars(0.05):
        progress.report("plan", 0, None)
        time.sleep(0.3)
        assert said.getvalue().splitlines() == ["plan …"]

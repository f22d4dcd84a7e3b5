"""A run whose plan has only hits starts no server and no other process, and is recorded as every run is."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

from data_catalog.catalog import Workspace
from flows.runs.record import read_runs
from tests.support import REPO
from tests.support.damage import copied, rot
from tests.support.prefect_home import prefect_home
from tests.support.prefect_server import free_port
from tests.support.tiny_workspace import DATASET, SETTINGS, forget_reports, identities

# Python reports every process that is started to its audit hooks.
WATCHED = """
import sys
started = []
sys.addaudithook(lambda event, told: started.append(str(told[1])) if event == "subprocess.Popen" else None)
from flows.cli.main import app
try:
    app(sys.argv[1:])
finally:
    print("started:", [one for one in started if sys.executable in one], file=sys.stderr)
    print("loaded:", sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
HEAVY = {"prefect", "torch", "cv2", "scipy", "matplotlib", "httpx", "shapely"}


def run_watched(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    overrides = [word for override in SETTINGS for word in ("-o", override)]
    words = ["run", "demo", "-d", DATASET, "-w", str(root), "--json", *overrides]
    variables = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return subprocess.run(
        [sys.executable, "-c", WATCHED, *words],
        cwd=REPO, env={**variables, "PREFECT_HOME": str(prefect_home(root / "prefect")), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_only_hits_start_no_process_and_are_recorded(root: Path) -> None:
    before, artifacts = read_runs(Workspace(root)), identities(root)
    done = run_watched(root)
    assert done.returncode == 0, done.stderr
    assert "started: []" in done.stderr
    loaded = next(line for line in done.stderr.splitlines() if line.startswith("loaded: "))
    assert "numpy" in loaded
    assert HEAVY & set(ast.literal_eval(loaded.removeprefix("loaded: "))) == set()
    summary = json.loads(done.stdout)
    assert summary["results_of"] == before[-1].run_id
    assert {(count["hits"], count["clips"]) for count in summary["stages"].values()} == {(4, 4), (1, 1)}
    *_, last = read_runs(Workspace(root))
    assert (last.run_id, last.number) == (summary["run_id"], before[-1].number + 1)
    assert set(last.files) == set(before[-1].files)
    assert (last.config, last.metrics, last.selected) == (before[-1].config, before[-1].metrics, before[-1].selected)
    assert last.report is not None
    assert Path(last.report).is_file()
    assert identities(root) == artifacts


def test_what_is_damaged_under_a_hit_is_made_again(finished_workspace: Path, tmp_path: Path) -> None:
    root = copied(finished_workspace, tmp_path / "ws")
    forget_reports(root)
    path = sorted(root.glob("artifacts/masks/*/*.h5"))[0]
    rot(path)  # which only reading it shows
    content = path.read_bytes()
    done = run_watched(root)
    assert done.returncode == 0, done.stderr
    assert "started: []" in done.stderr
    assert any(str(path) in note and note.endswith("it was made again.") for note in json.loads(done.stdout)["notes"])
    assert path.read_bytes() != content


def test_a_named_server_is_asked_for_hits_as_well(root: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    done = run_watched(root, PREFECT_API_URL=url)
    assert done.returncode == 2
    assert url in done.stderr

"""The core works without the packages of the extras; where one is asked for, a sentence says how to install it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest
import xlwt

from tests.support import REPO
from tests.support.tiny_workspace import DATASET, SETTINGS

ABSENT = (
    "openpyxl", "xlrd", "tensorboard", "prefect_redis", "mlflow", "wandb", "onnx", "onnxruntime", "onnxscript",
    "prefect_dask", "prefect_ray", "playwright", "sklearn", "transformers",
)  # fmt: skip
# Python runs it at the start of every process, also of those that a command starts.
# Their metadata too: torchmetrics imports transformers where a version of it is known.
HIDING = f"""
import sys
from importlib.metadata import Distribution, PackageNotFoundError

known = Distribution.from_name.__func__

def from_name(cls, name):
    if name.replace("-", "_") in {ABSENT}:
        raise PackageNotFoundError(name)
    return known(cls, name)

Distribution.from_name = classmethod(from_name)
for name in {ABSENT}:
    sys.modules[name] = None
"""
RUN_ALL = """
import json, sys
from typer.testing import CliRunner
from flows.cli.main import app
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, words)
    print(json.dumps([result.exit_code, result.output]))
"""
RUN = ["run", "demo", "-d", DATASET, *(word for one in SETTINGS if "loggers" not in one for word in ("-o", one))]
Answer = tuple[int, str]


def tubeflow(folder: Path, *commands: Sequence[str | Path], **variables: str) -> list[Answer]:
    """Exit status and words of commands, one after the other in a process that has the core's packages alone."""
    (folder / "sitecustomize.py").write_text(HIDING)
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{REPO}"} | variables
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # Prefect prints a warning of each collection that is installed, and was hidden here.
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return [(status, " ".join(output.split())) for status, output in answers]


@pytest.fixture(scope="module")
def workspace(tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ingested and run from the first stage to the report, with the default loggers and a Prefect server."""
    folder = tmp_path_factory.mktemp("core")
    root = folder / "workspace"
    answers = tubeflow(
        folder,
        ["ingest", "procedural", "--name", DATASET, "--videos", tiny_videos, "-w", root],
        [*RUN, "-w", root],
        ["status", "-w", root],
        ["catalog", "-w", root],
        ["explain", "diving_0003", "-w", root],
        ["compare", "last", "last", "-w", root],
        ["export", "last", "--out", folder / "dive.pt2", "-w", root],
    )
    assert [status for status, _ in answers] == [0] * 7, answers
    return root


def test_from_clips_to_a_report_and_a_model_needs_no_extra(workspace: Path) -> None:
    (run,) = workspace.glob("runs/*/run.json")
    assert json.loads(run.read_text())["metrics"]
    assert (run.parent / "report.html").stat().st_size > 10_000
    assert (workspace.parent / "dive.pt2").stat().st_size > 10_000


def test_what_is_missing_and_asked_for_is_a_sentence(workspace: Path, tmp_path: Path) -> None:
    dask = [*RUN, "-o", "train.seed=7", "-o", "engine.runner=dask", "-w", workspace]
    onnx = ["export", "last", "--format", "onnx", "-w", workspace]
    vit = [*RUN, "-o", "model.backbone=vit", "-w", workspace]
    found = tubeflow(tmp_path, dask, onnx, vit)
    for (status, words), extra in zip(found, ("dask", "onnx", "transformers"), strict=True):
        assert status == 2, words
        assert f"with: pip install 'tubeflow[{extra}]'" in words


def test_redis_without_its_package_is_a_sentence(workspace: Path, tmp_path: Path) -> None:
    command = [*RUN, "-o", "train.seed=7", "-w", workspace]
    ((status, words),) = tubeflow(tmp_path, command, PREFECT_MESSAGING_BROKER="prefect_redis.messaging")
    assert status == 2
    assert "is prefect_redis.messaging, but the package prefect-redis isn't installed; " in words
    assert "pip install 'tubeflow[redis]'" in words


def test_a_workbook_without_its_reader_is_a_sentence(tmp_path: Path) -> None:
    readers = {"xlsx": "openpyxl", "xls": "xlrd"}
    openpyxl.Workbook().save(tmp_path / "labels.xlsx")
    book = xlwt.Workbook()
    book.add_sheet("labels")
    book.save(str(tmp_path / "labels.xls"))
    base = ["ingest", "folder", "--name", "x", "--videos", tmp_path, "-w", tmp_path / "w", "--labels"]
    answers = tubeflow(tmp_path, *([*base, tmp_path / f"labels.{ending}"] for ending in readers))
    for (status, words), (ending, package) in zip(answers, readers.items(), strict=True):
        assert status == 2
        assert f"labels.{ending} is an Excel workbook, and the package that reads it ({package}) isn't inst" in words
        assert "pip install 'tubeflow[excel]', or save it as 'CSV UTF-8'" in words

"""The exported file, opened by another program, returns the run's scores; one that doesn't is not kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.pack.file import PackReader
from flows.cli.main import app
from flows.config import ConfigError
from flows.inference import export_model, exported_file
from flows.inference.export_model import clip_inputs, export_run
from flows.runs.finished import find_run

OTHER_PROGRAM = """
import sys, numpy as np
path, inputs = sys.argv[1:]
given = np.load(inputs)
if path.endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(path)
    print(float(session.run(["score"], {i.name: given[i.name] for i in session.get_inputs()})[0][0]))
else:
    import torch
    print(float(torch.export.load(path).module()(*(torch.from_numpy(given[name]) for name in given.files))[0][0]))
assert not {"models", "flows", "tasks"} & set(sys.modules)
"""


@pytest.fixture
def workspace(finished_workspace: Path) -> Workspace:
    return Workspace(finished_workspace)


@pytest.mark.parametrize("form", ["torch-export", "onnx"])
def test_another_program_gets_the_scores_of_the_run(form: str, workspace: Workspace, tmp_path: Path) -> None:
    run = find_run(workspace, "last")
    test_clip = run.predictions().query("weights == 'last' and split == 'test'").iloc[0]
    reader = PackReader(workspace.store.path("pack", run.keys["pack"][""]))
    index = reader.labels.clip_id.index(test_clip["clip_id"])
    frames, mask, difficulty = clip_inputs(reader, run, index)
    np.savez(tmp_path / "in.npz", frames=frames, mask=mask, difficulty=difficulty)

    target = tmp_path / f"model{exported_file.ENDINGS[form]}"
    words = ["export", run.run_id, "--format", form, "--out", str(target), "-w", str(workspace.root), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["difference"] <= 1e-4
    assert told["clips"] == 3
    assert json.loads(Path(told["description"]).read_text())["inputs"]["mask"]["shape"] == list(mask.shape)

    other = subprocess.run(
        [sys.executable, "-c", OTHER_PROGRAM, str(target), str(tmp_path / "in.npz")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert float(other.stdout) == pytest.approx(test_clip["predicted"], rel=1e-4)


def test_a_file_that_differs_is_not_kept(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = find_run(workspace, "last")
    write = export_model.write_model

    def write_another(model: Any, *rest: Any) -> None:
        with torch.no_grad():
            model.network.head.mlp.layer3.bias += 0.001
        write(model, *rest)

    monkeypatch.setattr(export_model, "write_model", write_another)
    with pytest.raises(CatalogError, match="it was not kept"):
        export_run(workspace, run, "torch-export", "last", None, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_told(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = find_run(workspace, "last")
    with pytest.raises(ConfigError, match="no format 'caffe'"):
        export_run(workspace, run, "caffe", "last", None, None)
    monkeypatch.setattr(exported_file, "ONNX_PACKAGES", ("onnx_that_nobody_has",))
    with pytest.raises(ConfigError, match=r"tubeflow\[onnx\]"):
        export_run(workspace, run, "onnx", "last", None, None)
    options = {"attention_options": {"min_positions": 9}}
    growing = run.config.model_copy(update={"model": run.config.model.model_copy(update=options)})
    other = run.__class__(run.run_id, run.dataset, growing, run.folder, run.keys)
    with pytest.raises(CatalogError, match="min_positions"):
        export_run(workspace, other, "torch-export", "last", None, tmp_path / "model.pt2")

"""A run with C3D, exported in each form, says of a clip what the run does; a narrow one, for time alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_catalog.catalog import Workspace
from data_catalog.pack.file import PackReader
from flows.datasets.clips import dataset_clips
from flows.inference.export_backbone import export_backbone
from flows.inference.export_model import INPUTS, clip_inputs, export_run
from flows.inference.exported_file import load_model
from flows.runs.finished import FinishedRun, find_run, trained_state
from models.backbones import build_backbone, c3d
from tests.flows.inference.test_model_card import alone
from tests.support.tiny_workspace import copy_workspace, run

NARROW = 16


@pytest.fixture(scope="module")
def trained(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory):
    """The tiny clips' frames and masks as they are; the network is the one that presets of C3D train, with a tube."""
    root = copy_workspace(finished_workspace, tmp_path_factory.mktemp("c3d") / "w")
    patch = pytest.MonkeyPatch()
    patch.setattr(c3d, "WIDTHS", {name: width // NARROW for name, width in c3d.WIDTHS.items()})
    patch.setattr(c3d, "UNITS", c3d.UNITS // NARROW)
    summary = run(root, "model.backbone=c3d", "train.epochs=1")
    assert (summary.failures, summary.stages["pack"].computed) == ([], 0)
    workspace = Workspace(root)
    yield workspace, find_run(workspace, "last")
    patch.undo()


def own_score(workspace: Workspace, found: FinishedRun) -> tuple[float, tuple[np.ndarray, ...]]:
    """What the run predicted of its test clip, and that clip as the network takes it."""
    row = found.predictions().query("weights == 'last' and split == 'test'").iloc[0]
    reader = PackReader(workspace.store.path("pack", found.keys["pack"][""]))
    return float(row["predicted"]), clip_inputs(reader, found, reader.labels.clip_id.index(row["clip_id"]))


@pytest.mark.parametrize("form", ["torch-export", pytest.param("onnx", marks=pytest.mark.slow)])
def test_the_file_predicts_what_the_run_does(form: str, trained: tuple[Workspace, FinishedRun], tmp_path: Path) -> None:
    workspace, found = trained
    exported = export_run(workspace, found, form, "last", None, tmp_path / "model")
    assert exported.difference <= 1e-4
    wanted, inputs = own_score(workspace, found)
    assert float(load_model(form, exported.path, INPUTS)(inputs)[0][0]) == pytest.approx(wanted, rel=1e-4)
    assert "c3d" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.slow
def test_its_program_scores_the_video(trained: tuple[Workspace, FinishedRun], tmp_path: Path) -> None:
    """Without Tubeflow; of the whole frame in the place of the tube, so the score is another than the run's."""
    workspace, found = trained
    export_run(workspace, found, "torch-export", "last", None, tmp_path / "model")
    (clip,) = [one for one in dataset_clips(workspace, found.dataset) if one.split == "test"]
    done = alone(tmp_path / "model", "torch", clip.video, "--whole-frame", "--difficulty", str(clip.difficulty))
    assert done.returncode == 0, done.stderr
    assert np.isfinite(json.loads(done.stdout)["score"])


def test_its_backbone_is_written_as_safetensors_and_read_again(
    trained: tuple[Workspace, FinishedRun], tmp_path: Path
) -> None:
    workspace, found = trained
    file = export_backbone(workspace, found, "last", tmp_path / "c3d.safetensors")
    state = trained_state(workspace, found, "last")
    again = build_backbone("c3d", weights=file).state_dict()
    for name, tensor in again.items():
        np.testing.assert_array_equal(tensor.numpy(), state[f"backbone.{name}"])

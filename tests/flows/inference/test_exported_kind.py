"""What leaves calls a video unlike as prediction does: the program of an exported folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from data_catalog.catalog import Workspace
from flows.datasets.clips import dataset_clips
from flows.inference import known_kind
from flows.inference.export_model import export_run
from flows.inference.predict_videos import Request, predict_videos
from flows.inference.standalone_predict import distance
from flows.runs.finished import FinishedRun, find_run
from models.clip_kind import fit_kind
from tasks.novelty import NoveltySettings
from tests.flows.inference.test_model_card import alone
from tests.flows.inference.test_predict import preprocess
from tests.support.tiny_workspace import DATASET, copy_workspace


class HalfCovered(NoveltySettings):
    """As prediction's, but three training clips are enough."""

    coverage: float = Field(0.5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torch-export", "onnx"])
def test_folder_and_prediction_agree(
    form: str, finished_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_kind, "NoveltySettings", HalfCovered)
    workspace = Workspace.open(copy_workspace(finished_workspace, tmp_path / "w"))
    run = find_run(workspace, "last")
    clip = next(clip for clip in dataset_clips(workspace, DATASET) if clip.split == "test")
    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    predicted = predict_videos(workspace, run, request, [], tmp_path, preprocess)
    [video], bound = predicted.videos, predicted.as_json()["unlike_above"]
    export_run(workspace, run, form, "last", None, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"is above {bound:.4g} standard deviations: 50% of clips" in card
    meaning = json.loads((tmp_path / "model" / "model.json").read_text())
    assert list(meaning["outputs"]) == ["score", "segments", "raw", "features"]
    tube = np.load(mask_of(workspace, run, clip.clip_id, tmp_path / "mask.npy"), allow_pickle=False)
    assert list(tube.shape) == meaning["inputs"]["mask"]["shape"][1:]
    words = (clip.video, "--mask", tmp_path / "mask.npy", "--difficulty", str(clip.difficulty))
    done = alone(tmp_path / "model", form.partition("-")[0], *words)
    told = json.loads(done.stdout)
    assert told["score"] == pytest.approx(video.score, abs=1e-4)
    assert told["distance"] == pytest.approx(video.distance, rel=1e-3)
    assert (told["unlike"], told["unlike_above"]) == (video.unlike, bound)
    assert told["unlike"] == ("unlike what the model was trained on" in done.stderr)


def mask_of(workspace: Workspace, run: FinishedRun, clip_id: str, path: Path) -> Path:
    """The clip's tube mask as `--mask` takes it."""
    np.save(path, workspace.store.read("masks", run.keys["masks"][clip_id], ["mask"]).arrays["mask"])
    return path


@pytest.mark.parametrize("clips", [4, 30])
def test_its_distance_is_that_of_the_kind(clips: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(clips)
    kind = fit_kind(rng.normal(size=(clips, 12)) + 3)
    arrays = {name: getattr(kind, name) for name in ("mean", "directions", "variances", "elsewhere")}
    np.savez(tmp_path / "kind.npz", **arrays)
    for features in (*rng.normal(size=(5, 12)).astype(np.float32), np.zeros(12, np.float32)):
        assert distance(features, tmp_path / "kind.npz") == pytest.approx(kind.distance(features[None])[0], rel=1e-9)

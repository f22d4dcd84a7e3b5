"""Prediction runs a network once a video: score and distance come from the same pass; the viewer says the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from data_catalog.catalog import Workspace
from data_catalog.pack.file import PackReader
from flows.datasets.clips import dataset_clips
from flows.inference import known_kind
from flows.inference.predict_videos import Request, predict_videos
from flows.runs.finished import find_run, trained_state
from models import tsanet
from models.backbones import SplitBackbone
from models.clip_kind import fit_kind
from tasks.novelty import NoveltySettings, vectors_of
from tests.flows.inference.test_predict import preprocess
from tests.support.tiny_workspace import DATASET, copy_workspace
from tests.support.view_pages import pages_of


class HalfCovered(NoveltySettings):
    """As prediction's, but three training clips are enough."""

    coverage: float = Field(0.5)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """How often backbones run, and how often networks are built."""
    counts, build = {"passes": 0, "built": 0}, tsanet.build_tsanet

    def seen(module: nn.Module, _: object, output: Tensor) -> None:
        # A network that is built finds its sizes by a run of its own, which computes nothing.
        counts["passes"] += isinstance(module, SplitBackbone) and not output.is_meta

    def building(*given: object, **named: object) -> tsanet.TSANet:
        counts["built"] += 1
        return build(*given, **named)  # type: ignore[arg-type]

    hook = register_module_forward_hook(seen)
    with monkeypatch.context() as patched:
        patched.setattr(tsanet, "build_tsanet", building)
        yield counts
    hook.remove()


def test_score_and_distance_of_a_video_take_one_pass_and_are_those_of_two(
    finished_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.open(copy_workspace(finished_workspace, tmp_path / "w"))
    monkeypatch.setattr(known_kind, "NoveltySettings", HalfCovered)
    run = find_run(workspace, "last")
    clip = next(clip for clip in dataset_clips(workspace, DATASET) if clip.split == "test")
    request = Request((Path(clip.video),), (clip.boxes,), difficulty=clip.difficulty)
    with pages_of(workspace.root) as pages:
        before = pages.get("/api/score", dataset=DATASET, clip=clip.clip_id)
        assert before["unlike"] is None
        assert "wasn't asked about its training clips yet" in before["notes"][0]
        first = predict_videos(workspace, run, request, [], tmp_path, preprocess)  # makes what clips are compared with
        shown = pages.get("/api/score", dataset=DATASET, clip=clip.clip_id)
    with counted(monkeypatch) as counts:
        found = predict_videos(workspace, run, request, [], tmp_path, preprocess)
    assert counts == {"passes": 1, "built": 1}
    assert found == first
    assert found.as_json()["unlike_above"] == shown["unlike_above"]

    pack = PackReader(workspace.store.path("pack", run.artifact(workspace, "pack")))
    place = pack.labels.clip_id.index(clip.clip_id)
    train = [index for index in range(len(pack)) if index != place]
    state = trained_state(workspace, run, "last")
    alone, *known = vectors_of(pack, state, run.config.model, run.config.train, "cpu", [place, *train])
    expected = fit_kind(np.array(known)).distance(alone[None])[0]
    [video] = found.videos
    row = run.predictions().query("weights == 'last' and clip_id == @clip.clip_id").iloc[0]
    assert video.distance == pytest.approx(expected, rel=1e-3)
    assert video.score == pytest.approx(row["predicted"], abs=1e-5)
    assert (shown["distance"], shown["unlike"]) == (pytest.approx(expected, rel=1e-3), video.unlike)
    assert shown["notes"] == found.notes

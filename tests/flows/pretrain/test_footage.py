"""`tubeflow pretrain tracker --footage`: from a folder of clips to weights, or to the sentence why there are none."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from data_catalog.synthetic.materials import Material
from flows.cli.main import app
from models.trackers import build_tracker
from models.trackers.siammask.person.person_network import PersonSiamMask
from tasks.pretrain.train_tracker import save_weights
from tests.support import REPO
from tests.support.material_packages import classifier, serve_materials, write_manifest
from tests.support.package_registries import Registries
from tests.support.video_files import write_video
from tests.support.weight_server import Server

FRAMES, SIDE = 12, 40


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registries]:
    with Server().running() as server:
        yield Registries(server, tmp_path, monkeypatch)


@pytest.fixture
def prepared(registries: Registries, tmp_path: Path) -> Path:
    """Three clips whose outlines are drawn, the list of materials, and NanoTrack's files, which nothing here opens."""
    for number in range(3):
        draw_clip(tmp_path / "clips", f"square{number}", np.random.default_rng(number))
    weights = registries.pip("tiny-weights", "1.0", {"weights/mobilenet_v2.pth": classifier()})
    pose = registries.pip("tiny-pose", "1.0", {"pose/full.tflite": b"never opened: no clip lacks an outline"})
    write_manifest(tmp_path / "materials.toml", [
        Material("mobilenet_v2", "weights", "made here", "none needed", "pip", ("*.pth",), (weights,)),
        Material("mediapipe_pose", "weights", "made here", "none needed", "pip", ("*.tflite",), (pose,)),
    ])  # fmt: skip
    (tmp_path / "ws/weights").mkdir(parents=True)
    for part in ("backbone", "head"):
        (tmp_path / f"ws/weights/nanotrack_v3_{part}.onnx").write_bytes(b"never opened")
    return tmp_path


def draw_clip(folder: Path, name: str, rng: np.random.Generator) -> None:
    """A bright square that crosses a dark picture, its place in every frame, and its pixels."""
    ground = rng.integers(0, 60, (96, 160, 3), np.uint8)
    frames, masks, rows = [], np.zeros((FRAMES, 96, 160), bool), ["frame,x,y,w,h"]
    for number in range(FRAMES):
        x, y = 10 + 8 * number, 20 + number
        frame = ground.copy()
        frame[y : y + SIDE, x : x + SIDE] = rng.integers(180, 256, 3)
        masks[number, y : y + SIDE, x : x + SIDE] = True
        frames.append(frame)
        rows.append(f"{number},{x},{y},{SIDE},{SIDE}")
    write_video(folder / f"{name}.mp4", frames)
    (folder / f"{name}_gt.csv").write_text("\n".join(rows) + "\n")
    np.savez(folder / f"{name}_mask.npz", bits=np.packbits(masks, axis=-1), shape=masks.shape)


def words_of(folder: Path) -> list[str]:
    return ["pretrain", "tracker", "--footage", str(folder / "clips"), "-w", str(folder / "ws"),
            "--manifest", str(folder / "materials.toml"), "--out", str(folder / "own.safetensors")]  # fmt: skip


def adapt(folder: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*words_of(folder), *words])
    return result.exit_code, result.stdout if "--json" in words else " ".join(result.output.split())


def too_small(file: Path) -> Path:
    """Weights whose boxes are a few pixels wide, whoever is shown: there is much to gain."""
    torch.manual_seed(0)
    network = PersonSiamMask()
    last = network.box[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    torch.nn.init.constant_(last.bias[:4], -3.0)
    torch.nn.init.constant_(network.score[-1].bias, 3.0)
    save_weights(network.eval(), file)
    return file


def test_weights_that_are_of_the_form_go_on_and_gain(prepared: Path) -> None:
    before = too_small(prepared / "before.safetensors")
    status, text = adapt(prepared, "--from", str(before), "--steps", "3", "--procedural", "1", "--json")
    assert status == 0, text
    made = json.loads(text)
    assert made["agreement"] > made["agreement_before"]
    assert made["agreement_before"] < 0.5
    assert (made["clips"], made["held_out"]) == (3, 1)   # two of the three, and the rendered one
    file = prepared / "own.safetensors"
    assert made["size"] == file.stat().st_size
    note = json.loads(file.with_suffix(".json").read_text())
    assert note["recipe"]["steps"] == 3
    assert sum("procedural" in name for name in note["footage"]) == 1
    frames = np.random.default_rng(0).integers(0, 256, (3, 90, 120, 3), np.uint8)
    [tube] = build_tracker("siammask", weights=file).track(frames, np.array([[30, 20, 70, 60]], np.float32))
    assert tube.quads.shape == (3, 4, 2)


def test_composed_sequences_are_mixed_in_and_made_once(prepared: Path, registries: Registries) -> None:
    """Pictures come by package name, as in the recipe without footage."""
    pose = (prepared / "materials.toml").read_text().partition("[mediapipe_pose]")
    manifest = serve_materials(registries, prepared, prepared / "ws/pretrain/materials")
    manifest.write_text(manifest.read_text() + "".join(pose[1:]))
    before = too_small(prepared / "before.safetensors")
    words = ["--from", str(before), "--steps", "2", "--sequences", "4", "--people", "0",
             "--material", "views", "--material", "tuxpaint", "--json"]  # fmt: skip
    status, text = adapt(prepared, *words)
    assert status == 0, text
    [part] = (prepared / "ws/pretrain/labels").glob("composed-*/sequences-*.npy")
    composed, made = np.lib.format.open_memmap(part, "r"), part.stat().st_mtime_ns
    assert composed.shape == (60,)   # 4, rounded up to a part
    assert composed["searches"].std() > 10
    assert json.loads((prepared / "own.json").read_text())["composed"]["sequences"] == 4
    first = (prepared / "own.safetensors").read_bytes()
    status, text = adapt(prepared, *words)
    assert (status, part.stat().st_mtime_ns) == (0, made)
    assert (prepared / "own.safetensors").read_bytes() == first   # and the same comes out


def test_where_nothing_is_gained_nothing_is_written(prepared: Path) -> None:
    status, text = adapt(prepared, "--from", "siammask-s", "--steps", "1")   # begins with ImageNet
    assert status == 2
    assert "Nothing was gained: on 1 clips that were not trained on the tracker agrees with the labels to" in text
    assert not (prepared / "own.safetensors").exists()
    assert not list(prepared.glob(".candidate*"))


def test_a_clip_whose_outlines_are_damaged_is_left_out_in_a_sentence(prepared: Path) -> None:
    """In a process of its own: what it says is the user's to see."""
    mask = prepared / "clips/square1_mask.npz"
    mask.write_bytes(mask.read_bytes()[:60])
    before = too_small(prepared / "before.safetensors")
    command = [sys.executable, "-m", "flows.cli", *words_of(prepared), "--from", str(before), "--steps", "2", "--json"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["clips"] + made["held_out"] == 2
    assert f"{prepared / 'clips/square1.mp4'} is left out: {mask}" in " ".join(done.stderr.split())


def test_one_clip_is_too_few(prepared: Path) -> None:
    for number in (1, 2):
        (prepared / f"clips/square{number}.mp4").unlink()
        (prepared / f"clips/square{number}_gt.csv").unlink()
        (prepared / f"clips/square{number}_mask.npz").unlink()
    status, text = adapt(prepared)
    assert status == 2
    assert "The teachers agree on somebody in 1 of" in text

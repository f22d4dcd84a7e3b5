"""`tubeflow weights`, and what a name of weights means in a config."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.weights.registry import Weights, load_registry
from data_catalog.weights.resolve import resolve_weights
from flows.cli.main import app
from flows.config import load_config, preset_names
from flows.maintenance import weights_status
from flows.stages import CLIP_STAGES, DATASET_STAGES, section
from tasks.detect import DetectConfig
from tasks.engine.plan import Planner
from tasks.track import TrackConfig
from tasks.training.config import ModelConfig
from tests.support.weight_server import Rule, Server, write_registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Workspace.open(tmp_path / "ws").weights


def call(tmp_path: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["weights", *words, "-w", str(tmp_path / "ws")])
    return result.exit_code, result.stdout if "--json" in words else result.output


def test_list_names_every_registered_file(tmp_path: Path, folder: Path) -> None:
    (folder / "yolo11n.pt").write_bytes(b"12345")
    status, text = call(tmp_path, "list", "--json")
    rows = {row["file"]: row for row in json.loads(text)}
    assert status == 0
    assert rows.keys() == {file.file for entry in load_registry().values() for file in entry.files}
    assert (rows["yolo11n.pt"]["state"], rows["yolo11n.pt"]["bytes"]) == ("present", 5)
    assert (rows["nanodet_m.onnx"]["state"], rows["nanodet_m.onnx"]["bytes"]) == ("missing", 3800954)
    assert all(row["licence"] and row["citation"] and row["page"] for row in rows.values())
    assert "nanotrack_v2_backbone.onnx" in call(tmp_path, "list")[1]


def test_pull_tells_a_wrong_name_before_it_downloads(tmp_path: Path, folder: Path) -> None:
    status, text = call(tmp_path, "pull", "nanotrack_v2", "nanotrack_v4")
    assert status == 2
    assert "did you mean 'nanotrack_v" in text
    assert not list(folder.iterdir())


def test_pull_goes_on_after_one_that_is_not_to_be_had(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # this machine may have a proxy for everything else
    with Server().running() as server:
        server.rules["/net.bin"] = Rule(b"network")
        entries = write_registry(tmp_path / "registry", "net", file="net.bin", url=f"{server.url}/net.bin")
        write_registry(entries, "by_hand", file="by_hand.bin")
        monkeypatch.setattr(weights_status, "load_registry", lambda: load_registry(entries))
        status, text = call(tmp_path, "pull", "by_hand", "net", "--json")
    found = json.loads(text)
    assert (status, found["files"]) == (2, [str(folder / "net.bin")])
    assert (folder / "net.bin").read_bytes() == b"network"
    assert "by_hand.bin of 'by_hand' is handed out on page of by_hand only" in found["failed"][0]


def test_weights_that_only_a_person_can_fetch_say_how(tmp_path: Path) -> None:
    status, text = call(tmp_path, "pull", "i3d_charades")
    assert status == 2
    assert "https://github.com/nzl-thu/MUSDL" in text
    assert "tubeflow weights add FILE" in " ".join(text.split())


def test_add_and_verify(tmp_path: Path, folder: Path) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"network")
    assert call(tmp_path, "add", str(mine))[0] == 0
    assert (folder / "mine.onnx").read_bytes() == b"network"
    status, text = call(tmp_path, "verify", "--json")
    assert status == 0
    states = {row["file"]: row["state"] for row in json.loads(text)}
    assert states.pop("mine.onnx") == "unregistered"
    assert set(states.values()) == {"verified"}   # what ships with Tubeflow
    (folder / "mine.onnx").write_bytes(b"another")
    status, text = call(tmp_path, "verify")
    assert status == 1
    assert "changed" in text
    assert call(tmp_path, "add", str(tmp_path / "absent"))[0] == 2


@pytest.mark.parametrize("preset", preset_names())
def test_presets_name_registered_weights(preset: str) -> None:
    config = load_config(preset)
    for weights in (config.detect.weights, config.track.weights, config.model.weights):
        assert weights is None or weights in load_registry()


def put(folder: Path, entry: Weights) -> None:
    for file in entry.files:
        (folder / file.file).write_bytes(file.file.encode())


NANO = ("track.tracker=nano", "track.weights=nanotrack_v2")  # weights that have to be fetched


def test_a_name_is_one_and_the_same_in_every_section(folder: Path) -> None:
    registry = load_registry()
    for name in ("nanotrack_v2", "yolo11n", "i3d_charades"):
        put(folder, registry[name])
    config = load_config("mtl_aqa", ["detect.detector=yolo", "detect.weights=yolo11n", *NANO])
    stages = {stage.name: stage for stage in CLIP_STAGES + DATASET_STAGES}
    named = {name: stages[name].weights(section(stages[name], config), folder) for name in ("detect", "track", "train")}
    assert named == {
        "detect": {"yolo11n.pt": folder / "yolo11n.pt"},
        "track": {f"nanotrack_v2_{part}.onnx": folder / f"nanotrack_v2_{part}.onnx" for part in ("backbone", "head")},
        "train": {"rgb_i3d_pretrained.pt": folder / "rgb_i3d_pretrained.pt"},
    }


@pytest.mark.parametrize(
    ("section_name", "told"),
    [("track", "run `tubeflow weights pull nanotrack_v2`"), ("train", "tubeflow weights add FILE")],
)
def test_missing_weights_say_what_to_type(folder: Path, section_name: str, told: str) -> None:
    config = load_config("mtl_aqa", NANO)
    stage = next(stage for stage in CLIP_STAGES + DATASET_STAGES if stage.name == section_name)
    planner = Planner(Workspace(folder.parent), "d", [])
    with pytest.raises(CatalogError) as caught:
        planner.weights(stage, section(stage, config))
    assert told in str(caught.value)


def test_a_file_of_ones_own_by_name_prefix_and_path(folder: Path, tmp_path: Path) -> None:
    for part in ("a", "b"):
        (folder / f"my{part}.bin").touch()
    (tmp_path / "elsewhere.pt").touch()
    assert resolve_weights("my", folder, suffixes=("a.bin", "b.bin")) == folder / "my"
    assert resolve_weights("mya.bin", folder) == folder / "mya.bin"
    assert resolve_weights(tmp_path / "elsewhere.pt", folder) == tmp_path / "elsewhere.pt"
    with pytest.raises(ValueError, match="no registered weights are called 'my'"):
        resolve_weights("my", folder, suffixes=("a.bin", "c.bin"))


def test_a_registered_file_may_be_called_by_its_own_name(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"weights 'nanodet_m' are not in .* run `tubeflow weights pull nanodet_m`"):
        resolve_weights("nanodet_m.onnx", folder)


def test_where_weights_lie_is_not_in_the_key() -> None:
    for config in (TrackConfig(weights="x"), DetectConfig(weights="x"), ModelConfig(weights="i3d_charades")):
        assert "weights" not in config.key_view()
    assert ModelConfig(weights="a/b.pt").key_view() == ModelConfig(weights="i3d_charades").key_view()
    assert ModelConfig(backbone="r3d_18", weights="kinetics").key_view()["weights"] == "kinetics"

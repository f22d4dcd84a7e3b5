"""Folders that transformers saved, and a hub's repositories: a real server on loopback stands for the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.weights.download import Patience
from data_catalog.weights.registry import DIGESTS, WeightsError
from data_catalog.weights.saved_networks import is_repository, pull_repository, saved_network
from flows.cli.main import app
from tests.support.weight_server import Rule, Server

NAME = "some-lab/videomae.small"
FILES = {"config.json": b'{"model_type": "videomae"}', "preprocessor_config.json": b"{}", "model.safetensors": b"12345"}
HASTY = Patience(timeout_s=5, tries=1, pause_s=0)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # this machine may have a proxy for everything else
    with Server().running() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
        for file in ("config.json", "preprocessor_config.json", "video_preprocessor_config.json", "model.safetensors",
                     "pytorch_model.bin"):  # fmt: skip
            server.rules[address(file)] = Rule(FILES[file]) if file in FILES else Rule(status=404)
        yield server


def address(file: str) -> str:
    return f"/{NAME}/resolve/main/{file}"


def test_a_repository_is_pulled_into_a_folder_of_its_own(hub: Server, tmp_path: Path) -> None:
    pulled = pull_repository(NAME, tmp_path, patience=HASTY)
    own = tmp_path / "some-lab--videomae.small"
    assert pulled == [own / "model.safetensors", own / "config.json", own / "preprocessor_config.json"]
    assert {file.name: file.read_bytes() for file in pulled} == FILES
    assert saved_network(NAME, tmp_path) == tuple(pulled)
    assert json.loads((own / DIGESTS).read_text()).keys() == FILES.keys()
    asked = len(hub.requests)
    pull_repository(NAME, tmp_path, patience=HASTY)
    assert all(hub.rules[request.path].status == 404 for request in hub.requests[asked:]), "what is here isn't fetched"


def test_what_has_changed_on_the_hub_is_not_taken_silently(hub: Server, tmp_path: Path) -> None:
    pull_repository(NAME, tmp_path, patience=HASTY)
    (tmp_path / "some-lab--videomae.small" / "model.safetensors").unlink()
    hub.rules[address("model.safetensors")] = Rule(b"54321")
    with pytest.raises(WeightsError, match=r"model\.safetensors from http.* was refused: its SHA-256 is"):
        pull_repository(NAME, tmp_path, patience=HASTY)


def test_weights_of_before_safetensors_are_pulled(hub: Server, tmp_path: Path) -> None:
    hub.rules[address("model.safetensors")] = Rule(status=404)
    hub.rules[address("pytorch_model.bin")] = Rule(b"tensors")
    assert pull_repository(NAME, tmp_path, patience=HASTY)[0].name == "pytorch_model.bin"


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_repository_that_is_not_to_be_had_is_one_sentence(status: int, hub: Server, tmp_path: Path) -> None:
    hub.rules[address("config.json")] = Rule(status=status)
    with pytest.raises(WeightsError) as caught:
        pull_repository(NAME, tmp_path, patience=HASTY)
    told = str(caught.value)
    place = tmp_path / "some-lab--videomae.small"
    assert f"config.json of '{NAME}' could not be fetched from {hub.url} to {place}" in told
    assert str(status) in told
    assert "give the path of their folder as model.weights" in told
    assert "\n" not in told


def test_offline_it_is_the_same_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port `discard`, on which nothing listens
    with pytest.raises(WeightsError, match=r"could not be fetched from http://127\.0\.0\.1:9 to .*cannot be reached"):
        pull_repository(NAME, tmp_path, patience=HASTY)


def test_the_command_pulls_and_tells_what_a_config_then_says(hub: Server, tmp_path: Path) -> None:
    root = tmp_path / "w"
    Workspace.open(root)
    with pytest.raises(WeightsError, match=f"run `tubeflow weights pull {NAME}`, or give the path of a folder"):
        saved_network(NAME, root / "weights")
    done = CliRunner().invoke(app, ["weights", "pull", NAME, "-w", str(root), "--json"])
    assert done.exit_code == 0, done.output
    file = root / "weights" / "some-lab--videomae.small" / "model.safetensors"
    assert json.loads(done.stdout)["files"][0] == str(saved_network(NAME, root / "weights")[0]) == str(file)

    def listed(command: str) -> dict[str, str]:
        rows = json.loads(CliRunner().invoke(app, ["weights", command, "-w", str(root), "--json"]).stdout)
        return {row["file"]: row["state"] for row in rows if row["name"] == NAME}

    assert listed("list") == listed("verify") == dict.fromkeys(FILES, "unregistered")
    file.write_bytes(b"12346")
    assert listed("verify") == {**dict.fromkeys(FILES, "unregistered"), "model.safetensors": "changed"}


@pytest.mark.parametrize(
    "name", ["../up", "a/..", "/a/b", "a/b/c", "a\\b/c", ".a/b", "a/.b", "a/b\n", "a//b", "a--b/c", "yolo11n"]
)
def test_a_name_never_leads_out_of_the_weights_folder(name: str) -> None:
    assert not is_repository(name)


def test_folders_and_files_come_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "some-lab" / "videomae.small"
    own.mkdir(parents=True)
    for file, content in FILES.items():
        (own / file).write_bytes(content)
    (own / "pytorch_model.bin").write_bytes(b"older")
    assert [file.name for file in saved_network(NAME, tmp_path / "weights")] == [
        "model.safetensors", "config.json", "preprocessor_config.json"
    ]  # fmt: skip
    assert [file.name for file in saved_network(f"{NAME}/config.json", tmp_path)] == [
        "config.json", "preprocessor_config.json"
    ]  # fmt: skip

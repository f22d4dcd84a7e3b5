"""Commands that look at a workspace and change nothing: inspect, explain, flops, status."""

import json
from dataclasses import asdict
from pathlib import Path

import av
import h5py
import pytest
from PIL import Image
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from flows import console
from flows.cli.main import app
from flows.maintenance.explain import explain
from flows.maintenance.status import read_status
from flows.report.attention_cost import count_flops
from flows.stages import STAGE_NAMES
from tests.support.tiny_workspace import copy_workspace

CLIP = "diving_0003"


def call(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_inspect_prints_the_mask_and_draws(finished_workspace: Path, tmp_path: Path) -> None:
    text = call("inspect", CLIP, "-w", str(finished_workspace), "--out", str(tmp_path))
    with h5py.File(mask_file(finished_workspace)) as file:
        selected = int(file["mask"][:].sum())
    assert f"{selected} of" in text
    assert Image.open(tmp_path / f"{CLIP}.png").width > 1000
    assert Image.open(tmp_path / f"{CLIP}_tube.png").width == 1200
    with av.open(str(tmp_path / f"{CLIP}.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 24


def test_inspect_writes_into_the_workspace(
    finished_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "ws")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = call("inspect", CLIP, "-w", str(root))
    pictures = root / "pictures" / "tiny"
    assert sorted(path.name for path in pictures.iterdir()) == [f"{CLIP}.mp4", f"{CLIP}.png", f"{CLIP}_tube.png"]
    assert all(str(path) in text for path in pictures.iterdir())
    assert not list(Path.cwd().iterdir())


def mask_file(root: Path) -> Path:
    for path in root.glob("artifacts/masks/*/*.h5"):
        with h5py.File(path) as file:
            if file.attrs["clip_id"] == CLIP:
                return path
    raise AssertionError(f"no masks of {CLIP}")


@pytest.mark.parametrize("name", ["clip", "key", "path"])
def test_explain_prints_the_chain_to_the_source(finished_workspace: Path, tiny_videos: Path, name: str) -> None:
    path = mask_file(finished_workspace)
    asked = {"clip": CLIP, "key": path.stem, "path": str(path)}[name]
    chains = json.loads(call("explain", asked, "-w", str(finished_workspace), "--json"))
    assert [one["stage"] for one in chains[0]] == ["masks", "track", "detect", "normalize"]
    record = explain(Workspace(finished_workspace), asked)
    assert chains == json.loads(json.dumps([[asdict(one) for one in chain] for chain in record]))
    source = Workspace(finished_workspace).sources
    clip = tiny_videos / "videos" / f"{CLIP}.mp4"
    normalized = next(one for one in chains[0] if one["stage"] == "normalize")
    assert normalized["inputs"]["source"] == source.known(clip)
    with h5py.File(path) as file:  # what h5dump -A shows
        assert json.loads(file.attrs["config"]) == chains[0][0]["config"]
        assert json.loads(file.attrs["parents"]) == chains[0][0]["parents"]
    text = call("explain", asked, "-w", str(finished_workspace))
    assert path.stem in text.replace("\n", "")


def test_explain_of_nothing_is_a_sentence(finished_workspace: Path) -> None:
    result = CliRunner().invoke(app, ["explain", "nobody", "-w", str(finished_workspace)])
    assert result.exit_code == 2
    assert "nobody" in result.stderr
    assert "Traceback" not in result.stderr


def test_flops_counts_the_real_tubes(finished_workspace: Path) -> None:
    rows = json.loads(call("flops", "tiny", "-w", str(finished_workspace), "--json"))
    assert [row["clips"] for row in rows] == [4]
    assert rows == [asdict(row) for row in count_flops(Workspace(finished_workspace), "tiny", None, [])]
    positions = []
    for path in finished_workspace.glob("artifacts/masks/*/*.h5"):
        with h5py.File(path) as file:
            positions.append(int(file["mask"][:].sum()))
    assert rows[0]["tube"]["positions"] == sum(positions) // 4
    assert rows[0]["dense"]["positions"] == 2 * 4 * 14 * 14
    assert rows[0]["tube"]["published"] < rows[0]["dense"]["published"]
    assert "saved" in call("flops", CLIP, "-w", str(finished_workspace))


def test_status_shows_what_is_done(finished_workspace: Path) -> None:
    status = json.loads(call("status", "-w", str(finished_workspace), "--json"))
    assert status == json.loads(json.dumps(read_status(Workspace(finished_workspace))))
    stages = status["datasets"]["tiny"]["stages"]
    assert {name: (one["done"], one["wanted"]) for name, one in stages.items()} == {
        **dict.fromkeys(("normalize", "detect", "track", "masks"), (4, 4)),
        **dict.fromkeys(("pack", "train", "evaluate"), (1, 1)),
    }
    assert len(status["runs"]) == 1


def test_status_names_every_stage_on_a_narrow_terminal(
    finished_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.out, "width", 80)
    lines = call("status", "-w", str(finished_workspace)).splitlines()
    (heading,) = (line for line in lines if line.startswith("dataset"))
    assert heading.split() == ["dataset", "clips", *STAGE_NAMES, "quarantined"]
    assert len(heading) <= 80
    assert next(line.split() for line in lines if line.startswith("tiny"))[2:6] == ["4/4"] * 4

"""Every command says what it found damaged and mended, and what it removed is made again by the command it names."""

import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from flows.cli.main import app
from flows.runs.record import read_runs
from tests.support.damage import rot
from tests.support.tiny_workspace import SETTINGS, copy_workspace, digests, run

OVERRIDES = [word for setting in SETTINGS for word in ("-o", setting)]


@pytest.fixture
def root(finished_workspace: Path, tmp_path: Path) -> Path:
    copied = copy_workspace(finished_workspace, tmp_path / "w")
    workspace = Workspace(copied)
    for stage in ("normalize", "detect", "track", "masks", "pack", "train", "evaluate"):
        workspace.index.check(stage, workspace.store.scan(stage))
    workspace.index.save()
    return copied


def command(root: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "-w", str(root)])


def masks_of(root: Path, clip: str) -> Path:
    store = Workspace(root).store
    paths = sorted(root.glob("artifacts/masks/??/*.h5"))
    return next(path for path in paths if store.lineage("masks", path.stem).clip_id == clip)


@pytest.mark.parametrize("words", [["status"], ["catalog"], ["plan", "demo", "-d", "tiny", *OVERRIDES]])
def test_what_a_command_mends_it_says_once(root: Path, words: list[str]) -> None:
    index, info = root / "catalog/artifacts.parquet", root / "catalog/datasets/tiny/dataset.json"
    for path in (index, info):
        path.write_text("x")
    first = command(root, *words)
    assert first.exit_code == 0, first.output
    assert f"{index} is damaged; it was rebuilt" in first.stderr
    assert f"{info} was missing or damaged; it was written again" in first.stderr
    second = command(root, *words)
    assert (second.exit_code, second.stderr) == (0, "")


def test_a_rotten_artifact_is_removed_by_who_reads_it_and_made_again_by_the_command_it_names(
    root: Path, tmp_path: Path
) -> None:
    content, path = digests(root), masks_of(root, "diving_0002")
    rot(path)
    result = command(root, "inspect", "diving_0002", "--out", str(tmp_path / "pictures"))
    assert result.exit_code == 2
    (sentence,) = result.stderr.splitlines()
    assert sentence == (
        f"{path} doesn't match its checksum; it was removed, and is made again by: "
        "tubeflow run PRESET --dataset tiny --until masks"
    )
    assert not path.exists()
    assert run(root, selected=("normalize", "detect", "track", "masks")).stages["masks"].computed == 1
    assert digests(root) == content


def test_rot_that_verify_found_is_remembered(root: Path) -> None:
    path = masks_of(root, "diving_0002")
    rot(path)
    words = ["plan", "demo", "-d", "tiny", *OVERRIDES]
    assert "damaged" not in command(root, *words).output
    assert f"{path} doesn't match its checksum" in command(root, *words, "--verify").output
    assert f"{path} doesn't match its checksum" in command(root, *words).output


def test_damaged_results_of_a_run_are_written_again(root: Path) -> None:
    (record,) = read_runs(Workspace(root))
    folder = root / "runs" / record.run_id
    whole = {name: (folder / name).read_bytes() for name in ("predictions.parquet", "metrics.json")}
    (folder / "predictions.parquet").write_bytes(b"x")
    shutil.rmtree(folder / "clips")
    (folder / "metrics.json").unlink()
    result = command(root, "compare", "last")
    assert result.exit_code == 0, result.output
    for name in whole:
        assert f"{folder / name}" in result.stderr
    assert {name: (folder / name).read_bytes() for name in whole} == whole
    status = command(root, "status")
    assert "damaged or gone; the same run again makes a new one" in status.stderr
    assert command(root, "status").stderr == ""


def test_a_workspace_whose_corrections_are_lost_has_a_status(root: Path) -> None:
    assert command(root, "labels", "set", "diving_0002", "score=50").exit_code == 0
    edits = root / "catalog/datasets/tiny/edits.jsonl"
    edits.unlink()
    result = command(root, "status")
    assert result.exit_code == 0
    assert f"Corrections of labels are lost: {edits}" in result.output
    refused = command(root, "plan", "demo", "-d", "tiny", *OVERRIDES)
    assert refused.exit_code == 2
    assert "put the file back from a backup" in refused.stderr

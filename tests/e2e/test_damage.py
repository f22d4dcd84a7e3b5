"""Damage any file of a workspace: it is noticed, said in one sentence, and only what is needed is made again.

Files of artifacts and packs also with the modification time put back, as a failing disk would leave it. The damaged
workspace is planned and run by the engine; a run of cached stages costs milliseconds.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.schemas import ARTIFACTS, CLIPS, SOURCES, read_table
from flows.datasets.ingest import ingest
from flows.runs.record import read_runs
from flows.runs.summary import RunSummary
from flows.stages import STAGE_NAMES
from tasks.training.checkpoints import find_checkpoint
from tests.support import REPO
from tests.support.tiny_workspace import copy_workspace, digests, forget_reports, identities, leftovers, plan, run

CLIP_STAGES = STAGE_NAMES[:4]
WITHOUT_REPORT = STAGE_NAMES[:6]


@pytest.fixture
def copied(finished_workspace: Path, tmp_path: Path) -> Path:
    """A copy whose index knows it."""
    root = copy_workspace(finished_workspace, tmp_path / "w")
    workspace = Workspace(root)
    for stage in STAGE_NAMES:
        assert not workspace.index.check(stage, workspace.store.scan(stage))[1]
    workspace.index.save()
    return root


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    with path.open("r+b") as file:
        file.write(data)


def flip_keeping_times(path: Path) -> None:
    stat = path.stat()
    flip(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def flip_a_value(path: Path) -> None:
    """Flip the first bit that says something: many bits of a parquet file (statistics, padding) say nothing."""
    whole = path.read_bytes()
    schema = {"artifacts.parquet": ARTIFACTS, "sources.parquet": SOURCES, "clips.parquet": CLIPS}.get(path.name)
    for at in range(8 if schema else whole.index(b'"root"') + 12, len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 4
        path.write_bytes(changed)
        if schema is None:
            return
        try:
            read_table(path, schema)
        except ArtifactDamaged:
            return
    raise AssertionError(f"no bit of {path} says anything")


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(0)


def other_content(path: Path) -> None:
    other = next(one for one in sorted(path.parents[1].glob("??/*.h5")) if one != path)
    shutil.copy(other, path)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "delete": Path.unlink,
    "flip": flip,
    "flip keeping times": flip_keeping_times,
    "cut": cut,
    "empty": empty,
}


def computed(summary: RunSummary) -> dict[str, int]:
    return {name: count.computed for name, count in summary.stages.items() if count.computed}


def artifact(root: Path, stage: str) -> Path:
    return sorted(root.glob(f"artifacts/{stage}/??/*.h5"))[0]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("stage", WITHOUT_REPORT)
def test_a_damaged_artifact_alone_is_made_again(copied: Path, stage: str, how: str) -> None:
    path, content = artifact(copied, stage), digests(copied)
    others = {name: mark for name, mark in identities(copied).items() if not name.endswith(path.name)}
    DAMAGE[how](path)
    summary = run(copied, selected=WITHOUT_REPORT)
    assert computed(summary) == {stage: 1}
    said = [note for note in summary.notes if str(path) in note]
    assert len(said) == (how != "delete")
    assert all("made again" in sentence and "\n" not in sentence for sentence in said)
    assert digests(copied) == content
    assert others.items() <= identities(copied).items()
    assert computed(run(copied, selected=WITHOUT_REPORT)) == {}


def test_a_whole_artifact_of_another_clip_is_not_taken_for_this_one(copied: Path) -> None:
    path, content = artifact(copied, "track"), digests(copied)
    other_content(path)
    summary = run(copied, selected=WITHOUT_REPORT)
    assert computed(summary) == {"track": 1}
    assert any("another key" in note for note in summary.notes)
    assert digests(copied) == content


def test_a_damaged_evaluation_is_made_again(copied: Path) -> None:
    content = digests(copied)
    flip(artifact(copied, "evaluate"))
    summary = run(copied)
    assert computed(summary) == {"evaluate": 1}
    assert digests(copied) == content


def test_damage_that_hides_from_the_stat_is_found_by_reading_and_by_verify(copied: Path) -> None:
    """A disk that loses a bit changes no time at all: the index believes that this is what it saw last."""
    path = artifact(copied, "normalize")
    flip(path)
    workspace = Workspace(copied)
    row = workspace.index.rows["normalize", path.stem]
    stat = path.stat()
    seen = row._replace(mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns, inode=stat.st_ino, size=stat.st_size)
    workspace.index.add(seen)
    workspace.index.save()
    assert plan(copied)["normalize"].reasons == {}
    assert list(plan(copied, verify=True)["normalize"].reasons.values()) == ["artifact damaged"]
    other_tau = run(copied, "detect.min_score=0.3", selected=CLIP_STAGES)  # reads it as a parent
    assert other_tau.failures == []
    assert f"{path} doesn't match its checksum; it was made again." in other_tau.notes
    assert computed(other_tau) == {"normalize": 1, "detect": 4, "track": 4, "masks": 4}
    assert all(count.clips == 4 for count in other_tau.stages.values())
    assert other_tau.stages["normalize"].hits == 3
    again = run(copied, "detect.min_score=0.3", selected=CLIP_STAGES)
    assert (computed(again), again.notes) == ({}, [])


def rot(path: Path) -> None:
    """Flip a bit as a failing disk does: the index is told that the stat is what it saw last."""
    flip(path)
    root, stat = path.parents[3], path.stat()
    workspace = Workspace(root)
    row = workspace.index.rows[path.parts[-3], path.stem]
    seen = row._replace(mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns, inode=stat.st_ino, size=stat.st_size)
    workspace.index.add(seen)
    workspace.index.save()


def test_a_pack_that_rots_is_made_again_by_the_run_that_finds_it(copied: Path) -> None:
    path, content = artifact(copied, "pack"), digests(copied)
    rot(path)
    first = run(copied, "train.seed=5", selected=WITHOUT_REPORT)
    assert first.failures == []
    assert computed(first) == {"pack": 1, "train": 1}
    assert [note for note in first.notes if str(path) in note and "it was made again" in note]
    assert content.items() <= digests(copied).items()
    assert computed(run(copied, "train.seed=5", selected=WITHOUT_REPORT)) == {}


def test_a_stage_that_was_not_asked_for_is_made_again_where_another_needs_it(copied: Path) -> None:
    """Rotten, gone and plainly damaged parents of a single stage."""
    content = digests(copied)
    rotten, damaged, gone = sorted(copied.glob("artifacts/normalize/??/*.h5"))[:3]
    rot(rotten)
    flip(damaged)
    artifact(copied, "pack").unlink()
    summary = run(copied, selected=("pack",))
    assert summary.failures == []
    assert computed(summary) == {"normalize": 2, "pack": 1}
    for path in (rotten, damaged):
        assert any(str(path) in note and "it was made again" in note for note in summary.notes)
    assert digests(copied) == content
    assert gone.exists()


@pytest.mark.parametrize("stage", ["normalize", "track", "masks", "train", "evaluate"])
def test_what_the_report_finds_rotten_is_made_again_within_the_run(copied: Path, stage: str) -> None:
    """Every stage is cached, so that nothing else reads it."""
    forget_reports(copied)
    content, path = digests(copied), artifact(copied, stage)
    rot(path)
    summary = run(copied)
    assert summary.failures == []
    assert computed(summary) == {stage: 1}
    assert f"{path} doesn't match its checksum; it was made again." in summary.notes
    assert summary.report is not None
    assert Path(summary.report).is_file()
    assert digests(copied) == content
    assert run(copied).notes == []


def test_a_report_that_fails_takes_nothing_with_it(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_picture(*args: Any, **settings: Any) -> Path:
        raise RuntimeError("the drawing library gave up")

    forget_reports(copied)
    monkeypatch.setattr("flows.report.build.dataset_sheet", no_picture)
    summary = run(copied)
    assert [note for note in summary.notes if "report could not be written" in note and "drawing library" in note]
    assert (summary.report, summary.failures) == (None, [])
    record = read_runs(Workspace(copied))[-1]
    assert record.run_id == summary.run_id
    assert record.metrics == summary.metrics != {}
    assert list(record.notes) == summary.notes


def test_a_run_that_is_killed_in_its_report_is_recorded(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: Any, **settings: Any) -> Path:
        raise KeyboardInterrupt

    forget_reports(copied)
    monkeypatch.setattr("flows.report.build.dataset_sheet", killed)
    before = len(read_runs(Workspace(copied)))
    with pytest.raises(KeyboardInterrupt):
        run(copied)
    runs = read_runs(Workspace(copied))
    assert len(runs) == before + 1
    assert runs[-1].metrics


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(copied: Path, how: str) -> None:
    content = digests(copied)
    trained = artifact(copied, "train")
    trained.unlink()
    folder = trained.with_suffix(".work") / "checkpoints"
    newest, before = find_checkpoint(folder).path, sorted(folder.glob("*.ckpt"))[0]
    assert newest is not None
    assert newest != before
    DAMAGE[how](newest)
    summary = run(copied, selected=WITHOUT_REPORT)
    assert computed(summary) == {"train": 1}
    said = [note for note in summary.notes if str(newest) in note]
    assert len(said) == (how != "delete")
    assert all(f"training resumes from {before.name}" in sentence for sentence in said)
    assert digests(copied) == content


CATALOG = {
    "artifacts.parquet": "rebuilt",
    "sources.parquet": "computed again",
    "datasets/tiny/clips.parquet": "read again from",
    "datasets/tiny/dataset.json": "written again",
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", CATALOG)
def test_a_damaged_file_of_the_catalog_is_said_and_mended(copied: Path, name: str, how: str) -> None:
    path, before = copied / "catalog" / name, identities(copied)
    clips = Workspace(copied).datasets.clips("tiny")
    if how.startswith("flip"):
        flip_a_value(path)
    else:
        DAMAGE[how](path)
    summary = run(copied, selected=WITHOUT_REPORT)
    assert computed(summary) == {}
    assert identities(copied) == before
    said = [note for note in summary.notes if str(path) in note]
    if (name, how) != ("sources.parquet", "delete"):  # then digests are simply not known yet
        assert len(said) == 1
        assert CATALOG[name] in said[0]
    assert Workspace(copied).datasets.clips("tiny") == clips
    assert run(copied, selected=WITHOUT_REPORT).notes == []


def test_a_clip_table_that_cannot_be_read_again_is_one_sentence(tiny_videos: Path, tmp_path: Path) -> None:
    videos = Path(shutil.copytree(tiny_videos, tmp_path / "videos"))
    workspace = Workspace.open(tmp_path / "w")
    ingest(workspace, "tiny", "procedural", videos)
    shutil.rmtree(videos)
    (workspace.catalog / "datasets/tiny/clips.parquet").unlink()
    with pytest.raises(CatalogError, match=r"clips\.parquet is missing or damaged, .*can't be read again") as caught:
        run(workspace.root)
    assert "\n" not in str(caught.value)


def test_plan_mends_and_says_it_too(copied: Path) -> None:
    (copied / "catalog/datasets/tiny/clips.parquet").write_bytes(b"?")
    assert all(not one.reasons for one in plan(copied).values())


def test_files_that_may_not_be_read_are_noticed_and_made_again(
    copied: Path, where_permissions_bite: Callable[..., Any]
) -> None:
    content = digests(copied)
    closed = [artifact(copied, stage) for stage in ("normalize", "masks", "pack")]
    for path in [*closed, copied / "catalog/artifacts.parquet", copied / "catalog/datasets/tiny/dataset.json"]:
        path.chmod(0)
    script = (
        "import sys, json; from pathlib import Path; from tests.support.tiny_workspace import run\n"
        "summary = run(Path(sys.argv[1]), selected=sys.argv[2].split(','))\n"
        "print(json.dumps(summary.as_json()))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    result = where_permissions_bite(
        sys.executable, "-c", script, str(copied), ",".join(WITHOUT_REPORT), env=environment
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert {name: one["computed"] for name, one in summary["stages"].items() if one["computed"]} == {
        "normalize": 1, "masks": 1, "pack": 1,
    }  # fmt: skip
    for path in closed:
        assert any(f"{path} can't be read: permission denied" in note for note in summary["notes"])
    assert digests(copied) == content
    assert leftovers(copied) == []

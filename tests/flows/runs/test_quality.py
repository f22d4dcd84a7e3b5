"""Tubes are measured once by a run, judged again without frames, shown everywhere, and fail a strict run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.store import ArtifactDamaged
from flows.cli.main import app
from flows.runs import quality
from flows.runs.quality import judge_tubes, known_quality
from tasks.assessment.tube_checks import QualityConfig
from tests.support.tiny_workspace import copy_workspace, plan, run, tiny_config

SUSPECT_ALL = "quality.suspicious=0"


def known(root: Path, *overrides: str) -> dict[str, quality.TubeQuality]:
    config = tiny_config(*overrides)
    return known_quality(Workspace(root), plan(root, *overrides), config.quality)


@pytest.fixture
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on looking at frames is an error."""

    def refuse(*arguments: object) -> str:
        raise AssertionError("a tube was measured again")

    monkeypatch.setattr(quality, "_measure", refuse)


def test_a_run_judges_every_tube(finished_workspace: Path) -> None:
    rows = known(finished_workspace)
    assert sorted(rows) == [f"diving_{n:04d}" for n in range(4)]
    for clip, row in rows.items():
        assert (row.clip_id, row.dataset, row.frames, row.athletes) == (clip, "tiny", 24, 1)
        assert 0 <= row.suspicion <= 1
        assert bool(row.reasons) == (row.suspicion > 0)
        series = Workspace(finished_workspace).tube_quality.series(*row.pair)
        assert series is not None
        assert series.likeness.shape == (1, 24)
        assert series.likeness[0, 0] == pytest.approx(1, abs=0.3)


@pytest.mark.usefixtures("no_measuring")
def test_a_second_run_measures_nothing(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "copy")
    assert run(root).judged == 4


@pytest.mark.usefixtures("no_measuring")
def test_other_thresholds_judge_again_without_frames(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "copy")
    before, after = known(root), known(root, "quality.jump=0.001")
    assert all(len(after[clip].jumps) > len(before[clip].jumps) for clip in before)
    stored = {row.settings for row in Workspace(root).tube_quality.rows.values()}
    assert stored == {QualityConfig().digest()}  # looking changes nothing
    config = tiny_config("quality.jump=0.001")
    judge_tubes(Workspace(root), plan(root), config.quality, workers=1)
    assert {row.settings for row in Workspace(root).tube_quality.rows.values()} == {config.quality.digest()}


def test_a_lost_table_is_measured_again(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "copy")
    before = known(root)
    (root / "catalog" / "tube_quality.parquet").unlink()
    assert known(root) == {}
    steps: list[tuple[int, int]] = []
    config = tiny_config()
    judged = judge_tubes(
        Workspace(root),
        plan(root),
        config.quality,
        workers=2,
        advance=lambda done, total: steps.append((done, total)),
    )
    assert (judged.rows, judged.notes) == (before, [])
    assert steps == [(n, 4) for n in range(5)]


def test_a_damaged_artifact_is_an_error_that_a_run_mends_before_it_measures(
    finished_workspace: Path, tmp_path: Path
) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "copy")
    (root / "catalog" / "tube_quality.parquet").unlink()
    plans = plan(root)
    key = plans["normalize"].jobs["diving_0002"].key
    path = Workspace(root).store.path("normalize", key)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    config = tiny_config()
    with pytest.raises(ArtifactDamaged, match="checksum"):
        judge_tubes(Workspace(root), plans, config.quality, workers=1)
    summary = run(root)
    assert [note for note in summary.notes if str(path) in note]
    assert summary.judged == 4


def test_a_strict_run_names_the_suspicious_tubes(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "copy")
    summary = run(root, SUSPECT_ALL)
    assert len(summary.suspicious) == summary.judged == 4
    order = [row.suspicion for row in summary.suspicious]
    assert order == sorted(order, reverse=True)
    assert [one["clip"] for one in summary.as_json()["suspicious"]] == [row.clip_id for row in summary.suspicious]
    words = quality.suspicious_sentence(summary.suspicious)
    assert words == f"4 tubes are suspicious: {', '.join(row.clip_id for row in summary.suspicious)}"
    assert "Tubes to look at" in Path(str(summary.report)).read_text()


def test_status_and_sql_know_them(finished_workspace: Path, tmp_path: Path) -> None:
    root = copy_workspace(finished_workspace, tmp_path / "copy")
    run(root, SUSPECT_ALL)

    def call(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "-w", str(root)])
        assert result.exit_code == 0, result.output
        return result.stdout

    status = json.loads(call("status", "--json"))["datasets"]["tiny"]
    assert (status["judged"], len(status["suspicious"])) == (4, 4)
    assert "! tiny/diving_" in call("status")
    sql = "select clip_id, suspicion, reasons from tube_quality order by suspicion desc"
    rows = json.loads(call("catalog", "query", sql, "--json"))
    assert [row["clip_id"] for row in rows] == [row["clip_id"] for row in status["suspicious"]]

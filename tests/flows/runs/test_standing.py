"""A run that computes nothing takes the results of the one before over, as long as they would come out the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_catalog.catalog import Workspace
from flows.datasets.ingest import ingest
from flows.runs.record import RunRecord, read_runs
from tests.support.tiny_workspace import DATASET, forget_reports, run


def newest(root: Path) -> RunRecord:
    return read_runs(Workspace(root))[-1]


def files(root: Path, run_id: str) -> dict[str, bytes]:
    folder = root / "runs" / run_id
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != "run.json"}


def test_results_are_taken_over_whole_and_from_a_run_that_took_them_over(root: Path) -> None:
    (first,) = read_runs(Workspace(root))
    whole = files(root, first.run_id)
    for _ in range(2):
        summary = run(root)
        record = newest(root)
        assert summary.results_of == record.results_of == first.run_id
        assert files(root, summary.run_id) == whole
        assert (record.metrics, record.notes) == (first.metrics, first.notes)
        assert summary.report == str(root / "runs" / summary.run_id / "report.html")
        assert summary.contact_sheet == str(root / "runs" / summary.run_id / "contact_sheet.png")
        shutil.rmtree(root / "runs" / first.run_id / "clips", ignore_errors=True)  # the second run's are whole


def give_steps(root: Path) -> None:
    """Labels of steps, on which no key depends and which the report shows."""
    workspace = Workspace(root)
    info = workspace.datasets.info(DATASET)
    clips = [clip.clip_id for clip in workspace.datasets.clips(DATASET)]
    rows = "".join(f"{clip},flight,0,10\n{clip},entry,10,20\n" for clip in clips)
    (root / "steps.csv").write_text(f"clip,step,start,end\n{rows}")
    ingest(workspace, DATASET, info.adapter, Path(info.root), steps=root / "steps.csv")


def lose(name: str) -> Callable[[Path], None]:
    return lambda root: (root / "runs" / newest(root).run_id / name).unlink()


def spoil(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / "runs" / newest(root).run_id / name
        path.write_bytes(path.read_bytes() + b" ")

    return change


@pytest.mark.parametrize(
    "change",
    [give_steps, spoil("report.html"), lose("contact_sheet.png")],
    ids=["steps", "spoilt", "no-picture"],
)
def test_what_would_come_out_otherwise_or_is_not_whole_is_made_again(
    root: Path, change: Callable[[Path], None]
) -> None:
    before = newest(root)
    change(root)
    summary = run(root)
    assert summary.results_of is None
    assert all(count.computed == 0 for count in summary.stages.values())
    assert files(root, summary.run_id).keys() >= set(before.result_files)
    assert run(root).results_of == summary.run_id


@pytest.mark.parametrize("options", [{"verify": True}, {"clips": ("diving_0003",)}], ids=str)
def test_another_run_has_results_of_its_own(root: Path, options: dict[str, object]) -> None:
    assert run(root, **options).results_of is None


def test_a_setting_that_changes_the_page_alone_draws_a_new_one(root: Path) -> None:
    summary = run(root, "quality.suspicious=0.05")
    assert (summary.results_of, all(not count.computed for count in summary.stages.values())) == (None, True)
    assert len(summary.suspicious) > len(run(root).suspicious)


def test_a_run_without_a_report_has_none_to_take_over(root: Path) -> None:
    """One that was asked for none, as one that was killed while it drew it."""
    forget_reports(root)
    assert run(root, report=False).report is None
    summary = run(root)
    assert summary.results_of is None
    assert summary.report is not None
    assert Path(summary.report).is_file()

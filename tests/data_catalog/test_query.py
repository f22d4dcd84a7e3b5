"""SQL over the catalog: every table answers, and nothing outside can be read or written."""

from pathlib import Path

import pytest

from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets.records import ClipRecord, Listing, RejectedRow
from data_catalog.query import READERS, TABLES, query, select_clips
from data_catalog.tables.edits import Edit
from data_catalog.tables.quarantine import QuarantineRow


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    opened = Workspace.open(tmp_path / "ws")
    diving = [ClipRecord(f"d{i}", f"{i}.mp4", "train", "diving", score=10.0 * i, judges=(8.0,)) for i in range(4)]
    rejected = (RejectedRow("x", "labels.csv", 7, "its score is missing", "fill it in"),)
    opened.datasets.add(DatasetInfo("one", "folder", str(tmp_path)), Listing(tuple(diving), rejected))
    vault = (ClipRecord("v", "v.mp4", "test", "vault", score=5.0), ClipRecord("d1", "w.mp4", "test", "vault", label=1))
    opened.datasets.add(DatasetInfo("two", "folder", str(tmp_path)), Listing(vault))
    opened.datasets.edits("one").append([Edit("d3", "score", 30.0, 40.0, "anna", "2026-01-01T00:00:00+00:00")])
    opened.datasets.edits("one").append([Edit("d0", "bad", False, True, "anna", "2026-01-01T00:00:00+00:00")])
    opened.quarantine.add(QuarantineRow("one", "d1", "track", "ab" * 20, "why", "what to do", "2026-01-01"))
    run = opened.runs / "20260101-000000-aaaa"
    run.mkdir()
    (run / "run.json").write_text('{"run_id": "r", "dataset": "one", "seconds": 1.5, "metrics": {"last": {}}}')
    return opened


def test_the_example_of_the_documentation(workspace: Workspace) -> None:
    answer = query(workspace, "select action, avg(score) as mean from clips group by action order by action")
    assert answer.to_pylist() == [{"action": "diving", "mean": 17.5}, {"action": "vault", "mean": 5.0}]


def test_clips_of_all_datasets_with_edits(workspace: Workspace) -> None:
    rows = query(workspace, "select dataset, clip_id, score, bad from clips where clip_id in ('d0', 'd1', 'd3')")
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("one", "d0", 0.0, True), ("one", "d1", 10.0, False), ("one", "d3", 40.0, False), ("two", "d1", None, False),
    ]  # fmt: skip


def test_the_other_tables(workspace: Workspace) -> None:
    assert query(workspace, "select dataset, line, reason from rejected").to_pylist() == [
        {"dataset": "one", "line": 7, "reason": "its score is missing"}
    ]
    assert query(workspace, "select old, new, who from edits limit 1").to_pylist() == [
        {"old": "30.0", "new": "40.0", "who": "anna"}
    ]
    quarantined = query(workspace, "select clip_id, stage from quarantine").to_pylist()
    assert quarantined == [{"clip_id": "d1", "stage": "track"}]
    assert query(workspace, "select run_id, seconds, metrics from runs").to_pylist() == [
        {"run_id": "r", "seconds": 1.5, "metrics": '{"last": {}}'}
    ]
    assert query(workspace, "select count(*) as n from artifacts").to_pylist() == [{"n": 0}]
    assert query(workspace, "select name from datasets order by 1").column(0).to_pylist() == ["one", "two"]
    assert sorted(query(workspace, "show tables").column(0).to_pylist()) == sorted(TABLES)


def test_an_empty_workspace_answers_too(tmp_path: Path) -> None:
    opened = Workspace.open(tmp_path)
    for name, schema in TABLES.items():
        answer = query(opened, f"select * from {name}")
        assert (len(answer), answer.column_names) == (0, schema.names)


def test_every_column_says_what_it_is() -> None:
    assert READERS.keys() == TABLES.keys()
    for schema in TABLES.values():
        assert all(field.metadata[b"note"] for field in schema)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{secret}')",
        "select * from read_text('{secret}')",
        "select * from '{secret}'",
        "select * from glob('{folder}/*')",
        "select * from parquet_scan('{folder}/ws/catalog/datasets/one/clips.parquet')",
        "copy (select 1) to '{folder}/written'",
        "copy clips to '{folder}/written'",
        "export database '{folder}/written'",
        "attach '{folder}/written' as other",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "pragma enable_profiling",
        "select 1; copy clips to '{folder}/written'",
        "insert into clips select * from clips",
        "delete from clips",
        "create table more as select 1",
        "select * from outside",
        "",
    ],
)
def test_nothing_outside_is_read_or_written(workspace: Workspace, tmp_path: Path, sql: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    outside = query(workspace, "select 1")  # a Python variable that DuckDB would find by its name
    assert len(outside) == 1
    with pytest.raises(CatalogError) as caught:
        query(workspace, sql.format(secret=secret, folder=tmp_path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "written").exists()


def test_a_wrong_column_is_told_in_one_sentence(workspace: Workspace) -> None:
    with pytest.raises(CatalogError, match=r'"scoer" not found.*"score"'):
        query(workspace, "select scoer from clips")


def test_selecting_clips(workspace: Workspace) -> None:
    assert select_clips(workspace, "one", "score >= 20 and action = 'diving'") == {"d2", "d3"}
    assert select_clips(workspace, "one", "bad") == {"d0"}
    assert select_clips(workspace, "one", "len(judges) = 0 -- none") == set()


@pytest.mark.parametrize(
    "where", ["score >", "true); select (1", "nope = 1", "1 in (select 1 from read_csv('/etc/passwd'))"]
)
def test_a_condition_that_is_none(workspace: Workspace, where: str) -> None:
    with pytest.raises(CatalogError):
        select_clips(workspace, "one", where)

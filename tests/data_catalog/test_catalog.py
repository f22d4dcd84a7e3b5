"""Datasets and workspaces: what was ingested comes back exactly, and either file of a dataset can be lost."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_catalog.catalog import CatalogError, ClipTableLost, DatasetInfo, Datasets, Workspace
from data_catalog.datasets.records import ClipRecord, Listing, RejectedRow
from tests.support.artifact_files import flip_bit, truncate

INFO = DatasetInfo("mine", "folder", "/videos", {"labels": "/labels.csv"}, procedural=True)
RECORDS = (
    ClipRecord("a é", "a.mp4", "train", "dive", 84.15, 3.2, (7.0, 7.5), None, ((1.0, 2.0, 3.0, 4.0),), 0, 103),
    ClipRecord("b", "b/frames", "test", label=1, extra={"armstand": True, "of": ["x", 1]}),
)
LISTING = Listing(RECORDS, (RejectedRow(None, "labels.csv", 7, "the score is missing", "fill it"),), ("w",), ("n",))


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    found = Datasets(tmp_path / "datasets")
    found.add(INFO, LISTING)
    return found


def test_a_dataset_comes_back_exactly(datasets: Datasets) -> None:
    assert datasets.names() == ["mine"]
    assert tuple(datasets.clips("mine")) == RECORDS
    assert tuple(datasets.rejected("mine")) == LISTING.rejected
    info = datasets.info("mine")
    assert (info.adapter, info.root, info.options, info.procedural) == ("folder", "/videos", INFO.options, True)
    assert (list(info.notes), list(info.warnings)) == (["n"], ["w"])
    assert info.ingested.endswith("+00:00")


printable = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
records = st.builds(
    ClipRecord,
    clip_id=printable.filter(bool),
    video=printable.filter(bool),
    split=st.sampled_from(["train", "val", "test"]),
    action=printable,
    score=st.none() | finite,
    difficulty=st.none() | finite,
    judges=st.lists(finite, max_size=7).map(tuple),
    label=st.none() | st.integers(0, 100),
    boxes=st.lists(st.tuples(finite, finite, finite, finite), max_size=3).map(tuple),
    start_frame=st.none() | st.integers(0, 10**9),
    end_frame=st.none() | st.integers(0, 10**9),
    extra=st.none() | st.dictionaries(printable, st.integers() | printable | st.booleans() | st.none(), min_size=1),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records, max_size=6))
def test_any_record_survives_the_table(datasets: Datasets, clips: list[ClipRecord]) -> None:
    datasets.add(INFO, Listing(tuple(clips)))
    assert datasets.clips("mine") == clips


def test_ingesting_again_replaces(datasets: Datasets) -> None:
    datasets.add(INFO, Listing(RECORDS[:1]))
    assert tuple(datasets.clips("mine")) == RECORDS[:1]
    assert datasets.rejected("mine") == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101, "é"])
def test_a_name_that_would_leave_the_catalog_is_refused(datasets: Datasets, name: str) -> None:
    with pytest.raises(CatalogError, match="can't be a dataset's name"):
        datasets.add(DatasetInfo(name, "folder", "/videos"), LISTING)
    with pytest.raises(CatalogError, match=r"no dataset .*it has: mine.*tubeflow ingest"):
        datasets.info(name)


@pytest.mark.parametrize("damage", ["flip in the root", "truncate", "delete", "other keys"])
def test_a_lost_description_is_written_again_from_the_clip_table(datasets: Datasets, damage: str) -> None:
    said: list[str] = []
    watched = Datasets(datasets.root, said.append)
    before = datasets.info("mine")
    path = datasets.root / "mine" / "dataset.json"
    if damage == "flip in the root":  # still JSON, another folder
        flip_bit(path, path.read_bytes().index(b"/videos") + 3)
    elif damage == "truncate":
        truncate(path, 30)
    elif damage == "delete":
        path.unlink()
    else:
        path.write_text('{"name": "mine"}')
    assert watched.names() == ["mine"]
    assert watched.info("mine") == before
    assert len(said) == 1
    assert str(path) in said[0]
    assert watched.info("mine") == before
    assert len(said) == 1


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty", "garbage"])
def test_a_lost_clip_table_is_told_by_its_own_exception(datasets: Datasets, damage: str) -> None:
    path = datasets.root / "mine" / "clips.parquet"
    if damage == "flip":
        flip_bit(path, 200)
    elif damage == "truncate":
        truncate(path, path.stat().st_size - 9)
    elif damage == "delete":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else b"PAR1 and nothing")
    with pytest.raises(ClipTableLost, match=r"clips\.parquet.*tubeflow ingest"):
        datasets.clips("mine")


def test_both_files_lost_is_one_sentence_with_the_remedy(datasets: Datasets) -> None:
    for name in ("dataset.json", "clips.parquet"):
        (datasets.root / "mine" / name).write_bytes(b"?")
    with pytest.raises(CatalogError, match=r"dataset\.json is damaged; run the tubeflow ingest of 'mine' again"):
        datasets.clips("mine")


def test_a_flipped_bit_in_the_clip_table_is_noticed_or_changes_nothing(datasets: Datasets) -> None:
    path = datasets.root / "mine" / "clips.parquet"
    content = path.read_bytes()
    rng = np.random.default_rng(2)
    noticed = 0
    for at in rng.choice(len(content), 150, replace=False).tolist():
        flip_bit(path, at, int(rng.integers(8)))
        try:
            assert tuple(datasets.clips("mine")) == RECORDS, at
        except ClipTableLost:
            noticed += 1
        path.write_bytes(content)
    assert noticed > 50


def test_a_workspace_has_its_four_folders_and_travels_to_another_process(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    assert sorted(path.name for path in workspace.root.iterdir()) == ["artifacts", "catalog", "runs", "weights"]
    workspace.store.scratch("x")
    assert pickle.loads(pickle.dumps(workspace)).root == workspace.root


def test_a_workspace_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("not a folder")
    with pytest.raises(CatalogError, match=r"The workspace .*w is a file; choose a folder with --workspace"):
        Workspace(tmp_path / "w")  # looking at it is refused as well


def test_an_unwritable_workspace_is_one_sentence(tmp_path: Path, where_permissions_bite: Callable[..., Any]) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0o555)
    script = (
        "import sys; from pathlib import Path; from data_catalog.catalog import Workspace, CatalogError\n"
        "try: Workspace.open(Path(sys.argv[1]))\n"
        "except CatalogError as problem: print(problem)\n"
    )
    result = where_permissions_bite(sys.executable, "-c", script, str(tmp_path / "closed" / "w"))
    assert "can't be written (Permission denied); choose another with --workspace" in result.stdout
    assert result.stderr == ""

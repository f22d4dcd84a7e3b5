"""`--json` prints the record that the command's function returns, field by field."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.query import query
from data_catalog.weights.resolve import list_weights, verify
from flows.cli.main import app
from flows.datasets.dataset_records import check_and_compare, ingest_and_compare, list_datasets
from flows.datasets.labels import label_history, set_labels
from flows.maintenance.catalog_overview import answer_rows, catalog_columns, catalog_overview
from flows.maintenance.weights_status import pull_all, weight_rows
from flows.tracking.pairs import compare_trackers
from tests.support.tiny_workspace import copy_workspace

SQL = "select clip_id, score, difficulty, 0.0 / 0 as nothing from clips order by clip_id"

RECORDS: dict[str, tuple[list[str], Callable[[Workspace], object]]] = {
    "catalog": (["catalog"], catalog_overview),
    "query": (["catalog", "query", SQL], lambda workspace: answer_rows(query(workspace, SQL))),
    "datasets list": (["datasets", "list"], list_datasets),
    "datasets check": (
        ["datasets", "check", "tiny"],
        lambda workspace: check_and_compare(workspace, "tiny").as_json(),
    ),
    "labels history": (["labels", "history"], label_history),
    "labels history of a clip": (
        ["labels", "history", "diving_0001"],
        lambda workspace: label_history(workspace, clip_id="diving_0001"),
    ),
    "weights list": (["weights", "list"], lambda workspace: weight_rows(list_weights(workspace.weights))),
    "weights verify": (["weights", "verify"], lambda workspace: weight_rows(verify(workspace.weights))),
}


def as_json(record: object) -> object:
    return json.loads(json.dumps(record, default=lambda one: dataclasses.asdict(one)))


def printed(root: Path, *words: str) -> object:
    result = CliRunner().invoke(app, [*words, "--json", "-w", str(root)], catch_exceptions=False)
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def edited(finished_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished workspace with a correction, and a file of weights of the user's own."""
    root = copy_workspace(finished_workspace, tmp_path_factory.mktemp("edited") / "ws")
    workspace = Workspace.open(root)
    set_labels(workspace, "tiny", "diving_0001", ["score=71.5", "split=train"], who="judge")
    (workspace.weights / "yolo11n.pt").write_bytes(b"no network")
    return root


@pytest.mark.parametrize("name", RECORDS)
def test_json_is_the_record(edited: Path, name: str) -> None:
    words, function = RECORDS[name]
    record = as_json(function(Workspace(edited)))
    assert record
    assert printed(edited, *words) == record


def test_schema(edited: Path) -> None:
    result = CliRunner().invoke(app, ["catalog", "schema", "clips", "--json"], catch_exceptions=False)
    assert json.loads(result.stdout) == as_json(catalog_columns("clips"))


def test_ingest(edited: Path, tmp_path: Path) -> None:
    root = Path(Workspace(edited).datasets.info("tiny").root)
    words = ("ingest", "procedural", "--name", "again", "--videos", str(root))
    shown = printed(tmp_path / "one", *words)
    record = ingest_and_compare(Workspace.open(tmp_path / "two"), "again", "procedural", root)
    assert shown == as_json(record.as_json())
    assert record.clips == 4


def test_pull(tmp_path: Path) -> None:
    """Weights that only a person can fetch: nothing is downloaded, and the sentence is in the record."""
    root = tmp_path / "ws"
    watched: list[str] = []

    class Watch:
        def __init__(self, name: str) -> None:
            watched.append(name)

        def __enter__(self) -> Callable[[int, int | None], None]:
            return lambda done, total: None

        def __exit__(self, *exc: object) -> None: ...

    record = pull_all(["i3d_charades"], Workspace.open(root).weights, Watch)  # type: ignore[arg-type]
    assert (watched, record.files) == (["i3d_charades"], ())
    assert printed(root, "weights", "pull", "i3d_charades") == as_json(record)


def test_two_trackers(edited: Path, tmp_path: Path) -> None:
    workspace = Workspace(edited)
    tracker = str(json.loads(next(iter(workspace.runs.glob("*/run.json"))).read_text())["config"]["track"]["tracker"])
    names = (tracker, tracker)
    record = compare_trackers(workspace, names, "tiny", None, tmp_path / "out")
    shown = printed(edited, "inspect", "-d", "tiny", "--compare", *names, "--out", str(tmp_path / "out"))
    assert shown == as_json(record)

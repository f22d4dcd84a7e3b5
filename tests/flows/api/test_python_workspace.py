"""`import tubeflow`: every method says what its command says, and returns what lies in the workspace's files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import tubeflow
from flows.api.html_tables import table_html
from flows.cli.main import app
from tests.support.tiny_workspace import DATASET, SETTINGS, copy_workspace

CLIP = "diving_0003"
TINY: Mapping[str, object] = {name: yaml.safe_load(value) for name, value in (one.split("=", 1) for one in SETTINGS)}
OVERRIDES = [word for override in SETTINGS for word in ("-o", override)]


def command(root: Path, *words: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, [*words, "-w", str(root)])
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.stderr


def artifact(root: Path, stage: str) -> Path:
    """The file of the clip's artifact, found without the catalog."""
    for path in root.glob(f"artifacts/{stage}/*/*.h5"):
        with h5py.File(path) as file:
            if file.attrs["clip_id"] == CLIP:
                return path
    raise AssertionError(f"no {stage} of {CLIP}")


@pytest.fixture
def workspace(finished_workspace: Path) -> tubeflow.Workspace:
    return tubeflow.Workspace(finished_workspace, progress=False)


@pytest.fixture
def mine(finished_workspace: Path, tmp_path: Path) -> tubeflow.Workspace:
    """A copy that may be changed."""
    return tubeflow.Workspace(copy_workspace(finished_workspace, tmp_path / "ws"), progress=False)


def test_tubes_are_the_artifact_and_draw_the_clip(workspace: tubeflow.Workspace) -> None:
    tubes = workspace.tubes(CLIP)
    with h5py.File(artifact(workspace.path, "track")) as file:
        np.testing.assert_array_equal(tubes.quads, file["quads"][:])
        np.testing.assert_array_equal(tubes.scores, file["scores"][:])
        np.testing.assert_array_equal(tubes.lost, file["lost"][:])
    assert (tubes.quads.shape, tubes.quads.dtype) == ((1, 24, 4, 2), np.float32)
    assert (tubes.frames.shape, tubes.frames.dtype) == ((24, 128, 228, 3), np.uint8)
    assert Image.open(io.BytesIO(tubes._repr_png_())).width > 1000


def test_masks_are_the_artifact_and_draw_how_they_come_about(workspace: tubeflow.Workspace) -> None:
    masks = workspace.masks(CLIP, DATASET)
    with h5py.File(artifact(workspace.path, "masks")) as file:
        np.testing.assert_array_equal(masks.mask, file["mask"][:])
        np.testing.assert_allclose(masks.coverage, file["coverage"][:], atol=1e-6)
    assert (masks.mask.shape, masks.mask.dtype) == ((2, 4, 14, 14), np.bool_)
    assert (masks.starts, masks.segment_length) == ((0, 8), 16)
    assert Image.open(io.BytesIO(masks._repr_png_())).width == 1200


def test_a_plan_is_that_of_the_command(workspace: tubeflow.Workspace) -> None:
    settings = TINY | {"masks.tau": 0.3}
    planned = workspace.plan("demo", DATASET, settings=settings)
    words = ["plan", "demo", "-d", DATASET, *OVERRIDES, "-o", "masks.tau=0.3", "--json"]
    said = json.loads(command(workspace.path, *words))
    rows = planned.stages.set_index("stage")
    assert list(rows.index) == list(said)
    for name, one in said.items():
        found = rows.loc[name]
        assert (found.clips, found.hits, found.to_do) == (one["clips"], one["hits"], one["misses"])
        assert found.why == "; ".join(one["reasons"])
    assert rows.loc["masks"].to_do == 4
    assert escape(rows.loc["masks"].why, quote=False) in planned._repr_html_()


def test_a_run_whose_plan_has_only_hits_is_recorded_as_the_call(mine: tubeflow.Workspace) -> None:
    run = mine.run("demo", DATASET, settings=TINY)
    assert run.stages["computed"].sum() == 0
    assert run.stages["cached"].tolist() == [4, 4, 4, 4, 1, 1, 1]
    record = json.loads((mine.path / "runs" / run.run_id / "run.json").read_text())
    assert record["command"].startswith("tubeflow.Workspace(…).run('demo', 'tiny', settings={'normalize.length': 24")
    for row in run.metrics.itertuples():
        stated = record["metrics"][row.weights][row.split][row.action][row.metric]
        assert stated == (row.undefined or row.value)
    assert len(run.metrics) > 4
    assert run.report is not None
    assert run.report.is_relative_to(mine.path)
    assert run.run_id in run._repr_html_()
    written = pd.read_parquet(mine.path / "runs" / run.run_id / "predictions.parquet")
    pd.testing.assert_frame_equal(mine.predictions(), written)


def test_a_comparison_is_that_of_the_command(workspace: tubeflow.Workspace) -> None:
    found = workspace.compare("last", repetitions=100)
    assert found.record == json.loads(command(workspace.path, "compare", "last", "--repetitions", "100", "--json"))
    by_metric = found.figures[found.figures["action"] == "all"].set_index("metric")["value"]
    for metric, rows in found.record["metrics"].items():
        value = rows[0]["figures"]["all"]["value"]
        assert by_metric[metric] == value or (value is None and np.isnan(by_metric[metric]))
    assert "spearman" in found._repr_html_()


def test_tables_and_queries(workspace: tubeflow.Workspace) -> None:
    labels = pd.read_parquet(workspace.path / "catalog" / "datasets" / DATASET / "clips.parquet")
    pd.testing.assert_series_equal(workspace.clips(DATASET)["score"], labels["score"])
    counted = workspace.query("select stage, count(*) as n from artifacts group by stage").set_index("stage")["n"]
    assert counted.to_dict() == {
        path.name: len(list(path.glob("*/*.h5")))
        for path in (workspace.path / "artifacts").iterdir()
        if any(path.glob("*/*.h5"))
    }


def test_ingest_says_what_was_left_out(tiny_videos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    video = tiny_videos / "videos" / f"{CLIP}.mp4"
    labels.write_text(f"clip_id,video,split,score\none,{video.name},train,12\ntwo,none.mp4,train,<b>\n")
    found = tubeflow.Workspace(tmp_path / "ws", progress=False).ingest("mine", video.parent, labels)
    assert (found.clips, len(found.rejected)) == (1, 1)
    assert found.rejected.iloc[0].to_dict()["line"] == 3
    assert "<b>" not in found._repr_html_().replace("<p><b>", "")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ws: ws.tubes("nobody"), ("inspect", "nobody")),
        (lambda ws: ws.plan("dmo", DATASET), ("plan", "dmo", "-d", DATASET)),
        (lambda ws: ws.run("demo", "none"), ("run", "demo", "-d", "none")),
        (lambda ws: ws.plan("demo", DATASET, settings={"masks.tua": 1}), ("plan", "demo", "-d", DATASET, "-o",
                                                                         "masks.tua=1")),
        (lambda ws: ws.predict("nowhere.mp4", difficulty=2.0), ("predict", "nowhere.mp4", "--difficulty", "2")),
        (lambda ws: ws.predict("x.mp4", boxes=[[(1, 2, 0, 4)]]), ("predict", "x.mp4", "--box", "1,2,0,4")),
        (lambda ws: ws.compare("never"), ("compare", "never")),
        (lambda ws: ws.query("drop table clips"), ("catalog", "query", "drop table clips")),
    ],
)  # fmt: skip
def test_errors_are_the_sentences_of_the_commands(mine: tubeflow.Workspace, call, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(tubeflow.TubeflowError) as told:
        call(mine)
    said = command(mine.path, *words, status=2)
    assert str(told.value).split() == said.split()
    assert told.value._render_traceback_() == [str(told.value)]


def test_a_damaged_artifact_is_said_and_removed(mine: tubeflow.Workspace) -> None:
    path = artifact(mine.path, "track")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(tubeflow.TubeflowError, match=r"it was removed, and is made again by: tubeflow run PRESET"):
        mine.tubes(CLIP)


def test_a_workspace_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(tubeflow.TubeflowError, match="is a file"):
        tubeflow.Workspace(tmp_path / "file")


def test_what_strangers_wrote_is_text_in_a_notebook() -> None:
    shown = table_html(pd.DataFrame({"clip": ["<script>alert(1)</script>", "a\x1b[2J\u202eb"]}), "<i>")
    assert "<script" not in shown
    assert "<i>" not in shown
    assert "\x1b" not in shown
    assert "\\u202e" in shown


def test_what_has_no_value_is_a_dash_in_a_notebook() -> None:
    shown = table_html(pd.DataFrame({"p": [float("nan"), 0.25], "why": ["one clip", None]}))
    assert "nan" not in shown.lower()
    assert shown.count("<td>–</td>") == 2
    assert "<td>0.25</td>" in shown


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Tracker'; it has: CompareResult"):
        tubeflow.Tracker  # noqa: B018

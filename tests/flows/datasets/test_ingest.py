"""Ingest and run on the official layouts: real annotations of MTL-AQA and AQA-7, exact layouts of the other two."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import xlwt
from typer.testing import CliRunner

from data_catalog.catalog import Workspace
from data_catalog.synthetic.sport import read_ground_truth
from flows.cli.main import app
from flows.config import ConfigError, load_config
from flows.datasets.clips import dataset_clips
from flows.datasets.ingest import ingest
from models.geometry import polygon_iou
from tests.support.official_layouts import place_broadcast, place_frames, true_rows, write_boxes
from tests.support.tiny_workspace import run

BROADCAST = ("14_01", 1060, 1210)
DIVES = {"17_01": "train", "17_02": "train", "14_01": "test", "17_21": "test"}
CLIPS = ("diving_0000", "diving_0001", "diving_0002", "diving_0003")
SELECTED = "clip_id in ({})".format(", ".join(f"'{dive}'" for dive in DIVES))
UNTIL_MASKS = ("normalize", "detect", "track", "masks")


@pytest.fixture(scope="module")
def mtl(shared: Path, tiny_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MTL-AQA with its real annotation, the frames of three dives, and one broadcast until its first dive's end."""
    root = tmp_path_factory.mktemp("layouts") / "MTL-AQA"
    shutil.copytree(shared / "data" / "mtl-aqa", root / "Ready_2_Use" / "MTL-AQA_split_0_data")
    rows = {}
    for dive, clip in zip(DIVES, CLIPS, strict=True):
        video = tiny_videos / "videos" / f"{clip}.mp4"
        if dive == BROADCAST[0]:
            place_broadcast(video, root / "14.mp4", *BROADCAST[1:])
            rows[dive] = true_rows(tiny_videos, clip, BROADCAST[2] - BROADCAST[1])
        else:
            place_frames(video, root / "frames" / dive)
            rows["_".join(str(int(part)) for part in dive.split("_"))] = true_rows(tiny_videos, clip)  # 17_1
    write_boxes(root / "boxes.json", rows)
    return root


@pytest.fixture
def workspace(mtl: Path, tmp_path: Path) -> Path:
    ingest(Workspace.open(tmp_path / "ws"), "mtl", "mtl_aqa", mtl)
    return tmp_path / "ws"


def published(mtl: Path) -> tuple[str, str]:
    return "track.tracker=published", f"track.weights={mtl / 'boxes.json'}"


def test_mtl_aqa_dives_run_up_to_masks_on_published_boxes(workspace: Path, mtl: Path, tiny_videos: Path) -> None:
    clips = dataset_clips(Workspace(workspace), "mtl", SELECTED)
    assert {clip.clip_id: clip.split for clip in clips} == DIVES
    summary = run(workspace, *published(mtl), dataset="mtl", selected=UNTIL_MASKS, where=SELECTED)
    assert summary.failures == []
    assert {name: count.computed for name, count in summary.stages.items()} == dict.fromkeys(UNTIL_MASKS, 4)
    store = Workspace(workspace).store
    tracks = [store.read("track", path.stem) for path in workspace.glob("artifacts/track/*/*.h5")]
    assert all(json.loads(track.attrs["corners_repaired"])[0] == 0 for track in tracks)
    assert {tuple(track.lineage.weights) for track in tracks} == {("boxes.json",)}
    (dive,) = (track for track in tracks if track.lineage.clip_id == BROADCAST[0])
    index = store.read("normalize", dive.lineage.parents["normalize"]).arrays["source_index"]
    assert (index.min() >= BROADCAST[1], index.max() < BROADCAST[2]) == (True, True)
    truth = read_ground_truth(tiny_videos / "ground_truth" / f"{CLIPS[2]}.npz").quads[0]
    expected = truth[np.minimum(index - BROADCAST[1], len(truth) - 1)] * (228 / 320, 128 / 240)
    assert polygon_iou(dive.arrays["quads"][0], expected).min() > 0.99
    masks = [store.read("masks", path.stem) for path in workspace.glob("artifacts/masks/*/*.h5")]
    assert all(mask.arrays["omega"].any() for mask in masks)


def test_dives_without_a_box_say_what_to_do(workspace: Path) -> None:
    summary = run(workspace, dataset="mtl", selected=UNTIL_MASKS, where="clip_id in ('17_01', '14_02')")
    told = {row.clip_id: (row.stage, row.reason, row.remedy) for row in summary.failures}  # type: ignore[union-attr]
    assert told["17_01"][0] == "detect"
    assert "no first-frame box in the labels" in told["17_01"][1]
    assert "detect.detector" in told["17_01"][2]
    assert told["14_02"][0] == "normalize"
    assert "Frames 2510 to 2594 are asked of" in told["14_02"][1]
    assert "14.mp4, which has 1210" in told["14_02"][1]


def test_other_boxes_are_other_keys(workspace: Path, mtl: Path, tmp_path: Path) -> None:
    one = "clip_id = '17_01'"
    run(workspace, *published(mtl), dataset="mtl", selected=UNTIL_MASKS, where=one)
    moved = shutil.copy(mtl / "boxes.json", tmp_path / "same.json")
    again = ("track.tracker=published", f"track.weights={moved}")
    assert run(workspace, *again, dataset="mtl", selected=UNTIL_MASKS, where=one).stages["track"].hits == 1
    rows = json.loads(moved.read_text())
    rows["17_1"][5][0] += 3.0
    moved.write_text(json.dumps(rows))
    summary = run(workspace, *again, dataset="mtl", selected=UNTIL_MASKS, where=one)
    assert {name: count.computed for name, count in summary.stages.items()} == {
        "normalize": 0, "detect": 0, "track": 1, "masks": 1,
    }  # fmt: skip


@pytest.mark.slow
def test_mtl_aqa_dives_run_to_a_scored_report(workspace: Path, mtl: Path) -> None:
    summary = run(workspace, *published(mtl), dataset="mtl", where=SELECTED)
    assert summary.failures == []
    assert summary.metrics["last"]["test"]["all"]
    assert summary.report is not None
    assert Path(summary.report).is_file()


@pytest.mark.parametrize(("adapter", "folder", "figures"), [("mtl_aqa", "mtl-aqa", 8), ("aqa7", "aqa-7", 14)])
def test_datasets_check_prints_the_published_counts(
    shared: Path, tmp_path: Path, adapter: str, folder: str, figures: int
) -> None:
    call, space = CliRunner().invoke, ["-w", str(tmp_path / "ws")]
    (tmp_path / "videos").mkdir()
    options = ["--name", "d", "--root", str(tmp_path / "videos"), "--labels", str(shared / "data" / folder)]
    assert call(app, ["ingest", adapter, *options, *space]).exit_code == 0
    result = call(app, ["datasets", "check", "d", "--json", *space])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert len(found["checks"]) == figures
    assert all(check["ok"] and check["expected"] and check["found"] for check in found["checks"][:3])
    assert found["without_video"] in (1412, 1106)
    text = call(app, ["datasets", "check", "d", *space]).output
    assert f"{figures} of {figures} figures agree." in text
    assert ("1059" if adapter == "mtl_aqa" else "803") in text


def test_a_dataset_that_differs_from_what_was_published(tmp_path: Path, tiny_videos: Path) -> None:
    root = tmp_path / "FRFS"
    write_frfs(root, tiny_videos)
    call, space = CliRunner().invoke, ["-w", str(tmp_path / "ws")]
    assert call(app, ["ingest", "fr_fs", "--name", "d", "--root", str(root), *space]).exit_code == 0
    result = call(app, ["datasets", "check", "d", *space])
    assert result.exit_code == 1
    assert "417" in result.output
    assert "✗ differs" in result.output
    shutil.rmtree(root)
    gone = call(app, ["datasets", "check", "d", *space])
    assert gone.exit_code == 2
    assert "Train.xls" in gone.output


def write_frfs(root: Path, videos: Path) -> None:
    """FR-FS: two clips for training, one for testing, their boxes, all but the last with a first-frame box."""
    rows = {}
    for split, keys in {"Train": ("308-1", "308-2"), "Test": ("12-1",)}.items():
        book = xlwt.Workbook()
        sheet = book.add_sheet("Sheet1")
        for line, row in enumerate([("name", "label"), *((key, 1) for key in keys)]):
            for column, value in enumerate(row):
                sheet.write(line, column, value)
        root.mkdir(exist_ok=True)
        book.save(str(root / f"{split}.xls"))
    for key, clip in zip(("308-1", "308-2", "12-1"), CLIPS, strict=False):
        place_frames(videos / "videos" / f"{clip}.mp4", root / "Images" / key, "{:04d}.jpg")
        rows[key] = true_rows(videos, clip)
    write_boxes(root / "FRFS_Boxes.json", rows)


def test_fr_fs_runs_up_to_masks_on_its_own_boxes(tmp_path: Path, tiny_videos: Path) -> None:
    root, ws = tmp_path / "FRFS", tmp_path / "ws"
    write_frfs(root, tiny_videos)
    listing = ingest(Workspace.open(ws), "frfs", "fr_fs", root)
    assert [len(record.boxes) for record in listing.records] == [1, 1, 1]
    boxes = ("track.tracker=published", f"track.weights={root / 'FRFS_Boxes.json'}")
    summary = run(ws, *boxes, dataset="frfs", selected=UNTIL_MASKS)
    assert (summary.failures, summary.stages["masks"].computed) == ([], 3)


def test_aqa7_videos_run_up_to_masks(shared: Path, tmp_path: Path, tiny_videos: Path) -> None:
    root, ws = tmp_path / "AQA-7", tmp_path / "ws"
    (root / "Actions" / "diving").mkdir(parents=True)
    shutil.copytree(shared / "data" / "aqa-7", root / "Split_4")
    shutil.copy(tiny_videos / "videos" / f"{CLIPS[0]}.mp4", root / "Actions" / "diving" / "001.mp4")
    place_frames(tiny_videos / "videos" / f"{CLIPS[1]}.mp4", root / "Actions" / "diving-out" / "002", "img_{:05d}.jpg")
    listing = ingest(Workspace.open(ws), "aqa7", "aqa7", root)
    assert sorted(record.clip_id for record in listing.records) == ["diving_001", "diving_002"]
    nested = {"diving": {str(n): true_rows(tiny_videos, clip) for n, clip in enumerate(CLIPS[:2], start=1)}}
    (tmp_path / "boxes.json").write_text(json.dumps(nested))
    boxes = ("track.tracker=published", f"track.weights={tmp_path / 'boxes.json'}")
    summary = run(ws, *boxes, dataset="aqa7", selected=UNTIL_MASKS)
    assert (summary.failures, summary.stages["masks"].computed) == ([], 2)


def test_finediving_runs_up_to_masks(tmp_path: Path, tiny_videos: Path) -> None:
    root, ws, event = tmp_path / "FineDiving", tmp_path / "ws", "FINADivingWorldCup2021_Men10m_final_r1"
    keys = [(event, 1), ("01", 7)]
    (root / "Annotations").mkdir(parents=True)
    row = ["407c", 88.0, np.float64(3.2), np.array([20, 60]), np.zeros(96, dtype=np.int64)]
    content = {
        "fine-grained_annotation_aqa": dict.fromkeys(keys, row), "train_split": keys[:1], "test_split": keys[1:],
    }  # fmt: skip
    for name, value in content.items():
        (root / "Annotations" / f"{name}.pkl").write_bytes(pickle.dumps(value))
    rows = {}
    for (folder, number), clip in zip(keys, CLIPS, strict=False):
        video = tiny_videos / "videos" / f"{clip}.mp4"
        place_frames(video, root / "FineDiving" / folder / str(number), "{:05d}.jpg")
        rows[f"{folder}_{number}"] = true_rows(tiny_videos, clip)
    write_boxes(tmp_path / "boxes.json", rows)
    ingest(Workspace.open(ws), "fine", "finediving", root)
    boxes = ("track.tracker=published", f"track.weights={tmp_path / 'boxes.json'}")
    summary = run(ws, *boxes, dataset="fine", selected=UNTIL_MASKS)
    assert (summary.failures, summary.stages["masks"].computed) == ([], 2)


def test_published_boxes_need_nobody_detected() -> None:
    config = load_config("fr_fs", ["track.tracker=published", "track.weights=FRFS_Boxes.json"])
    assert config.detect.detector == "none"
    assert type(config).model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(ConfigError, match=r"detect\.detector none goes with track\.tracker published only"):
        load_config("fr_fs", ["detect.detector=none"])

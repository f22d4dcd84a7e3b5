"""What changes what, on a real workspace: each field of the config moves its own stage and what follows, no more."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from data_catalog.catalog import CatalogError, Workspace
from flows import stages
from flows.config import ConfigError, PipelineConfig
from flows.stages import STAGE_NAMES
from models.trackers import TRACKERS
from tests.support.tiny_workspace import copy_workspace, identities, new_workspace, plan, run

CHANGES = {
    "normalize": ["normalize.length=25", "normalize.width=230", "normalize.height=130", "normalize.window=tail",
                  "normalize.jpeg_quality=90", "normalize.hdr=keep", "normalize.interlaced=keep",
                  "normalize.damaged=skip"],
    "detect": ["detect.min_score=0.3", "detect.select=largest", "detect.athletes=2"],
    "masks": ["masks.tau=0.4", "masks.grid=[7, 7]", "masks.crop=96", "masks.starts=[0, 4]", "masks.segment_length=8",
              "masks.geometry=released",
              "masks.stride=2"],
    "pack": ["pack.input_size=96", "pack.compression=lzf"],
    "train": ["model.backbone=i3d", "model.attention=none", "model.stacks=2", "model.head=usdl",
              "model.compat=released", "model.affinity=softmax", "model.attention=mask",
              "model.attention_norm=true", "model.attention_gain=0.1", "model.head_options={hidden: 8}",
              "train.seed=1", "train.epochs=3",
              "train.batch=2", "train.accumulate=2", "train.lr=0.01", "train.weight_decay=0", "train.schedule=constant",
              "train.clip_gradient=1", "train.actions=[diving]", "train.score_range=train", "train.difficulty=false",
              "train.flip=0.25", "train.shift=[-1, 1]", "train.eval_shift=1", "train.validation=0.5",
              "train.patience=1", "train.ema=0.9", "train.compile=true", "train.select_on=validation",
              "train.freeze_batchnorm=true", "train.freeze=stage1", "train.precision=bf16-mixed",
              "train.deterministic=true", "train.steps=0.5"],
    "evaluate": ["evaluate.splits=[test]", "evaluate.intervals=temperature"],
    None: ["engine.workers=1", "engine.shard_clips=3", "engine.runner=processes", "engine.device=auto",
           "engine.threads=1",
           "train.checkpoint_steps=7", "train.loggers=[]", "train.workers=1", "evaluate.batch=1",
           "quality.suspicious=0.4", "quality.cut_change=0.2",
           "quality.cut_contrast=2", "quality.drift_likeness=0.3", "quality.drift_frames=5", "quality.drift_share=0.2",
           "quality.lost_likeness=0.1", "quality.lost_frames=5", "quality.score_drop=0.5", "quality.jump=1",
           "quality.growth=3", "quality.outside=0.4"],
}  # fmt: skip


def misses(root: Path, *overrides: str) -> dict[str, list[str]]:
    return {name: one.summary() for name, one in plan(root, *overrides).items() if one.reasons}


def changed_field(override: str) -> str:
    return override.partition("=")[0]


@pytest.mark.parametrize(
    ("first", "override"), [(first, override) for first, overrides in CHANGES.items() for override in overrides]
)
def test_a_field_moves_its_stage_and_what_follows(finished_workspace: Path, first: str | None, override: str) -> None:
    found = misses(finished_workspace, override)
    if first is None:
        assert found == {}
        return
    expected = list(STAGE_NAMES[STAGE_NAMES.index(first) :])
    assert list(found) == expected
    assert len(found[first]) == 1
    assert re.search(rf"\b{re.escape(changed_field(override))}\S* changed: .+ → .+", found[first][0])
    for follower in expected[1:]:
        own = changed_field(override) in found[follower][0]  # evaluate sees some of train's fields itself
        assert own or found[follower][0].startswith("follows "), found[follower]


def test_where_the_workers_are_moves_nothing(finished_workspace: Path) -> None:
    cluster = ("engine.runner=dask", "engine.address=tcp://scheduler:8786", "engine.resources={GPU: 1}")
    assert misses(finished_workspace, *cluster) == {}


def test_the_table_names_every_field_that_can_be_set_without_weights() -> None:
    tested = {changed_field(override) for overrides in CHANGES.values() for override in overrides}
    fields = {
        f"{section}.{name}"
        for section, field in PipelineConfig.model_fields.items()
        for name in field.annotation.model_fields  # type: ignore[union-attr]
    }
    need_other_files_or_machines = {
        "detect.detector", "detect.weights", "track.tracker", "track.weights", "track.preset", "model.weights",
        "masks.source", "model.split", "model.attention_options", "train.accelerator",
        "model.temporal", "model.temporal_options",  # tests/models/test_temporal.py
        "features.mode",  # adds a stage: tests/flows/test_features.py
        "train.devices", "train.strategy", "train.sync_batchnorm", "evaluate.device",
        "engine.address", "engine.resources",
    }  # fmt: skip
    assert fields - tested == need_other_files_or_machines


def test_another_tracker_moves_track_and_what_follows(finished_workspace: Path, tmp_path: Path) -> None:
    weights = tmp_path / "some.onnx"
    weights.write_bytes(b"first")
    overrides = ("track.tracker=vit", f"track.weights={weights}")
    found = misses(finished_workspace, *overrides)
    assert list(found) == ["track", "masks", "pack", "train", "evaluate"]
    assert found["track"] == ["track.tracker changed: mil → vit: 4 clips"]
    assert found["masks"] == ["follows track: 4 clips"]
    assert found["pack"] == ["follows masks"]
    before = {clip: job.key for clip, job in plan(finished_workspace, *overrides)["track"].jobs.items()}
    shutil.move(weights, tmp_path / "renamed.onnx")
    moved = plan(finished_workspace, "track.tracker=vit", f"track.weights={tmp_path / 'renamed.onnx'}")["track"].jobs
    assert {clip: job.key for clip, job in moved.items()} == before
    (tmp_path / "renamed.onnx").write_bytes(b"other")
    other = plan(finished_workspace, "track.tracker=vit", f"track.weights={tmp_path / 'renamed.onnx'}")["track"].jobs
    assert not {job.key for job in other.values()} & set(before.values())


def test_tubes_from_masks_move_masks_and_what_follows(
    finished_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = r"masks\.source mask needs a tracker that returns masks, and mil returns none"
    with pytest.raises(ConfigError, match=said):
        plan(finished_workspace, "masks.source=mask")
    monkeypatch.setitem(TRACKERS, "mil", dataclasses.replace(TRACKERS["mil"], segments=True))
    found = misses(finished_workspace, "masks.source=mask")
    assert list(found) == ["masks", "pack", "train", "evaluate"]
    assert found["masks"] == ["masks.source changed: quad → mask: 4 clips"]
    assert misses(finished_workspace, "masks.source=quad") == {}


def test_missing_weights_are_one_sentence(finished_workspace: Path) -> None:
    with pytest.raises(CatalogError, match="nowhere") as caught:
        plan(finished_workspace, "track.tracker=nano", "track.weights=nowhere")
    assert "\n" not in str(caught.value)


def test_a_stage_version_moves_its_stage_and_what_follows(
    finished_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = tuple(
        dataclasses.replace(stage, version=stage.version + 1) if stage.name == "track" else stage
        for stage in stages.CLIP_STAGES
    )
    monkeypatch.setattr(stages, "CLIP_STAGES", raised)
    found = misses(finished_workspace)
    assert list(found) == ["track", "masks", "pack", "train", "evaluate"]
    version = raised[2].version
    assert found["track"] == [f"track version {version - 1} → {version}: 4 clips"]


def test_plan_computes_and_writes_nothing(finished_workspace: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_workspace.rglob("*")}
    plan(finished_workspace, "masks.tau=0.4")
    assert {path: path.stat().st_mtime_ns for path in finished_workspace.rglob("*")} == before


@pytest.fixture
def copied(finished_workspace: Path, tmp_path: Path) -> Path:
    return copy_workspace(finished_workspace, tmp_path / "w")


def test_what_the_plan_says_is_what_the_run_does_and_going_back_is_all_hits(copied: Path) -> None:
    before = identities(copied)
    until_pack = STAGE_NAMES[:5]
    planned = plan(copied, "masks.tau=0.4")
    summary = run(copied, "masks.tau=0.4", selected=until_pack)
    for name in until_pack:
        count = summary.stages[name]
        assert (count.hits, count.computed) == (len(planned[name].hits), len(planned[name].reasons)), name
    assert {name: summary.stages[name].computed for name in until_pack} == {
        "normalize": 0, "detect": 0, "track": 0, "masks": 4, "pack": 1,
    }  # fmt: skip
    back = run(copied)
    assert sum(count.computed for count in back.stages.values()) == 0
    assert {name: count.hits for name, count in back.stages.items()} == {
        "normalize": 4, "detect": 4, "track": 4, "masks": 4, "pack": 1, "train": 1, "evaluate": 1,
    }  # fmt: skip
    after = identities(copied)
    assert before.items() <= after.items()  # old artifacts stay, untouched
    assert len(after) == len(before) + 5


def edit_labels(videos: Path, root: Path, changes: dict[int, dict[str, str]], keep: int | None = None) -> None:
    """Ingest a copy of the dataset whose labels differ in some rows."""
    rows = list(csv.DictReader((videos / "labels.csv").open()))
    for number, values in changes.items():
        rows[number] |= values
    labels = root.parent / "edited.csv"
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows[:keep])
    from flows.datasets.ingest import ingest

    ingest(Workspace(root), "tiny", "procedural", videos, labels)


def test_changed_labels_are_counted_and_move_pack_and_what_follows(copied: Path, tiny_videos: Path) -> None:
    edit_labels(tiny_videos, copied, {0: {"score": "11.5"}, 1: {"difficulty": "1.1"}, 2: {"judge_1": "0.5"}})
    found = misses(copied)
    assert found.pop("pack") == ["labels changed: 3 clips"]
    assert found == {"train": ["follows pack"], "evaluate": ["follows pack, train"]}
    edit_labels(tiny_videos, copied, {})
    assert misses(copied) == {}


def test_a_changed_split_and_a_clip_left_out_are_counted(copied: Path, tiny_videos: Path) -> None:
    edit_labels(tiny_videos, copied, {0: {"split": "val"}}, keep=3)
    assert misses(copied)["pack"] == ["labels changed: 1 clip, 1 clip left out"]


def test_a_changed_box_moves_detect_and_what_follows(copied: Path, tiny_videos: Path) -> None:
    edit_labels(tiny_videos, copied, {1: {"x": "5"}})
    found = misses(copied)
    assert found["detect"] == ["boxes changed: 1 clip"]
    assert found["track"] == ["follows detect: 1 clip"]
    assert "normalize" not in found


def test_damage_and_deletion_have_their_reasons(copied: Path) -> None:
    jobs = plan(copied)
    store = Workspace(copied).store
    clips = list(jobs["track"].jobs)
    store.path("track", jobs["track"].jobs[clips[0]].key).write_bytes(b"x")
    store.remove("track", jobs["track"].jobs[clips[1]].key)
    found = plan(copied)
    assert sorted(found["track"].summary()) == ["artifact damaged: 1 clip", "artifact deleted: 1 clip"]
    assert [name for name, one in found.items() if one.reasons] == ["track"]  # nothing else is made again
    assert json.loads(json.dumps(found["track"].as_json()))["misses"] == 2


def test_a_changed_video_moves_that_clip_alone(tiny_videos: Path, finished_workspace: Path, tmp_path: Path) -> None:
    videos = Path(shutil.copytree(tiny_videos, tmp_path / "videos"))
    root = tmp_path / "w"
    new_workspace(root, videos)
    assert misses(root)["normalize"] == ["new: 4 clips"]
    run(root, selected=("normalize",))
    files = sorted((videos / "videos").glob("*.mp4"))
    files[0].write_bytes(files[1].read_bytes())
    found = misses(root)
    assert found["normalize"] == ["source video changed: 1 clip"]
    run(root, selected=("normalize",))
    assert "normalize" not in misses(root)


def test_same_clips_elsewhere_have_the_same_keys(tiny_videos: Path, finished_workspace: Path, tmp_path: Path) -> None:
    videos = Path(shutil.copytree(tiny_videos, tmp_path / "elsewhere"))
    root = new_workspace(tmp_path / "w", videos, "tiny").root
    run(root, selected=("normalize", "detect"))
    mine, theirs = plan(root), plan(finished_workspace)
    for stage in STAGE_NAMES:
        assert {clip: job.key for clip, job in mine[stage].jobs.items()} == {
            clip: job.key for clip, job in theirs[stage].jobs.items()
        }, stage

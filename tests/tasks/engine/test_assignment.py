"""What travels to a worker comes out as it went in, by references, and is small."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from pathlib import Path

import cloudpickle
import dask
import pytest
from prefect.utilities.collections import visit_collection

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from flows.execution.by_name import travel_by_name
from flows.pipeline import pipeline
from flows.stages import CLIP_STAGES, DATASET_STAGES
from tasks.engine.assignment import Assignment
from tasks.engine.config import StageConfig
from tasks.engine.errors import EngineError
from tasks.engine.job import Context, Job, Member
from tasks.engine.task_run import run_shard
from tests.support.tiny_workspace import (
    leftovers,
    plan,
)

STAGES = {stage.name: stage for stage in (*CLIP_STAGES, *DATASET_STAGES)}


def test_jobs_of_every_stage_come_out_as_they_went_in(finished_workspace: Path) -> None:
    context = Context(Workspace(finished_workspace))
    for name, planned in plan(finished_workspace).items():
        sent = Assignment(planned.stage, list(planned.jobs.values()), planned.config, context, 3)
        came = pickle.loads(pickle.dumps(sent))
        assert len(pickle.dumps(sent)) < 10_000
        assert came.stage is STAGES[name]
        assert (came.jobs, came.config, came.threads) == (tuple(sent.jobs), sent.config, 3)
        assert came.context.workspace.root == finished_workspace


def test_numbers_and_texts_of_every_kind_survive(tmp_path: Path) -> None:
    clip = ClipRecord(
        "ünï\u200fcode", "/videos/ü.mp4", "train", "dive", 1 / 3, 0.1, (1.5, float("nan")), None,
        ((0.1, 1e-300, 3.0, 4.0),), 0, 2**53, {"armstand": True, "list": [1, None]}, True, True, "‮",
    )  # fmt: skip
    job = Job("track", "ab" * 20, "d", clip.clip_id, {"cut": [1, 0.1]}, {"w": "12"}, {"normalize": "cd"}, clip,
              (Member(clip, {"masks": "ef"}),))  # fmt: skip
    sent = Assignment(STAGES["track"], [job], StageConfig(), Context(Workspace.open(tmp_path / "w")))
    assert repr(pickle.loads(pickle.dumps(sent)).jobs) == repr((job,))  # by repr, since nan isn't itself


def many_members(count: int) -> Job:
    keys = {name: hashlib.sha256(name.encode()).hexdigest()[:40] for name in ("normalize", "masks")}
    members = tuple(
        Member(ClipRecord(f"clip{number}", f"/videos/{number}.mp4", "train", score=number / 7), keys)
        for number in range(count)
    )
    return Job("pack", "ab" * 20, "d", "", {}, {}, {}, None, members)


@pytest.mark.parametrize("clips", [1, 100, 10_000])
def test_jobs_are_small_on_their_way_however_many_there_are(tmp_path: Path, clips: int) -> None:
    workspace, job = Workspace.open(tmp_path / "w"), many_members(clips)
    packed = pickle.dumps(Assignment(STAGES["pack"], [job], StageConfig(), Context(workspace)))
    assert len(packed) < 10_000
    assert pickle.loads(packed).jobs == (job,)
    workspace.store.close()
    assert leftovers(tmp_path / "w") == []


def test_filed_jobs_that_are_not_what_was_written_are_refused(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    packed = pickle.dumps(Assignment(STAGES["pack"], [many_members(10_000)], StageConfig(), Context(workspace)))
    (file,) = workspace.root.glob("artifacts/tmp/*/*jobs")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(EngineError, match="is not what was written; run again"):
        _ = pickle.loads(packed).jobs
    file.unlink()
    with pytest.raises(EngineError, match=r"can't be read \(No such file or directory\); run again"):
        _ = pickle.loads(packed).jobs


def test_neither_prefect_nor_dask_takes_it_apart(tmp_path: Path) -> None:
    """Both look into tuples, mappings and dataclasses: a quoted context came out of Dask as a tuple."""
    sent = Assignment(STAGES["masks"], [], StageConfig(), Context(Workspace.open(tmp_path / "w")))
    assert visit_collection({"assignment": sent}, lambda value: value, return_data=True)["assignment"] is sent
    assert dask.delayed(lambda values: values["assignment"] is sent)({"assignment": sent}).compute(scheduler="sync")


def test_another_version_of_a_stage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = STAGES["masks"]
    packed = pickle.dumps(stage)
    newer = dataclasses.replace(stage, version=stage.version + 1)
    monkeypatch.setattr("tasks.masks.STAGE", newer)
    with pytest.raises(EngineError, match=f"version {newer.version} of stage 'masks', and this run"):
        pickle.loads(packed)


def test_flows_and_tasks_travel_by_name() -> None:
    travel_by_name()
    named = run_shard.with_options(name="track", task_run_name="track shard 3")
    packed = [cloudpickle.dumps(one) for one in (pipeline, named)]
    assert max(map(len, packed)) < 200
    flow, task = map(pickle.loads, packed)
    assert flow is pipeline
    assert (task.fn, task.name, task.task_run_name, task.retries) == (run_shard.fn, "track", "track shard 3", 2)

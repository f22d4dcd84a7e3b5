"""Shards through stages: grouped for work, no barrier between stages, and failures leave their shard alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed.scheduler import KilledWorker
from ray.exceptions import WorkerCrashedError

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from flows.execution.scheduler import CACHED_SHARD_CLIPS, LARGEST_SHARD, SHARDS_A_WORKER, make_shards, run_clip_stages
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip, EngineError
from tasks.engine.job import Context, Job, Product
from tasks.engine.plan import StagePlan
from tasks.engine.run import ShardReport
from tasks.engine.stage import Stage, each
from tests.support.tiny_workspace import ShardFuture, ThreadRunner

CLIPS = [f"c{number}" for number in range(10)]


def plan_of(stage: Stage, clips: Sequence[str] = CLIPS, hits: Sequence[str] = ()) -> StagePlan:
    jobs = {
        clip: Job(stage.name, f"{number:02x}" * 20, "tiny", clip, {}, {}, {}, ClipRecord(clip, "v", "train"))
        for number, clip in enumerate(clips)
    }
    return StagePlan(stage, StageConfig(), jobs, set(hits))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Workspace.open(tmp_path / "w"), "cpu")


def nothing(job: Job, config: Any, context: Context) -> Product:
    return Product({"x": np.arange(2)})


def test_work_comes_first_in_small_shards_and_hits_last_in_large_ones() -> None:
    clips = [f"c{number}" for number in range(CACHED_SHARD_CLIPS + 20)]
    done = clips[10:]
    plans = [plan_of(Stage(name, 1, (), each(nothing)), clips, done) for name in ("a", "b")]
    plans[1].hits.discard(clips[15])  # done in one stage is not done
    shards = make_shards(plans, clips, workers=2, shard_clips=4)
    assert [len(shard.clips) for shard in shards] == [4, 4, 3, CACHED_SHARD_CLIPS, 9]
    assert shards[2].clips == [clips[8], clips[9], clips[15]]
    assert sorted(clip for shard in shards for clip in shard.clips) == sorted(clips)
    assert len({shard.number for shard in shards}) == len(shards)
    assert make_shards(plans, [], workers=2) == []


@pytest.mark.parametrize(("clips", "workers"), [(1, 2), (10, 2), (64, 2), (1000, 2), (1000, 64), (10_000, 4)])
def test_shards_are_small_enough_for_every_worker_and_large_enough_to_pay(clips: int, workers: int) -> None:
    names = [f"c{number}" for number in range(clips)]
    shards = make_shards([plan_of(Stage("a", 1, (), each(nothing)), names)], names, workers)
    sizes = {len(shard.clips) for shard in shards}
    assert max(sizes) <= LARGEST_SHARD
    assert len(shards) >= min(clips, SHARDS_A_WORKER * workers)
    assert [clip for shard in shards for clip in shard.clips] == names


def test_a_shard_goes_on_while_another_is_still_in_the_stage_before(context: Context) -> None:
    """A barrier would make the second stage wait for the slow clip of the first: then this would time out."""
    through = threading.Event()

    def slow(job: Job, config: Any, context: Context) -> Product:
        if job.clip_id == "c0":
            assert through.wait(20), "nobody got through the second stage meanwhile"
        return nothing(job, config, context)

    def second(job: Job, config: Any, context: Context) -> Product:
        through.set()
        return nothing(job, config, context)

    plans = [plan_of(Stage("a", 1, (), each(slow))), plan_of(Stage("b", 1, (), each(second)))]
    with ThreadRunner(2) as runner:
        reports = run_clip_stages(plans, make_shards(plans, CLIPS, 2, 1), context, runner, 3, lambda stage, clips: None)  # type: ignore[arg-type]
    assert sum(len(report.made) for report in reports) == 20
    assert [report for report in reports if report.troubles] == []


def test_a_clip_that_fails_leaves_its_shard_and_the_others_go_on(context: Context) -> None:
    def first(job: Job, config: Any, context: Context) -> Product:
        if job.clip_id in ("c1", "c2"):
            raise BadClip("Bad.", "Mend it.")
        return nothing(job, config, context)

    seen: list[str] = []

    def second(job: Job, config: Any, context: Context) -> Product:
        seen.append(job.clip_id)
        return nothing(job, config, context)

    advanced: dict[str, int] = {}

    def advance(stage: str, clips: int) -> None:
        advanced[stage] = advanced.get(stage, 0) + clips

    plans = [plan_of(Stage("a", 1, (), each(first))), plan_of(Stage("b", 1, (), each(second)))]
    with ThreadRunner(2) as runner:
        run_clip_stages(plans, make_shards(plans, CLIPS, 2, 4), context, runner, 3, advance)  # type: ignore[arg-type]
    assert sorted(seen) == sorted(set(CLIPS) - {"c1", "c2"})
    assert advanced == {"a": 10, "b": 8}


def test_no_more_shards_are_under_way_than_asked(context: Context) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def watched(job: Job, config: Any, context: Context) -> Product:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return nothing(job, config, context)

    plans = [plan_of(Stage("a", 1, (), each(watched)))]
    with ThreadRunner(8) as runner:
        run_clip_stages(plans, make_shards(plans, CLIPS, 2, 1), context, runner, 3, lambda stage, clips: None)  # type: ignore[arg-type]
    assert 1 <= most <= 3


class BrokenRunner(ThreadRunner):
    """A task runner in which every second shard ends like this."""

    def __init__(self, end: Exception) -> None:
        super().__init__(1)
        self._count, self._end = 0, end
        self._dying = ThreadPoolExecutor(1)

    def submit(self, task: Any, parameters: Mapping[str, Any]) -> ShardFuture:
        self._count += 1
        if self._count % 2:
            return super().submit(task, parameters)
        return ShardFuture(self._dying.submit(self._die))

    def _die(self) -> ShardReport:
        raise self._end


def run_with(end: Exception, context: Context) -> list[ShardReport]:
    plans = [plan_of(Stage("a", 1, (), each(nothing)))]
    with BrokenRunner(end) as runner:
        return run_clip_stages(plans, make_shards(plans, CLIPS, 2, 2), context, runner, 2, lambda stage, clips: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [KilledWorker("a", None, 3), WorkerCrashedError()], ids=["dask", "ray"])
def test_a_shard_that_takes_worker_after_worker_costs_its_clips_only(context: Context, end: Exception) -> None:
    reports = run_with(end, context)
    lost = [trouble for report in reports for trouble in report.troubles]
    assert len(lost) == 4
    assert all(trouble.clip_id in trouble.reason and "shard_clips=1" in trouble.remedy for trouble in lost)
    assert sum(len(report.made) for report in reports) == 6


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (AttributeError("'tuple' object has no attribute 'workspace'"), "no clip is to blame: AttributeError: 'tuple'"),
        (ModuleNotFoundError("No module named 'tasks'"), "can't load Tubeflow .No module named 'tasks'.; install"),
        (BrokenProcessPool("terminated abruptly"), "A worker process ended while it was at a"),
        (EngineError("The workspace isn't there."), "^The workspace isn't there.$"),
    ],
)
def test_what_no_clip_is_to_blame_for_ends_the_run_with_a_sentence(
    context: Context, end: Exception, sentence: str
) -> None:
    with pytest.raises(EngineError, match=sentence):
        run_with(end, context)
    assert context.workspace.quarantine.keys("a") == set()

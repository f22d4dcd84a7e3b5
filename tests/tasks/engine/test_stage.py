"""The stage engine: keys say everything that determines an artifact, and each kind of failure goes its own way."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.store import ArtifactDamaged
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.job import UNKNOWN, Context, Job, Outcome, Product
from tasks.engine.keys import make_key
from tasks.engine.run import IOFailure, ShardReport, run_jobs
from tasks.engine.stage import Stage, each
from tasks.track import STAGE as TRACK
from tasks.track import TrackConfig


class Config(StageConfig):
    number: float = 1.0
    pair: tuple[int, int] = (1, 2)
    name: str | None = None
    options: dict[str, int] = Field(default_factory=dict)


def compute_nothing(jobs: Sequence[Job], config: Any, context: Context) -> Iterator[Outcome]:
    yield from ((job, Product({"x": np.arange(3)})) for job in jobs)


STAGE = Stage("track", 1, ("normalize",), compute_nothing)
PARTS: dict[str, Any] = {
    "inputs": {"source": "ab" * 32, "start_frame": 3},
    "weights": {"a.onnx": "11" * 32, "b.onnx": "22" * 32},
    "parents": {"normalize": "cd" * 20, "detect": "ef" * 20},
}


def key(stage: Stage = STAGE, config: StageConfig | None = None, **changes: Any) -> str:
    return make_key(stage, config or Config(), **(PARTS | changes))


KEY_NOW = "0e966521652bcf63f05ada287346e246f9c51c4d"


def shuffled(value: Any, order: Callable[[list[Any]], list[Any]]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: shuffled(value[name], order) for name in order(list(value))}


@given(st.randoms(use_true_random=False))
def test_the_order_in_which_things_were_put_together_does_not_matter(random: Any) -> None:
    def order(names: list[Any]) -> list[Any]:
        return random.sample(names, len(names))

    parts = {name: shuffled(part, order) for name, part in PARTS.items()}
    config = Config(options=shuffled({"a": 1, "b": 2, "c": 3}, order))
    assert make_key(STAGE, config, **parts) == key(config=Config(options={"a": 1, "b": 2, "c": 3}))


@pytest.mark.parametrize(
    "same",
    [
        {"number": 1},
        {"number": "1.0"},
        {"number": 1e0},
        {"pair": [1, 2]},
        {"pair": (1.0, 2.0)},
        {"name": None},
        {},
    ],
)
def test_how_a_value_is_written_does_not_matter(same: dict[str, Any]) -> None:
    assert key(config=Config.model_validate(same)) == key()


@settings(max_examples=50)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_two_numbers_share_a_key_only_if_they_are_equal(first: float, second: float) -> None:
    same = key(config=Config(number=first)) == key(config=Config(number=second))
    assert same == (json.dumps(first) == json.dumps(second))
    assert key(config=Config(number=float(repr(first)))) == key(config=Config(number=first))


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_another_process_finds_the_same_key(hash_seed: str) -> None:
    source = "from tests.tasks.engine.test_stage import *; print(key(config=Config(options={'a': 1, 'b': 2})))"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", source]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd="/")
    assert found.stdout.strip() == key(config=Config(options={"a": 1, "b": 2}))


def test_another_day_finds_the_same_key() -> None:
    """If this fails, every user's artifacts are computed again: then say so in the changelog and write the new key."""
    assert key() == KEY_NOW


@pytest.mark.parametrize(
    "other",
    [
        lambda: key(replace(STAGE, name="masks")),
        lambda: key(replace(STAGE, version=2)),
        lambda: key(config=Config(number=np.nextafter(1.0, 2.0))),
        lambda: key(config=Config(pair=(2, 1))),
        lambda: key(config=Config(name="")),
        lambda: key(config=Config(options={"a": 1})),
        lambda: key(inputs=PARTS["inputs"] | {"source": "ac" * 32}),
        lambda: key(inputs=PARTS["inputs"] | {"start_frame": 4}),
        lambda: key(inputs={"source": "ab" * 32}),
        lambda: key(weights={"a.onnx": "11" * 32, "b.onnx": "23" * 32}),
        lambda: key(weights={"a.onnx": "11" * 32}),
        lambda: key(weights={}),
        lambda: key(parents=PARTS["parents"] | {"detect": "ee" * 20}),
        lambda: key(parents={"normalize": "cd" * 20}),
        lambda: key(parents={"normalize": "ef" * 20, "detect": "cd" * 20}),
    ],
)
def test_every_determining_part_matters(other: Callable[[], str]) -> None:
    assert other() != key()


def test_what_a_weights_file_is_called_does_not_matter() -> None:
    assert key(weights={"new name.onnx": "11" * 32, "b.onnx": "22" * 32}) == key()
    near, far = TrackConfig(tracker="nano", weights="a"), TrackConfig(tracker="nano", weights="/elsewhere/a")
    assert make_key(TRACK, near, **PARTS) == make_key(TRACK, far, **PARTS)


def test_not_a_number_has_no_key() -> None:
    with pytest.raises(ValueError, match="JSON"):
        key(inputs={"x": float("nan")})


# --- what becomes of jobs ---------------------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Workspace.open(tmp_path / "w"), "cpu")


def job(number: int, **changes: Any) -> Job:
    facts: dict[str, Any] = {"inputs": {}, "weights": {}, "parents": {}, "clip": ClipRecord(f"c{number}", "v", "train")}
    return Job("track", f"{number:02x}" * 20, "tiny", f"c{number}", **(facts | changes))


def stage_of(function: Callable[[Job, Any, Context], Product]) -> Stage:
    return Stage("track", 1, (), each(function))


def test_what_is_there_is_not_made_again(context: Context) -> None:
    jobs = [job(number) for number in range(3)]
    first = run_jobs(STAGE, jobs[:2], Config(), context)
    assert (first.hits, [row.clip_id for row in first.made]) == (0, ["c0", "c1"])
    before = context.workspace.store.path("track", jobs[0].key).stat()
    second = run_jobs(STAGE, jobs, Config(), context)
    assert (second.hits, [row.clip_id for row in second.made]) == (2, ["c2"])
    after = context.workspace.store.path("track", jobs[0].key).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    lineage = context.workspace.store.lineage("track", jobs[0].key)
    assert (lineage.clip_id, lineage.config, lineage.stage_version) == ("c0", {"track": Config().key_view()}, 1)
    assert lineage.seconds > 0
    assert lineage.libraries["numpy"] == np.__version__


def test_each_failure_goes_its_own_way_and_the_others_go_on(context: Context) -> None:
    failures: dict[str, Exception] = {
        "c1": BadClip("Nobody is in it.", "Give a box."),
        "c2": OSError(28, "No space left on device", "/w/x.h5"),
        "c3": FileNotFoundError(2, "No such file", "/w/parent.h5"),
        "c4": RuntimeError("a bug"),
        "c5": ValueError("the crop is larger than the frame; lower masks.crop."),
    }

    def compute(wanted: Job, config: Any, context: Context) -> Product:
        if wanted.clip_id in failures:
            raise failures[wanted.clip_id]
        return Product({"x": np.arange(3)})

    report = run_jobs(stage_of(compute), [job(number) for number in range(7)], Config(), context)
    assert [row.clip_id for row in report.made] == ["c0", "c6"]
    assert [(row.clip_id, row.reason, row.remedy) for row in report.quarantined] == [
        ("c1", "Nobody is in it.", "Give a box.")
    ]
    assert context.workspace.quarantine.keys("track") == {job(1).key}
    said = {trouble.clip_id: (trouble.reason, trouble.retry) for trouble in report.troubles}
    assert said == {
        "c2": ("clip 'c2': No space left on device (/w/x.h5).", True),
        "c3": ("clip 'c3': /w/parent.h5 is gone.", False),
        "c4": ("clip 'c4': unexpected RuntimeError in track: a bug.", False),
        "c5": ("clip 'c5' can't go through track: the crop is larger than the frame; lower masks.crop.", False),
    }
    assert report.failed == {"c1", "c2", "c3", "c4", "c5"}


def test_a_stage_that_breaks_off_fails_the_jobs_it_still_owed_even_of_one_key(context: Context) -> None:
    def compute(jobs: Sequence[Job], config: Any, context: Context) -> Iterator[Outcome]:
        yield jobs[0], Product({"x": np.arange(3)})
        raise BadClip("The detector's file is broken.", "Get it again.")

    twins = [job(0), job(1), replace(job(2), key=job(1).key)]
    report = run_jobs(Stage("track", 1, (), compute), twins, Config(), context)
    assert [row.clip_id for row in report.made] == ["c0"]
    assert sorted(row.clip_id for row in report.quarantined) == ["c1", "c2"]


def test_a_product_that_cannot_be_written_fails_its_clip_alone(context: Context) -> None:
    def compute(wanted: Job, config: Any, context: Context) -> Product:
        return Product({"x": np.arange(3)}, {"attribute": object()} if wanted.clip_id == "c0" else {})

    report = run_jobs(stage_of(compute), [job(0), job(1)], Config(), context)
    assert [row.clip_id for row in report.made] == ["c1"]
    assert [trouble.clip_id for trouble in report.troubles] == ["c0"]


def test_nothing_is_ever_stored_under_the_unknown_key(context: Context) -> None:
    unknown = replace(job(0), key=UNKNOWN, clip=ClipRecord("c0", "/videos/x.mp4", "train"))
    report = run_jobs(STAGE, [unknown, job(1)], Config(), context)
    assert [row.clip_id for row in report.made] == ["c1"]
    assert "/videos/x.mp4 could not be read" in report.troubles[0].reason
    assert not context.workspace.store.exists("track", UNKNOWN)
    assert context.workspace.quarantine.keys("track") == set()


def test_a_damaged_parent_is_removed_so_that_the_next_run_makes_it(context: Context, tmp_path: Path) -> None:
    inside = context.workspace.store.path("normalize", "ab" * 20)
    inside.parent.mkdir(parents=True)
    outside = tmp_path / "a users file.h5"
    for path in (inside, outside):
        path.write_bytes(b"damaged")

    def compute(wanted: Job, config: Any, context: Context) -> Product:
        raise ArtifactDamaged(inside if wanted.clip_id == "c0" else outside, "doesn't match its checksum")

    report = run_jobs(stage_of(compute), [job(0), job(1)], Config(), context)
    assert report.troubles[0].reason == f"clip 'c0': {inside} doesn't match its checksum."
    assert not inside.exists()
    assert outside.exists()


def test_a_second_attempt_tries_trouble_again_and_never_bad_data(context: Context) -> None:
    tried: list[str] = []

    def compute(wanted: Job, config: Any, context: Context) -> Product:
        tried.append(wanted.clip_id)
        if wanted.clip_id == "c1":
            raise BadClip("Bad.", "Fix it.")
        if wanted.clip_id == "c2" and tried.count("c2") == 1:
            raise OSError(5, "Input/output error")
        return Product({"x": np.arange(3)}, notes=[f"note of {wanted.clip_id}"])

    jobs, so_far = [job(number) for number in range(3)], ShardReport("track")
    run_jobs(stage_of(compute), jobs, Config(), context, so_far)
    assert so_far.troubles[0].retry
    report = run_jobs(stage_of(compute), jobs, Config(), context, so_far)
    assert tried == ["c0", "c1", "c2", "c2"]
    assert ([row.clip_id for row in report.made], report.hits, report.troubles) == (["c0", "c2"], 0, [])
    assert [row.clip_id for row in report.quarantined] == ["c1"]
    assert report.notes == ["note of c0", "note of c2"]


def test_reports_and_their_exception_come_back_whole_from_another_process(context: Context) -> None:
    def compute(wanted: Job, config: Any, context: Context) -> Product:
        raise OSError(28, "No space left on device")

    report = run_jobs(stage_of(compute), [job(0)], Config(), context)
    again = pickle.loads(pickle.dumps(IOFailure(report)))
    assert again.report == report
    assert str(again) == "clip 'c0': No space left on device."

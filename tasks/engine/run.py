"""The stage engine: keys, hits, misses, retries, quarantine.

A stage is a function from parents' artifacts and a config to a new artifact. Its key is a digest of everything that
determines it (`make_key`), so asking whether a piece of work is done is asking whether a file is there: the store is
the only authority. Prefect runs the work (`run_shard`, one task run for a few clips of one stage) and shows what the
store said: a shard of nothing but hits is Cached, one with work is Completed.

What can go wrong with a clip has two forms. `BadClip`, which no retry mends, is quarantined under its key and not
tried again until the key changes. Everything else (a full disk, a bug) is trouble: it is reported, nothing is
remembered, and the next run tries again; I/O trouble is retried with backoff within the run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.store import Lineage
from data_catalog.tables.index import Record, record_of
from data_catalog.tables.quarantine import QuarantineRow
from tasks.engine.config import StageConfig
from tasks.engine.errors import BadClip
from tasks.engine.failures import Failure, quarantine_job, to_failure

logger = logging.getLogger(__name__)

GPU_LIMIT = "gpu"
UNKNOWN = "unknown"
"""The key of an artifact whose source could not be read (yet); nothing is ever stored under it."""


@dataclass(frozen=True)
class Job:
    """One artifact that is wanted: its key, and what it takes to make it.

    Attributes:
        stage: name of the stage.
        key: key of the artifact.
        dataset: name of the dataset.
        clip_id: the clip; empty where the artifact is of a whole dataset.
        inputs: what of the source and the labels entered the key.
        weights: digest of each weights file that entered the key, by name.
        parents: key of each parent artifact, by stage.
        clip: the clip's record, its `video` made absolute; None for a whole dataset.
        members: the clips of a dataset stage, each with its own keys; empty for a clip.
    """

    stage: str
    key: str
    dataset: str
    clip_id: str
    inputs: Mapping[str, Any]
    weights: Mapping[str, str]
    parents: Mapping[str, str]
    clip: ClipRecord | None = None
    members: Sequence[Member] = ()

    @property
    def name(self) -> str:
        return f"clip '{self.clip_id}'" if self.clip_id else f"dataset '{self.dataset}'"


@dataclass(frozen=True)
class Member:
    """One clip inside a dataset stage: its labels and the keys of its artifacts by stage."""

    clip: ClipRecord
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Context:
    """What a stage may use beside its job: the workspace, and the device (`auto`, `cpu`, `cuda`, `cuda:1`, …)."""

    workspace: Workspace
    device: str = "auto"

    @property
    def resolved_device(self) -> str:
        """`auto` made definite: a GPU where there is one."""
        if self.device != "auto":
            return self.device
        import torch  # seconds to import, and most runs of cached work never need it

        return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Product:
    """What a stage made: arrays to be written, or a file in the store's scratch folder to be adopted.

    `notes` are sentences for the user: what was found damaged on the way and mended.
    """

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    notes: Sequence[str] = ()


Outcome = tuple[Job, Product | Exception]


@dataclass(frozen=True)
class Stage:
    """One stage: what it is called, what it reads, and the function that computes it.

    Attributes:
        name: as in `design.md` and in `PipelineConfig`.
        version: STAGE_VERSION of its module; raised when the meaning of its output changes.
        parents: names of the stages whose artifacts it reads.
        compute: makes the products of several jobs, in any order, one outcome a job. It yields an exception for a
            job that failed and goes on with the others.
        inputs: what of a clip's own record enters the key (the source's digest is added by `sees_source`).
        sees_source: the stage reads the source video.
        uses_device: it computes on `Context.device`, so on a GPU it takes the slot of that name.
        weights: files whose digests enter the key, by name.
        config_view: the config that enters the key, by section of `PipelineConfig`; by default its own section.
    """

    name: str
    version: int
    parents: tuple[str, ...]
    compute: Callable[[Sequence[Job], Any, Context], Iterator[Outcome]]
    inputs: Callable[[ClipRecord, Any], Mapping[str, Any]] = lambda clip, config: {}
    sees_source: bool = False
    uses_device: bool = False
    weights: Callable[[Any, Path], Mapping[str, Path]] = lambda config, folder: {}
    config_view: Callable[[Any], Mapping[str, Any]] | None = None

    def config_of(self, config: StageConfig) -> Mapping[str, Any]:
        """The config as plain values, by section: `{"track": {"tracker": "mil", …}}`."""
        if self.config_view is not None:
            return self.config_view(config)
        return {self.name: config.key_view()}


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def make_key(
    stage: Stage,
    config: StageConfig,
    inputs: Mapping[str, Any],
    weights: Mapping[str, str],
    parents: Mapping[str, str],
) -> str:
    """The key of an artifact: 40 hex digits of a SHA-256 over everything that determines it, in canonical JSON."""
    return KeyMaker(stage, config, weights).key(inputs, parents)


class KeyMaker:
    """Makes the keys of one stage; what all of its clips have in common is put into canonical JSON once."""

    def __init__(self, stage: Stage, config: StageConfig, weights: Mapping[str, str]) -> None:
        digests = _canonical(sorted(weights.values()))  # what a file is called changes nothing
        self._start = f'{{"config":{_canonical(stage.config_of(config))},"inputs":'
        self._end = f',"stage":{_canonical(stage.name)},"version":{stage.version},"weights":{digests}}}'

    def key(self, inputs: Mapping[str, Any], parents: Mapping[str, str]) -> str:
        """As `make_key`: the names of the six parts follow each other in the order of the alphabet."""
        text = f'{self._start}{_canonical(inputs)},"parents":{_canonical(parents)}{self._end}'
        return hashlib.sha256(text.encode()).hexdigest()[:40]


@dataclass
class ShardReport:
    """What became of the jobs of one shard."""

    stage: str
    hits: int = 0
    made: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quarantined: list[QuarantineRow] = field(default_factory=list)
    troubles: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> set[str]:
        """Clips that have no artifact after this shard."""
        return {row.clip_id for row in self.quarantined} | {trouble.clip_id for trouble in self.troubles}


class IOFailure(OSError):
    """Reading or writing failed for some clips of a shard; carries what was done, and Prefect retries."""

    def __init__(self, report: ShardReport) -> None:
        super().__init__(report.troubles[0].reason)
        self.report = report

    def __reduce__(self) -> tuple[type[IOFailure], tuple[ShardReport]]:
        return type(self), (self.report,)  # so that it comes back whole from another process


def run_jobs(
    stage: Stage, jobs: Sequence[Job], config: StageConfig, context: Context, so_far: ShardReport | None = None
) -> ShardReport:
    """Have every artifact that `jobs` want: skip the ones that are there, make the others, one by one.

    Bad clips are quarantined and never stop the others. `so_far` is the report of an earlier attempt at the same
    jobs, which is gone on with: what it made and what it quarantined is settled, its troubles are tried again.
    """
    store, started = context.workspace.store, time.perf_counter()
    report = so_far if so_far is not None else ShardReport(stage.name)
    report.troubles.clear()
    settled = {made.clip_id for made in report.made} | {row.clip_id for row in report.quarantined}
    jobs = [job for job in jobs if job.clip_id not in settled]
    todo = [job for job in jobs if not store.exists(stage.name, job.key)]
    report.hits = len(jobs) - len(todo)
    clock = time.perf_counter()
    for job, outcome in _outcomes(stage, todo, config, context):
        result: Record | Exception
        if isinstance(outcome, Product):
            result = _keep(stage, job, config, context, outcome, time.perf_counter() - clock)
        else:
            result = outcome
        if isinstance(result, Record):
            report.made.append(result)
            report.notes += outcome.notes if isinstance(outcome, Product) else ()
        elif isinstance(result, BadClip):
            report.quarantined.append(quarantine_job(context.workspace, job, result))
        else:
            report.troubles.append(to_failure(context.workspace, job, result))
        clock = time.perf_counter()
    report.seconds += time.perf_counter() - started
    return report


def _outcomes(
    stage: Stage, jobs: Sequence[Job], config: StageConfig, context: Context
) -> Iterator[tuple[Job, Product | Exception]]:
    """The stage's outcomes; where its function breaks off, the jobs that it still owed fail with its exception."""
    owed = {job.clip_id: job for job in jobs}
    for job in [job for job in jobs if job.key == UNKNOWN]:
        yield owed.pop(job.clip_id), OSError(f"{job.clip.video if job.clip else job.dataset} could not be read")
    if not owed:
        return
    try:
        for job, outcome in stage.compute(list(owed.values()), config, context):
            owed.pop(job.clip_id, None)
            yield job, outcome
    except Exception as exc:
        yield from ((job, exc) for job in owed.values())


def each(
    function: Callable[[Job, Any, Context], Product],
) -> Callable[[Sequence[Job], Any, Context], Iterator[Outcome]]:
    """Make a stage's `compute` from a function of one job."""

    @functools.wraps(function)
    def compute(jobs: Sequence[Job], config: Any, context: Context) -> Iterator[Outcome]:
        for job in jobs:
            try:
                yield job, function(job, config, context)
            except Exception as exc:  # becomes the clip's outcome; `run_jobs` sorts out which kind
                yield job, exc

    return compute


def _keep(
    stage: Stage, job: Job, config: StageConfig, context: Context, product: Product, seconds: float
) -> Record | Exception:
    lineage = Lineage(
        stage=stage.name,
        stage_version=stage.version,
        config=stage.config_of(config),
        inputs=job.inputs,
        weights=job.weights,
        parents=job.parents,
        key=job.key,
        dataset=job.dataset,
        clip_id=job.clip_id,
        libraries=library_versions(),
        seconds=round(seconds, 6),
        host=socket.gethostname(),
        created=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    try:
        store = context.workspace.store
        if product.file is not None:
            path = store.adopt(lineage, product.file)
        else:
            path = store.write(lineage, product.arrays, product.attrs)
        return record_of(lineage, path.stat())
    except Exception as exc:  # of this clip alone; `run_jobs` sorts out which kind
        return exc


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that can change an artifact's content."""
    names = ("tubeflow", "numpy", "av", "opencv-python", "h5py", "torch", "ultralytics")
    return {name: importlib.metadata.version(name) for name in names}


def read_parent(job: Job, stage: str, context: Context, names: Sequence[str] | None = None) -> Any:
    """The parent artifact of a job (`data_catalog.store.Artifact`).

    Raises:
        ArtifactDamaged: it was damaged since it was checked; `run_jobs` removes it, and the next run makes it again.
    """
    return context.workspace.store.read(stage, job.parents[stage], names)


class NoGpuSlot(RuntimeError):
    """The Prefect server knows no limit for GPUs, so that any number of shards would share one."""


@contextlib.contextmanager
def gpu_slot(stage: Stage, jobs: Sequence[Job], context: Context) -> Iterator[None]:
    """Hold one of the GPU's slots while a stage computes there; nothing to compute, nothing to hold.

    Raises:
        NoGpuSlot: nobody created the limit.
    """
    store = context.workspace.store
    work = stage.uses_device and any(not store.exists(stage.name, job.key) for job in jobs)
    if not work or not context.resolved_device.startswith("cuda"):
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            # A server that is away for minutes shall not end a training that is under way.
            slot = concurrency(GPU_LIMIT, occupy=1, strict=True, raise_on_lease_renewal_failure=False)
            held.enter_context(slot)
        except ConcurrencySlotAcquisitionError as exc:
            raise NoGpuSlot(
                f"the Prefect server has no concurrency limit '{GPU_LIMIT}'; create it with: tubeflow setup"
            ) from exc
        yield


def _worth_retrying(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), OSError)


@task(
    cache_policy=NO_CACHE,  # the store decides; Prefect is told
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_worth_retrying,
)
def run_shard(
    stage: Stage, label: str, jobs: Sequence[Job], config: StageConfig, context: Context, so_far: ShardReport
) -> State[ShardReport] | ShardReport:
    """One Prefect task run: the jobs of one stage for a few clips. `so_far` is kept from attempt to attempt.

    Raises:
        IOFailure: some files could not be read or written; Prefect tries the shard again, finished clips are hits.
    """
    with gpu_slot(stage, jobs, context):
        report = run_jobs(stage, jobs, config, context, so_far)
    if any(trouble.retry for trouble in report.troubles):
        raise IOFailure(report)
    done = f"{label}: {report.hits} hits, {len(report.made)} computed, {len(report.failed)} quarantined"
    logger.info("%s %s", stage.name, done)
    if report.hits == len(jobs):
        return Completed(name="Cached", message=done, data=report)
    return Completed(message=done, data=report)

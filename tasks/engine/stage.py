"""A stage: a function from parents' artifacts and a config to a new artifact."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from data_catalog.datasets.records import ClipRecord
from data_catalog.store import Artifact
from tasks.engine.config import StageConfig
from tasks.engine.errors import EngineError
from tasks.engine.job import Context, Job, Outcome, Product

ConfigT = TypeVar("ConfigT", bound=StageConfig)
Compute = Callable[[Sequence[Job], ConfigT, Context], Iterator[Outcome]]


@dataclass(frozen=True)
class Stage(Generic[ConfigT]):
    """One stage: what it is called, what it reads, and the function that computes it.

    Attributes:
        name: as in `design.md` and in `PipelineConfig`.
        version: STAGE_VERSION of its module; raised when the meaning of its output changes.
        parents: names of the stages whose artifacts it reads.
        compute: makes the products of several jobs, in any order, one outcome a job. It yields an exception for a
            job that failed and continues with the others.
        inputs: what of a clip's own record enters the key (the source's digest is added by `sees_source`); of a stage
            of a whole dataset what more than the labels of its clips, where it has clips.
        sees_source: the stage reads the source video.
        uses_device: it computes on `Context.device`, so on a GPU it takes the slot of that name.
        weights: files whose digests enter the key, by name.
        settle: makes of a config that leaves a choice open the one that stands, given the folder of weights; a config
            without a choice stays as it is.
        composed: its config's class where that is composed of several sections of `PipelineConfig`, each a field of
            the section's name; None where the config is the stage's own section.
    """

    name: str
    version: int
    parents: tuple[str, ...]
    compute: Compute[ConfigT]
    inputs: Callable[[ClipRecord, ConfigT], Mapping[str, Any]] = lambda clip, config: {}
    sees_source: bool = False
    uses_device: bool = False
    weights: Callable[[ConfigT, Path], Mapping[str, Path]] = lambda config, folder: {}
    settle: Callable[[ConfigT, Path], ConfigT] = lambda config, folder: config
    composed: type[ConfigT] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process by name, as functions go: a stage is the `STAGE` of its module."""
        module = self.compute.__module__
        if getattr(sys.modules.get(module), "STAGE", None) is not self:
            return type(self), tuple(getattr(self, item.name) for item in fields(self))  # not one of the pipeline's
        return _stage_of, (module, self.version)

    def config_of(self, config: ConfigT) -> Mapping[str, Any]:
        """The config that enters the key as plain values, by section: `{"track": {"tracker": "mil", …}}`."""
        view = config.key_view()
        return view if self.composed is not None else {self.name: view}


def _stage_of(module: str, version: int) -> Stage[Any]:
    """The stage that a module defines. Raises EngineError where it isn't the same one."""
    stage: Stage[Any] = importlib.import_module(module).STAGE
    if stage.version != version:
        raise EngineError(
            f"A worker has version {stage.version} of stage '{stage.name}', and this run has {version}; install the "
            "same Tubeflow on every machine."
        )
    return stage


def each(function: Callable[[Job, ConfigT, Context], Product]) -> Compute[ConfigT]:
    """Make a stage's `compute` from a function of one job."""

    @functools.wraps(function)
    def compute(jobs: Sequence[Job], config: ConfigT, context: Context) -> Iterator[Outcome]:
        for job in jobs:
            try:
                yield job, function(job, config, context)
            except Exception as exc:  # becomes the clip's outcome; `run_jobs` sorts out which kind
                yield job, exc

    return compute


def read_parent(job: Job, stage: str, context: Context, names: Sequence[str] | None = None) -> Artifact:
    """The parent artifact of a job.

    Raises:
        ArtifactDamaged: it was damaged since it was checked; `run_jobs` removes it, and the next run makes it again.
    """
    return context.workspace.store.read(stage, job.parents[stage], names)

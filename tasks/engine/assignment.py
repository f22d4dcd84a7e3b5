"""What a worker is handed: keys and settings, never arrays.

Workers may be threads, other processes or other machines. To those an assignment travels as the stage's name, its
config, and the jobs as compressed JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from tasks.engine.config import StageConfig
from tasks.engine.job import Context, Job
from tasks.engine.reports import ShardReport
from tasks.engine.stage import Stage

_jobs = TypeAdapter(tuple[Job, ...], config=ConfigDict(ser_json_inf_nan="constants"))


class Assignment:
    """The jobs of one stage for a few clips, and what is needed to do them.

    A plain class on purpose: in tuples, mappings and dataclasses, Prefect and Dask look for futures and pass on what
    they made of them (Prefect's `quote` is a tuple, and comes out of Dask and Ray as a plain one).

    Attributes:
        so_far: what is done of it; kept from attempt to attempt.
        threads: on how many threads the worker computes; None leaves that to the libraries.
    """

    def __init__(
        self,
        stage: Stage[Any],
        jobs: Sequence[Job],
        config: StageConfig,
        context: Context,
        threads: int | None = None,
    ) -> None:
        self.stage, self.jobs, self.config, self.context, self.threads = stage, jobs, config, context, threads
        self.so_far = ShardReport(stage.name)

    def __reduce__(self) -> tuple[Any, ...]:
        jobs = zlib.compress(_jobs.dump_json(tuple(self.jobs)))
        return _unpacked, (self.stage, jobs, self.config, self.context, self.threads)


def _unpacked(
    stage: Stage[Any], jobs: bytes, config: StageConfig, context: Context, threads: int | None
) -> Assignment:
    return Assignment(stage, _jobs.validate_json(zlib.decompress(jobs)), config, context, threads)

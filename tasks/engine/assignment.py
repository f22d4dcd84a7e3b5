"""What a worker is handed: keys and settings, never arrays.

Workers may be threads, other processes or other machines. To those an assignment travels as the stage's name, its
config, and the jobs as compressed JSON; where that is large (a dataset has as many members as clips), it is put into a
file of the workspace, and the file's name and digest travel.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from tasks.engine.config import StageConfig
from tasks.engine.errors import EngineError
from tasks.engine.job import Context, Job
from tasks.engine.reports import ShardReport
from tasks.engine.stage import Stage

LARGEST_BYTES = 8192  # that travel themselves

_jobs = TypeAdapter(tuple[Job, ...], config=ConfigDict(ser_json_inf_nan="constants"))


@dataclass(frozen=True)
class Filed:
    """Jobs that are in a file of the workspace: its path relative to the root, and the SHA-256 of its bytes."""

    file: str
    digest: str


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
        jobs: Sequence[Job] | bytes | Filed,
        config: StageConfig,
        context: Context,
        threads: int | None = None,
    ) -> None:
        self.stage, self.config, self.context, self.threads = stage, config, context, threads
        self.so_far = ShardReport(stage.name)
        self._given = jobs

    @functools.cached_property
    def jobs(self) -> Sequence[Job]:
        """The jobs; read from their file where they are in one. Raises EngineError where that can't be read."""
        if isinstance(self._given, bytes | Filed):
            data = self._given if isinstance(self._given, bytes) else self._read(self._given)
            return _jobs.validate_json(zlib.decompress(data))
        return self._given

    def _read(self, filed: Filed) -> bytes:
        path = self.context.workspace.root / filed.file
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise EngineError(f"{path} with the jobs of a shard can't be read ({exc.strerror}); run again.") from exc
        if hashlib.sha256(data).hexdigest() != filed.digest:
            raise EngineError(f"{path} with the jobs of a shard is not what was written; run again.")
        return data

    @functools.cached_property
    def _packed(self) -> bytes | Filed:
        data = zlib.compress(_jobs.dump_json(tuple(self.jobs)))
        if len(data) <= LARGEST_BYTES:
            return data
        workspace = self.context.workspace
        path = workspace.store.scratch("jobs")  # goes with the run
        path.write_bytes(data)
        return Filed(str(PurePosixPath(path.relative_to(workspace.root))), hashlib.sha256(data).hexdigest())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stage, self._packed, self.config, self.context, self.threads)

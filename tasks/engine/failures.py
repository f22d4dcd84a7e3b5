"""What can go wrong with a job, sorted and put into words: quarantined for good, or in trouble for now."""

from __future__ import annotations

import contextlib
import logging
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data_catalog.catalog import Workspace
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.quarantine import QuarantineRow
from tasks.engine.errors import BadClip, EngineError
from tasks.engine.job import Job

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LostArtifact:
    """An artifact that a job needed and that is no longer in the store; `what` was wrong with it, in words."""

    stage: str
    key: str
    what: str


@dataclass(frozen=True)
class Failure:
    """A job that failed for now; `retry` where waiting may help (I/O), `lost` is the parent that it failed for."""

    clip_id: str
    stage: str
    reason: str
    remedy: str
    retry: bool
    lost: LostArtifact | None = None


def lost_artifact(workspace: Workspace, exc: ArtifactDamaged | FileNotFoundError) -> LostArtifact | None:
    """Which artifact it is that somebody found damaged or gone; None where it is another file.

    What is damaged, or in an artifact's place, is removed from the store and from the index.
    """
    path, what = (exc.path, exc.what) if isinstance(exc, ArtifactDamaged) else (Path(str(exc.filename)), "is gone")
    name = workspace.store.name_of(path)
    if name is None:
        return None
    with contextlib.suppress(OSError):
        workspace.store.remove_damaged(*name)
    workspace.index.forget(*name)
    return LostArtifact(*name, what)


def quarantine_job(workspace: Workspace, job: Job, bad: BadClip) -> QuarantineRow:
    """Remember under the job's key that no retry will mend it."""
    row = QuarantineRow(
        dataset=job.dataset,
        clip_id=job.clip_id,
        stage=job.stage,
        key=job.key,
        reason=bad.reason,
        remedy=bad.remedy,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    logger.warning("%s quarantined in %s: %s %s", job.name, job.stage, bad.reason, bad.remedy)
    try:
        workspace.quarantine.add(row)
    except OSError as exc:  # then it is only tried again next time
        logger.warning("The quarantine row of %s can't be written: %s", job.name, exc.strerror)
    return row


def to_failure(workspace: Workspace, job: Job, exc: Exception) -> Failure:
    """What went wrong, in one sentence, and what to do; a damaged artifact that a job met is removed.

    Raises:
        EngineError: no clip's fault, and the others would fail in the same way.
    """
    if isinstance(exc, EngineError):
        raise exc
    if isinstance(exc, ImportError):
        raise EngineError(
            f"{job.stage} can't be computed on {socket.gethostname()}: {str(exc).rstrip('.')}; install Tubeflow with "
            "all that it needs there, then run again."
        ) from exc
    if isinstance(exc, ArtifactDamaged):
        lost = lost_artifact(workspace, exc)
        reason = f"{job.name}: {exc.path} {exc.what}."
        remedy = "It was removed; run again, and it is made again."
        return Failure(job.clip_id, job.stage, reason, remedy, retry=False, lost=lost)
    if isinstance(exc, FileNotFoundError):
        lost = lost_artifact(workspace, exc)
        reason = f"{job.name}: {exc.filename or exc} is gone."
        remedy = "Run again; what is missing is made again."
        return Failure(job.clip_id, job.stage, reason, remedy, retry=False, lost=lost)
    if isinstance(exc, OSError):
        place = f" ({exc.filename})" if exc.filename else ""
        reason = f"{job.name}: {exc.strerror or exc}{place}."
        remedy = "Free the disk or the permissions, then run again; what is done is kept."
        return Failure(job.clip_id, job.stage, reason, remedy, retry=True)
    if isinstance(exc, ValueError):  # the cores raise it for a config or labels that don't fit, remedy included
        reason = f"{job.name} can't go through {job.stage}: {str(exc).rstrip('.')}."
        return Failure(job.clip_id, job.stage, reason, "Put that right, then run again.", retry=False)
    logger.debug("Unexpected failure of %s in %s", job.name, job.stage, exc_info=exc)
    reason = f"{job.name}: unexpected {type(exc).__name__} in {job.stage}: {exc}."
    return Failure(job.clip_id, job.stage, reason, "Report it with the clip; the next run tries again.", retry=False)

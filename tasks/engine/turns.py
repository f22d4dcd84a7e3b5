"""Which of a shard's jobs this process computes, while other runs may want the same artifacts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from data_catalog.catalog import Workspace
from data_catalog.claims import Claim
from tasks.engine import progress
from tasks.engine.job import UNKNOWN, Job

LOOK_SECONDS = 0.1
SILENT_SECONDS = 3.0

Claimed = list[tuple[Job, Claim | None]]


def claimed_in_turn(
    workspace: Workspace, jobs: Sequence[Job], settle: Callable[[Job], bool]
) -> Iterator[Claimed]:
    """Batches of jobs that are this process's to compute, until all of `jobs` are settled, here or by others.

    What another run is making is waited for, once our own jobs are done, so that nothing is computed twice; where that
    run fails or is killed, its claim is free and the job becomes ours. While waiting, this process holds no claim.

    Args:
        workspace: whose claims they are.
        jobs: what is wanted.
        settle: called with a job when it is claimed; True where another run has settled it in the meantime.

    Yields:
        Jobs with their claims, which whoever computes them releases one by one.
    """
    left, started, silent = list(jobs), time.monotonic(), True
    while left:
        mine: Claimed = []
        others: list[Job] = []
        for job in left:
            claim = workspace.claims.take(job.stage, job.key) if job.key != UNKNOWN else None
            if claim is None and job.key != UNKNOWN:
                others.append(job)
            elif claim is not None and settle(job):
                _release(claim)
            else:
                mine.append((job, claim))
        left = others
        if mine:
            try:
                yield mine
            finally:
                for _, claim in mine:
                    _release(claim)
        elif left:
            if silent and time.monotonic() - started > SILENT_SECONDS:
                silent = False
                job, owner = left[0], workspace.claims.owner(left[0].stage, left[0].key)
                progress.report("waiting", 0, None, f"for {job.stage} of {job.name}, which {owner} is making")
            time.sleep(LOOK_SECONDS)


def _release(claim: Claim | None) -> None:
    if claim is not None:
        claim.release()

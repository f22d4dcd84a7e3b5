"""Whether new clips are unlike what a run's network was trained on; what that takes is made when it is first asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.store import ArtifactDamaged, read_lineage
from flows.datasets.clips import dataset_clips
from flows.runs.finished import FinishedRun
from models.clip_kind import fewest, fit_kind
from tasks.engine.job import Context, Job, Member
from tasks.engine.keys import make_key
from tasks.engine.plan import describe_members
from tasks.engine.run import run_jobs
from tasks.novelty import STAGE, NoveltySettings


@dataclass(frozen=True)
class Novelty:
    """How far new clips are from the kind that a network was trained on.

    Attributes:
        distances: of each clip in standard deviations; empty where that can't be told.
        bound: what `coverage` of clips of that kind stay within; None where that can't be told.
        coverage: a share, 0.95.
        unknown: why it can't be told, one sentence; empty where it can.
    """

    distances: tuple[float, ...]
    bound: float | None
    coverage: float
    unknown: str = ""

    def is_unlike(self, distance: float) -> bool:
        """Whether a clip at this distance is further away than clips of that kind are."""
        return self.bound is not None and distance > self.bound

    def sentence(self, clip_id: str, run_id: str, distance: float) -> str:
        """What somebody has to know of a clip that is unlike the training clips, and what to do."""
        times = distance / self.bound if self.bound else float("inf")
        return (
            f"{clip_id} is unlike what run '{run_id}' was trained on: it is {times:.1f} times as far from the training "
            f"clips as {self.coverage:.0%} of clips of their kind are. Its score means little; look whether the tube "
            "is right, or take a run that was trained on clips like it."
        )


def find_novelty(
    workspace: Workspace, run: FinishedRun, weights: str, features: NDArray[np.floating]
) -> Novelty:
    """How unlike its training clips a run's network finds new clips.

    Args:
        workspace: the workspace.
        run: the run.
        weights: `last` or `best`.
        features: (m, F) of the new clips, of these weights, as `tasks.trained.ScoredClips` has them.
    """
    sections = {"model": run.config.model, "train": run.config.train}
    config = NoveltySettings.model_validate({**sections, "weights": weights})
    context = Context(workspace, run.config.engine.device)
    try:
        known, bound = _training_clips(workspace, run, config, context)
    except _Unknown as exc:
        unknown = f"Whether this is unlike what run '{run.run_id}' was trained on can't be told: {exc}"
        return Novelty((), None, config.coverage, unknown)
    distances = fit_kind(known).distance(features)
    return Novelty(tuple(map(float, distances)), bound, config.coverage)


class _Unknown(Exception):
    """Why it can't be told, as the end of a sentence."""


def _training_clips(
    workspace: Workspace, run: FinishedRun, config: NoveltySettings, context: Context
) -> tuple[NDArray[np.float32], float]:
    """Pooled features of the training clips (n, F), and the bound. Raises _Unknown."""
    try:
        job = novelty_job(workspace, run, config)
    except (CatalogError, ArtifactDamaged) as exc:
        raise _Unknown(str(exc)) from exc
    _, damaged = workspace.index.check(STAGE.name, [job.key])
    for problem in damaged.values():
        workspace.store.remove_damaged(STAGE.name, job.key)
        workspace.notice(f"{problem}; it is made again.")
    report = run_jobs(STAGE, [job], config, context)
    for trouble in report.troubles:
        raise _Unknown(f"{trouble.reason} {trouble.remedy}")
    for made in report.made:
        workspace.index.add(made)
    workspace.index.save()
    found = workspace.store.read(STAGE.name, job.key)
    bound = float(found.attrs["bound"])
    if not np.isfinite(bound):
        needed = fewest(config.coverage)
        raise _Unknown(f"that takes {needed} training clips, and it has {int(found.attrs['clips'])}.")
    return found.arrays["vectors"], bound


def novelty_job(workspace: Workspace, run: FinishedRun, config: NoveltySettings) -> Job:
    """The artifact that is wanted of a run.

    Raises:
        CatalogError: the training clips aren't there any more, as the network saw them.
        ArtifactDamaged: the training isn't what was written.
    """
    train = run.artifact(workspace, "train")
    parents = {"train": train}
    members = _members(workspace, run)
    if run.config.features.mode != "own":
        parents = {"pack": run.artifact(workspace, "pack"), **parents}
    else:
        inputs = read_lineage(workspace.store.path("train", train)).inputs
        if not members or describe_members(members) != dict(inputs):
            raise CatalogError(
                f"The features or labels of dataset '{run.dataset}' aren't those that it was trained on; run again."
            )
    key = make_key(STAGE, config, {}, {}, parents)
    return Job(STAGE.name, key, run.dataset, "", {}, {}, parents, members=members)


def _members(workspace: Workspace, run: FinishedRun) -> tuple[Member, ...]:
    """The run's clips with their features, where all of them are still there; else none."""
    keys = run.keys.get("features", {})
    clips: list[ClipRecord] = dataset_clips(workspace, run.dataset) if keys else []
    found = tuple(
        Member(clip, {"features": keys[clip.clip_id]})
        for clip in clips
        if clip.clip_id in keys and workspace.store.exists("features", keys[clip.clip_id])
    )
    return found if len(found) == len(keys) else ()

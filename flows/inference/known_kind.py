"""What clips like those have in common that a run's network was trained on; it is made when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.store import ArtifactDamaged, read_lineage
from flows.datasets.clips import dataset_clips
from flows.runs.finished import FinishedRun
from models.clip_kind import Kind, fewest, fit_kind
from tasks.engine.job import Context, Job, Member
from tasks.engine.keys import make_key
from tasks.engine.plan import describe_members
from tasks.engine.run import run_jobs
from tasks.novelty import STAGE, NoveltySettings


class KindUnknown(Exception):
    """Why it can't be told, as the end of a sentence."""


@dataclass(frozen=True, eq=False)
class KnownKind:
    """What clips of a training have in common, and how far from it another clip may be to pass for one of them.

    Attributes:
        kind: of the pooled features of the training clips.
        bound: the distance that `coverage` of clips of their kind stay within.
        coverage: a share, 0.95.
        clips: how many training clips were looked at.
        held_out: the clips that the bound was found on: split `validation`, or the training clips in `folds`.
        judged: how many those are.
    """

    kind: Kind
    bound: float
    coverage: float
    clips: int
    held_out: Literal["validation", "folds"]
    judged: int


def find_kind(workspace: Workspace, run: FinishedRun, weights: str, make: bool = True) -> KnownKind:
    """The kind of a run's training clips, as its network sees them with these weights.

    Args:
        workspace: the workspace.
        run: the run.
        weights: `last` or `best`.
        make: whether the network looks at its training clips where nobody has asked before.

    Raises:
        KindUnknown: it can't be told.
    """
    config = settings_of(run, weights)
    try:
        job = novelty_job(workspace, run, config)
    except (CatalogError, ArtifactDamaged) as exc:
        raise KindUnknown(str(exc)) from exc
    if make:
        _make(workspace, run, job, config)
    try:
        found = workspace.store.read(STAGE.name, job.key)
    except (FileNotFoundError, ArtifactDamaged) as exc:
        raise KindUnknown(
            f"its network wasn't asked about its training clips yet; tubeflow predict and tubeflow export of "
            f"'{run.run_id}' do that."
        ) from exc
    bound = float(found.attrs["bound"])
    if not np.isfinite(bound):
        needed = fewest(config.coverage)
        raise KindUnknown(f"that takes {needed} training clips, and it has {int(found.attrs['clips'])}.")
    held_out: Literal["validation", "folds"] = "validation" if found.attrs["held_out"] == "validation" else "folds"
    vectors, judged = found.arrays["vectors"], len(found.arrays["distances"])
    return KnownKind(fit_kind(vectors), bound, config.coverage, len(vectors), held_out, judged)


def _make(workspace: Workspace, run: FinishedRun, job: Job, config: NoveltySettings) -> None:
    """Write the artifact where it isn't there, or is damaged. Raises KindUnknown."""
    _, damaged = workspace.index.check(STAGE.name, [job.key])
    for problem in damaged.values():
        workspace.store.remove_damaged(STAGE.name, job.key)
        workspace.notice(f"{problem}; it is made again.")
    report = run_jobs(STAGE, [job], config, Context(workspace, run.config.engine.device))
    for trouble in report.troubles:
        raise KindUnknown(f"{trouble.reason} {trouble.remedy}")
    for made in report.made:
        workspace.index.add(made)
    workspace.index.save()


def settings_of(run: FinishedRun, weights: str) -> NoveltySettings:
    """What the artifact of a run's weights is made with."""
    sections = {"model": run.config.model, "train": run.config.train}
    return NoveltySettings.model_validate({**sections, "weights": weights})


def novelty_job(workspace: Workspace, run: FinishedRun, config: NoveltySettings) -> Job:
    """The artifact that is wanted of a run.

    Raises:
        CatalogError: the training clips aren't there any more, as the network saw them.
        ArtifactDamaged: the training isn't what was written.
    """
    train = run.artifact(workspace, "train")
    parents = {"train": train}
    members = run_members(workspace, run)
    if run.config.features.mode != "own":
        parents = {"pack": run.artifact(workspace, "pack"), **parents}
    else:
        inputs = read_lineage(workspace.store.path("train", train)).inputs
        described = describe_members(members)
        if not members or described != {name: inputs.get(name) for name in described}:
            raise CatalogError(
                f"The features or labels of dataset '{run.dataset}' aren't those that it was trained on; run again."
            )
    key = make_key(STAGE, config, {}, {}, parents)
    return Job(STAGE.name, key, run.dataset, "", {}, {}, parents, members=members)


def run_members(workspace: Workspace, run: FinishedRun) -> tuple[Member, ...]:
    """The clips of a run on features with those, where all of them are still there; else none."""
    keys = run.keys.get("features", {})
    clips: list[ClipRecord] = dataset_clips(workspace, run.dataset) if keys else []
    found = tuple(
        Member(clip, {"features": keys[clip.clip_id]})
        for clip in clips
        if clip.clip_id in keys and workspace.store.exists("features", keys[clip.clip_id])
    )
    return found if len(found) == len(keys) else ()

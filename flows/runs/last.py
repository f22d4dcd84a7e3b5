"""What a dataset's last run was: its config, the part of the dataset it worked on, and which dataset has a clip."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from data_catalog.catalog import CatalogError, Workspace
from flows.config import PipelineConfig
from flows.datasets.clips import PREDICTED, no_such_clip
from flows.runs.record import RunRecord, read_runs


def dataset_of(workspace: Workspace, clip_id: str) -> str:
    """The one dataset that has a clip of this id; videos of `tubeflow predict` only where no other dataset has it.

    Raises:
        CatalogError: none or several have it.
    """
    names = workspace.datasets.names()
    clips = {name: workspace.datasets.table(name, ["clip_id"]).column("clip_id").to_pylist() for name in names}
    owners = [name for name, ids in clips.items() if clip_id in ids]
    if not owners:
        raise CatalogError(no_such_clip("This workspace", clip_id, chain.from_iterable(clips.values())))
    labelled = [name for name in owners if workspace.datasets.info(name).adapter != PREDICTED]
    owners = labelled or owners
    if len(owners) > 1:
        raise CatalogError(f"The datasets {', '.join(owners)} all have a clip '{clip_id}'; say which with --dataset.")
    return owners[0]


def last_config(workspace: Workspace, dataset: str, overrides: Sequence[str] = ()) -> PipelineConfig:
    """The config of the dataset's last run. Raises CatalogError where there is none, or it was never run."""
    workspace.datasets.info(dataset)
    run = last_whole_run(workspace, dataset)
    if run is None:
        raise CatalogError(f"Dataset '{dataset}' was never run; say which config with --preset, or run it first.")
    return run.pipeline_config(overrides)


def last_whole_run(workspace: Workspace, dataset: str) -> RunRecord | None:
    """The record of the dataset's last run that was not about single clips alone, if there is one; or any last run."""
    runs = [run for run in read_runs(workspace) if run.dataset == dataset]
    whole = [run for run in runs if not run.clips]
    return next(reversed(whole or runs), None)


def last_where(workspace: Workspace, dataset: str) -> str | None:
    """Which part of the dataset its last run worked on; None is all of it."""
    run = last_whole_run(workspace, dataset)
    return run.where if run is not None else None

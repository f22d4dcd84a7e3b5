"""What a stage works on and what comes of it: jobs, what they may use, and products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from tasks.engine.site import Site

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
    members: tuple[Member, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it: `clip 'dive'`, `dataset 'mine'`."""
        return f"clip '{self.clip_id}'" if self.clip_id else f"dataset '{self.dataset}'"


@dataclass(frozen=True)
class Member:
    """One clip inside a dataset stage: its labels and the keys of its artifacts by stage."""

    clip: ClipRecord
    keys: Mapping[str, str]


@dataclass(frozen=True)
class Context:
    """What a stage may use beside its job.

    Attributes:
        workspace: the workspace.
        device: where networks run: `auto`, `cpu`, `cuda`, `cuda:1`, …
        site: what a worker in another process checks before it begins; None where all is this process.
        threads: on how many threads a worker computes a clip; None leaves that to the libraries.
        brought_by: version by name of the package that brought the dataset's adapter, for the artifacts' lineage.
    """

    workspace: Workspace
    device: str = "auto"
    site: Site | None = None
    threads: int | None = None
    brought_by: Mapping[str, str] = field(default_factory=dict)

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

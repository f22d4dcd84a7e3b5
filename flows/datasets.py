"""Datasets into a workspace: read by an adapter, or drawn by the procedural generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets import DatasetError, build_adapter
from data_catalog.datasets.records import Listing
from tasks import progress
from tasks.config import StageConfig


class ProceduralSpec(StageConfig):
    """A procedural dataset: the same spec gives the same pixels and labels everywhere."""

    kind: Literal["diving", "sync_diving", "skating"] = "diving"
    clips: int = Field(60, ge=1, description="how many; every fourth is held out for testing")
    seed: int = Field(0, ge=0)
    size: Literal["640x360", "320x240", "mixed"] = "mixed"


def ingest(workspace: Workspace, name: str, adapter: str, root: Path, labels: Path | None = None) -> Listing:
    """Read a dataset folder and put its clips into the catalog, replacing an older dataset of that name.

    Raises:
        CatalogError: nothing could be read; rows that were left out are in the listing instead.
    """
    try:
        listing = build_adapter(adapter).read(root.absolute(), labels)
    except DatasetError as exc:
        raise CatalogError(_sentence(str(exc))) from exc
    if not listing.records and not listing.missing:
        first = f" The first: {listing.rejected[0]}." if listing.rejected else ""
        raise CatalogError(f"Not one clip of {root} could be used; {len(listing.rejected)} rows were left out.{first}")
    options = {"labels": str(labels.absolute())} if labels is not None else {}
    info = DatasetInfo(name, adapter, str(root.absolute()), options, is_procedural(root))
    workspace.datasets.add(info, listing)
    return listing


def is_procedural(root: Path) -> bool:
    """Whether the folder says that a program drew its clips."""
    try:
        return bool(json.loads((root / "dataset.json").read_text()).get("procedural"))
    except (OSError, ValueError, AttributeError):
        return False


def make_procedural(workspace: Workspace, name: str, spec: ProceduralSpec, out: Path | None = None) -> Listing:
    """Draw a procedural dataset into `out` (by default inside the workspace) and ingest it."""
    from data_catalog.datasets.procedural import make_dataset

    folder = out or workspace.root / "datasets" / name
    progress.report("draw", 0, spec.clips)
    make_dataset(
        folder,
        kind=spec.kind,
        clips=spec.clips,
        seed=spec.seed,
        size=spec.size,
        progress=lambda done, total: progress.report("draw", done, total),
    )
    return ingest(workspace, name, "procedural", folder)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

"""Datasets into a workspace: read by an adapter, or drawn by the procedural generator."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets import ADAPTERS, DatasetError, build_adapter
from data_catalog.datasets.records import Check, ClipRecord, Listing
from data_catalog.tables.edits import edit_warnings
from flows.config import ConfigError
from tasks.engine import progress
from tasks.engine.config import StageConfig


class ProceduralSpec(StageConfig):
    """A procedural dataset: the same spec makes the same pixels and labels everywhere."""

    kind: Literal["diving", "sync_diving", "skating"] = "diving"
    clips: int = Field(60, ge=1, description="how many; every fourth is held out for testing")
    held_out: int = Field(0, ge=0, description="so many more behind these, all of them for testing")
    seed: int = Field(0, ge=0)
    size: Literal["640x360", "320x240", "mixed"] = "mixed"
    distractors: int = Field(0, ge=0, le=2, description="other divers in every clip, whom nobody judges")
    zoom: float = Field(1.0, ge=0.25, le=1, description="how large the athletes are; 0.4 for small ones")
    camera: Literal["athlete", "group"] = Field("athlete", description="whom it follows; group: with the distractors")
    judged: Literal["faults", "agreement", "lines"] = Field(
        "faults",
        description="what the mark follows; agreement: of the lean on the board and the tilt at the entry; lines: "
        "lean, tilt and splash, each by itself",
    )

    @model_validator(mode="after")
    def _only_divers_have_distractors(self) -> ProceduralSpec:
        if self.distractors and self.kind != "diving":
            raise ValueError(f"distractors go with kind diving only, not with {self.kind}")
        if self.judged != "faults" and self.kind != "diving":
            raise ValueError(f"judged {self.judged} goes with kind diving only, not with {self.kind}")
        return self


def procedural_spec(**fields: object) -> ProceduralSpec:
    """A spec out of what somebody typed. Raises ConfigError with every error."""
    try:
        return ProceduralSpec.model_validate(fields)
    except ValidationError as exc:
        sentences = [f"--{'-'.join(map(str, one['loc']))}: " * bool(one["loc"]) + one["msg"] for one in exc.errors()]
        raise ConfigError("; ".join(sentence.removeprefix("Value error, ") for sentence in sentences)) from exc


def ingest(workspace: Workspace, name: str, adapter: str, root: Path, labels: Path | None = None) -> Listing:
    """Read a dataset folder and put its clips into the catalog, replacing an older dataset of that name.

    Raises:
        CatalogError: nothing could be read; rows that were left out are in the listing instead.
    """
    try:
        listing = build_adapter(adapter).read(root.absolute(), labels)
    except DatasetError as exc:
        raise CatalogError(str(exc)) from exc
    if not listing.records and not listing.missing:
        first = f" The first: {listing.rejected[0]}." if listing.rejected else ""
        raise CatalogError(f"Not one clip of {root} could be used; {len(listing.rejected)} rows were left out.{first}")
    warnings = edit_warnings(workspace.datasets.edits(name).read(), listing.annotated)
    listing = replace(listing, warnings=(*listing.warnings, *warnings))
    options = {"labels": str(labels.absolute())} if labels is not None else {}
    brought_by = ADAPTERS.origin(adapter) or ""
    info = DatasetInfo(name, adapter, str(root.absolute()), options, is_procedural(root), plugin=brought_by)
    workspace.datasets.add(info, listing)
    return listing


def ingest_again(workspace: Workspace, name: str, table: Path) -> list[ClipRecord]:
    """Read a dataset one of whose tables, `table`, was lost from its own folder again, as it was ingested, and say so.

    Raises:
        CatalogError: its folder can't be read either.
    """
    info = workspace.datasets.info(name)
    labels = info.options.get("labels")
    try:
        listing = ingest(workspace, name, info.adapter, Path(info.root), Path(labels) if labels else None)
    except CatalogError as exc:
        sentence = f"{table} is missing or damaged, and the dataset can't be read again from {info.root}: {exc}"
        raise CatalogError(sentence) from exc
    workspace.notice(f"{table} was missing or damaged; dataset '{name}' was read again from {info.root}.")
    return list(listing.records)


def check_dataset(workspace: Workspace, name: str) -> tuple[list[Check], Listing]:
    """Read a dataset's folder again, as it was ingested, and compare it with what was published.

    Raises:
        CatalogError: no such dataset, or its folder can't be read any more.
    """
    info = workspace.datasets.info(name)
    labels = info.options.get("labels")
    adapter = build_adapter(info.adapter)
    try:
        listing = adapter.read(Path(info.root), Path(labels) if labels else None)
    except DatasetError as exc:
        raise CatalogError(str(exc)) from exc
    return adapter.check(listing), listing


def is_procedural(root: Path) -> bool:
    """Whether the folder says that a program drew its clips."""
    try:
        return bool(json.loads((root / "dataset.json").read_text()).get("procedural"))
    except (OSError, ValueError, AttributeError):
        return False


def make_procedural(
    workspace: Workspace, name: str, spec: ProceduralSpec, out: Path | None = None, workers: int | None = None
) -> Listing:
    """Draw a procedural dataset into `out` (by default in the workspace) with `workers` processes, and ingest it."""
    # The renderer, which only drawing a dataset needs.
    from data_catalog.synthetic.sport import Setting, make_dataset

    folder = out or workspace.root / "datasets" / name
    progress.report("draw", 0, spec.clips + spec.held_out)
    make_dataset(
        folder,
        kind=spec.kind,
        clips=spec.clips,
        held_out=spec.held_out,
        seed=spec.seed,
        size=spec.size,
        setting=Setting(spec.distractors, spec.zoom, spec.camera, spec.judged),
        workers=workers,
        progress=lambda done, total: progress.report("draw", done, total),
    )
    return ingest(workspace, name, "procedural", folder)

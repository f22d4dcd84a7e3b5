"""Datasets into a workspace: read by an adapter, or drawn by the procedural generator."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from data_catalog.catalog import CatalogError, DatasetInfo, Workspace
from data_catalog.datasets import ADAPTERS, DatasetError, build_adapter
from data_catalog.datasets.poses.pose_layer import POSES, add_poses
from data_catalog.datasets.records import Check, ClipRecord, Listing
from data_catalog.datasets.step_labels import find_steps, without_odd_steps
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


def ingest(
    workspace: Workspace,
    name: str,
    adapter: str,
    root: Path,
    labels: Path | None = None,
    steps: Path | None = None,
    poses: Path | None = None,
) -> Listing:
    """Read a dataset folder and put its clips into the catalog, replacing an older dataset of that name.

    Args:
        workspace: the workspace.
        name: what the dataset is called in it.
        adapter: the folder's layout.
        root: the folder.
        labels: label file or folder; None is the usual place inside `root`.
        steps: table of the clips' steps; None is ``steps.csv`` beside the labels, where there is one.
        poses: folder with a file of poses for each clip, which stays where it is.

    Raises:
        CatalogError: nothing could be read; rows that were left out are in the listing instead.
    """
    listing = _read_folder(adapter, root.absolute(), labels, steps, poses)
    if not listing.records and not listing.missing:
        first = f" The first: {listing.rejected[0]}." if listing.rejected else ""
        raise CatalogError(f"Not one clip of {root} could be used; {len(listing.rejected)} rows were left out.{first}")
    warnings = edit_warnings(workspace.datasets.edits(name).read(), listing.annotated)
    listing = replace(listing, warnings=(*listing.warnings, *warnings))
    given = {"labels": labels, "steps": steps, POSES: poses}
    options = {option: str(path.absolute()) for option, path in given.items() if path is not None}
    brought_by = ADAPTERS.origin(adapter) or ""
    info = DatasetInfo(name, adapter, str(root.absolute()), options, is_procedural(root), plugin=brought_by)
    workspace.datasets.add(info, listing)
    return listing


def _read_folder(
    adapter: str, root: Path, labels: Path | None, steps: Path | None, poses: Path | None
) -> Listing:
    """What an adapter makes of a dataset folder, with the steps of a table and the poses of a folder where given.

    Raises:
        CatalogError: any of them can't be read.
    """
    listing = _read_steps(adapter, root, labels, steps)
    try:
        return listing if poses is None or not listing.annotated else add_poses(listing, poses.absolute())
    except DatasetError as exc:
        raise CatalogError(str(exc)) from exc


def _read_steps(adapter: str, root: Path, labels: Path | None, steps: Path | None) -> Listing:
    """What an adapter makes of a dataset folder, with the steps of a table where there is one.

    Raises:
        CatalogError: either can't be read; a table that nobody named is passed over with a warning.
    """
    try:
        listing = without_odd_steps(build_adapter(adapter).read(root, labels))
        beside = labels.parent if labels is not None and labels.is_file() else labels or root
        table = steps or find_steps(beside)
        if table is None:
            return listing
        # Reads tables with pandas, which a dataset without one doesn't need.
        from data_catalog.datasets.step_table import add_steps

        try:
            return add_steps(listing, table)
        except DatasetError as exc:
            if steps is not None:
                raise
            sentence = f"{exc}; until then clips have no steps from {table}, rename it if it is no table of steps"
            return replace(listing, warnings=(*listing.warnings, sentence))
    except DatasetError as exc:
        raise CatalogError(str(exc)) from exc


def _read_again(info: DatasetInfo) -> tuple[Path | None, Path | None, Path | None]:
    """Label file, table of steps and folder of poses that a dataset was ingested with, where they were given."""
    given = [info.options.get(option) for option in ("labels", "steps", POSES)]
    labels, steps, poses = (Path(path) if path else None for path in given)
    return labels, steps, poses


def ingest_again(workspace: Workspace, name: str, table: Path) -> list[ClipRecord]:
    """Read a dataset one of whose tables, `table`, was lost from its own folder again, as it was ingested, and say so.

    Raises:
        CatalogError: its folder can't be read either.
    """
    info = workspace.datasets.info(name)
    try:
        listing = ingest(workspace, name, info.adapter, Path(info.root), *_read_again(info))
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
    listing = _read_folder(info.adapter, Path(info.root), *_read_again(info))
    return build_adapter(info.adapter).check(listing), listing


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

"""The catalog: where a workspace keeps things, and which datasets and clips it knows."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_catalog.datasets.records import ClipRecord, Listing, RejectedRow
from data_catalog.index import ArtifactIndex
from data_catalog.quarantine import Quarantine
from data_catalog.schemas import CLIPS, REJECTED, read_table, write_table
from data_catalog.sources import Sources
from data_catalog.store import ArtifactDamaged, Store

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class CatalogError(Exception):
    """Something that the user can put right; the message is one plain sentence with the remedy."""


class Workspace:
    """The directory with ``catalog/ artifacts/ runs/ weights/``.

    Args:
        root: the directory; `open` makes it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def __reduce__(self) -> tuple[type[Workspace], tuple[Path]]:
        return Workspace, (self.root,)  # locks and tables belong to a process; another one opens its own

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """A workspace that can be written, made where there is none. Raises CatalogError where it can't be."""
        workspace = cls(root)
        try:
            for folder in (workspace.catalog, workspace.artifacts, workspace.runs, workspace.weights):
                folder.mkdir(parents=True, exist_ok=True)
            probe = workspace.catalog / f".writable-{uuid.uuid4().hex[:8]}"
            probe.touch()
            probe.unlink()
        except OSError as exc:
            raise CatalogError(
                f"The workspace {workspace.root} can't be written ({exc.strerror}); "
                "choose another with --workspace or TUBEFLOW_WORKSPACE, or free it."
            ) from exc
        return workspace

    @property
    def catalog(self) -> Path:
        return self.root / "catalog"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @cached_property
    def store(self) -> Store:
        return Store(self.artifacts)

    @cached_property
    def index(self) -> ArtifactIndex:
        return ArtifactIndex(self.store, self.catalog / "artifacts.parquet")

    @cached_property
    def sources(self) -> Sources:
        return Sources(self.catalog / "sources.parquet")

    @cached_property
    def quarantine(self) -> Quarantine:
        return Quarantine(self.catalog / "quarantine")

    @cached_property
    def datasets(self) -> Datasets:
        return Datasets(self.catalog / "datasets")


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset as a whole; ``dataset.json``.

    Attributes:
        name: its name in this workspace.
        adapter: which adapter read it.
        root: absolute path that the clips' videos are relative to.
        options: the arguments that the adapter was called with, to read it again.
        procedural: the clips are drawn by a program, not filmed.
        ingested: UTC time, ISO 8601.
        notes: what the adapter recognised.
        warnings: what the adapter warned of.
    """

    name: str
    adapter: str
    root: str
    options: Mapping[str, Any] = field(default_factory=dict)
    procedural: bool = False
    ingested: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


class Datasets:
    """The datasets of a workspace: ``catalog/datasets/<name>/{dataset.json, clips.parquet, rejected.parquet}``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob("*/dataset.json"))

    def add(self, info: DatasetInfo, listing: Listing) -> None:
        """Write a dataset, replacing an older one of that name. Raises CatalogError for a bad name."""
        if not NAME.fullmatch(info.name):
            raise CatalogError(
                f"'{info.name}' can't be a dataset's name; use letters, digits, dot, dash and underscore."
            )
        folder = self.root / info.name
        write_table(folder / "clips.parquet", clips_table(listing.records), CLIPS)
        write_table(folder / "rejected.parquet", _rejected_table(listing.rejected), REJECTED)
        stamped = asdict(info) | {
            "ingested": datetime.now(UTC).isoformat(timespec="seconds"),
            "notes": list(listing.notes),
            "warnings": list(listing.warnings),
        }
        write_json(folder / "dataset.json", stamped)

    def info(self, name: str) -> DatasetInfo:
        """Raises CatalogError where the workspace has no such dataset."""
        path = self.root / name / "dataset.json"
        if not NAME.fullmatch(name) or not path.is_file():
            known = ", ".join(self.names()) or "none"
            raise CatalogError(
                f"This workspace has no dataset '{name}' (it has: {known}); add it with: tubeflow ingest"
            )
        try:
            values = json.loads(path.read_text())
            return DatasetInfo(**{item.name: values[item.name] for item in fields(DatasetInfo)})
        except (ValueError, KeyError, TypeError) as exc:
            raise CatalogError(f"{path} is damaged; run the tubeflow ingest of '{name}' again.") from exc

    def clips(self, name: str) -> list[ClipRecord]:
        """All clips of a dataset. Raises CatalogError where the table is missing or damaged."""
        self.info(name)
        try:
            table = read_table(self.root / name / "clips.parquet", CLIPS)
        except (FileNotFoundError, ArtifactDamaged) as exc:
            raise CatalogError(
                f"The clip table of dataset '{name}' ({self.root / name / 'clips.parquet'}) is missing or "
                f"damaged; run the tubeflow ingest of '{name}' again."
            ) from exc
        columns = table.to_pydict()
        return [_clip(row) for row in zip(*(columns[column] for column in CLIPS.names), strict=True)]

    def rejected(self, name: str) -> list[RejectedRow]:
        """Rows that ingest left out, with the reason; empty where that table is lost."""
        with contextlib.suppress(FileNotFoundError, ArtifactDamaged):
            rows = read_table(self.root / name / "rejected.parquet", REJECTED).to_pylist()
            return [RejectedRow(**row) for row in rows]
        return []


def _clip(row: tuple[Any, ...]) -> ClipRecord:
    values = dict(zip(CLIPS.names, row, strict=True))
    values["judges"] = tuple(values["judges"] or ())
    values["boxes"] = tuple(tuple(box) for box in values["boxes"] or ())
    values["extra"] = json.loads(values["extra"]) if values["extra"] else None
    return ClipRecord(**values)


def clips_table(records: Sequence[ClipRecord]) -> pa.Table:
    """Clip records as a table of schema `CLIPS`."""
    columns: list[list[Any]] = [[getattr(record, name) for record in records] for name in CLIPS.names]
    extra = CLIPS.names.index("extra")
    columns[extra] = [None if value is None else json.dumps(dict(value)) for value in columns[extra]]
    return pa.Table.from_arrays(
        [pa.array(column, item.type) for column, item in zip(columns, CLIPS, strict=True)], schema=CLIPS
    )


def _rejected_table(rows: Sequence[RejectedRow]) -> pa.Table:
    columns = [[getattr(row, name) for row in rows] for name in REJECTED.names]
    return pa.Table.from_arrays(
        [pa.array(column, item.type) for column, item in zip(columns, REJECTED, strict=True)], schema=REJECTED
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; a value that JSON doesn't know (nan, inf) is an error, not a silent token."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

"""The catalog: where a workspace keeps things, and which datasets and clips it knows."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_catalog import notices
from data_catalog.claims import Claims
from data_catalog.datasets.records import ClipRecord, Listing, RejectedRow
from data_catalog.errors import CatalogError as CatalogError
from data_catalog.json_file import read_record, sealed, unsealed, write_record
from data_catalog.plain_file import require_plain
from data_catalog.store import ArtifactDamaged, Store
from data_catalog.tables.edits import Edits, edited
from data_catalog.tables.index import ArtifactIndex
from data_catalog.tables.quarantine import Quarantine
from data_catalog.tables.schemas import CLIPS, EDITED_CLIPS, REJECTED, read_table, write_table
from data_catalog.tables.source_marks import SourceMarks
from data_catalog.tables.sources import Sources
from data_catalog.tables.tube_quality import TubeQualityTable
from data_catalog.tables.tube_truth import TruthTable

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OF_FEATURES = ("features", "poses")
"""Adapters of datasets that have no videos."""
INFO, TABLE, REJECTS, EDITS_FILE = "dataset.json", "clips.parquet", "rejected.parquet", "edits.jsonl"


class ClipTableLost(CatalogError):
    """A table of a dataset, at `path`, is missing or damaged; the dataset's own folder can be read again."""

    def __init__(self, path: Path, what: str) -> None:
        name = path.parent.name
        remedy = f"run the tubeflow ingest of '{name}' again"
        super().__init__(f"{what} of dataset '{name}' ({path}) is missing or damaged; {remedy}.")
        self.path = path


class Workspace:
    """The directory with ``catalog/ artifacts/ runs/ weights/``, and ``pictures/ predictions/`` once there are any.

    Args:
        root: the directory; `open` makes it.

    Raises:
        CatalogError: there is a file of this name.

    Attributes:
        notices: one sentence for each part of the catalog that was damaged and mended since it was opened.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        if self.root.exists() and not self.root.is_dir():
            raise CatalogError(f"The workspace {self.root} is a file; choose a folder with --workspace.")
        self.notices: list[str] = []

    def notice(self, sentence: str) -> None:
        """Say, once, what was found damaged and mended; who opened the workspace shows `notices`."""
        if sentence not in self.notices:
            logger.warning("%s", sentence)
            notices.add(sentence)
            self.notices.append(sentence)

    def discard(self, problem: ArtifactDamaged) -> str:
        """Remove an artifact that was found damaged by something that can't make it again.

        Returns:
            One sentence: what was wrong with it, and the command by which it is made again.
        """
        name = self.store.name_of(problem.path)
        if name is None:
            return str(problem)
        row = self.index.rows.get(name)
        try:
            removed = self.store.remove_damaged(*name)
            self.index.forget(*name)
            self.index.save()
        except OSError as exc:
            return f"{problem.path} {problem.what}, and can't be removed ({exc.strerror}); delete it and run again."
        if not removed:  # made again by another run meanwhile
            return f"{problem.path} {problem.what}; it has been made again, try once more."
        dataset = row.dataset if row is not None else "DATASET"
        command = f"tubeflow run PRESET --dataset {dataset} --until {name[0]}"
        return f"{problem.path} {problem.what}; it was removed, and is made again by: {command}"

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
        """Folder of the tables."""
        return self.root / "catalog"

    @property
    def artifacts(self) -> Path:
        """Folder of the store."""
        return self.root / "artifacts"

    @property
    def runs(self) -> Path:
        """Folder with one folder a run."""
        return self.root / "runs"

    @property
    def pictures(self) -> Path:
        """Folder of what `tubeflow inspect` draws, with one folder a dataset."""
        return self.root / "pictures"

    @property
    def predictions(self) -> Path:
        """Folder of the videos that `tubeflow predict` draws, with one folder a run."""
        return self.root / "predictions"

    @property
    def runs_lock(self) -> Path:
        """The file by which runs that end at once take turns at writing their records."""
        return self.catalog / "runs.lock"

    @property
    def weights(self) -> Path:
        """Folder of the networks' weights."""
        return self.root / "weights"

    @cached_property
    def store(self) -> Store:
        """The artifacts."""
        return Store(self.artifacts)

    @cached_property
    def index(self) -> ArtifactIndex:
        """Table of the artifacts, as the store last was."""
        return ArtifactIndex(self.store, self.catalog / "artifacts.parquet", self.notice)

    @cached_property
    def sources(self) -> Sources:
        """Digests of the source videos."""
        return Sources(self.catalog / "sources.parquet", self.notice)

    @cached_property
    def claims(self) -> Claims:
        """Who is making which artifact."""
        return Claims(self.root / "claims")

    @cached_property
    def quarantine(self) -> Quarantine:
        """Clips that could not get through a stage."""
        return Quarantine(self.catalog / "quarantine", self.notice)

    @cached_property
    def source_marks(self) -> SourceMarks:
        """What is unusual about the sources of normalised clips."""
        return SourceMarks(self.catalog / "source_marks.parquet", self.store, self.notice)

    @cached_property
    def tube_quality(self) -> TubeQualityTable:
        """What was measured of the tubes."""
        return TubeQualityTable(self.catalog / "tube_quality.parquet", self.store, self.notice)

    @cached_property
    def tube_truth(self) -> TruthTable:
        """Tubes against the ground truth."""
        return TruthTable(self.catalog / "tube_truth.json", self.notice)

    @cached_property
    def datasets(self) -> Datasets:
        """The clip tables."""
        return Datasets(self.catalog / "datasets", self.notice)


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
        plugin: distribution and version of the package that brought the adapter; empty for Tubeflow's own ones.
    """

    name: str
    adapter: str
    root: str
    options: Mapping[str, Any] = field(default_factory=dict)
    procedural: bool = False
    ingested: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    plugin: str = ""

    @property
    def brought_by(self) -> dict[str, str]:
        """Version by name of the package that brought the adapter; empty for Tubeflow's own ones."""
        distribution, _, version = self.plugin.rpartition(" ")
        return {distribution: version} if distribution else {}

    @property
    def confined_root(self) -> Path | None:
        """The folder that no video or feature file may leave through a link, where a label file names them.

        None for datasets whose file names this program makes itself, and for videos named on the command line.
        """
        return Path(self.root) if self.plugin or self.adapter in ("folder", *OF_FEATURES) else None

    @property
    def holds_features(self) -> bool:
        """Whether its clips are features that were made elsewhere, without videos."""
        return self.adapter in OF_FEATURES


class Datasets:
    """The datasets of a workspace: ``catalog/datasets/<name>/{dataset.json, clips.parquet, rejected.parquet}``."""

    def __init__(self, root: Path, notice: Callable[[str], None] = logger.warning) -> None:
        self.root = root
        self._notice = notice

    def names(self) -> list[str]:
        """Names of the datasets, sorted; one whose files are partly lost counts."""
        return sorted({path.parent.name for name in (INFO, TABLE) for path in self.root.glob(f"*/{name}")})

    def add(self, info: DatasetInfo, listing: Listing) -> None:
        """Write a dataset, replacing an older one of that name. Raises CatalogError for a bad name."""
        if not NAME.fullmatch(info.name):
            raise CatalogError(
                f"'{info.name}' can't be a dataset's name; use letters, digits, dot, dash and underscore."
            )
        folder = self.root / info.name
        stamped = asdict(info) | {
            "ingested": datetime.now(UTC).isoformat(timespec="seconds"),
            "notes": list(listing.notes),
            "warnings": list(listing.warnings),
        }
        # The clip table carries a copy of dataset.json, so that either file can be lost.
        schema = CLIPS.with_metadata({"dataset": json.dumps(sealed(stamped))})
        write_table(folder / REJECTS, _rejected_table(listing.rejected), REJECTED)
        write_table(folder / TABLE, clips_table(listing.records), schema)
        write_record(folder / INFO, stamped)

    def info(self, name: str) -> DatasetInfo:
        """What is known of a dataset; a damaged ``dataset.json`` is written again from the clip table's copy.

        Raises:
            CatalogError: the workspace has no such dataset, or both are damaged.
        """
        path = self.root / name / INFO
        if not NAME.fullmatch(name) or name not in self.names():
            known = ", ".join(self.names()) or "none"
            sentence = f"This workspace has no dataset '{name}' (it has: {known}); add it with: tubeflow ingest"
            raise CatalogError(sentence)
        try:
            return _info(read_record(path))
        except (FileNotFoundError, ArtifactDamaged, TypeError):
            return self._restored_info(path)

    def _restored_info(self, path: Path) -> DatasetInfo:
        name = path.parent.name
        try:
            require_plain(path.with_name(TABLE))
            copy = (pq.read_schema(path.with_name(TABLE)).metadata or {})[b"dataset"].decode()
            record = unsealed(path, copy)
            info = _info(record)
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, ArtifactDamaged) as exc:
            raise CatalogError(f"{path} is damaged; run the tubeflow ingest of '{name}' again.") from exc
        write_record(path, record)
        self._notice(f"{path} was missing or damaged; it was written again from the clip table's copy.")
        return info

    def clips(self, name: str, only: Collection[str] | None = None) -> list[ClipRecord]:
        """All clips of a dataset, or only those of some ids, with the labels that people corrected.

        Raises:
            CatalogError: the workspace has no such dataset.
            ClipTableLost: its clip table is missing or damaged; reading the dataset's folder again mends it.
        """
        columns = self.table(name, only=only).to_pydict()
        return [_clip(row) for row in zip(*(columns[column] for column in EDITED_CLIPS.names), strict=True)]

    def table(
        self, name: str, columns: Sequence[str] | None = None, only: Collection[str] | None = None
    ) -> pa.Table:
        """The clips, edits included, as a table of schema `EDITED_CLIPS`.

        Args:
            name: the dataset.
            columns: only these columns, `clip_id` among them.
            only: only the clips of these ids.

        Raises:
            CatalogError, ClipTableLost: as `clips`.
        """
        self.info(name)
        try:
            table = read_table(self.root / name / TABLE, CLIPS, columns)
        except (FileNotFoundError, ArtifactDamaged) as exc:
            raise ClipTableLost(self.root / name / TABLE, "The clip table") from exc
        if only is not None:
            table = table.filter(pc.is_in(table.column("clip_id"), pa.array(list(only), pa.string())))
        return edited(table, self.edits(name).read())

    def edits(self, name: str) -> Edits:
        """The corrections that people made to a dataset's labels; reading them raises EditsLost."""
        head = self.root.parent / "edits" / f"{name}.json"  # elsewhere, so that it outlives the dataset's folder
        return Edits(self.root / name / EDITS_FILE, self._notice, head)

    def bad(self, name: str) -> list[str]:
        """Ids of the clips that a person marked bad. Raises CatalogError, ClipTableLost."""
        if not any(edit.field == "bad" for edit in self.edits(name).read()):
            return []
        table = self.table(name, ["clip_id"])
        return list(table.filter(table.column("bad")).column("clip_id").to_pylist())

    def count(self, name: str) -> int:
        """How many clips a dataset has, from the table's footer alone. Raises CatalogError, ClipTableLost."""
        self.info(name)
        try:
            require_plain(self.root / name / TABLE)
            return int(pq.read_metadata(self.root / name / TABLE).num_rows)
        except (OSError, pa.ArrowException, ArtifactDamaged) as exc:
            raise ClipTableLost(self.root / name / TABLE, "The clip table") from exc

    def rejected(self, name: str) -> list[RejectedRow]:
        """Rows that ingest left out, with the reason. Raises ClipTableLost."""
        try:
            rows = read_table(self.root / name / REJECTS, REJECTED).to_pylist()
        except (FileNotFoundError, ArtifactDamaged) as exc:
            raise ClipTableLost(self.root / name / REJECTS, "The table of rows that were left out") from exc
        return [RejectedRow(**row) for row in rows]


def _info(record: Mapping[str, Any]) -> DatasetInfo:
    known = {"plugin": "", **record}  # versions before knew of no plug-ins
    return DatasetInfo(**{item.name: known[item.name] for item in fields(DatasetInfo)})


def _clip(row: tuple[Any, ...]) -> ClipRecord:
    clip_id, video, split, action, score, difficulty, judges, label, boxes, start, end, extra, *by_person = row
    return ClipRecord(
        clip_id,
        video,
        split,
        action,
        score,
        difficulty,
        tuple(judges or ()),
        label,
        tuple(tuple(box) for box in boxes or ()),
        start,
        end,
        json.loads(extra) if extra else None,
        *by_person,
    )


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

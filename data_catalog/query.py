"""SQL over the catalog's tables, read-only: a DuckDB in memory that can reach no file, no network and no setting.

The tables are copies in that memory, so nothing that a statement does can change the workspace. `schemas.py` says what
their columns mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.runs import read_history, unreadable_run
from data_catalog.tables.schemas import (
    ARTIFACTS,
    CLIPS,
    DATASETS,
    EDITED_CLIPS,
    EDITS,
    QUARANTINE,
    REJECTED,
    RUNS,
    SHARED_CONTENT,
    TUBE_QUALITY,
)
from data_catalog.tables.shared_content import read_shared_content

if TYPE_CHECKING:
    import duckdb

OF_DATASET = pa.field("dataset", pa.string(), metadata={"note": "name of the dataset"})

TABLES: Mapping[str, pa.Schema] = {
    "datasets": DATASETS,
    "clips": EDITED_CLIPS.insert(0, OF_DATASET),
    "rejected": REJECTED.insert(0, OF_DATASET),
    "shared_content": SHARED_CONTENT.insert(0, OF_DATASET),
    "edits": EDITS.insert(0, OF_DATASET),
    "artifacts": ARTIFACTS,
    "quarantine": QUARANTINE,
    "runs": RUNS,
    "tube_quality": TUBE_QUALITY,
}
"""Name of each table that a query may use → its schema; a field's `note` says what it is and in which unit."""


def query(workspace: Workspace, sql: str) -> pa.Table:
    """The answer to one SELECT over `TABLES`.

    Raises:
        CatalogError: it isn't one SELECT, is wrong, or wants what lies outside the catalog; says which.
    """
    import duckdb

    with duckdb.connect(":memory:") as connection:
        try:
            _require_select(connection, sql)
            for name, schema in TABLES.items():  # the empty ones so that `show tables` lists them
                _load(connection, name, READERS[name](workspace) if name in sql.lower() else _empty(schema))
            _lock(connection)
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as exc:
            raise CatalogError(f"{_reason(exc)}; tables and columns: tubeflow catalog schema") from exc


def select_clips(workspace: Workspace, dataset: str, where: str) -> set[str]:
    """Ids of the clips of a dataset for which an SQL condition holds.

    Raises:
        CatalogError: the condition is wrong, or there is no such dataset.
    """
    import duckdb

    sql = f"select clip_id from clips where (\n{where}\n)"
    with duckdb.connect(":memory:") as connection:
        try:
            _require_select(connection, sql)
            columns = [name for name in CLIPS.names if name in where.lower()]
            table = workspace.datasets.table(dataset, list(dict.fromkeys(["clip_id", *columns])))
            _load(connection, "clips", table)
            _lock(connection)
            return set(connection.sql(sql).to_arrow_table().column(0).to_pylist())
        except duckdb.Error as exc:
            sentence = f"The condition --where can't be used: {_reason(exc)}; columns: tubeflow catalog schema clips"
            raise CatalogError(sentence) from exc


def _require_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    import duckdb

    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise CatalogError("The catalog answers one SELECT at a time; it can't be changed from here.")


def _load(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("incoming", table)
    connection.execute(f"create table {name} as select * from incoming")
    connection.unregister("incoming")


def _lock(connection: duckdb.DuckDBPyConnection) -> None:
    """From here on no file, no network, no Python variable and no other setting can be reached."""
    for setting in ("python_enable_replacements = false", "temp_directory = ''", "enable_external_access = false"):
        connection.execute(f"set {setting}")
    connection.execute("set lock_configuration = true")


def _reason(exc: Exception) -> str:
    text = str(exc).strip()
    first = text.split("\n\n")[0].splitlines()
    sentence = " ".join(line.strip() for line in first if line.strip() and not set(line.strip()) <= {"^"})
    return re.sub(r"^\w+ Error: ", "", sentence).rstrip(".!")  # DuckDB's own kinds of errors say nothing to a reader


# PyArrow imports pandas to convert a value of Python's, which takes longer than most queries: not where all is Arrow's.
def _empty(schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches([], schema)


def _repeated(text: str, count: int) -> pa.Array:
    data = text.encode()
    ends = np.arange(count + 1, dtype=np.int32) * np.int32(len(data))
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(data * count))


def _of_datasets(workspace: Workspace, name: str, read: Callable[[str], pa.Table]) -> pa.Table:
    parts = []
    for dataset in workspace.datasets.names():
        part = read(dataset)
        parts.append(part.add_column(0, OF_DATASET, _repeated(dataset, len(part))))
    return pa.concat_tables(parts).cast(TABLES[name]) if parts else _empty(TABLES[name])


def _clips(workspace: Workspace) -> pa.Table:
    return _of_datasets(workspace, "clips", workspace.datasets.table)


def _rejected(workspace: Workspace) -> pa.Table:
    def read(name: str) -> pa.Table:
        return _table([asdict(row) for row in workspace.datasets.rejected(name)], REJECTED)

    return _of_datasets(workspace, "rejected", read)


def _shared_content(workspace: Workspace) -> pa.Table:
    def read(name: str) -> pa.Table:
        try:
            rows = read_shared_content(workspace.datasets.root / name)
        except ArtifactDamaged as exc:
            raise CatalogError(
                f"{exc.path} {exc.what}; compare the splits again with: tubeflow datasets check {name}"
            ) from exc
        return _table([asdict(row) for row in rows], SHARED_CONTENT)

    return _of_datasets(workspace, "shared_content", read)


def _edits(workspace: Workspace) -> pa.Table:
    def read(name: str) -> pa.Table:
        edits = [asdict(edit) for edit in workspace.datasets.edits(name).read()]
        rows = [edit | {"old": json.dumps(edit["old"]), "new": json.dumps(edit["new"])} for edit in edits]
        return _table(rows, EDITS)

    return _of_datasets(workspace, "edits", read)


def _datasets(workspace: Workspace) -> pa.Table:
    infos = [workspace.datasets.info(name) for name in workspace.datasets.names()]
    return _table([{name: getattr(info, name) for name in DATASETS.names} for info in infos], DATASETS)


def _artifacts(workspace: Workspace) -> pa.Table:
    return _table([row._asdict() for row in workspace.index.rows.values()], ARTIFACTS)


def _quarantine(workspace: Workspace) -> pa.Table:
    return _table([asdict(row) for row in workspace.quarantine.rows()], QUARANTINE)


def _runs(workspace: Workspace) -> pa.Table:
    rows = []
    history = read_history(workspace.runs)
    for problem in history.damaged:
        workspace.notice(unreadable_run(problem))
    for run in history.records:
        nested = {name: json.dumps(run.get(name)) for name in ("stages", "metrics", "config")}
        rows.append({name: run.get(name) for name in RUNS.names} | nested)
    return _table(rows, RUNS)


def _tube_quality(workspace: Workspace) -> pa.Table:
    return _table([row._asdict() for row in workspace.tube_quality.rows.values()], TUBE_QUALITY)


def _table(rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema)


READERS: Mapping[str, Callable[[Workspace], pa.Table]] = {
    "datasets": _datasets,
    "clips": _clips,
    "rejected": _rejected,
    "shared_content": _shared_content,
    "edits": _edits,
    "artifacts": _artifacts,
    "quarantine": _quarantine,
    "runs": _runs,
    "tube_quality": _tube_quality,
}

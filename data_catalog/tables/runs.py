"""The records of the runs, `runs/<run_id>/run.json`: sealed, and in the order in which the runs ended.

Each record carries a number one above all that were there when it was written, so that a clock that is set back makes
no older run the newest. Records of the version before have neither number nor seal: they come first, by their ids,
which begin with the time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_catalog.json_file import read_record, write_record
from data_catalog.locks import locked
from data_catalog.plain_file import file_digest, is_plain
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.schemas import REFERENCES, read_table

RECORD, REFERENCES_FILE = "run.json", "references.parquet"

Record = dict[str, Any]


@dataclass(frozen=True)
class History:
    """What the runs left: their records, oldest first, and what is wrong with those that can't be read."""

    records: tuple[Record, ...]
    damaged: tuple[ArtifactDamaged, ...]


def read_history(runs: Path) -> History:
    """Read every record below the folder of the runs."""
    records, damaged = [], []
    for folder in _folders(runs):
        try:
            records.append(_read(folder / RECORD))
        except ArtifactDamaged as problem:
            damaged.append(problem)
    return History(tuple(sorted(records, key=_order)), tuple(damaged))


def unreadable_run(problem: ArtifactDamaged) -> str:
    """What it means that a record can't be read, and what to do, in one sentence."""
    folder = problem.path.parent
    return (
        f"{problem.path} {problem.what}, so nothing is known of run {folder.name}: put it back from a backup, or "
        f"delete {folder} and run the same again."
    )


def _folders(runs: Path) -> Iterator[Path]:
    """Folders of runs that are done: those under way, and those of experiments, have neither file."""
    for folder in sorted(runs.glob("*")):
        if any(os.path.lexists(folder / name) for name in (RECORD, REFERENCES_FILE)):
            yield folder


def _read(path: Path) -> Record:
    try:
        record = read_record(path, or_unsealed=True)
    except FileNotFoundError as exc:
        raise ArtifactDamaged(path, "is missing") from exc
    if not isinstance(record.get("run_id"), str):
        raise ArtifactDamaged(path, "isn't the record of a run")
    if "number" in record and record.get("run_id") != path.parent.name:
        raise ArtifactDamaged(path, f"is the record of another run ({record.get('run_id')})")
    return record


def _order(record: Record) -> tuple[int, str]:
    number = record.get("number")
    return (number if isinstance(number, int) else 0), str(record.get("run_id", ""))


def write_run(runs: Path, lock: Path, record: Mapping[str, object]) -> int:
    """Write a run's record, with the digests of the other files of its folder; returns the run's number.

    Args:
        runs: the folder of the runs.
        lock: the file by which processes that end at once take turns.
        record: with `run_id`; a record that is there already keeps its number.

    Raises:
        OSError: the workspace can't be written.
    """
    folder = runs / str(record["run_id"])
    with locked(lock):
        others = read_history(runs).records
        mine = next((one.get("number") for one in others if one.get("run_id") == record["run_id"]), None)
        number = mine if isinstance(mine, int) else 1 + max((_order(one)[0] for one in others), default=0)
        write_record(folder / RECORD, {**record, "number": number, "files": _digests(folder)})
    return number


def seal_file(runs: Path, lock: Path, run_id: str, name: str) -> None:
    """Enter the digest of a file that was written again into its run's record. Raises OSError, ArtifactDamaged."""
    with locked(lock):
        record = _read(runs / run_id / RECORD)
        record["files"] = {**record["files"], name: file_digest(runs / run_id / name)}
        write_record(runs / run_id / RECORD, record)


def forget_files(runs: Path, lock: Path, run_id: str, names: Sequence[str]) -> None:
    """Take files that are no more out of a run's record. Raises OSError, ArtifactDamaged."""
    with locked(lock):
        record = _read(runs / run_id / RECORD)
        record["files"] = {name: digest for name, digest in record["files"].items() if name not in names}
        write_record(runs / run_id / RECORD, record)


def read_references(folder: Path, digest: str | None) -> pa.Table:
    """The list of the artifacts that a run stands on, schema `REFERENCES`. Raises FileNotFoundError, ArtifactDamaged.

    `digest` is what the run's record has of the file; None in records of the version before.
    """
    check_file(folder, REFERENCES_FILE, digest)
    return read_table(folder / REFERENCES_FILE, REFERENCES)


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a run but its record, by its path in the run's folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.name != RECORD and is_plain(path))
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def check_file(folder: Path, name: str, digest: str | None) -> None:
    """Compare a file of a run with the digest that the run's record has of it (None in those of the version before).

    Raises:
        FileNotFoundError: it isn't there.
        ArtifactDamaged: it isn't what was written.
    """
    found = file_digest(folder / name)
    if digest is not None and found != digest:
        raise ArtifactDamaged(folder / name, "doesn't match its checksum")

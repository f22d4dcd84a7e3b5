"""JSON files of the catalog: replaced in one step, and where they are read back, carrying their own digest."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_catalog.atomic import replacing
from data_catalog.plain_file import read_plain
from data_catalog.store import ArtifactDamaged


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; a value that JSON doesn't know (nan, inf) is an error, not a silent token."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text)


def write_record(path: Path, record: Mapping[str, object]) -> None:
    """Write a JSON object with a digest of itself, for `read_record`."""
    write_json(path, sealed(record))


def read_record(path: Path, or_unsealed: bool = False) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Args:
        path: the file.
        or_unsealed: accept an object without a digest, as versions before wrote it.

    Raises:
        ArtifactDamaged: it can't be read, or isn't what was written.
        FileNotFoundError: it isn't there.
    """
    try:
        text = read_plain(path).decode()
    except UnicodeDecodeError as exc:
        raise ArtifactDamaged(path, "is not text") from exc
    if or_unsealed:
        with contextlib.suppress(ValueError):
            record = json.loads(text)
            if isinstance(record, dict) and "sha256" not in record:
                return record
    return unsealed(path, text)


def sealed(record: Mapping[str, object]) -> dict[str, object]:
    """The record with its digest as `sha256`."""
    return {**record, "sha256": _digest(record)}


def unsealed(path: Path, text: str) -> dict[str, Any]:
    """The record of a sealed JSON text, its digest checked. Raises ArtifactDamaged, naming `path`."""
    try:
        record = json.loads(text)
        expected = record.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ArtifactDamaged(path, "is damaged") from exc
    if _digest(record) != expected:
        raise ArtifactDamaged(path, "doesn't match its checksum")
    return dict(record)


def _digest(record: Mapping[str, object]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

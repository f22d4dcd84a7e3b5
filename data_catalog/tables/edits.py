"""A person's corrections of labels: kept beside the dataset's clip table, never in it, and never lost.

`edits.jsonl` is append-only, one sealed JSON object a line: who, when, which clip and field, old and new value. The
clips of a dataset are its ingested table with the edits laid over it in order, so reading the dataset again keeps them.

The lines are a chain: each carries the digest of all before it, and how many there are, with the digest of them all,
is kept in another file (`catalog/edits/<dataset>.json`). So a line that is gone, changed or out of its place is
noticed, and so is a file that was emptied, cut or deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_catalog.datasets.records import MOST_JUDGES, SPLITS, ClipRecord
from data_catalog.errors import CatalogError
from data_catalog.foreign_text import has_control, visible
from data_catalog.json_file import read_record, sealed, unsealed, write_record
from data_catalog.locks import locked
from data_catalog.plain_file import read_plain
from data_catalog.store import ArtifactDamaged
from data_catalog.tables.schemas import CLIPS, EDITED_CLIPS

logger = logging.getLogger(__name__)

Values = Mapping[str, Any]
MAX_MARK, MAX_WORDS = 10.0, 500


class EditError(ValueError):
    """A value that a label can't have; one plain sentence."""


@dataclass(frozen=True)
class Edit:
    """One field of one clip, corrected. `old` and `new` are JSON values, None where there is no value."""

    clip_id: str
    field: str
    old: Any
    new: Any
    who: str
    when: str


class EditsLost(CatalogError):
    """Corrections that were made are not there as they were made; going on would use the old labels."""


@dataclass(frozen=True)
class _Line:
    """One whole line: its number from 1, its edit, its own digest, and the digest of all before it.

    The last is None in lines of the version before.
    """

    number: int
    edit: Edit
    seal: str
    before: str | None


@dataclass(frozen=True)
class _Head:
    """How many whole lines there are, and the digest of them all."""

    count: int = 0
    chain: str = ""

    def then(self, seal: str) -> _Head:
        """With one more line."""
        return _Head(self.count + 1, hashlib.sha256(f"{self.chain}{seal}".encode()).hexdigest())


class Edits:
    """The corrections of one dataset.

    Args:
        path: `edits.jsonl`.
        notice: called with a sentence where something was found damaged that loses nothing.
        head: the file that says how many edits there are; by default beside `path`.
    """

    def __init__(
        self, path: Path, notice: Callable[[str], None] = logger.warning, head: Path | None = None
    ) -> None:
        self._path = path
        self._head = head or path.with_suffix(".head.json")
        self._notice = notice

    def read(self) -> list[Edit]:
        """All edits, oldest first.

        A file of the version before, which has no count yet, gets one; what is damaged of it is reported by its line
        and left out. So is a line that its writer did not finish: nobody was told that it was kept.

        Raises:
            EditsLost: the file isn't there any more, or a line is gone, changed or out of its place.
        """
        head = self._read_head()  # first: somebody may add a line meanwhile, and then counts it
        lines = self._lines()
        if head is None and lines:
            if any(line.before is not None for line in lines):
                self._notice(f"{self._head} was missing; it was made again for the {len(lines)} corrections there are.")
            with contextlib.suppress(OSError):  # a workspace that may only be read
                self._write_head(_head_of(lines))
        self._check(lines, head)
        return [line.edit for line in lines]

    def _check(self, lines: Sequence[_Line], head: _Head | None) -> _Head:
        """The head as the lines say it; they may be ahead of it, where a writer was killed before counting them."""
        if head is None:
            return _head_of(lines)
        if len(lines) < head.count:
            there = f"{len(lines)} of the {head.count}" if lines else f"none of the {head.count}"
            raise self._lost(f"{there} corrections that were made can be read")
        if _head_of(lines[: head.count]) != head:
            raise self._lost("its lines are not those that were written")
        for line in lines[head.count :]:
            if line.before not in (head.chain, None):
                raise self._lost(f"line {line.number} is out of its place")
            head = head.then(line.seal)
        return head

    def _lost(self, what: str) -> EditsLost:
        return EditsLost(
            f"Corrections of labels are lost: {self._path} is damaged, {what}; put the file back from a backup, or "
            f"delete {self._head} to go on with the corrections that can be read, and set the others again."
        )

    def _lines(self) -> list[_Line]:
        """The whole lines; damaged ones are reported and left out."""
        try:
            content = read_plain(self._path)
        except FileNotFoundError:
            return []
        except ArtifactDamaged as exc:
            raise self._lost(f"it {exc.what}") from exc
        found, damaged = [], []
        for number, text in enumerate(content.split(b"\n"), start=1):
            if not text.strip():
                continue
            try:
                found.append(self._parse(number, text))
            except ArtifactDamaged:
                damaged.append(str(number))
        if damaged:
            many = len(damaged) > 1
            self._notice(
                f"Line{'s' if many else ''} {', '.join(damaged)} of {self._path} {'are' if many else 'is'} damaged and "
                f"left out; look at tubeflow labels history, and set the label again."
            )
        return found

    def _parse(self, number: int, text: bytes) -> _Line:
        try:
            record = unsealed(self._path, text.decode())
            edit = Edit(**{item.name: record[item.name] for item in fields(Edit)})
            return _Line(number, edit, json.loads(text)["sha256"], record.get("before"))
        except (UnicodeDecodeError, KeyError) as exc:
            raise ArtifactDamaged(self._path, "is damaged") from exc

    def _read_head(self) -> _Head | None:
        try:
            record = read_record(self._head)
            return _Head(int(record["count"]), str(record["chain"]))
        except FileNotFoundError:
            return None
        except (ArtifactDamaged, KeyError, ValueError, TypeError):
            return None  # `read` makes it again, and says so

    def _write_head(self, head: _Head) -> None:
        write_record(self._head, asdict(head))

    def append(self, edits: Sequence[Edit]) -> None:
        """Add edits at the end, synced; several processes may do so at once. Raises OSError, EditsLost."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{self._path}.lock")):
            head = self._read_head()
            head = self._check(self._lines(), head)
            with self._path.open("ab+") as file:
                if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                    file.write(b"\n")  # a writer was killed inside its line; ours begins a new one
                for edit in edits:
                    record = sealed({**asdict(edit), "before": head.chain})
                    file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
                    head = head.then(str(record["sha256"]))
                file.flush()
                os.fsync(file.fileno())
            self._write_head(head)


def _head_of(lines: Sequence[_Line]) -> _Head:
    head = _Head()
    for line in lines:
        head = head.then(line.seal)
    return head


def edited(table: pa.Table, edits: Sequence[Edit]) -> pa.Table:
    """The clip table (schema `CLIPS`, or some of its columns) with edits laid over it and what only edits say."""
    only_edited = [name for name in EDITED_CLIPS.names if name not in CLIPS.names]
    schema = pa.schema([EDITED_CLIPS.field(name) for name in (*table.column_names, *only_edited)])
    whole = table
    for name in only_edited:
        kind = EDITED_CLIPS.field(name).type
        empty = pa.nulls(len(table), kind)
        nothing = empty.is_valid() if kind == pa.bool_() else empty  # False; from a NumPy array PyArrow imports pandas
        whole = whole.append_column(name, nothing)
    whole = whole.cast(schema)
    changes: dict[str, dict[str, Any]] = {}
    labelled: dict[str, Any] = {}
    for edit in edits:
        if edit.field in schema.names:
            changes.setdefault(edit.clip_id, {})[edit.field] = edit.new
        if edit.field == "boxes":  # one that restores what the label file said is a person's no longer
            before = labelled.setdefault(edit.clip_id, edit.old)
            changes.setdefault(edit.clip_id, {})["boxes_by_person"] = bool(edit.new) and edit.new != before
    if not changes:
        return whole
    found = pc.index_in(pa.array(list(changes), pa.string()), table.column("clip_id").combine_chunks())
    rows, values, place = [], [], np.arange(len(table))
    for row, change in zip(found.to_pylist(), changes.values(), strict=True):
        if row is not None:  # the clip may have gone from the dataset since
            rows.append(row)
            values.append(change)
    place[rows] = len(table) + np.arange(len(rows))
    old = whole.take(pa.array(rows, pa.int64())).to_pylist()
    new = pa.Table.from_pylist([row | change for row, change in zip(old, values, strict=True)], schema)
    return pa.concat_tables([whole, new]).take(pa.array(place))


def edit_warnings(edits: Sequence[Edit], records: Sequence[ClipRecord]) -> list[str]:
    """What a person should look at again, now that a dataset was read anew: edits without a clip, or overtaken."""
    if not edits:
        return []
    wanted = {edit.clip_id for edit in edits}
    there = {record.clip_id: record for record in records if record.clip_id in wanted}
    first: dict[tuple[str, str], Edit] = {}
    last: dict[tuple[str, str], Edit] = {}
    for edit in edits:
        first.setdefault((edit.clip_id, edit.field), edit)
        last[edit.clip_id, edit.field] = edit
    warnings = [
        f"{len(wanted - there.keys())} clips with edited labels are no longer in the dataset ({clip_id}, ...); "
        "their edits are kept"
        for clip_id in sorted(wanted - there.keys())[:1]
    ]
    for (clip_id, field), edit in last.items():
        if clip_id in there and field not in ("bad", "bad_reason"):
            now = _plain(getattr(there[clip_id], field))
            if now != first[clip_id, field].old and now != edit.new:
                warnings.append(
                    f"clip '{clip_id}' now has {field} {json.dumps(now)} in the label file, "
                    f"{json.dumps(first[clip_id, field].old)} when {edit.who} set it to {json.dumps(edit.new)}; "
                    "that edit still holds"
                )
    return warnings


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def parse_value(field: str, texts: Sequence[str]) -> Any:
    """The JSON value that a field gets from what a person typed; an empty text means none.

    Args:
        field: `score`, `difficulty`, `label`, `judges`, `split`, `action`, `box`, `start_frame`, `end_frame`, `bad`,
            `bad_reason`.
        texts: the text after `=`; several for `box` only, one an athlete.

    Raises:
        EditError: no such field, or a value that it can't have.
    """
    if field not in PARSERS:
        raise EditError(f"there is no label '{field}' to set; there are {', '.join(PARSERS)}")
    if field == "box":
        return [] if list(texts) == [""] else [_box(text) for text in texts]
    if len(texts) > 1:
        raise EditError(f"{field} is given {len(texts)} times; give it once")
    return PARSERS[field](field, texts[0].strip())


def column_of(field: str) -> str:
    """The column of the clip table that a field is kept in."""
    return "boxes" if field == "box" else field


def _number(field: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (field == "difficulty" and value <= 0):
        raise EditError(f"{field} must be a {'positive ' if field == 'difficulty' else ''}number, got '{text}'")
    return value


def _count(field: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise EditError(f"{field} must be a whole number from 0, got '{text}'")
    return int(text)


def _split(field: str, text: str) -> str:
    if text not in SPLITS:
        raise EditError(f"split must be one of {', '.join(SPLITS)}, got '{text}'")
    return text


def _bad(field: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise EditError(f"bad must be true or false, got '{text}'")
    return text.lower() == "true"


def _words(field: str, text: str) -> str | None:
    if len(text) > MAX_WORDS:
        raise EditError(f"{field} must have at most {MAX_WORDS} letters, got {len(text)}")
    if has_control(text):
        raise EditError(f"{field} must have no control characters, got '{visible(text)}'")
    return text or None


def _judges(field: str, text: str) -> list[float]:
    marks = [_number(field, mark) for mark in text.split(",")] if text else []
    whole = [mark for mark in marks if mark is not None]
    if len(whole) != len(marks) or len(marks) > MOST_JUDGES or any(not 0 <= mark <= MAX_MARK for mark in whole):
        raise EditError(f"judges must be up to {MOST_JUDGES} marks from 0 to {MAX_MARK:g} with commas, got '{text}'")
    return whole


def _box(text: str) -> list[float]:
    try:
        box = [float(number) for number in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
        raise EditError(f"box must be x,y,w,h in pixels of the video with w and h above 0, got '{text}'")
    return box


PARSERS: dict[str, Callable[[str, str], Any]] = {
    "score": _number,
    "difficulty": _number,
    "judges": _judges,
    "label": _count,
    "split": _split,
    "action": lambda field, text: _words(field, text) or "",
    "box": lambda field, text: _box(text),
    "start_frame": _count,
    "end_frame": _count,
    "bad": _bad,
    "bad_reason": _words,
}

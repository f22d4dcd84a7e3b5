"""A table of steps beside the labels: ``clip_id, step, start, end``, a row a step, every row checked by itself.

`step` names the kind of step; `start` and `end` are frames of the clip's video, from 0, the end not included: as
`start_frame` and `end_frame` of a label table, so that they stay right where a clip is cut out of its video otherwise.
Of features that were made elsewhere they count rows of the clip's features. Steps of one clip don't overlap; frames
between them belong to none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_catalog.datasets.label_files.header import one_line
from data_catalog.datasets.label_files.table import LabelTable, read_label_table
from data_catalog.datasets.label_rows import MAX_WHOLE
from data_catalog.datasets.records import ClipRecord, Listing, RejectedRow, Step
from data_catalog.foreign_text import has_control
from data_catalog.suggest import nearest

COLUMNS = ("clip_id", "step", "start", "end")
MAX_NAME = 100  # characters; names stand in pictures
MOST_STEPS = 1000  # of a clip
HINTS = 20  # rows for which the nearest clip's name is sought


def add_steps(listing: Listing, path: Path) -> Listing:
    """The listing with the steps of a table: clips that it names have those alone, the others keep their own.

    Raises:
        DatasetError: the file can't be read, or lacks a column.
    """
    table, broken = read_label_table(path, COLUMNS, ())
    rows = _StepRows(table, broken, {clip.clip_id: clip for clip in listing.annotated})
    found = rows.steps()
    named = f"{sum(map(len, found.values()))} steps of {len(found)} clips were read from {path.name}"

    def labelled(clips: Sequence[ClipRecord]) -> tuple[ClipRecord, ...]:
        return tuple(clip.with_steps(found[clip.clip_id]) if clip.clip_id in found else clip for clip in clips)

    return replace(
        listing,
        records=labelled(listing.records),
        missing=labelled(listing.missing),
        rejected=(*listing.rejected, *sorted(rows.rejected, key=lambda row: row.line or 0)),
        warnings=(*listing.warnings, *table.warnings),
        notes=(*listing.notes, *table.notes, named),
    )


class _StepRows:
    """The rows of a table of steps while they are being checked.

    Args:
        table: the table.
        broken: rows that have no place in it.
        clips: the dataset's clips by id.
    """

    def __init__(self, table: LabelTable, broken: Sequence[RejectedRow], clips: Mapping[str, ClipRecord]) -> None:
        self.rejected = list(broken)
        self._table, self._clips = table, clips
        self._start, self._end = self._whole("start"), self._whole("end")

    def steps(self) -> dict[str, list[Step]]:
        """The steps of each clip that has any, in the order of the table."""
        found: dict[str, list[tuple[Step, int]]] = defaultdict(list)
        ids, names = self._table.columns["clip_id"], self._table.columns["step"]
        known = Counter(ids.tolist())
        for index, (clip_id, name) in enumerate(zip(ids, names, strict=True)):
            if clip_id not in self._clips:
                if known.pop(clip_id, 0):  # said once, however many rows name it
                    self._reject(index, *self._no_clip(clip_id))
                continue
            start, end = self._start[index], self._end[index]
            if isinstance(start, str) or isinstance(end, str):
                fault = start if isinstance(start, str) else end
                self._reject(index, str(fault), "write a whole number of frames from 0")
                continue
            step = Step(one_line(name), start, end)
            fault, remedy = _fault(step, self._clips[clip_id], found[clip_id], self._table.file)
            if fault:
                self._reject(index, fault, remedy)
            else:
                found[clip_id].append((step, int(self._table.lines[index])))
        return {clip_id: [step for step, _ in steps] for clip_id, steps in found.items() if steps}

    def _whole(self, column: str) -> list[int | str]:
        """The column's whole numbers, or why a cell is none."""
        numbers, texts = self._table.numbers(column), self._table.columns[column]
        return [
            int(value) if 0 <= value <= MAX_WHOLE and value.is_integer() else self._no_whole(column, text)
            for value, text in zip(numbers.values.tolist(), texts.tolist(), strict=True)
        ]

    @staticmethod
    def _no_whole(column: str, text: str) -> str:
        return f"its {column} '{one_line(text)[:60]}' is no frame number" if text else f"its {column} is missing"

    def _no_clip(self, clip_id: str) -> tuple[str, str]:
        if not clip_id:
            return "the row has no clip_id", "fill the clip_id column"
        near = nearest(clip_id, self._clips) if len(self.rejected) < HINTS else None
        hint = f"did you mean '{near}'?" if near else "name a clip of the labels, or remove its rows"
        return f"the dataset has no clip '{one_line(clip_id)[:60]}'", hint

    def _reject(self, index: int, reason: str, remedy: str) -> None:
        clip_id = str(self._table.columns["clip_id"][index]) or None
        self.rejected.append(RejectedRow(clip_id, self._table.file, int(self._table.lines[index]), reason, remedy))


def _fault(step: Step, clip: ClipRecord, before: Sequence[tuple[Step, int]], file: str) -> tuple[str, str]:
    """Why a row is no step of its clip, and what to do; empty texts where it is one."""
    if not step.name:
        return "the step has no name", "fill the step column"
    if len(step.name) > MAX_NAME or has_control(step.name):
        return f"the step's name is longer than {MAX_NAME} characters or holds a control character", "shorten it"
    if step.end <= step.start:
        return f"the end {step.end} is not after the start {step.start}", "correct the frames; the end is not included"
    first, last = clip.start_frame or 0, clip.end_frame
    if step.start < first or (last is not None and step.end > last):
        span = f"from {first} on" if last is None else f"{first} to {last}"
        return (
            f"step '{step.name}' ({step.start} to {step.end}) is not inside the clip's frames, {span}",
            "count the frames in the video, as start_frame and end_frame of the labels do",
        )
    if len(before) >= MOST_STEPS:
        return f"the clip has {MOST_STEPS} steps already", "give a clip fewer and longer ones"
    for other, line in before:
        if step.start < other.end and other.start < step.end:
            overlap = f"step '{step.name}' overlaps '{other.name}' of {file} line {line}"
            return overlap, "let one end where the next starts"
    return "", ""

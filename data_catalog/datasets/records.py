"""What every dataset adapter yields: clip records, rejected rows, and the counts to check them against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

from data_catalog.foreign_text import visible

SPLITS = ("train", "val", "test")
STEPS = "steps"
"""Where a record's `extra` holds its steps, each as ``[name, start, end]``."""
MOST_JUDGES = 20
"""Marks that a clip may have."""
USUAL_JUDGES = 7


def judge_places(panels: Sequence[Sequence[float]]) -> int:
    """Places for marks in a table of clips: `USUAL_JUDGES`, or as many as the largest panel has."""
    return max([USUAL_JUDGES, *map(len, panels)])


class Step(NamedTuple):
    """One step of a clip: a named stretch of its frames, such as the flight of a dive.

    Attributes:
        name: what kind of step it is; the same name means the same kind in every clip.
        start: first frame in the clip's ``video``, from 0, counted as `ClipRecord.start_frame` is.
        end: one past the last frame.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """One labelled clip of a dataset, before anything was computed from it.

    Attributes:
        clip_id: unique inside its dataset; never holds a path separator or a control character.
        video: the video file or the folder of images, relative to the dataset root, with ``/``.
        split: ``train``, ``val`` or ``test``.
        action: name of the action, empty where the dataset has only one.
        score: final score in the dataset's own points; None where the dataset has labels only.
        difficulty: the factor that the judges' sum is multiplied with; None where unknown.
        judges: the judges' marks, 0 to 10, in the order of the source; empty where unknown.
        label: class index from 0; None where the dataset has scores only.
        boxes: first-frame boxes of the athletes as ``(x, y, w, h)`` in pixels of the source video.
        start_frame: first frame of the clip in ``video``, from 0; None means from the beginning.
        end_frame: one past the last frame of the clip in ``video``; None means to the end.
        extra: what not every dataset knows (dive number, armstand, steps, ...), plain JSON values.
        bad: a person said that the clip is to be left out of every run; never set by an adapter.
        boxes_by_person: a person drew the boxes, so they are the athletes whatever a detector finds; never set by
            an adapter.
        bad_reason: why it was marked bad, in that person's words.
    """

    clip_id: str
    video: str
    split: str
    action: str = ""
    score: float | None = None
    difficulty: float | None = None
    judges: tuple[float, ...] = ()
    label: int | None = None
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    start_frame: int | None = None
    end_frame: int | None = None
    extra: Mapping[str, object] | None = None
    bad: bool = False
    boxes_by_person: bool = False
    bad_reason: str | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that the clip is labelled with, in order of time, none overlapping; empty where it isn't."""
        rows = cast(Sequence[tuple[str, int, int]], (self.extra or {}).get(STEPS, ()))
        return tuple(Step(*row) for row in rows)

    def with_steps(self, steps: Sequence[Step]) -> ClipRecord:
        """The same clip with these steps, which don't overlap, in place of its own."""
        others = {name: value for name, value in (self.extra or {}).items() if name != STEPS}
        rows: dict[str, object] = {STEPS: [list(step) for step in sorted(steps, key=lambda step: step.start)]}
        return replace(self, extra=(others | rows if steps else others) or None)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row of a label file that was left out: where it stands, why, and what the user can do."""

    clip_id: str | None
    file: str
    line: int | None
    reason: str
    remedy: str

    def __str__(self) -> str:
        """One sentence, fit for a terminal whatever the label file holds."""
        place = self.file if self.line is None else f"{self.file} line {self.line}"
        clip = f"clip '{self.clip_id}', " if self.clip_id else ""
        return visible(f"{clip}{place}: {self.reason}; {self.remedy}")


@dataclass(frozen=True)
class Listing:
    """All that an adapter read from a dataset folder.

    Attributes:
        records: clips that are annotated and whose video is there, in the order of the annotation.
        rejected: rows that were left out, one sentence each.
        warnings: known faults and missing parts, one sentence each; nothing was repaired because of them.
        notes: what was recognised (layout, score unit, ...), one sentence each.
        missing: clips that are annotated but whose video is not in the folder; one of the warnings
            sums them up. They count in `annotated`, so that the published counts can be checked
            before the videos are downloaded.
    """

    records: tuple[ClipRecord, ...]
    rejected: tuple[RejectedRow, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[ClipRecord, ...] = field(default=())

    @property
    def annotated(self) -> tuple[ClipRecord, ...]:
        """Every clip that the annotation names, with or without its video."""
        return self.records + self.missing


@dataclass(frozen=True, slots=True)
class Check:
    """One published figure beside the figure found; `ok` is their agreement."""

    name: str
    expected: str
    found: str
    ok: bool

    @classmethod
    def equal(cls, name: str, expected: object, found: object) -> Check:
        """Compare by equality and keep both as text."""
        return cls(name, str(expected), str(found), expected == found)

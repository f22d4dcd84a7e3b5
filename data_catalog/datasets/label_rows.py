"""Checks the rows of a label table one by one and groups those of one clip into records."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.label_files.header import one_line
from data_catalog.datasets.label_files.numbers import NO_NUMBER
from data_catalog.datasets.label_files.table import LabelTable
from data_catalog.datasets.layouts import abridge
from data_catalog.datasets.paths import Refused, VideoFinder
from data_catalog.datasets.records import MOST_JUDGES, SPLITS, ClipRecord, RejectedRow
from data_catalog.datasets.split_words import read_splits, why_no_split
from data_catalog.foreign_text import has_control, visible

JUDGES = tuple(f"judge_{i}" for i in range(1, MOST_JUDGES + 1))
BOX = ("x", "y", "w", "h")
BOX_ABOVE = (None, None, 0.0, 0.0)
FRAMES = ("start_frame", "end_frame")
REQUIRED = ("clip_id", "video", "split")
OPTIONAL = ("score", "action", "difficulty", *JUDGES, "label", *BOX, "athlete", *FRAMES)
TARGETS = ("score", "label")
MAX_JUDGE = 10.0
MAX_WHOLE = 2**31 - 1  # labels are kept as int32; no video has more frames
# A clip's id names files; 55 of the 255 bytes that file systems allow are for what is put before and behind it.
MAX_CLIP_ID_BYTES = 200


class LabelRows:
    """The rows of one table while they are being checked; `alive` marks those without a fault so far."""

    def __init__(self, table: LabelTable, broken: list[RejectedRow]) -> None:
        self.table = table
        self.rejected = broken
        self.notes: list[str] = []
        self.alive: NDArray[np.bool_] = np.ones(len(table), dtype=bool)
        self.clip_ids = table.columns["clip_id"]
        self._check_clip_ids()
        self.first = self._first_rows()
        self.action = self._text("action")
        self._inherit()
        self._check_text()
        self.score = self._number("score", "the score")
        self.difficulty = self._number("difficulty", "the difficulty", above=0.0)
        self.label = self._number("label", "the label", whole=True, least=0.0, most=MAX_WHOLE)
        self.frames = [
            self._number(name, f"the {name}", whole=True, least=0.0, most=MAX_WHOLE) for name in FRAMES
        ]
        self.judges = [self._number(name, f"the mark {name}", least=0.0, most=MAX_JUDGE) for name in JUDGES]
        self.box = [
            self._number(name, f"the box value {name}", above=a) for name, a in zip(BOX, BOX_ABOVE, strict=True)
        ]
        self._check_targets()
        self._check_splits()
        self._check_boxes()
        self._check_frames()

    def reject(self, bad: NDArray[np.bool_], why: Callable[[int], str], remedy: str) -> None:
        """Leave out the rows marked in `bad`, (rows,) bool; `why` returns the sentence of one row."""
        for index in np.flatnonzero(bad & self.alive):
            clip_id = str(self.clip_ids[index]) or None
            line = int(self.table.lines[index])
            self.rejected.append(RejectedRow(clip_id, self.table.file, line, why(int(index)), remedy))
        self.alive &= ~bad

    def _reject_one(self, index: int, reason: str, remedy: str) -> None:
        self.rejected.append(
            RejectedRow(str(self.clip_ids[index]), self.table.file, int(self.table.lines[index]), reason, remedy)
        )
        self.alive[index] = False

    def _text(self, name: str) -> NDArray[np.object_]:
        empty = np.full(len(self.table), "", dtype=object)
        return self.table.columns.get(name, empty)

    def _check_clip_ids(self) -> None:
        self.reject(self.clip_ids == "", lambda i: "the row has no clip_id", "fill the clip_id column")
        odd = _each(self.clip_ids, lambda t: "/" in t or "\\" in t or t in (".", "..") or has_control(t))
        self.reject(
            odd,
            lambda i: f"the clip_id {self.clip_ids[i]!r} holds a character that file names cannot",
            "use letters, digits, '-', '_' and '.'",
        )
        self.reject(
            _each(self.clip_ids, lambda t: len(t.encode("utf-8", "surrogatepass")) > MAX_CLIP_ID_BYTES),
            lambda i: f"the clip_id is longer than {MAX_CLIP_ID_BYTES} bytes, too long for the names of its files",
            "shorten it",
        )

    def _check_text(self) -> None:
        self.reject(
            _each(self.action, has_control), lambda i: "its action holds a control character", "type the action again"
        )

    def _first_rows(self) -> NDArray[np.int64]:
        """(n,) index of the first row with the same clip_id; a row's own index where it is the first."""
        seen: dict[str, int] = {}
        return np.fromiter((seen.setdefault(c, i) for i, c in enumerate(self.clip_ids)), np.int64, len(self.clip_ids))

    def _inherit(self) -> None:
        """Second and later athletes: empty cells are the first row's, filled ones must agree with it."""
        later = np.flatnonzero((self.first != np.arange(len(self.first))) & self.alive)
        if not later.size:
            return
        first = self.first[later]
        differing: dict[int, str] = {}
        for name, values in self.table.columns.items():
            if name in (*BOX, "athlete", "clip_id"):
                continue
            own, of_first = values[later], values[first]
            values[later] = np.where(own == "", of_first, own)
            for index in later[(own != "") & (own != of_first)].tolist():
                differing.setdefault(index, name)
        for index in self._repeated(later):
            line = self.table.lines[self.first[index]]
            self._reject_one(
                index,
                f"clip_id '{self.clip_ids[index]}' is already in line {line}",
                "give each clip its own clip_id, or each athlete of the clip a box of their own",
            )
        for index, name in differing.items():
            if self.alive[index]:
                line = self.table.lines[self.first[index]]
                self._reject_one(
                    index,
                    f"its {name} differs from line {line}, which has the same clip_id",
                    "give each clip its own clip_id, or all athletes of one clip the same labels",
                )

    def _repeated(self, later: NDArray[np.int64]) -> list[int]:
        """Those of the rows `later` whose clip, athlete and box stand in an earlier row already."""
        columns = [self.table.numbers(name).values for name in BOX if name in self.table.columns]
        box = np.column_stack(columns) if columns else np.empty((len(self.first), 0))
        box = np.where(np.isnan(box), -np.inf, box)  # so that two missing boxes are equal
        athlete = self._text("athlete")

        def who(index: int) -> tuple[object, ...]:
            return (int(self.first[index]), athlete[index], *box[index].tolist())

        seen = {who(index) for index in np.unique(self.first[later]).tolist()}
        repeated = []
        for index in later.tolist():
            if who(index) in seen:
                repeated.append(index)
            seen.add(who(index))
        return repeated

    def _number(
        self,
        name: str,
        called: str,
        *,
        whole: bool = False,
        above: float | None = None,
        least: float | None = None,
        most: float | None = None,
    ) -> NDArray[np.float64]:
        """(n,) float64 of one column, NaN where empty; rows with an impossible value are rejected."""
        if name not in self.table.columns:
            return np.full(len(self.table), np.nan)
        numbers = self.table.numbers(name)
        values, text = numbers.values, self.table.columns[name]
        for index in np.flatnonzero(_each(text, numbers.faults.__contains__) & self.alive):
            fault = numbers.faults[text[index]]
            self._reject_one(int(index), f"{called} '{one_line(text[index])[:60]}' {fault.reason}", fault.remedy)

        def refuse(bad: NDArray[np.bool_], fault: str, remedy: str = "correct it") -> None:
            self.reject(numbers.filled & bad, lambda i: f"{called} '{text[i]}' is {fault}", remedy)

        with np.errstate(over="ignore"):  # labels travel as float32
            refuse(~np.isfinite(values.astype(np.float32)), "not a finite number", NO_NUMBER.remedy)
        if whole:
            refuse(values != np.floor(values), "not a whole number")
        if above is not None:
            refuse(~(values > above), f"not above {above:g}")
        if least is not None:
            refuse(~(values >= least), f"below {least:g}")
        if most is not None:
            refuse(~(values <= most), f"above {most:.12g}")
        return values

    def _check_targets(self) -> None:
        nothing = np.isnan(self.score) & np.isnan(self.label)
        self.reject(nothing, lambda i: "the score is missing", "fill the score (or label) column or remove the row")

    def _check_splits(self) -> None:
        written = self.table.columns["split"]
        splits = read_splits(dict.fromkeys(written.tolist()))
        self.table.columns["split"] = np.fromiter((splits.get(word, "") for word in written), object, len(written))
        unknown = self.table.columns["split"] == ""
        self.reject(unknown, lambda i: why_no_split(one_line(written[i])[:60]), f"use one of {', '.join(SPLITS)}")
        for word, split in splits.items():
            if word.casefold() != split:
                self.notes.append(f"the split '{one_line(word)}' was read as '{split}'")

    def _check_boxes(self) -> None:
        given = sum((~np.isnan(v)).astype(int) for v in self.box)
        partly = np.asarray((given > 0) & (given < 4))
        self.reject(partly, lambda i: "the first-frame box has only some of x, y, w, h", "give all four or none")

    def _check_frames(self) -> None:
        start, end = self.frames
        backwards = end <= np.where(np.isnan(start), 0, start)
        self.reject(
            backwards,
            lambda i: f"end_frame {end[i]:g} is not after its start_frame",
            "correct the frame numbers",
        )

    def records(self, finder: VideoFinder) -> list[ClipRecord]:
        """Find the videos of the rows still alive and build one record for each clip."""
        video = self.table.columns["video"]
        self.reject(video == "", lambda i: "the row has no video", "fill the video column or remove the row")
        answers = {name: finder.find(name) for name in dict.fromkeys(video[self.alive])}
        for index in np.flatnonzero(self.alive):
            answer = answers[video[index]]
            if isinstance(answer, Refused):
                self._reject_one(int(index), answer.reason, answer.remedy)
        self._say_renamed(finder.renamed)
        paths = {name: answer.path for name, answer in answers.items() if not isinstance(answer, Refused)}
        return list(self._build(paths))

    def _say_renamed(self, renamed: dict[str, str]) -> None:
        shown = [f"'{visible(given)}' as '{visible(path)}'" for given, path in renamed.items()]
        if shown:
            count = "one video was" if len(shown) == 1 else f"{len(shown)} videos were"
            self.notes.append(f"{count} found under a name that is spelt otherwise: {abridge(shown)}")

    def _build(self, paths: dict[str, str]) -> Iterator[ClipRecord]:
        boxes = self._boxes_of_clips()
        rows_of_clip = np.bincount(self.first[self.alive], minlength=len(self.first))
        # A clip is built at the first of its rows that is alive.
        leaders = np.unique(self.first[self.alive], return_index=True)[1]
        order = np.flatnonzero(self.alive)[np.sort(leaders)]
        text = self.table.columns
        judges = np.column_stack(self.judges)[order]
        for index, first, marks, score, difficulty, label, start, end in zip(
            order.tolist(),
            self.first[order].tolist(),
            _present(judges),
            *(_optional(v[order]) for v in (self.score, self.difficulty, self.label, *self.frames)),
            strict=True,
        ):
            yield ClipRecord(
                clip_id=self.clip_ids[index],
                video=paths[text["video"][index]],
                split=text["split"][index],
                action=self.action[index],
                score=score,
                difficulty=difficulty,
                judges=marks,
                label=None if label is None else int(label),
                boxes=tuple(boxes.get(first, ())),
                start_frame=None if start is None else int(start),
                end_frame=None if end is None else int(end),
                extra={"athletes": int(rows_of_clip[first])} if rows_of_clip[first] > 1 else None,
            )

    def _boxes_of_clips(self) -> dict[int, list[tuple[float, float, float, float]]]:
        """First row of a clip → the boxes of its athletes in row order."""
        given = np.flatnonzero(self.alive & ~np.isnan(self.box[0]))
        boxes: dict[int, list[tuple[float, float, float, float]]] = {}
        columns = [values[given].tolist() for values in self.box]
        for first, x, y, w, h in zip(self.first[given].tolist(), *columns, strict=True):
            boxes.setdefault(first, []).append((x, y, w, h))
        return boxes


def _optional(values: NDArray[np.float64]) -> list[float | None]:
    return [None if v != v else v for v in values.tolist()]


def _present(judges: NDArray[np.float64]) -> list[tuple[float, ...]]:
    if np.isnan(judges).all():
        return [()] * len(judges)
    return [tuple(v for v in row if v == v) for row in judges.tolist()]


def _each(values: NDArray[np.object_], test: Callable[[str], bool]) -> NDArray[np.bool_]:
    return np.fromiter((test(v) for v in values), bool, len(values))

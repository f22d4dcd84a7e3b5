"""The gallery's rows: one a clip, with what is known of its stages and its tube; filtered, sorted and counted."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

StageState = Literal["hit", "missing", "quarantined", "waiting"]
State = Literal["done", "missing", "quarantined", "bad"]
Sort = Literal["suspicion", "name", "score"]
DIGITS = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True)
class Problem:
    """Why a clip was set aside, and what to do."""

    stage: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class ClipRow:
    """One clip as the gallery shows it.

    Attributes:
        stages: state of each clip stage, in order.
        problem: where a stage is quarantined.
        missing: the first stage that isn't done, and why.
        suspicion: from 0, nothing odd, to 1; None where the tube was not measured.
        reasons: what is odd about the tube, worst first.
        normalize_key, track_key: the artifacts that a thumbnail is made of; None where they aren't there.
        frame: which frame the thumbnail shows.
    """

    dataset: str
    clip: str
    split: str
    action: str = ""
    score: float | None = None
    label: int | None = None
    bad: bool = False
    athletes: int = 0
    stages: Mapping[str, StageState] = field(default_factory=dict)
    problem: Problem | None = None
    missing: tuple[str, str] | None = None
    suspicion: float | None = None
    reasons: Sequence[str] = ()
    normalize_key: str | None = None
    track_key: str | None = None
    frame: int = 0

    @property
    def state(self) -> State:
        """The clip's state as a whole: what a person decided comes first, then what went wrong."""
        if self.bad:
            return "bad"
        if self.problem is not None:
            return "quarantined"
        return "done" if self.stages and all(state == "hit" for state in self.stages.values()) else "missing"

    @functools.cached_property
    def text(self) -> str:
        """What a search looks through."""
        odd = " ".join(self.reasons)
        wrong = f"{self.problem.stage} {self.problem.reason}" if self.problem else ""
        return f"{self.clip} {self.dataset} {self.action} {odd} {wrong}".lower()


@dataclass(frozen=True)
class RowQuery:
    """Which rows, in which order; None filters nothing.

    Attributes:
        state: of the clip; `unmeasured` is a clip that is done and whose tube was not judged.
        stage: ask `state` of this stage alone.
        q: words that all have to be found in id, dataset, action, reasons or problem.
        descending: None takes the sort's own direction, worst or highest first for figures.
    """

    dataset: str | None = None
    split: str | None = None
    state: str | None = None
    stage: str | None = None
    bad: bool | None = None
    q: str = ""
    sort: Sort = "suspicion"
    descending: bool | None = None


def choose(rows: Iterable[ClipRow], query: RowQuery) -> list[ClipRow]:
    """The rows that a query wants, in its order; equal ones by dataset and name."""
    tests = list(_tests(query).values())
    found = [row for row in rows if all(test(row) for test in tests)]
    found.sort(key=lambda row: (row.dataset, _natural(row.clip)))
    descending = query.sort != "name" if query.descending is None else query.descending
    if query.sort == "name":
        return found[::-1] if descending else found
    sign = -1 if descending else 1
    value = _suspicion if query.sort == "suspicion" else _score
    return sorted(found, key=lambda row: _unknown_last(value(row), sign, row))


def count_facets(rows: Sequence[ClipRow], query: RowQuery) -> dict[str, dict[str, int]]:
    """For dataset, split and state: how many rows each value would leave, all other filters kept."""
    tests = list(_tests(query).items())
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("dataset", "split", "state")}
    for row in rows:
        failed = [name for name, test in tests if not test(row)]
        if len(failed) > 1 or (failed and failed[0] not in counts):
            continue
        for name in failed or counts:  # a filter of its own doesn't count against a facet
            counts[name][getattr(row, name)] += 1
    return {name: dict(sorted(found.items())) for name, found in counts.items()}


def _tests(query: RowQuery) -> dict[str, Callable[[ClipRow], bool]]:
    tests: dict[str, Callable[[ClipRow], bool]] = {}
    if query.dataset is not None:
        tests["dataset"] = lambda row: row.dataset == query.dataset
    if query.split is not None:
        tests["split"] = lambda row: row.split == query.split
    if query.bad is not None:
        tests["bad"] = lambda row: row.bad == query.bad
    if query.state is not None or query.stage is not None:
        tests["state"] = _state_test(query)
    words = query.q.lower().split()
    if words:
        tests["q"] = lambda row: all(word in row.text for word in words)
    return tests


def _state_test(query: RowQuery) -> Callable[[ClipRow], bool]:
    if query.stage is not None:
        wanted = query.state or "missing"
        return lambda row: row.stages.get(query.stage or "") == wanted
    if query.state == "unmeasured":
        return lambda row: row.state == "done" and row.suspicion is None
    return lambda row: row.state == query.state


@functools.lru_cache(maxsize=1 << 17)
def _natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """`dive_9` before `dive_10`."""
    parts = DIGITS.split(name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def _suspicion(row: ClipRow) -> float | None:
    return row.suspicion


def _score(row: ClipRow) -> float | None:
    value = row.score if row.score is not None else row.label
    return None if value is None or not math.isfinite(value) else float(value)


def _unknown_last(value: float | None, sign: int, row: ClipRow) -> tuple[int, float]:
    """Known figures first; then what went wrong before what is merely not made yet."""
    if value is not None:
        return 0, sign * value
    return {"quarantined": 1, "missing": 2}.get(row.state, 3), 0.0


def row_json(row: ClipRow, thumb: str | None, page: str) -> dict[str, object]:
    """A row as the API returns it."""
    wrong, missing = row.problem, row.missing
    return {
        "dataset": row.dataset,
        "clip": row.clip,
        "split": row.split,
        "action": row.action,
        "score": row.score if row.score is None or math.isfinite(row.score) else None,
        "label": row.label,
        "bad": row.bad,
        "athletes": row.athletes,
        "stages": dict(row.stages),
        "state": row.state,
        "problem": None if wrong is None else {"stage": wrong.stage, "reason": wrong.reason, "remedy": wrong.remedy},
        "missing": None if missing is None else {"stage": missing[0], "why": missing[1]},
        "suspicion": row.suspicion,
        "reasons": list(row.reasons),
        "thumb": thumb,
        "page": page,
    }

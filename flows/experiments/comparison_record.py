"""What `tubeflow compare --json` prints, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from flows.experiments.interval_compare import IntervalsRow
from flows.experiments.step_compare import StepsRow
from models.metrics.comparison import Interval, PairedTest


class IntervalRecord(TypedDict):
    """A figure with its bootstrap interval, see `Interval`; None where it has no value."""

    value: float | None
    low: float | None
    high: float | None
    undefined: int
    level: float


class PairedTestRecord(TypedDict):
    """A paired test, see `PairedTest`: its p-value, also corrected for its family, or why it can't be made."""

    p: float | None
    reason: str | None
    over: str
    corrected: float | None


class ContenderRecord(TypedDict):
    """One row of a comparison: per seed the runs that it stands for."""

    label: str
    seeds: list[list[str]]


class MetricRow(TypedDict):
    """One contender's figures of one metric, by action and over `all`; against the baseline where it isn't that.

    `ensemble` has those of the mean of all its seeds' predictions, where there are several.
    """

    contender: str
    figures: dict[str, IntervalRecord]
    ensemble: NotRequired[dict[str, IntervalRecord]]
    differences: NotRequired[dict[str, IntervalRecord]]
    permutation_test: NotRequired[PairedTestRecord]
    wilcoxon_test: NotRequired[PairedTestRecord]


class UndefinedRow(TypedDict):
    """Why a figure has no value."""

    contender: str
    action: str
    metric: str
    reason: str


class PublishedFigure(TypedDict):
    """One figure that a paper prints."""

    method: str
    metric: str
    action: str
    value: float
    table: str
    source: str


class Correction(TypedDict):
    """What p-values are corrected by, and for how many comparisons with the baseline, each metric by itself."""

    method: str
    comparisons: int


class PaperRow(TypedDict):
    """One printed row of the paper: its name, and a number a column, in the paper's units."""

    name: str
    values: list[float | None]


class OurRow(PaperRow):
    """What a contender has to say in the same columns, and what the paper would call its network."""

    contender: str
    network: str


class PaperTableRecord(TypedDict):
    """A table of the paper with ours beside."""

    table: str
    caption: str
    columns: list[str]
    printed: list[PaperRow]
    ours: list[OurRow]


class TubesRow(TypedDict):
    """Two contenders' tubes: overlap, positions selected, and where the truth is known, IoU with it."""

    baseline: str
    contender: str
    trackers: list[str]
    clips: int
    iou: IntervalRecord
    size: list[float]
    size_difference: IntervalRecord
    truth_iou: NotRequired[list[float]]
    truth_iou_difference: NotRequired[IntervalRecord]


class ComparisonRecord(TypedDict):
    """The whole comparison.

    `metrics` by metric, a row a contender; `undefined` says why a figure has no value; `paper` has the paper's tables
    on such a dataset; `missing` are published figures that this program doesn't know; `tubes` is where trackers or
    masks differ; `intervals` of those that made some, `steps` of those that learnt them.
    """

    dataset: str
    weights: str
    split: str
    clips: dict[str, int]
    contenders: list[ContenderRecord]
    metrics: dict[str, list[MetricRow]]
    correction: Correction
    undefined: list[UndefinedRow]
    published: list[PublishedFigure]
    paper: list[PaperTableRecord]
    missing: Mapping[str, tuple[str, ...]]
    tubes: list[TubesRow]
    intervals: list[IntervalsRow]
    steps: list[StepsRow]
    notes: list[str]


def interval_record(interval: Interval) -> IntervalRecord:
    """A figure as JSON holds it."""
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "undefined": interval.undefined,
        "level": interval.level,
    }


def paired_test_record(test: PairedTest) -> PairedTestRecord:
    """A test as JSON holds it."""
    return {"p": test.p, "reason": test.reason, "over": test.over, "corrected": test.corrected}

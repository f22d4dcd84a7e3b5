"""What the methods of `tubeflow.Workspace` return: small records of tables, shown as HTML by a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flows.api.html_tables import sentences_html, table_html

if TYPE_CHECKING:
    import pandas as pd

    from flows.datasets.dataset_records import IngestRecord
    from flows.experiments.comparison_record import ComparisonRecord, IntervalRecord
    from flows.inference.predict_videos import VideoScores
    from flows.maintenance.run_plan import RunPlan
    from flows.runs.summary import RunSummary


def _frame(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """A table with these columns, also where it has no rows."""
    import pandas as pd  # half a second, which a plan's sentences don't need

    return pd.DataFrame.from_records([[row[name] for name in columns] for row in rows], columns=list(columns))


@dataclass(frozen=True, eq=False)
class IngestResult:
    """A dataset as it was ingested.

    Attributes:
        dataset: its name in the workspace.
        clips: how many there are.
        rejected: rows of the label file that were left out: clip_id, file, line (from 1), reason, remedy.
        remarks: everything that is to be said of the dataset, one sentence each.
    """

    dataset: str
    clips: int
    rejected: pd.DataFrame = field(repr=False)
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, record: IngestRecord) -> IngestResult:
        """The record that `tubeflow ingest` prints."""
        rows = _frame(("clip_id", "file", "line", "reason", "remedy"), map(asdict, record.rejected))
        return cls(record.dataset, record.clips, rows, record.remarks)

    def _repr_html_(self) -> str:
        said = f"Dataset '{self.dataset}': {self.clips} clips, {len(self.rejected)} rows left out."
        return sentences_html([*self.remarks, said])


@dataclass(frozen=True, eq=False)
class PlanResult:
    """What a run would do.

    Attributes:
        dataset: the dataset.
        stages: a row a stage: stage, clips, hits (done already), to_do, quarantined, why.
        remarks: what else there is to say, one sentence each; first how long it takes.
        seconds: of wall time that what is missing takes; None where some of it was never run with these settings.
        bytes: that it takes on the disk; None likewise.
    """

    dataset: str
    stages: pd.DataFrame = field(repr=False)
    remarks: tuple[str, ...]
    seconds: float | None
    bytes: int | None

    @classmethod
    def of(cls, dataset: str, planned: RunPlan) -> PlanResult:
        """The plan that `tubeflow plan` prints."""
        columns = ("stage", "clips", "hits", "to_do", "quarantined", "why")
        rows = [
            dict(zip(columns, (name, len(plan.jobs), len(plan.hits), len(plan.reasons), len(plan.quarantined),
                               "; ".join(plan.summary())), strict=True))
            for name, plan in planned.stages.items()
        ]  # fmt: skip
        cost = planned.estimate
        return cls(dataset, _frame(columns, rows), tuple(planned.remarks()), cost.seconds, cost.bytes)

    def _repr_html_(self) -> str:
        return table_html(self.stages) + sentences_html(self.remarks)


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run did.

    Attributes:
        run_id: its name, by which `predict` and `compare` find it.
        dataset: the dataset.
        stages: a row a stage: stage, clips, computed, cached, quarantined, seconds (of work, all workers together).
        metrics: a row a figure: weights (last or best epoch), split, action (or all), metric, value (NaN where it is
            undefined), undefined (why).
        quarantined: clips without a result: clip_id, stage, reason, remedy.
        suspicious: tubes to be looked at, the worst first: clip_id, suspicion from 0 to 1, why.
        notes: what else there is to say, one sentence each.
        seconds: of wall time.
        report: the page of the run, in the workspace; None where nothing was evaluated.
    """

    run_id: str
    dataset: str
    stages: pd.DataFrame = field(repr=False)
    metrics: pd.DataFrame = field(repr=False)
    quarantined: pd.DataFrame = field(repr=False)
    suspicious: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...]
    seconds: float
    report: Path | None

    @classmethod
    def of(cls, summary: RunSummary) -> RunResult:
        """The summary that `tubeflow run` prints."""
        stages = [
            {"stage": name, "clips": count.clips, "computed": count.computed, "cached": count.hits,
             "quarantined": count.quarantined, "seconds": round(count.seconds, 3)}
            for name, count in summary.stages.items()
        ]  # fmt: skip
        failures = [asdict(row) for row in summary.failures]
        suspicious = [
            {"clip_id": row.clip_id, "suspicion": row.suspicion, "why": " ".join(row.reasons)}
            for row in summary.suspicious
        ]
        return cls(
            run_id=summary.run_id,
            dataset=summary.dataset,
            stages=_frame(("stage", "clips", "computed", "cached", "quarantined", "seconds"), stages),
            metrics=_frame(METRIC_COLUMNS, _metric_rows(summary)),
            quarantined=_frame(("clip_id", "stage", "reason", "remedy"), failures),
            suspicious=_frame(("clip_id", "suspicion", "why"), suspicious),
            notes=tuple(summary.notes),
            seconds=summary.seconds,
            report=None if summary.report is None else Path(summary.report),
        )

    def _repr_html_(self) -> str:
        parts = [table_html(self.stages, f"Run {self.run_id} on dataset {self.dataset}, {self.seconds:.1f} s")]
        if len(self.metrics):
            overall = self.metrics[self.metrics["action"] == "all"]
            parts.append(table_html(overall.drop(columns="action"), "Metrics over all actions"))
        for title, rows in (("Without a result", self.quarantined), ("To be looked at", self.suspicious)):
            parts += [table_html(rows, title)] if len(rows) else []
        return "".join(parts) + sentences_html(self.notes)


METRIC_COLUMNS = ("weights", "split", "action", "metric", "value", "undefined")


def _metric_rows(summary: RunSummary) -> Iterable[dict[str, object]]:
    for weights, splits in summary.metrics.items():
        for split, actions in splits.items():
            for action, figures in actions.items():
                for name, value in figures.items():
                    known = not isinstance(value, str)
                    found = (weights, split, action, name, value if known else float("nan"), "" if known else value)
                    yield dict(zip(METRIC_COLUMNS, found, strict=True))


@dataclass(frozen=True, eq=False)
class PredictResult:
    """What a run says of new videos.

    Attributes:
        run_id: the run whose weights scored them.
        weights: its `last` or `best` epoch.
        scores: a row a video: clip_id, video, score (points, or the probability of label 1), empty_segments (where the
            tube selects nothing), overlay (the video with its tube; empty for features), distance (from the clips that
            the network was trained on; None where that can't be told), unlike (whether it is above `unlike_above`), and
            segment_0 … of each segment by itself.
        failures: videos without a score: clip_id, stage, reason, remedy.
        unlike_above: the distance that 95 % of clips like the training's stay within; None where that can't be told.
        notes: a sentence for each video that is unlike them, or one why that can't be told.
    """

    run_id: str
    weights: str
    scores: pd.DataFrame = field(repr=False)
    failures: pd.DataFrame = field(repr=False)
    unlike_above: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: VideoScores) -> PredictResult:
        """The scores that `tubeflow predict` prints."""
        first = ("clip_id", "video", "score", "empty_segments", "overlay", "distance", "unlike")
        scores = _frame(first, map(asdict, found.videos))
        segments = [{f"segment_{n}": value for n, value in enumerate(one.segments)} for one in found.videos]
        names = list(dict.fromkeys(name for one in segments for name in one))
        more = _frame(names, [dict.fromkeys(names, float("nan")) | one for one in segments])
        failures = _frame(("clip_id", "stage", "reason", "remedy"), map(asdict, found.failures))
        bound = None if found.novelty is None else found.novelty.bound
        return cls(found.run_id, found.weights, scores.join(more), failures, bound, tuple(found.notes))

    def _repr_html_(self) -> str:
        shown = self.scores.drop(columns=["video", "overlay"])
        parts = [table_html(shown, f"Scores by the {self.weights} epoch of run {self.run_id}")]
        parts += [table_html(self.failures, "Without a score")] if len(self.failures) else []
        return "".join(parts) + sentences_html(self.notes)


FIGURE_COLUMNS = ("metric", "contender", "action", "value", "low", "high")
DIFFERENCE_COLUMNS = ("difference", "difference_low", "difference_high", "p")


@dataclass(frozen=True, eq=False)
class CompareResult:
    """Runs beside each other.

    Attributes:
        dataset: the dataset that all of them predict.
        figures: a row a metric, contender and action (`all` over all): metric, contender, action, value, low, high
            (95 % bootstrap interval), and against the first contender difference, difference_low, difference_high and
            p (permutation test, corrected by Holm's method; of `all` alone). NaN where there is none.
        notes: what else there is to say, one sentence each.
        record: the whole comparison, as `tubeflow compare --json` prints it.
    """

    dataset: str
    figures: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...]
    record: ComparisonRecord = field(repr=False)

    @classmethod
    def of(cls, record: ComparisonRecord) -> CompareResult:
        """The comparison that `tubeflow compare` prints."""
        figures = _frame((*FIGURE_COLUMNS, *DIFFERENCE_COLUMNS), _figure_rows(record))
        return cls(record["dataset"], figures, tuple(record["notes"]), record)

    def _repr_html_(self) -> str:
        overall = self.figures[self.figures["action"] == "all"].drop(columns="action")
        split = f"{self.record['split']} split, {self.record['weights']} epoch"
        return table_html(overall, f"Dataset {self.dataset}, {split}") + sentences_html(self.notes)


def _figure_rows(record: ComparisonRecord) -> Iterable[dict[str, object]]:
    for metric, rows in record["metrics"].items():
        for row in rows:
            test = row.get("permutation_test")
            for action, interval in row["figures"].items():
                difference = _numbers(row["differences"][action] if "differences" in row else None)
                p = test["corrected"] if test is not None and action == "all" else None
                found = (metric, row["contender"], action, *_numbers(interval), *difference, _number(p))
                yield dict(zip((*FIGURE_COLUMNS, *DIFFERENCE_COLUMNS), found, strict=True))


def _numbers(interval: IntervalRecord | None) -> tuple[float, float, float]:
    if interval is None:
        return (float("nan"),) * 3
    return _number(interval["value"]), _number(interval["low"]), _number(interval["high"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value

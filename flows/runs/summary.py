"""What a run did: the table of stages, who was quarantined, metrics and where the report is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from data_catalog.tables.quarantine import QuarantineRow
from data_catalog.tables.tube_quality import TubeQuality
from tasks.assessment.truth_figures import TruthMeans
from tasks.engine.failures import Failure
from tasks.engine.run import ShardReport

Metrics = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float | str]]]]
"""weights (last, best) → split → action, or "all" → name → a number, or "undefined: …"."""


@dataclass
class StageCount:
    """One row of the run's table. `clips` = hits + computed + quarantined; a dataset stage counts as one."""

    clips: int = 0
    hits: int = 0
    computed: int = 0
    quarantined: int = 0
    seconds: float = 0.0


@dataclass
class RunSummary:
    """What a run did; `tubeflow run --json` prints it.

    `suspicious` are the tubes at or above `quality.suspicious`, the worst first; `judged` counts all
    that were judged, `worst` are the first few of them, suspicious or not.
    `truth` compares the tubes with the ground truth, where the dataset has one.
    `results_of` is the run that drew the report and wrote the predictions, where that was an earlier one
    (`results_digest` says what they follow from, `result_notes` are those of the notes that come with them).
    `busy` is the share of all processors' time that the run used, from 0 to 1; Prefect's own server isn't counted.
    """

    run_id: str
    dataset: str
    stages: dict[str, StageCount] = field(default_factory=dict)
    quarantined: list[QuarantineRow] = field(default_factory=list)
    troubles: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=dict)
    report: str | None = None
    contact_sheet: str | None = None
    seconds: float = 0.0
    busy: float = 0.0
    where: str | None = None
    clips: tuple[str, ...] = ()
    suspicious: list[TubeQuality] = field(default_factory=list)
    judged: int = 0
    worst: list[TubeQuality] = field(default_factory=list)
    truth: TruthMeans | None = None
    results_digest: str = ""
    results_of: str | None = None
    result_notes: list[str] = field(default_factory=list)

    def say_of_results(self, sentence: str) -> None:
        """Add a note about the metrics and predictions, as against one about what this run did."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            self.result_notes.append(sentence)

    @property
    def failures(self) -> list[QuarantineRow | Failure]:
        """Why clips have no result: quarantined, or in trouble that the next run may not meet."""
        return [*self.quarantined, *self.troubles]

    @property
    def failed(self) -> int:
        """Clips without a result."""
        return len({row.clip_id for row in self.failures})

    def as_json(self) -> dict[str, object]:
        """What `tubeflow run --json` prints."""
        return {
            "run_id": self.run_id,
            "stages": {name: asdict(count) for name, count in self.stages.items()},
            "metrics": self.metrics,
            "report": self.report,
            "contact_sheet": self.contact_sheet,
            "results_of": self.results_of,
            "quarantined": [
                {"clip_id": row.clip_id, "stage": row.stage, "reason": row.reason, "remedy": row.remedy}
                for row in self.failures
            ],
            "suspicious": [
                {"clip": row.clip_id, "suspicion": round(row.suspicion, 3), "reasons": row.reasons}
                for row in self.suspicious
            ],
            "tubes_against_truth": None if self.truth is None else asdict(self.truth),
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
            "busy": round(self.busy, 3),
        }

    def count(self, report: ShardReport) -> None:
        """Add what became of one shard."""
        count = self.stages.setdefault(report.stage, StageCount())
        failed = len(report.failed)
        count.clips += report.hits + len(report.made) + failed
        count.hits += report.hits
        count.computed += len(report.made)
        count.quarantined += failed
        count.seconds += report.seconds
        self.quarantined += report.quarantined
        self.troubles += report.troubles
        self.notes += report.notes

    def count_again(self, report: ShardReport) -> None:
        """Add what became of an artifact that was made again: a hit before, if its stage was counted at all."""
        count = self.stages.setdefault(report.stage, StageCount())
        again = min(count.hits, len(report.made))
        count.hits -= again
        count.clips += len(report.made) - again
        count.computed += len(report.made)
        count.seconds += report.seconds
        self.notes += report.notes

    @property
    def nothing_left(self) -> bool:
        """Whether some stage was asked for and not one clip came through it."""
        return any(count.clips and count.clips == count.quarantined for count in self.stages.values())

"""What a report says, as plain types: whoever renders a report fills this tree, the page decides nothing else.

A number that does not exist is None together with the reason, never NaN; constructors refuse non-finite numbers where
a headline or a table would show them. Every part that is None (or an empty tuple) is left out of the page.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flows.runs.clip_steps import ClipStep


@dataclass(frozen=True)
class MetricValue:
    """One figure, or why there is none.

    Attributes:
        value: The figure; None where it is undefined.
        undefined: One plain sentence where `value` is None, for example "all true scores are equal".
        epoch: Epoch that it belongs to, counted from 1; None where it does not matter.
        interval: Lower and upper end of the 95 % confidence interval, or None.
    """

    value: float | None
    undefined: str | None = None
    epoch: int | None = None
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse a figure that is no number, and a missing one without its reason."""
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a report shows no {self.value}; give value=None and say why in 'undefined'")
        if self.value is None and not self.undefined:
            raise ValueError("a metric without a value needs its reason in 'undefined'")
        if self.interval is not None and not all(math.isfinite(end) for end in self.interval):
            raise ValueError("a confidence interval needs two finite ends; leave it None")


@dataclass(frozen=True)
class MetricLine:
    """One headline metric on the held-out split.

    Attributes:
        name: As it is printed, for example "Spearman".
        last: At the last epoch.
        best: At the best epoch (`ReportData.chosen_on` says by what); None where no epochs exist (a prediction run).
        higher_is_better: Said beside the name.
        explanation: One short clause on what it measures.
    """

    name: str
    last: MetricValue
    best: MetricValue | None = None
    higher_is_better: bool = True
    explanation: str = ""


@dataclass(frozen=True)
class StageRow:
    """What one stage did in this run: counts of clips, and wall-clock seconds."""

    stage: str
    clips: int
    computed: int
    cached: int
    quarantined: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted against true scores of the held-out split.

    Attributes:
        clip_ids: n names.
        true: (n,) float; non-finite where a clip has no label (it is left out of the plot and counted in the caption).
        predicted: (n,) float in the units of `true`.
        split: Name of the split, for example "test".
        show_worst: How many of the clips with the largest error are named.
    """

    clip_ids: tuple[str, ...]
    true: NDArray[np.floating]
    predicted: NDArray[np.floating]
    split: str = "test"
    show_worst: int = 8

    def __post_init__(self) -> None:
        """Check that the three have one length."""
        n = (len(self.clip_ids),)
        if self.true.shape != n or self.predicted.shape != n:
            raise ValueError(
                f"{n[0]} clips, but scores of shape {self.true.shape} and {self.predicted.shape}"
            )

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) bool: both scores are finite."""
        both: NDArray[np.bool_] = np.isfinite(self.true) & np.isfinite(self.predicted)
        return both

    def worst(self) -> list[int]:
        """Indices of the usable clips with the largest absolute error, largest first."""
        error = np.where(self.usable, np.abs(self.predicted - self.true), -1.0)
        order = np.argsort(-error, kind="stable")[: self.show_worst]
        return [int(i) for i in order if error[i] >= 0]


@dataclass(frozen=True)
class IntervalRow:
    """How often the intervals of one coverage hold.

    Attributes:
        level: What they were made for, in percent.
        clips: Of how many.
        inside: The scores of so many of them lie within.
        bounds: 95 % confidence interval of that share, in [0, 1].
        width: Their mean width in points.
    """

    level: int
    clips: int
    inside: int
    bounds: tuple[float, float]
    width: float


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of predicted scores on clips that neither trained nor made them.

    Attributes:
        method: How they were made.
        made_from: Number of validation clips whose errors they are made from.
        rows: One a coverage, the narrowest first.
        true, predicted: (n,) float points of the clips that are drawn.
        ends: Coverage in percent → (n, 2) float.
    """

    method: str
    made_from: int
    rows: tuple[IntervalRow, ...]
    true: NDArray[np.floating]
    predicted: NDArray[np.floating]
    ends: Mapping[int, NDArray[np.floating]]

    def __post_init__(self) -> None:
        """Check that every clip has its ends."""
        n = len(self.true)
        if len(self.predicted) != n or any(pairs.shape != (n, 2) for pairs in self.ends.values()):
            raise ValueError(f"{n} clips, but other numbers of scores or ends")


@dataclass(frozen=True)
class Misjudged:
    """A clip and the probability, in [0, 1], that the network assigns to the other one of two classes."""

    clip_id: str
    true: str
    error: float


@dataclass(frozen=True)
class Confusion:
    """Counts of a classification.

    Attributes:
        classes: Their names.
        counts: `counts[i][j]` clips of class i were predicted as class j.
        split: Name of the split, for example "test".
        worst: The clips that are judged worst, the worst one first.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    split: str = "test"
    worst: tuple[Misjudged, ...] = ()


@dataclass(frozen=True)
class Curve:
    """One line of the learning curves.

    Attributes:
        panel: Lines with the same panel share axes; it is the y label, for example "loss" or "Spearman".
        name: In the legend, for example "train".
        epochs: Epochs, counted from 1.
        values: One per epoch; None where it was not computed or is undefined (a gap in the line).
    """

    panel: str
    name: str
    epochs: tuple[int, ...]
    values: tuple[float | None, ...]

    def __post_init__(self) -> None:
        """Check that every epoch has its value or None."""
        if len(self.epochs) != len(self.values):
            raise ValueError(
                f"curve '{self.name}' has {len(self.epochs)} epochs, but {len(self.values)} values"
            )


@dataclass(frozen=True)
class Picture:
    """A picture as the bytes of a PNG or JPEG file.

    Attributes:
        content: The file.
        alt: What it shows, for those who don't see it.
        caption: Printed below.
    """

    content: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class SegmentScores:
    """The score that each segment of one clip contributes (the paper's Figure 7).

    Attributes:
        clip_id: The clip.
        starts: First frame of each of N segments.
        segment_length: Frames in a segment.
        scores: N figures in the units of `measure`.
        true: The clip's label, or None.
        predicted: The clip's prediction, or None.
        strip: Middle frames of the segments side by side (`sheet.segment_strip`), or None.
        measure: What the figures are, on the axis.
        steps: The steps that the clip is labelled with, in order of time.
    """

    clip_id: str
    starts: tuple[int, ...]
    segment_length: int
    scores: tuple[float, ...]
    true: float | None = None
    predicted: float | None = None
    strip: Picture | None = None
    measure: str = "score"
    steps: tuple[ClipStep, ...] = ()

    def __post_init__(self) -> None:
        """Check that every segment has a finite score."""
        if len(self.starts) != len(self.scores) or not self.scores:
            raise ValueError(
                f"clip '{self.clip_id}': {len(self.starts)} segments, but {len(self.scores)} scores"
            )
        if not all(math.isfinite(score) for score in self.scores):
            raise ValueError(f"clip '{self.clip_id}': a segment's score is not finite; leave the section out")


@dataclass(frozen=True)
class StepRow:
    """One kind of step over the held-out clips that have it.

    Attributes:
        name: What kind of step it is.
        clips: How many clips have it.
        score: Mean score of these steps; None where no segment reaches into any.
        difference: Mean of step's score less what is predicted of its clip; None as `score`.
        named: Where steps were learnt: frames of it, and how many the segments name right.
    """

    name: str
    clips: int
    score: float | None
    difference: float | None
    named: tuple[int, int] | None = None


@dataclass(frozen=True)
class TubeQualityRow:
    """Tubes against ground truth.

    Attributes:
        group: What the row is about: "all clips", a tracker, an action, a clip.
        clips: How many clips.
        grid_iou: Mean overlap of the cells that tube and truth select, over frames with a true cell; None: none.
        mean_iou: Mean overlap of quads with the truth over frames where the athlete is visible; None: no such frame.
        success_half: Share of these frames with an overlap of at least 0.5, in [0, 1].
        lost_share: Share of all frames that the tracker calls lost, in [0, 1]; None where it says nothing.
        empty_segments: Segments whose tube selects no cell.
    """

    group: str
    clips: int
    grid_iou: float | None
    mean_iou: float | None
    success_half: float | None
    lost_share: float | None
    empty_segments: int


@dataclass(frozen=True, eq=False)
class TubeOverlaps:
    """Tubes of n clips against ground truth, to be drawn.

    Attributes:
        clip_ids: n names.
        grid: (n,) float64, overlap of selected cells.
        rotated: (n,) float64, overlap of quads.
    """

    clip_ids: tuple[str, ...]
    grid: NDArray[np.float64]
    rotated: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check that the three have one length and all overlaps are numbers."""
        n = (len(self.clip_ids),)
        if self.grid.shape != n or self.rotated.shape != n:
            raise ValueError(f"{n[0]} clips, but overlaps of shape {self.grid.shape} and {self.rotated.shape}")
        if not (np.isfinite(self.grid).all() and np.isfinite(self.rotated).all()):
            raise ValueError("an overlap is not finite; leave that clip out")


@dataclass(frozen=True)
class CostRow:
    """Cost of one model for one clip.

    Attributes:
        name: For example "TSA ×1" or "non-local ×1".
        attention_macs: Multiply-accumulates of its attention blocks; 0 for a plain network.
        total_macs: Of the whole network, or None where not counted.
        parameters: Count, or None.
    """

    name: str
    attention_macs: float
    total_macs: float | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class CostTable:
    """Costs, and which row the reduction is measured against (by its name; None: no such column)."""

    rows: tuple[CostRow, ...]
    baseline: str | None = None

    def reduction(self, row: CostRow) -> float | None:
        """Share of the baseline's attention MACs that this row saves, or None for the baseline itself."""
        found = [other for other in self.rows if other.name == self.baseline]
        if not found or row.name == self.baseline or found[0].attention_macs <= 0:
            return None
        return 1.0 - row.attention_macs / found[0].attention_macs


@dataclass(frozen=True)
class LineageRow:
    """One artifact, or one digest over the artifacts of a stage, that the figures stand on.

    Attributes:
        stage: Stage name.
        version: The stage's version number.
        subject: What the key names: a clip_id, "pack of 60 clips", a file name.
        key: Hex digest.
    """

    stage: str
    version: int
    subject: str
    key: str


@dataclass(frozen=True)
class SetAsideRow:
    """A clip that was set aside: where, why in one plain sentence, and what to do."""

    clip_id: str
    stage: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class SuspiciousTube:
    """A tube to be looked at: how suspicious it is, from 0 to 1, and why, in plain sentences."""

    clip_id: str
    suspicion: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that `render_report` prints.

    Attributes:
        title: For example "Procedural diving, small I3D with TSA".
        run_id: Name of the run.
        dataset: Name of the dataset.
        created: When the run ended, as text with its time zone.
        facts: Short labelled facts below the title, for example {"model": "i3d_small + TSA", "train clips": "45"}.
        procedural: The data were generated by a program: a banner says so.
        remarks: What a reader has to know of the data before the figures, one sentence each.
        metrics: Headline metrics.
        chosen_on: Split whose metric chose the best epoch, or None where no epochs were compared.
        stages: One row a stage, in the order of the pipeline.
        predictions: Scatter and worst clips, for scores.
        intervals: How far scores may be off.
        confusion: For classes.
        curves: Learning curves.
        segment_scores: Per-segment score over time of some clips, of which the reader chooses; the first one is open.
        steps: The kinds of steps that held-out clips are labelled with.
        steps_named: Where steps were learnt: frames of held-out clips that lie in one, and how many are named right.
        tubes: The run's contact sheet (`sheet.dataset_sheet`).
        clip_sheets: clip_id → contact sheet; clips named in tables link to theirs.
        tube_quality: Against ground truth, where there is some: all tubes, then the worst clips.
        tube_overlaps: The same of every clip, drawn.
        tube_truth: What the truth's cells are made from, for example "rotated boxes".
        cost: MACs.
        settings: The run's configuration as YAML text.
        lineage: Keys.
        versions: Library → version.
        quarantined: Clips that were set aside.
        suspicious: Tubes to look at, the worst first; the page may show only the first of them.
        suspicious_of: How many tubes are suspicious, of how many that were judged.
        command: The command that made this run.
    """

    title: str
    run_id: str
    dataset: str
    created: str
    facts: Mapping[str, str] = field(default_factory=dict)
    procedural: bool = False
    remarks: tuple[str, ...] = ()
    metrics: tuple[MetricLine, ...] = ()
    chosen_on: str | None = None
    stages: tuple[StageRow, ...] = ()
    predictions: Predictions | None = None
    intervals: Intervals | None = None
    confusion: Confusion | None = None
    curves: tuple[Curve, ...] = ()
    segment_scores: tuple[SegmentScores, ...] = ()
    steps: tuple[StepRow, ...] = ()
    steps_named: tuple[int, int] | None = None
    tubes: Picture | None = None
    clip_sheets: Mapping[str, Picture] = field(default_factory=dict)
    tube_quality: tuple[TubeQualityRow, ...] = ()
    tube_overlaps: TubeOverlaps | None = None
    tube_truth: str = "rotated boxes"
    cost: CostTable | None = None
    settings: str | None = None
    lineage: tuple[LineageRow, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    quarantined: tuple[SetAsideRow, ...] = ()
    suspicious: tuple[SuspiciousTube, ...] = ()
    suspicious_of: tuple[int, int] = (0, 0)
    command: str | None = None

"""The run's report: what the evaluation, the training and the tubes say, as pictures and one HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from data_catalog.catalog import Workspace
from data_catalog.datasets import fr_fs
from data_catalog.json_file import write_json
from data_catalog.store import Artifact
from flows.datasets.shared_content import known_remark
from flows.draw.sheet import contact_sheet, dataset_sheet, segment_strip
from flows.report import data as page
from flows.report.attention_cost import backbone_macs, cost_rows, mask_positions
from flows.report.facts import ReportFacts
from flows.report.page import load_picture, render_report
from flows.report.report_steps import Steps, frames_named, scored_steps, step_rows, write_step_scores
from flows.runs.attention_form import attention_form
from flows.runs.clip_tube import ClipTube, read_clip
from flows.runs.command_line import command_line
from flows.runs.intervals import metric_intervals
from flows.runs.results import METRICS_FILE, calibrations, predictions_frame, write_predictions
from flows.runs.summary import Metrics, RunSummary
from models.metrics.scores import spearman
from tasks.assessment.truth_figures import TruthFigures, means
from tasks.engine.plan import StagePlan
from tasks.engine.run import library_versions
from tasks.evaluate import held, interval_ends
from tasks.training.config import EpochRow

SHEET_CLIPS = 6
WORST_SHEETS = 6
WORST_TUBES = 5
SUSPICIOUS_ROWS = 20
HELD_OUT = ("test", "validation")
CLASSES = {"fr_fs": fr_fs.CLASSES}
NAMES = {
    "spearman": ("Spearman ρ", True, "rank correlation of predicted and true scores"),
    "kendall": ("Kendall τ", True, "share of concordant pairs less that of discordant ones"),
    "r_l2": ("R-ℓ2 (×100)", False, "squared error relative to the range of true scores"),
    "mse": ("MSE", False, "mean squared error in score points"),
    "step_accuracy": ("Steps named", True, "share of frames in a step of which the segments name the right kind"),
    "accuracy": ("Accuracy", True, "share of clips classified right at threshold 0.5"),
    "f1": ("F1", True, "harmonic mean of precision and recall"),
    "auc": ("AUC", True, "chance that a positive clip scores above a negative one"),
}

def write_results(
    folder: Path, workspace: Workspace, summary: RunSummary, plans: Mapping[str, StagePlan]
) -> None:
    """Write predictions.parquet and metrics.json, and enter the metrics in the summary.

    Raises:
        ArtifactDamaged, FileNotFoundError: an artifact can't be read; nothing was entered.
    """
    evaluation, training = _evaluation_of(workspace, plans)
    metrics: Metrics = json.loads(str(evaluation.arrays["metrics"]))
    write_predictions(folder, evaluation)
    write_json(folder / METRICS_FILE, metrics)
    summary.metrics = metrics
    history = training_history(training)
    if chosen_on(history, ReportFacts.of(plans).chosen_by) == "validation":
        best = int(training.attrs["best_epoch"]) + 1
        summary.say_of_results(f"The best epoch, {best} of {len(history)}, was chosen by the validation clips.")
    shared = known_remark(workspace, summary.dataset)
    if shared:
        summary.say_of_results(shared)


def _evaluation_of(workspace: Workspace, plans: Mapping[str, StagePlan]) -> tuple[Artifact, Artifact]:
    """The evaluation, and the history of the training that it stands on."""
    job = plans["evaluate"].jobs[""]
    evaluation = workspace.store.read("evaluate", job.key)
    return evaluation, workspace.store.read("train", job.parents["train"], ["history"])


def write_report(
    folder: Path,
    workspace: Workspace,
    summary: RunSummary,
    plans: Mapping[str, StagePlan],
    truth: Mapping[str, TruthFigures],
    settings: str,
) -> None:
    """Write the contact sheets and report.html, and enter them in the summary.

    Args:
        folder: the run's.
        workspace: the workspace.
        summary: what the run did, its metrics among it; receives where the files are.
        plans: of all stages.
        truth: clip → its tubes against the ground truth, empty where the dataset has none.
        settings: the run's config as YAML.

    Raises:
        ArtifactDamaged, FileNotFoundError: an artifact that it draws can't be read.
    """
    evaluation, training = _evaluation_of(workspace, plans)
    facts, predictions = ReportFacts.of(plans), predictions_frame(evaluation)
    tubes = chosen_tubes(workspace, summary.dataset, plans, predictions)
    sheet = None
    if tubes:
        title = f"{summary.dataset}: tubes of tracker '{facts.tracker}'"
        sheet = dataset_sheet([tube.view for tube in tubes.values()], folder / "contact_sheet.png", title=title)
        summary.contact_sheet = str(sheet)
    steps, odd = scored_steps(workspace, summary.dataset, plans, facts, predictions)
    if odd:
        summary.say_of_results(odd)
    write_step_scores(folder, steps, predictions)
    data = build_report(folder, workspace, summary, facts, plans, evaluation, training, tubes, sheet, truth, steps)
    summary.report = str(render_report(folder / "report.html", replace(data, settings=settings)))


def remarks(workspace: Workspace, dataset: str, shown: pd.DataFrame) -> tuple[str, ...]:
    """What a reader has to know of the data before the figures; `shown`: the predictions of the held-out clips."""
    found = []
    if not len(shown):
        found.append(
            "No clip is held out, so there is no figure of clips that the training has not seen; give some clips the "
            "split test in the label file, or one after the other: tubeflow labels set CLIP split=test."
        )
    shared = known_remark(workspace, dataset)
    return (*found, shared) if shared else tuple(found)


def training_history(training: Artifact) -> list[EpochRow]:
    """One row an epoch."""
    return [json.loads(row) for row in training.arrays["history"]]


def chosen_on(history: Sequence[EpochRow], split: str) -> str | None:
    """The split, where its metric chose the best epoch; None where there was nothing to choose by."""
    return split if any(name.startswith(f"{split}/") for name in history[-1]) else None


def shown_predictions(predictions: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The split that the page shows, and the last epoch's predictions of its clips."""
    split = next((name for name in HELD_OUT if name in set(predictions["split"])), HELD_OUT[0])
    return split, predictions[(predictions["weights"] == "last") & (predictions["split"] == split)]


def chosen_tubes(
    workspace: Workspace,
    dataset: str,
    plans: Mapping[str, StagePlan],
    predictions: pd.DataFrame,
) -> dict[str, ClipTube]:
    """A few held-out clips with their tubes: the worst predicted first, then in order; none of features alone."""
    if "masks" not in plans:
        return {}
    _, shown = shown_predictions(predictions)
    error = (shown["predicted"] - shown["true"]).abs().sort_values(ascending=False, kind="stable")
    worst = list(shown.loc[error.index, "clip_id"])
    order = worst[:WORST_SHEETS] + [clip for clip in plans["masks"].jobs if clip not in worst[:WORST_SHEETS]]
    ready = [
        clip
        for clip in order
        if clip in plans["masks"].jobs and workspace.store.exists("masks", plans["masks"].jobs[clip].key)
    ]
    return {clip: read_clip(workspace, dataset, clip, plans) for clip in ready[:SHEET_CLIPS]}


def build_report(
    folder: Path,
    workspace: Workspace,
    summary: RunSummary,
    facts: ReportFacts,
    plans: Mapping[str, StagePlan],
    evaluation: Artifact,
    training: Artifact,
    tubes: Mapping[str, ClipTube],
    sheet: Path | None,
    truth: Mapping[str, TruthFigures],
    steps: Steps,
) -> page.ReportData:
    """Fill the page's tree."""
    info = workspace.datasets.info(summary.dataset)
    predictions = predictions_frame(evaluation)
    split, shown = shown_predictions(predictions)
    history = training_history(training)
    epochs = len(history), int(training.attrs["best_epoch"]) + 1
    scatter = None
    if len(shown) and not facts.classifies:
        scatter = page.Predictions(
            tuple(shown["clip_id"]), shown["true"].to_numpy(float), shown["predicted"].to_numpy(float), split,
            WORST_SHEETS,
        )
    picture = None if sheet is None else load_picture(sheet, "Tubes of some clips, one row a clip")
    return page.ReportData(
        title=facts.title(summary.dataset),
        run_id=summary.run_id,
        dataset=summary.dataset,
        created=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        facts={
            "model": facts.network,
            **({"frozen": facts.frozen} if facts.frozen else {}),
            **({"read from": f"features, {facts.features}"} if facts.features != "none" else {}),
            **({"tracker": facts.tracker} if facts.tracker else {}),
            "parameters": f"{int(training.attrs['parameters']):,}",
            "held-out clips": str(len(shown)),
            **(difficulty_alone(workspace, summary.dataset, shown) if facts.multiplied and len(shown) else {}),
        },
        procedural=info.procedural,
        remarks=remarks(workspace, summary.dataset, shown),
        metrics=metric_table(summary.metrics, predictions, split, epochs),
        chosen_on=chosen_on(history, facts.chosen_by),
        stages=tuple(
            page.StageRow(name, count.clips, count.computed, count.hits, count.quarantined, count.seconds)
            for name, count in summary.stages.items()
        ),
        predictions=scatter,
        intervals=score_intervals(evaluation, shown, split),
        confusion=confusion(shown, split, CLASSES.get(info.adapter)) if facts.classifies and len(shown) else None,
        curves=learning_curves(history),
        segment_scores=segment_scores(folder, shown, tubes, facts, steps),
        steps=step_rows(steps, shown),
        steps_named=frames_named(shown),
        tubes=picture,
        clip_sheets=clip_sheets(folder, tubes),
        tube_quality=tube_quality(facts.tracker or "", truth),
        tube_overlaps=tube_overlaps(truth),
        tube_truth=facts.truth,
        cost=cost_table(workspace, facts, plans, int(training.attrs["parameters"])),
        lineage=lineage_rows(plans),
        versions=library_versions(),
        quarantined=tuple(
            page.SetAsideRow(row.clip_id, row.stage, row.reason, row.remedy)
            for row in summary.failures
        ),
        suspicious=tuple(
            page.SuspiciousTube(row.clip_id, row.suspicion, tuple(row.reasons))
            for row in summary.suspicious[:SUSPICIOUS_ROWS]
        ),
        suspicious_of=(len(summary.suspicious), summary.judged),
        command=command_line(),
    )


def difficulty_alone(workspace: Workspace, dataset: str, shown: pd.DataFrame) -> dict[str, str]:
    """What the known difficulty by itself would reach, where predictions are multiplied with it."""
    known = {clip.clip_id: clip.difficulty for clip in workspace.datasets.clips(dataset)}
    factors = shown["clip_id"].map(known).to_numpy(float)
    alone = spearman(factors, shown["true"].to_numpy(float))
    return {"Spearman ρ of the difficulty alone": alone.undefined or f"{alone.value:.3f}"}


def score_intervals(evaluation: Artifact, shown: pd.DataFrame, split: str) -> page.Intervals | None:
    """How often the intervals of the shown clips hold; None without any, or where these clips made them."""
    calibration = calibrations(evaluation).get("last")
    if calibration is None or split == "validation":
        return None
    known = shown[np.isfinite(shown["true"])]
    rows = [page.IntervalRow(one.level, one.clips, one.inside, one.bounds, one.width) for one in held(known)]
    if not rows:
        return None
    drawn = {row.level: np.stack(interval_ends(known, row.level), axis=1) for row in rows}
    true, predicted = (known[name].to_numpy(float) for name in ("true", "predicted"))
    return page.Intervals(calibration.method, calibration.clips, tuple(rows), true, predicted, drawn)


def metric_table(
    metrics: Metrics, predictions: pd.DataFrame, split: str, epochs: tuple[int, int]
) -> tuple[page.MetricLine, ...]:
    """The overall metrics at the last and at the best epoch, side by side; `epochs`: these two, counted from 1."""
    last, best = (metrics.get(name, {}).get(split, {}).get("all", {}) for name in ("last", "best"))
    found = metric_intervals(predictions, split, last)
    rows = []
    for name, value in last.items():
        label, higher, explanation = NAMES.get(name, (name, True, ""))
        best_value = _value(best[name], epochs[1]) if name in best else None
        rows.append(page.MetricLine(label, _value(value, epochs[0], found.get(name)), best_value, higher, explanation))
    return tuple(rows)


def _value(value: float | str, epoch: int, interval: tuple[float, float] | None = None) -> page.MetricValue:
    if isinstance(value, str):
        return page.MetricValue(None, value.removeprefix("undefined: "), epoch)
    return page.MetricValue(float(value), None, epoch, interval)


def learning_curves(history: Sequence[Mapping[str, float | None]]) -> tuple[page.Curve, ...]:
    """One line for each column of the training's history, in panels by what is measured."""
    epochs = tuple(int(row["epoch"] or 0) + 1 for row in history)
    names = [name for name in (history[0] if history else {}) if name not in ("epoch", "lr")]
    curves = []
    for name in names:
        split, _, measure = name.partition("/")
        values = tuple(row.get(name) for row in history)
        if any(value is not None for value in values):
            curves.append(page.Curve(NAMES.get(measure, (measure,))[0], split, epochs, values))
    return tuple(curves)


def confusion(shown: pd.DataFrame, split: str, names: tuple[str, str] | None) -> page.Confusion:
    """Counts of true against predicted label at the metrics' threshold, and the clips that are judged worst.

    `names`: of the labels 0 and 1, where they have any.
    """
    known = shown[np.isfinite(shown["true"])]
    true, predicted = known["true"].astype(int), (known["predicted"] > 0.5).astype(int)
    counts = tuple(tuple(int(((true == i) & (predicted == j)).sum()) for j in (0, 1)) for i in (0, 1))
    classes = names or ("label 0", "label 1")
    error = (known["predicted"] - known["true"]).abs().sort_values(ascending=False, kind="stable")[:WORST_SHEETS]
    worst = [page.Misjudged(known.at[i, "clip_id"], classes[true.at[i]], float(error.at[i])) for i in error.index]
    return page.Confusion(classes, counts, split, tuple(worst))


def segment_scores(
    folder: Path, shown: pd.DataFrame, tubes: Mapping[str, ClipTube], facts: ReportFacts, steps: Steps
) -> tuple[page.SegmentScores, ...]:
    """Each segment's own score of the drawn clips that have a prediction, in their order (Figure 7 of the paper)."""
    starts, length = facts.starts, facts.segment_length
    measure = "probability of label 1" if facts.classifies else "score"
    found = []
    for clip, row in ((clip, shown[shown["clip_id"] == clip]) for clip in tubes):
        if not len(row):
            continue
        values = row.iloc[0]
        scores = tuple(float(values[f"segment_{n}"]) for n in range(len(starts)) if f"segment_{n}" in values)
        if len(scores) != len(starts) or not all(np.isfinite(scores)):
            continue
        path = folder / "clips" / f"{clip}.segments.png"
        strip = load_picture(
            segment_strip(tubes[clip].view, path, starts, segment_length=length),
            f"The middle frame of each segment of clip {clip}",
        )
        true = float(values["true"])
        known = true if np.isfinite(true) else None
        predicted, of_clip = float(values["predicted"]), steps.get(("last", clip), ())
        found.append(
            page.SegmentScores(clip, starts, length, scores, known, predicted, strip, measure, of_clip)
        )
    return tuple(found)


def clip_sheets(folder: Path, tubes: Mapping[str, ClipTube]) -> dict[str, page.Picture]:
    """A contact sheet of each of the clips that are predicted worst."""
    sheets = {}
    for clip, tube in list(tubes.items())[:WORST_SHEETS]:
        path = contact_sheet(tube.view, folder / "clips" / f"{clip}.png")
        poses = tube.view.poses
        caption = "" if poses is None else f"poses in {poses.sentence}"
        sheets[clip] = load_picture(path, f"Frames of clip {clip} with its tube", caption)
    return sheets


def tube_quality(tracker: str, truth: Mapping[str, TruthFigures]) -> tuple[page.TubeQualityRow, ...]:
    """All tubes against the ground truth, then the worst clips by the cells that they select."""
    if not truth:
        return ()
    worst = sorted(truth, key=lambda clip: (truth[clip].grid is None, truth[clip].grid or 0.0))[:WORST_TUBES]
    rows = [_quality_row(f"all, tracker {tracker}", list(truth.values()))]
    return (*rows, *(_quality_row(clip, [truth[clip]]) for clip in worst if len(truth) > 1))


def _quality_row(group: str, figures: Sequence[TruthFigures]) -> page.TubeQualityRow:
    found = means(figures)
    return page.TubeQualityRow(
        group=group,
        clips=found.clips,
        grid_iou=found.grid,
        mean_iou=found.rotated,
        success_half=found.half,
        lost_share=found.lost,
        empty_segments=found.empty_segments,
    )


def tube_overlaps(truth: Mapping[str, TruthFigures]) -> page.TubeOverlaps | None:
    """What of each clip is drawn: those that have both figures."""
    known = {
        clip: (one.grid, one.rotated) for clip, one in truth.items() if one.grid is not None and one.rotated is not None
    }
    if len(known) < 2:
        return None
    pairs = np.asarray(list(known.values()), np.float64)
    return page.TubeOverlaps(tuple(known), pairs[:, 0], pairs[:, 1])


def cost_table(
    workspace: Workspace, facts: ReportFacts, plans: Mapping[str, StagePlan], parameters: int
) -> page.CostTable | None:
    """MACs of g and W_z of all attention blocks on these tubes against dense ones, without and with the rest."""
    model = facts.model
    if model.attention in ("none", "nonlocal") or "masks" not in plans:
        return None
    form = attention_form(model, workspace.weights)
    positions = mask_positions(workspace, plans["masks"], form)
    if not positions:
        return None
    mean = cost_rows(positions, form)[-1]
    rest = backbone_macs(model, workspace.weights, len(facts.starts))
    dense, tube = mean.dense.published, mean.tube.published
    rows = (
        page.CostRow(f"Non-local ×{1 if form.control else form.blocks}", dense, rest + dense),
        page.CostRow(f"{form.control or 'tube'} ×{form.blocks}", tube, rest + tube, parameters),
    )
    return page.CostTable(rows, rows[0].name)


def lineage_rows(plans: Mapping[str, StagePlan]) -> tuple[page.LineageRow, ...]:
    """The artifacts that the figures stand on: the dataset stages' keys, and one clip's as an example."""
    rows = []
    for name, plan in plans.items():
        for clip_id, job in list(plan.jobs.items())[:1]:
            count = len(plan.jobs)
            subject = f"clip {clip_id} (first of {count})" if clip_id else f"dataset {job.dataset}"
            rows.append(page.LineageRow(name, plan.stage.version, subject, job.key))
    return tuple(rows)

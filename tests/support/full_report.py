"""A report that has everything a report can have, from numbers that were made up."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from flows.report.data import (
    Confusion,
    CostRow,
    CostTable,
    Curve,
    IntervalRow,
    Intervals,
    LineageRow,
    MetricLine,
    MetricValue,
    Misjudged,
    Picture,
    Predictions,
    ReportData,
    SegmentScores,
    SetAsideRow,
    StageRow,
    StepRow,
    TubeOverlaps,
    TubeQualityRow,
)
from flows.runs.clip_steps import ClipStep

STEPS = (
    ClipStep("take-off", 3, 40, (1, 11), (0, 1), 20.25),
    ClipStep("a flight of many words", 40, 90, (11, 26), (0, 1), 21.5),
    ClipStep("entry", 90, 91, None, ()),
)


def picture(colour: str = "navy") -> Picture:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), colour).save(buffer, "PNG")
    return Picture(buffer.getvalue(), f"a {colour} field", "A caption.")


def full_report(**changes: object) -> ReportData:
    epochs = (1, 2, 3)
    parts: dict[str, object] = {
        "title": "A run",
        "run_id": "run-1",
        "dataset": "tiny",
        "created": "2026-01-02 03:04 UTC",
        "facts": {"model": "i3d_small"},
        "procedural": True,
        "metrics": (
            MetricLine(
                "Spearman", MetricValue(0.7123, epoch=3, interval=(0.5, 0.8)), MetricValue(0.8456, epoch=2)
            ),
            MetricLine("Accuracy", MetricValue(None, "the clips have no classes")),
        ),
        "chosen_on": "test",
        "stages": (StageRow("normalize", 60, 59, 0, 1, 21.25), StageRow("train", 1, 1, 0, 0, 141.4)),
        "predictions": Predictions(
            ("a", "b", "c", "no label"), np.array([10, 20, 30, np.nan]), np.array([11.0, 25.5, 29.75, 12])
        ),
        "intervals": Intervals(
            "temperature", 20,
            (IntervalRow(50, 3, 1, (0.01, 0.91), 4.5), IntervalRow(80, 3, 2, (0.09, 0.99), 9.25)),
            np.array([10.0, 20.0, 30.0]), np.array([11.0, 25.5, 29.75]),
            {50: np.array([[9.0, 13.0], [23.0, 28.0], [27.5, 32.0]]), 80: np.array([[6.5, 15.5], [21, 30], [25, 34]])},
        ),
        "confusion": Confusion(
            ("fall", "landing"), ((3, 1), (0, 4)), worst=(Misjudged("b", "fall", 0.75), Misjudged("e", "landing", 0.25))
        ),
        "curves": (
            Curve("loss", "train", epochs, (1.0, 0.5, 0.25)),
            Curve("Spearman", "test", epochs, (None, float("nan"), 0.7)),
            Curve("MSE", "test", epochs, (None, None, None)),
        ),
        "segment_scores": (
            SegmentScores("b", (0, 10), 16, (20.0, 22.0), 20.0, 25.5, picture(), steps=STEPS),
            SegmentScores("a", (0,), 16, (9.0,)),
        ),
        "steps": (StepRow("take-off", 2, 20.25, -5.25), StepRow("a step <i>without</i> score", 1, None, None)),
        "tubes": picture("teal"),
        "clip_sheets": {"b": picture("maroon")},
        "tube_quality": (TubeQualityRow("all clips", 60, 0.613, 0.713, 0.934, None, 2),),
        "tube_overlaps": TubeOverlaps(("a", "b<i>"), np.array([0.9, 0.25]), np.array([0.8, 0.5])),
        "tube_truth": "pixel masks",
        "cost": CostTable((CostRow("non-local", 2.2e9, 4e9, 1_400_000), CostRow("TSA", 1.32e8)), "non-local"),
        "settings": "masks:\n  tau: 0.5\n",
        "lineage": (LineageRow("masks", 1, "60 clips", "0123abcd" * 8),),
        "versions": {"torch": "2.14.1"},
        "quarantined": (SetAsideRow("d", "detect", "No person was found.", "Give a box."),),
        "command": "tubeflow run demo",
    }
    return ReportData(**{**parts, **changes})  # type: ignore[arg-type]

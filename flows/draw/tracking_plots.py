"""Success and precision curves of trackers, drawn as benchmarks draw them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from data_catalog.atomic import replacing


def draw_curves(
    path: Path, curves: Mapping[str, ArrayLike], thresholds: ArrayLike, axis: str, legend: Mapping[str, str]
) -> None:
    """Write a PNG with one line a tracker.

    Args:
        path: the file.
        curves: tracker → share of frames at each threshold, (n,).
        thresholds: the horizontal axis, (n,).
        axis: what the thresholds are.
        legend: tracker → what stands beside its line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    plot = figure.add_subplot()
    for name, curve in curves.items():
        plot.plot(np.asarray(thresholds), np.asarray(curve), label=legend[name])
    plot.set(xlabel=axis, ylabel="share of frames", ylim=(0, 1), xlim=(0, float(np.max(np.asarray(thresholds)))))
    plot.grid(alpha=0.3)
    plot.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)

"""The report's plots: matplotlib figures without any window, returned as inline SVG text.

The ink of every plot is `currentColor` and its other colours are the page's, so that they hold in light and in dark.
"""

import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.report.data import Curve, Intervals, Predictions, SegmentScores, TubeOverlaps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# What matplotlib draws with, and what stands for it in the page: its text colour, and colours that report.css has for
# light and for dark.
_INK, _BLUE, _PINK, _GREY = "#123456", "#3b82d6", "#e0447f", "#8a94a0"
_GREEN, _AMBER, _VIOLET = "#2f9e6e", "#c98a12", "#7a5bd0"
_LINES = (_BLUE, _PINK, _GREEN, _AMBER, _VIOLET)
_IN_PAGE = {
    _INK: "currentColor", _BLUE: "var(--blue)", _PINK: "var(--pink)", _GREY: "var(--grey)", _GREEN: "var(--green)",
    _AMBER: "var(--amber)", _VIOLET: "var(--violet)",
}  # fmt: skip
_MOST_TITLED_POINTS = 1000
_PALE = 0.3
"""How much of a clip's interval covers what is behind it."""


def scatter_svg(predictions: Predictions, prefix: str) -> str | None:
    """Predicted against true scores with the diagonal; the worst clips stand out and are numbered as in their table.

    Args:
        predictions: The scores.
        prefix: Put before every id, unique within the page.

    Returns:
        An `<svg>` element, or None where no clip has both scores.
    """
    usable = np.flatnonzero(predictions.usable)
    if len(usable) == 0:
        return None
    true, predicted = predictions.true[usable], predictions.predicted[usable]
    figure, axes = _new_figure((4.9, 4.3))
    both = np.concatenate([true, predicted])
    low, high = float(both.min()), float(both.max())
    pad = 0.06 * (high - low) or 1.0
    axes.plot(
        [low - pad, high + pad], [low - pad, high + pad], color=_GREY, linewidth=1, linestyle=(0, (4, 3))
    )
    points = axes.scatter(true, predicted, s=26, color=_BLUE, alpha=0.75, linewidths=0)
    points.set_gid("points")
    worst = np.array(predictions.worst(), np.intp)
    ringed = np.stack([predictions.true[worst], predictions.predicted[worst]], 1)
    axes.scatter(ringed[:, 0], ringed[:, 1], s=44, facecolors="none", edgecolors=_PINK, linewidths=1.5)
    for rank, place in enumerate(
        _free_places(ringed, np.stack([true, predicted], 1), 0.035 * (high - low + 2 * pad))
    ):
        axes.text(
            float(place[0]), float(place[1]), str(rank + 1), color=_PINK, fontsize=9, ha="center", va="center"
        )
    axes.set(
        xlim=(low - pad, high + pad),
        ylim=(low - pad, high + pad),
        xlabel="true score",
        ylabel="predicted score",
    )
    axes.set_aspect("equal")
    ids = [predictions.clip_ids[i] for i in usable]
    titles = [f"{c}: true {t:.4g}, predicted {p:.4g}" for c, t, p in zip(ids, true, predicted, strict=True)]
    label = (
        f"Predicted against true score of {len(usable)} clips; the dashed diagonal is a perfect prediction"
    )
    return _to_svg(figure, prefix, label, {"points": titles if len(titles) <= _MOST_TITLED_POINTS else []})


def _free_places(
    ringed: NDArray[np.floating], points: NDArray[np.floating], distance: float
) -> list[NDArray[np.floating]]:
    """For each ringed point (k, 2) a place so far beside it, on the side with most room between points and labels."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    sides = np.stack([np.cos(angles), np.sin(angles)], 1) * distance
    places: list[NDArray[np.floating]] = []
    for centre in ringed:
        others = np.concatenate([points[(points != centre).any(1)], *(place[None] for place in places)])
        room = np.hypot(*(centre + sides)[:, None].transpose(2, 0, 1) - others.T[:, None])
        places.append(centre + sides[int(room.min(1).argmax())] if len(others) else centre + sides[0])
    return places


def intervals_svg(data: Intervals, prefix: str, size_inches: tuple[float, float]) -> str:
    """Each clip's intervals, the narrower the darker, with its true score; the lowest predicted score first."""
    figure, axes = _new_figure(size_inches)
    order = np.argsort(data.predicted, kind="stable")
    place = np.arange(1, len(order) + 1)
    width = min(6.0, 50 * size_inches[0] / (len(order) + 1))
    for number, (level, ends) in enumerate(sorted(data.ends.items(), reverse=True), 1):
        axes.vlines(place, *ends[order].T, color=_BLUE, linewidth=width, alpha=_PALE)
        # What lies upon each other looks darker than one of them, so the legend is drawn as dark as that.
        axes.plot([], [], color=_BLUE, linewidth=6, alpha=1 - (1 - _PALE) ** number, label=f"{level} %")
    axes.scatter(place, data.predicted[order], s=12, marker="_", color=_INK, label="predicted")
    axes.scatter(place, data.true[order], s=16, color=_PINK, linewidths=0, label="true")
    axes.set(xlabel="clips, the lowest predicted score first", ylabel="score", xlim=(0, len(order) + 1))
    axes.legend(
        frameon=False, labelcolor=_INK, fontsize=9.5, ncols=3 if size_inches[0] < 6 else 5, loc="lower left",
        bbox_to_anchor=(0, 1.0), borderaxespad=0.2,
    )  # fmt: skip
    held = ", ".join(f"{row.inside} of {row.clips} true scores within {row.level} %" for row in data.rows)
    return _to_svg(figure, prefix, f"Predicted scores with their intervals, and true scores: {held}", {})


def curve_panels(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """The curves by panel, in order of first appearance, without those that have no finite value."""
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        if any(value is not None and np.isfinite(value) for value in curve.values):
            panels.setdefault(curve.panel, []).append(curve)
    return panels


def curves_svg(panel: str, curves: Sequence[Curve], prefix: str) -> str:
    """One panel of learning curves; missing values are gaps in the line."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _new_figure((4.9, 3.1))
    for place, curve in enumerate(curves):
        values = np.array([np.nan if value is None else value for value in curve.values], np.float64)
        colour = _LINES[place % len(_LINES)]
        axes.plot(
            curve.epochs, values, color=colour, linewidth=1.8, label=curve.name,
            marker="o" if len(curve.epochs) < 25 else None, markersize=3.5,
        )  # fmt: skip
    axes.set(xlabel="epoch", ylabel=panel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # a single epoch is 1, not 0.95 to 1.05
    if len(curves) > 1 or curves[0].name:
        axes.legend(frameon=False, labelcolor=_INK, fontsize=9.5)
    names = " and ".join(curve.name for curve in curves)
    return _to_svg(figure, prefix, f"{panel} over epochs: {names}", {})


def segments_svg(data: SegmentScores, prefix: str, size_inches: tuple[float, float]) -> str:
    """Each segment's score over the frames that it spans, with the clip's true and predicted score."""
    figure, axes = _new_figure(size_inches)
    starts = np.asarray(data.starts, np.float64)
    middles = starts + data.segment_length / 2
    axes.hlines(data.scores, starts, starts + data.segment_length, color=_BLUE, linewidth=5, alpha=0.3)
    axes.plot(middles, data.scores, color=_BLUE, marker="o", markersize=5, linewidth=1.8, label="segment")
    if data.predicted is not None:
        axes.axhline(data.predicted, color=_PINK, linewidth=1.4, label="clip, predicted")
    if data.true is not None:
        axes.axhline(data.true, color=_GREY, linewidth=1.4, linestyle=(0, (4, 3)), label="clip, true")
    axes.set(xlabel="frame", ylabel=data.measure, xlim=(starts.min(), starts.max() + data.segment_length))
    axes.margins(y=0.15)
    _draw_steps(axes, data, size_inches[0])
    columns = 3 if not data.steps else 4 if size_inches[0] > 6 else 2  # steps are a fourth entry
    axes.legend(
        frameon=False, labelcolor=_INK, fontsize=9.5, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1.0),
        borderaxespad=0.2,
    )  # fmt: skip
    said = ", ".join(f"{score:.4g}" for score in data.scores)
    title = f"{data.measure.capitalize()} of each segment of {data.clip_id} in order of time: {said}"
    return _to_svg(figure, prefix, title, {})


def _draw_steps(axes: "Axes", data: SegmentScores, width_inches: float) -> None:
    """The clip's steps as a strip at the foot of the plot, and over each the score that its segments make."""
    shown = [(step, *step.frames) for step in data.steps if step.frames is not None]
    if not shown:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.22 * (high - low), high)  # room for the strip
    (left, right), foot = axes.get_xlim(), axes.get_xaxis_transform()
    letters = width_inches * 11 / (right - left)  # that fit over one frame
    for place, (step, first, end) in enumerate(shown):
        axes.axvspan(first, end, 0, 0.13, color=_AMBER, alpha=0.34 if place % 2 else 0.2, linewidth=0)
        axes.axvline(first, color=_AMBER, linewidth=1, linestyle=(0, (1, 2)))
        room = int((end - first) * letters)
        words = step.name if len(step.name) <= room else step.name[: max(room - 1, 0)] + "…" * (room > 1)
        axes.text(
            (first + end) / 2, 0.065, words, color=_INK, fontsize=9, ha="center", va="center", transform=foot,
            clip_on=True,
        )  # fmt: skip
    scored = [(step.score, first, end) for step, first, end in shown if step.score is not None]
    if scored:
        scores, firsts, ends = zip(*scored, strict=True)
        axes.hlines(scores, firsts, ends, color=_AMBER, linewidth=2.4, label="step")


def tubes_svg(data: TubeOverlaps, prefix: str) -> str:
    """Overlap of every clip's tube with the truth, the worst clip first: of cells, and of quads."""
    figure, axes = _new_figure((4.9, 3.1))
    order = np.argsort(data.grid, kind="stable")
    place = np.arange(1, len(order) + 1)
    titles: dict[str, list[str]] = {}
    for gid, name, values, colour in (
        ("rotated", "rotated boxes", data.rotated, _PINK), ("grid", "cells of the grid", data.grid, _BLUE),
    ):  # fmt: skip
        points = axes.scatter(place, values[order], s=18, color=colour, alpha=0.8, linewidths=0, label=name)
        points.set_gid(gid)
        if len(order) <= _MOST_TITLED_POINTS:
            titles[gid] = [f"{data.clip_ids[i]}: {name} {values[i]:.3f}" for i in order]
    axes.set(xlabel="clips, the worst first", ylabel="overlap (IoU)", ylim=(0, 1.02), xlim=(0, len(order) + 1))
    axes.legend(
        frameon=False, labelcolor=_INK, fontsize=9.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0),
        borderaxespad=0.2,
    )  # fmt: skip
    least, most = data.grid.min(), data.grid.max()
    label = f"Overlap of {len(order)} tubes with the truth, from {least:.3f} to {most:.3f} in cells"
    return _to_svg(figure, prefix, label, titles)


def _new_figure(size_inches: tuple[float, float]) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inches, layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=9.5)
    axes.xaxis.label.set(color=_INK, fontsize=10.5)
    axes.yaxis.label.set(color=_INK, fontsize=10.5)
    axes.grid(color=_GREY, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _to_svg(figure: "Figure", prefix: str, label: str, titles: dict[str, list[str]]) -> str:
    """The figure as one `<svg>` element that can stand beside others in a page.

    Args:
        figure: A matplotlib figure.
        prefix: Put before every id and every reference to one.
        label: Read aloud instead of the picture.
        titles: gid of a point collection → what a pointer over each of its points says.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    # Names of clips and metrics are words, also where they have dollar signs.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    buffer = io.BytesIO()
    # The salt makes ids, and with them the whole report, the same for the same data.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tubeflow"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for gid, texts in titles.items():
        group = root.find(f".//*[@id='{gid}']")
        uses = [] if group is None else group.findall(f".//{{{_SVG}}}use")
        for use, words in zip(uses, texts, strict=False):
            ET.SubElement(use, f"{{{_SVG}}}title").text = words
    for element in root.iter():
        for name, value in element.attrib.items():
            element.set(name, _settle(name, value, prefix))
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("role", "img")
    root.set("aria-label", label)
    return ET.tostring(root, encoding="unicode")


def _settle(name: str, value: str, prefix: str) -> str:
    """An attribute's value with ids made unique in the page and the ink left to it."""
    if name == "id":
        return f"{prefix}-{value}"
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if name == "style":
        # Letters come from the page, not from a font that the reader may not have.
        value = value.replace("'DejaVu Sans', ", "")
        for drawn, shown in _IN_PAGE.items():
            value = value.replace(drawn, shown)
    return value.replace("url(#", f"url(#{prefix}-")

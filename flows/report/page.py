"""Writes report.html: one file that shows a run to a stranger, with everything it needs inside."""

import base64
import io
import math
import re
from pathlib import Path
from typing import TypedDict

from markupsafe import Markup
from PIL import Image

from flows.draw.paint import write_whole
from flows.report import figures
from flows.report.data import MetricValue, Picture, ReportData
from flows.report.page_templates import page_templates


def render_report(path: Path, report: ReportData) -> Path:
    """Write the report as one self-contained HTML file.

    Pictures are data URIs and plots inline SVG; the page has no script and its content policy forbids any request.
    A section whose data are missing is left out.

    Args:
        path: Where the file is written; its folder is made where missing.
        report: What it says.

    Returns:
        `path`.

    Raises:
        ValueError: A picture is neither PNG nor JPEG.
    """
    environment = page_templates()
    environment.filters.update(
        number=format_number, seconds=format_seconds, percent=format_percent, count=format_count, large=format_large,
        metric=format_metric, data_uri=data_uri, anchor=anchor,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(report=report, plots=_plots(report))
    return write_whole(path, page.encode())


WIDE, NARROW = (10.0, 3.4), (4.9, 3.1)
"""Inches of a plot that stands alone, on a screen and on a phone."""


class Plots(TypedDict):
    """What matplotlib drew for the page; intervals and segments in a wide and a narrow form, curves by panel."""

    scatter: Markup | None
    intervals: tuple[Markup, Markup] | None
    segments: list[tuple[Markup, Markup]]
    curves: list[tuple[str, Markup]]
    tubes: Markup | None


def _plots(report: ReportData) -> Plots:
    """All plots of the page; Markup, since matplotlib wrote them and escaped the text in them."""
    plots: Plots = {"scatter": None, "intervals": None, "segments": [], "curves": [], "tubes": None}
    if report.predictions is not None:
        svg = figures.scatter_svg(report.predictions, "scatter")
        plots["scatter"] = None if svg is None else Markup(svg)
    if report.intervals is not None:
        wide = figures.intervals_svg(report.intervals, "intervals", WIDE)
        plots["intervals"] = Markup(wide), Markup(figures.intervals_svg(report.intervals, "intervals-narrow", NARROW))
    for place, clip in enumerate(report.segment_scores):
        wide = figures.segments_svg(clip, f"segments{place}", WIDE)
        narrow = figures.segments_svg(clip, f"segments{place}-narrow", NARROW)
        plots["segments"].append((Markup(wide), Markup(narrow)))
    if report.tube_overlaps is not None:
        plots["tubes"] = Markup(figures.tubes_svg(report.tube_overlaps, "tubes"))
    for place, (panel, curves) in enumerate(figures.curve_panels(report.curves).items()):
        plots["curves"].append((panel, Markup(figures.curves_svg(panel, curves, f"curve{place}"))))
    return plots


def format_number(value: float | None, digits: int = 4) -> str:
    """A figure with so many significant digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        text = f"{value:.{digits - 1}e}"
    else:
        # Not "g", which would drop the zeros that say how precise a figure is.
        decimals = digits - 1 - math.floor(math.log10(abs(value)))
        text = f"{value:.{min(max(decimals, 0), digits)}f}"
    return text.replace("-", "\u2212", 1) if value < 0 else text


def format_metric(metric: MetricValue) -> str:
    """A metric's figure, or "undefined: why"."""
    return f"undefined: {metric.undefined}" if metric.value is None else format_number(metric.value)


def format_seconds(seconds: float) -> str:
    """Seconds, the finer the fewer there are: 0.42, 12.3, 185."""
    if seconds < 1:
        return f"{seconds:.2f}"
    return f"{seconds:.1f}" if seconds < 100 else format_count(round(seconds))


def format_percent(share: float | None) -> str:
    """A share in [0, 1] as percent; a dash where there is none."""
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.1f} %"


def format_count(count: int | None) -> str:
    """A whole number with thin spaces between thousands; a dash where there is none."""
    return "–" if count is None else f"{count:,}".replace(",", "\u2009")


def format_large(amount: float | None) -> str:
    """Multiply-accumulates or parameters with a decimal prefix: 2.25 G; a dash where there is none."""
    if amount is None:
        return "–"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(amount) >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount:.0f}"


def load_picture(path: Path, alt: str, caption: str = "", *, width: int = 1600) -> Picture:
    """A picture file for the report, as the smaller of PNG and JPEG and no wider than `width` pixels."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    files = []
    for kind, options in (("PNG", {"compress_level": 2}), ("JPEG", {"quality": 86, "optimize": True})):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return Picture(min(files, key=len), alt, caption)


def data_uri(picture: Picture) -> str:
    """The picture's file as a data URI.

    Raises:
        ValueError: It is neither PNG nor JPEG.
    """
    kinds = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}
    for magic, kind in kinds.items():
        if picture.content.startswith(magic):
            return f"data:{kind};base64,{base64.b64encode(picture.content).decode()}"
    raise ValueError(f"the picture '{picture.alt}' is neither PNG nor JPEG")


def anchor(clip_id: str) -> str:
    """An id within the page for a clip; different clips get different ids."""
    plain = re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found.group()):x}_", clip_id)
    return f"clip-{plain}"

"""Picture of the bench `procedural_aqa`: how well each row ranks, and whose dive it follows."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.procedural_causes import Causes
from benchmarks.procedural_tables import Findings
from data_catalog.atomic import replacing

OWN, OTHER = "#1b6ca8", "#d1495b"


def draw(found: Findings, causes: Causes, page: Path) -> None:
    """Write a PNG: left Spearman of every row with its interval, right its slopes, rows in the matrix's order."""
    labels = [one.label for one in found.contenders]
    sheet = Figure(figsize=(10, 1.2 + 0.32 * len(labels)), layout="constrained")
    ranks, slopes = sheet.subplots(1, 2, sharey=True)
    _ranks(ranks, found, causes)
    _slopes(slopes, found, causes)
    ranks.set_yticks(range(len(labels)), labels)
    ranks.invert_yaxis()
    for axes in (ranks, slopes):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    with replacing(page) as temporary:
        sheet.savefig(temporary, dpi=110, format="png")


def _ranks(axes: Axes, found: Findings, causes: Causes) -> None:
    figures = found.figures("spearman")
    for row, contender in enumerate(found.contenders):
        value, low, high = (figures[contender.label][part] for part in ("value", "low", "high"))
        if value is None:
            axes.text(0.02, row, "undefined", va="center", fontsize="small", transform=axes.get_yaxis_transform())
            continue
        axes.plot([low, high], [row, row], color=OWN, linewidth=2)
        axes.plot(value, row, "o", color=OWN)
    own, everybody = causes.ranks()
    axes.axvline(own, color=OWN, linestyle=":", label=f"own {causes.cause} alone, {own:.2f}")
    axes.axvline(everybody, color=OTHER, linestyle=":", label=f"mean {causes.cause} of all, {everybody:.2f}")
    axes.set_xlabel("Spearman, 95 % interval over clips and seeds")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")


def _slopes(axes: Axes, found: Findings, causes: Causes) -> None:
    pairs = [causes.slopes(one.predictions("last", "test")) for one in found.contenders]
    rows = range(len(pairs))
    axes.plot([own for own, _ in pairs], rows, "o", color=OWN, label=f"judged diver's {causes.cause}")
    axes.plot([other for _, other in pairs], rows, "s", color=OTHER, label=f"other's {causes.cause}")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(f"points for one more of the {causes.cause}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize="small")

"""Tables of the bench `procedural_aqa`: figures, differences and costs of an experiment's rows, as Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.procedural_causes import Causes
from benchmarks.procedural_rates import best_rates
from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError, Workspace
from flows.experiments.compare import Question, compare
from flows.experiments.contenders import Contender, find_contenders, join_seeds
from flows.experiments.matrix import summarise
from flows.runs.attention_form import attention_form
from flows.tables.comparison_table import figure
from models.attention.cost import AttentionCost, in_words, total_cost
from models.metrics.comparison import PairedTest, holm
from tasks.training.score_table import OVERALL

PLAIN, TSA, NONLOCAL = "PlainNet", "TSA-Net", "NL-Net"
AGAINST_PLAIN = (TSA, NONLOCAL)
"""Rows that ask whether attention helps; the others vary one thing about TSA-Net and are compared with it."""
EACH_SEED = 3  # more are told by their standard deviation

FIGURES = ("", "Spearman", "seeds", "R-l2", "rate", "positions", "MACs, paper's", "MACs, all")
DIFFERENCES = ("less", "Spearman", "p", "R-l2", "p", "IoU with the true tubes")


def settings_of(contender: Contender) -> dict[str, Any]:
    """All settings of a row, but for those that tell its seeds and actions apart or change nothing that comes out."""
    return contender.first.config.model_dump(mode="json", exclude={"engine": True, "train": {"seed", "actions"}})


def agreeing(workspace: Workspace, names: Sequence[str]) -> list[str]:
    """Those experiments, of some in the order of their age, whose rows have the settings that the latest ones have."""
    latest: dict[str, dict[str, Any]] = {}
    kept = []
    for name in reversed(names):
        try:
            rows = {one.label: settings_of(one) for one in find_contenders(workspace, name)}
        except CatalogError:
            continue  # not one cell of it was run
        if all(latest.setdefault(label, settings) == settings for label, settings in rows.items()):
            kept.append(name)
    return kept[::-1]


def attention_macs(masks: Sequence[NDArray[np.bool_]], contender: Contender) -> AttentionCost:
    """Mean cost for a clip of all attention blocks of a contender.

    Args:
        masks: one (N, T, Hf, Wf) a clip.
        contender: its model says which attention, how many blocks, and how small a tube may be.
    """
    model = contender.first.config.model
    if model.attention == "none":
        return AttentionCost(0, 0, 0, 0)
    form = attention_form(model, Path())  # nothing in these studies starts from weights
    positions = [mask.size if model.attention == "nonlocal" else form.positions(mask) for mask in masks]
    total, clips = total_cost(form.cost(one) for one in positions), len(masks)
    counts = (total.published, total.true, total.executed, total.printed)
    return AttentionCost(round(total.positions / clips), *(count // clips for count in counts))


def held_out_masks(workspace: Workspace, contender: Contender) -> list[NDArray[np.bool_]]:
    """Tube masks of a contender's test clips."""
    run = contender.first
    table = run.predictions()
    clips = sorted(set(table.loc[table["split"] == "test", "clip_id"]))
    return [workspace.store.read("masks", run.keys["masks"][clip], ["mask"]).arrays["mask"] for clip in clips]


def tracker_files(workspace: Workspace, contenders: Sequence[Contender]) -> dict[str, str]:
    """Weight file → SHA-256 of every tracker that ran, as the lineage of the tubes has them."""
    found: dict[str, str] = {}
    for contender in contenders:
        if contender.first.config.track.tracker != "published":
            key = next(iter(contender.first.keys["track"].values()))
            found |= workspace.store.lineage("track", key).weights
    return found


def seed_spread(contenders: Sequence[Contender]) -> dict[str, str]:
    """Label → Spearman of every seed at the last epoch, of many the extremes, and their standard deviation."""
    chosen = ("last", OVERALL, "spearman")
    rows = [row for row in summarise(contenders) if (row.weights, row.action, row.metric) == chosen]
    return {row.contender: spread_of(row.values, row.spread) for row in rows}


def spread_of(values: Sequence[float | None], spread: float | None) -> str:
    """Figures of seeds in a cell: each, or of many how many there are, the extremes, and how many have no value."""
    if len(values) <= EACH_SEED:
        text = " ".join("–" if value is None else f"{value:.3f}" for value in values)
    else:
        known = [value for value in values if value is not None]
        text = f"{len(values)}: {min(known):.3f} to {max(known):.3f}" if known else f"{len(values)}: –"
        text += f", {len(values) - len(known)} undefined" if 0 < len(known) < len(values) else ""
    return text if spread is None else f"{text} (± {spread:.3f})"


def baseline_of(label: str) -> str | None:
    """The row that a row is compared with; None for PlainNet."""
    if label == PLAIN:
        return None
    return PLAIN if label in AGAINST_PLAIN else TSA


@dataclass(frozen=True, eq=False)
class Findings:
    """What a study's runs come to.

    Attributes:
        contenders: the rows, in the order of the matrix.
        compared: baseline → comparison of all rows with it.
    """

    workspace: Workspace
    contenders: tuple[Contender, ...]
    compared: Mapping[str, Mapping[str, Any]]

    def figures(self, metric: str) -> dict[str, dict[str, Any]]:
        """Row → value, low and high of a metric over all clips."""
        return {row["contender"]: row["figures"][OVERALL] for row in self.compared[PLAIN]["metrics"][metric]}


def findings(workspace: Workspace, names: Sequence[str], repetitions: int) -> Findings:
    """Read and compare what was run.

    Args:
        workspace: the workspace.
        names: experiments of one matrix; where they ran different seeds, a row has all of them.
        repetitions: bootstrap draws and permutations.

    Raises:
        CatalogError: rows of one name differ in their settings, or the baselines are missing.
    """
    contenders = tuple(join_seeds(one for name in names for one in find_contenders(workspace, name)))
    labels = [one.label for one in contenders]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise CatalogError(f"Row '{twice[0]}' was run with different settings in {', '.join(names)}; use --experiment.")
    if absent := {PLAIN, TSA} - set(labels):
        raise CatalogError(f"There is no figure of {' and '.join(sorted(absent))} yet, which rows are compared with.")
    asked = {name: Question(repetitions=repetitions, baseline=name) for name in (PLAIN, TSA)}
    return Findings(workspace, contenders, {name: compare(workspace, names, one) for name, one in asked.items()})


def tables(found: Findings, causes: Causes | None = None) -> str:
    """What is to be said of a study: its figures, its differences, and whose weights the trackers had, as Markdown.

    Args:
        found: its runs.
        causes: those of the held-out clips; adds by how much each row follows them.
    """
    figures = [FIGURES, *figure_rows(found)]
    if causes is not None:
        headings = (f"slope, own {causes.cause}", "other's")
        slopes = [headings, *(slope_cells(contender, causes) for contender in found.contenders)]
        figures = [(*row, *more) for row, more in zip(figures, slopes, strict=True)]
    clips = sum(found.compared[PLAIN]["clips"].values())
    parts = [
        f"{clips} held-out clips, {found.contenders[0].first.config.train.epochs} epochs.",
        markdown(figures),
        markdown([("", *DIFFERENCES), *difference_rows(found.contenders, found.compared)]),
    ]
    parts += [
        f"{one['metric']} of a seed of {one['contender']} is undefined: {one['reason']}"
        for one in found.compared[PLAIN]["undefined"]
    ]
    if files := tracker_files(found.workspace, found.contenders):
        listed = [f"`{name}` {digest[:12]}…" for name, digest in sorted(files.items())]
        parts.append(f"SHA-256 of the trackers' weights: {', '.join(listed)}.")
    return "\n\n".join(parts)


def figure_rows(found: Findings) -> list[tuple[str, ...]]:
    """Rows for `FIGURES`, in the order of the matrix."""
    spread = seed_spread(found.contenders)
    spearman, r_l2 = found.figures("spearman"), found.figures("r_l2")
    lines: list[tuple[str, ...]] = []
    for contender in found.contenders:
        label = contender.label
        cost = attention_macs(held_out_masks(found.workspace, contender), contender)
        lines.append(
            (
                label,
                figure(spearman[label], digits=3),
                spread[label],
                figure(r_l2[label], digits=1),
                f"{contender.first.config.train.lr:g}",
                str(cost.positions),
                in_words(cost.published),
                in_words(cost.true),
            )
        )
    return lines


def slope_cells(contender: Contender, causes: Causes) -> tuple[str, str]:
    """Points by which the predictions of held-out clips follow the judged diver's cause, and the other's."""
    own, others = causes.slopes(contender.predictions("last", "test"))
    return f"{own:+.0f}", f"{others:+.0f}"


def difference_rows(contenders: Sequence[Contender], records: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows for `DIFFERENCES`: each row's contender less its baseline. `records`: baseline → comparison with it.

    p-values are corrected by Holm's method over these rows, each metric by itself, whatever else was compared.
    """
    compared = [(one.label, against) for one in contenders if (against := baseline_of(one.label)) is not None]

    def rows_of(metric: str) -> list[Mapping[str, Any]]:
        return [
            next(row for row in records[against]["metrics"][metric] if row["contender"] == label)
            for label, against in compared
        ]

    corrected = {
        metric: holm([PairedTest(row["permutation_test"]["p"]) for row in rows_of(metric)])
        for metric in ("spearman", "r_l2")
    }
    lines: list[tuple[str, ...]] = []
    for place, (label, against) in enumerate(compared):
        cells = [label, against]
        for metric, digits in (("spearman", 3), ("r_l2", 2)):
            change = rows_of(metric)[place]["differences"][OVERALL]
            cells += [figure(change, sign=True, digits=digits), chance(corrected[metric][place].corrected)]
        tubes = [one for one in records[against]["tubes"] if one["contender"] == label and "truth_iou" in one]
        lines.append((*cells, f"{tubes[0]['truth_iou'][1]:.2f}" if tubes else ""))
    return lines


def training_time(workspace: Workspace, contenders: Iterable[Contender]) -> str:
    """How many trainings some rows stand on and how long they took by the clock, added up, as their lineage has it."""
    keys = {key for one in contenders for runs in one.seeds for run in runs for key in run.keys["train"].values()}
    seconds = sum(workspace.store.lineage("train", key).seconds for key in keys)
    taken = timedelta(seconds=round(seconds))
    return f"{len(keys)} trainings of one thread each, {taken} hours if one were made after the other."


def rate_table(measured: Mapping[str, Mapping[float, float]]) -> str:
    """What each learning rate came to on the validation clips, as Markdown; the chosen one of a row is bold."""
    if not measured:
        return "Learning rates were not tuned."
    chosen = best_rates(measured)
    rates = sorted({rate for by_rate in measured.values() for rate in by_rate})
    lines: list[tuple[str, ...]] = [("Spearman on the validation clips at rate", *(f"{rate:g}" for rate in rates))]
    for row, by_rate in measured.items():
        cells = [f"{by_rate[rate]:.3f}" if rate in by_rate else "–" for rate in rates]
        marked = zip(rates, cells, strict=True)
        lines.append((row, *(f"**{cell}**" if chosen.get(row) == rate else cell for rate, cell in marked)))
    return markdown(lines)


def chance(p: float | None) -> str:
    """A p-value; a dash where there is none."""
    if p is None:
        return "–"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first being the headings."""
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def write_block(page: Path, name: str, text: str) -> None:
    """Put text between the lines `<!-- name -->` and `<!-- end name -->` of a page. Raises CatalogError."""
    start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    whole = page.read_text(encoding="utf-8")
    changed, places = re.subn(
        f"(?<={re.escape(start)}).*?(?={re.escape(end)})", lambda _: f"\n{text}\n\n", whole, flags=re.DOTALL
    )
    if places != 1:
        raise CatalogError(f"{page} has {places} places for '{name}', lines {start.strip()} … {end}; it needs one.")
    with replacing(page) as temporary:
        temporary.write_text(changed, encoding="utf-8")

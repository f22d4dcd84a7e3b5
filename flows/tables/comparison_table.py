"""How `tubeflow compare` is shown on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Column, Table
from rich.text import Text

from flows.console import out
from flows.experiments.comparison_record import (
    ComparisonRecord,
    IntervalRecord,
    MetricRow,
    PairedTestRecord,
    PaperTableRecord,
    PublishedFigure,
    TubesRow,
)
from flows.experiments.interval_compare import HeldRecord, IntervalsRow
from flows.experiments.step_compare import StepsRow
from tasks.training.score_table import OVERALL


def print_comparison(record: ComparisonRecord) -> None:
    """Per metric every contender with intervals; the paper's tables with ours; differences from the baseline; notes."""
    clips = ", ".join(f"{action or 'clips'} {count}" for action, count in record["clips"].items())
    out.print(
        f"Dataset {record['dataset']}, {record['split']} split, {record['weights']} epoch; {clips}. "
        "In brackets: 95 % bootstrap interval over clips and seeds.",
        markup=False,
    )
    laid_out = {table["table"] for table in record["paper"]}
    for metric, rows in record["metrics"].items():
        _print_figures(metric, rows, [row for row in record["published"] if row["table"] not in laid_out])
    for one in record["undefined"]:
        out.print(
            f"{one['metric']} of {one['contender']}, {one['action'] or 'clips'}: undefined: {one['reason']}",
            markup=False,
            soft_wrap=True,
        )
    _print_intervals(record["intervals"])
    _print_steps(record["steps"])
    for table in record["paper"]:
        _print_paper_table(table)
    for place in range(1, len(record["contenders"])):
        _print_differences(record, place)
    if len(record["contenders"]) > 1:
        _print_correction(record)
    for source in dict.fromkeys(row["source"] for row in record["published"]):
        methods = dict.fromkeys(row["method"] for row in record["published"] if row["source"] == source)
        out.print(f"published: {', '.join(methods)}: {source}", markup=False, soft_wrap=True)
    for name, what in record["missing"].items():
        out.print(f"not known here, {name}: {'; '.join(what)}", markup=False, soft_wrap=True)
    for note in record["notes"]:
        out.print(note, markup=False, soft_wrap=True)


def _print_figures(metric: str, rows: Sequence[MetricRow], published: Sequence[PublishedFigure]) -> None:
    actions = list(rows[0]["figures"])
    shown = actions if len(actions) > 2 else [OVERALL]
    # Names of actions are folded: cut off, sync_diving_3m and sync_diving_10m would be one.
    table = Table(metric, *(Column(action or "clips", overflow="fold") for action in shown))
    for row in rows:
        table.add_row(row["contender"], *(figure(row["figures"][action]) for action in shown))
        if "ensemble" in row:
            table.add_row(f"{row['contender']}, ensemble", *(figure(row["ensemble"][action]) for action in shown))
    table.add_section()
    for method in dict.fromkeys(row["method"] for row in published if row["metric"] == metric):
        known = {r["action"]: r for r in published if r["method"] == method and r["metric"] == metric}
        cells = (f"{known[action]['value']:.4f}" if action in known else "" for action in shown)
        table.add_row(f"{method} (published)", *cells)
    out.print(table)


def _print_intervals(rows: Sequence[IntervalsRow]) -> None:
    """How often intervals hold, and how wide they are: a line a contender, and one its seeds together."""
    if not rows:
        return
    levels = list(dict.fromkeys(row["level"] for row in rows))
    table = Table("intervals", *(f"made for {level} %" for level in levels))
    table.title, table.title_justify = "share of clips that they hold (mean width in points)", "left"
    for contender in dict.fromkeys(row["contender"] for row in rows):
        own = {row["level"]: row for row in rows if row["contender"] == contender}
        table.add_row(contender, *(_held(own[one]["seeds"]) if one in own else "–" for one in levels))
        if any(row["ensemble"] for row in own.values()):
            together = (own[one]["ensemble"] if one in own else None for one in levels)
            table.add_row(f"{contender}, ensemble", *(_held(one) for one in together))
    out.print(table)


def _print_steps(rows: Sequence[StepsRow]) -> None:
    """How many frames' steps are named right: a line a contender that learnt them."""
    if not rows:
        return
    table = Table("steps", "frames named right", "frames", "clips")
    table.title, table.title_justify = "share of frames in a step whose kind the segments name right", "left"
    for row in rows:
        share = f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"
        table.add_row(row["contender"], share, str(row["frames"]), str(row["clips"]))
        for kind in row["kinds"]:
            table.add_row(Text(f"  {kind['step']}"), f"{kind['accuracy']:.1%}", str(kind["frames"]), "")
    out.print(table)


def _held(one: HeldRecord | None) -> str:
    return "–" if one is None else f"{one['share']:.1%} ({one['width']:.2f})"


def _print_paper_table(printed: PaperTableRecord) -> None:
    """A table in the paper's layout: its own rows, then ours."""
    table = Table("", *printed["columns"])
    table.title, table.title_justify = Text(f"{printed['table']}: {printed['caption']}"), "left"
    digits = [_digits([row["values"][place] for row in printed["printed"]]) for place in range(len(printed["columns"]))]
    for row in printed["printed"]:
        table.add_row(row["name"], *(_cell(one, places) for one, places in zip(row["values"], digits, strict=True)))
    table.add_section()
    for row in printed["ours"]:
        name = row["name"] if row["name"] == row["contender"] else f"{row['name']}, {row['contender']}"
        name = f"ours: {name}" if row["network"] == row["contender"] else f"ours: {name} ({row['network']})"
        # Of small networks, costs in units of 1 G need more digits than the paper's.
        cells = (_cell(one, max(places, 3)) for one, places in zip(row["values"], digits, strict=True))
        table.add_row(name, *cells)
    out.print(table)


def _digits(values: Sequence[float | None]) -> int:
    """Decimals of a printed column: as many as its longest number has."""
    return max(len(f"{one:.10g}".partition(".")[2]) for one in values if one is not None)


def _cell(one: float | None, digits: int) -> str:
    return "–" if one is None else f"{one:.{digits}f}"


def _print_correction(record: ComparisonRecord) -> None:
    """What the p-values take into account, and for how many comparisons they are corrected."""
    count = record["correction"]["comparisons"]
    over = {row["permutation_test"]["over"] for rows in record["metrics"].values() for row in rows[1:]}
    chance = "seeds and clips" if over == {"seeds and clips"} else "clips alone where a row has one seed"
    out.print(
        f"p-values: permutation over {chance}; corrected by {record['correction']['method']}'s method for "
        f"{count} comparison{'' if count == 1 else 's'} with the baseline, each metric by itself.",
        markup=False,
        soft_wrap=True,
    )


def _print_differences(record: ComparisonRecord, place: int) -> None:
    """One contender against the baseline: what happened to the score, and where the tubes differ, to them."""
    baseline, contender = (record["contenders"][number]["label"] for number in (0, place))
    table = Table("", "before", "after", "difference", "permutation p", "Wilcoxon p")
    table.title, table.title_justify = Text(f"{contender} against {baseline}"), "left"
    reasons = []
    for metric, rows in record["metrics"].items():
        before, after = (value(rows[number]["figures"][OVERALL]) for number in (0, place))
        tests = (rows[place].get("permutation_test"), rows[place].get("wilcoxon_test"))
        reasons += [f"no test of {metric}: {test['reason']}." for test in tests if test and test["reason"]]
        change = figure(rows[place]["differences"][OVERALL], sign=True)
        table.add_row(metric, before, after, change, *(_p(test) for test in tests))
    for row in record["tubes"]:
        if row["contender"] == contender:
            table.add_section()
            _add_tubes(table, row)
    out.print(table)
    for reason in dict.fromkeys(reasons):
        out.print(reason, markup=False, soft_wrap=True)


def _p(test: PairedTestRecord | None) -> str:
    if test is None or test["p"] is None:
        return "" if test is None else "–"
    return f"{test['corrected']:.3g}"


def _add_tubes(table: Table, row: TubesRow) -> None:
    table.add_row("IoU of the two tubes", "", "", figure(row["iou"]))
    before, after = (f"{size:.0f}" for size in row["size"])
    table.add_row("tube size, positions", before, after, figure(row["size_difference"], sign=True, digits=1))
    if "truth_iou" in row:
        before, after = (f"{overlap:.4f}" for overlap in row["truth_iou"])
        table.add_row("IoU with the truth", before, after, figure(row["truth_iou_difference"], sign=True))
    trackers = " and ".join(dict.fromkeys(row["trackers"]))
    caption = f"tubes of {row['clips']} clip{'' if row['clips'] == 1 else 's'}, tracked by {trackers}"
    table.caption, table.caption_justify = Text(caption), "left"


def value(interval: IntervalRecord) -> str:
    """`0.8476`; a dash where there is no value."""
    return "–" if interval["value"] is None else f"{interval['value']:.4f}"


def figure(interval: IntervalRecord, sign: bool = False, digits: int = 4) -> str:
    """`0.8476 [0.8012, 0.8820]`; a dash where there is no value."""
    form = f"{'+' if sign else ''}.{digits}f"
    if interval["value"] is None:
        return "–"
    if interval["low"] is None:
        return format(interval["value"], form)
    low, high = (format(end, form) for end in (interval["low"], interval["high"]))
    left_out = f", {interval['undefined']} draws without value" if interval["undefined"] else ""
    return f"{interval['value']:{form}} [{low}, {high}{left_out}]"

"""How `tubeflow compare` is shown on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Column, Table

from flows.console import out
from tasks.scoring import OVERALL


def print_comparison(record: Mapping[str, Any]) -> None:
    """Per metric: every contender with intervals, published figures below; differences and tests; tubes; notes."""
    clips = ", ".join(f"{action or 'clips'} {count}" for action, count in record["clips"].items())
    out.print(
        f"Dataset {record['dataset']}, {record['split']} split, {record['weights']} epoch; {clips}. "
        "In brackets: 95 % bootstrap interval over clips.",
        markup=False,
    )
    for metric, rows in record["metrics"].items():
        _print_figures(metric, rows, record["published"])
    for metric, rows in record["metrics"].items():
        for row in rows[1:]:
            _print_difference(metric, row, rows[0]["contender"])
    for row in record["tubes"]:
        _print_tubes(row)
    for source in dict.fromkeys(row["source"] for row in record["published"]):
        methods = dict.fromkeys(row["method"] for row in record["published"] if row["source"] == source)
        out.print(f"published: {', '.join(methods)}: {source}", markup=False, soft_wrap=True)
    for name, what in record["missing"].items():
        out.print(f"not known here, {name}: {'; '.join(what)}", markup=False, soft_wrap=True)
    for note in record["notes"]:
        out.print(note, markup=False, soft_wrap=True)


def _print_figures(metric: str, rows: list[dict[str, Any]], published: list[dict[str, Any]]) -> None:
    actions = list(rows[0]["figures"])
    shown = actions if len(actions) > 2 else [OVERALL]
    # Names of actions are folded: cut off, sync_diving_3m and sync_diving_10m would be one.
    table = Table(metric, *(Column(action or "clips", overflow="fold") for action in shown))
    for row in rows:
        table.add_row(row["contender"], *(figure(row["figures"][action]) for action in shown))
    table.add_section()
    for method in dict.fromkeys(row["method"] for row in published if row["metric"] == metric):
        known = {r["action"]: r for r in published if r["method"] == method and r["metric"] == metric}
        cells = (f"{known[action]['value']:.4f}" if action in known else "" for action in shown)
        table.add_row(f"{method} (published)", *cells)
    out.print(table)


def _print_difference(metric: str, row: Mapping[str, Any], baseline: str) -> None:
    tests = []
    for name, test in (("permutation", row["permutation_test"]), ("Wilcoxon", row.get("wilcoxon_test"))):
        if test is not None:
            tests.append(f"{name} p = {test['p']:.3g}" if test["p"] is not None else f"{name}: {test['reason']}")
    difference = figure(row["differences"][OVERALL], sign=True)
    out.print(
        f"{metric}: {row['contender']} less {baseline}: {difference}; {'; '.join(tests)}", markup=False, soft_wrap=True
    )


def _print_tubes(row: Mapping[str, Any]) -> None:
    after, before = row["size"][1], row["size"][0]
    out.print(
        f"tubes of {row['contender']} ({row['trackers'][1]}) and {row['baseline']} ({row['trackers'][0]}), "
        f"{row['clips']} clips: IoU {figure(row['iou'])}, size {after:.0f} and {before:.0f} positions, "
        f"difference {figure(row['size_difference'], sign=True, digits=1)}",
        markup=False,
        soft_wrap=True,
    )
    if "truth_iou" in row:
        a, b = row["truth_iou"]
        change = figure(row["truth_iou_difference"], sign=True)
        out.print(f"  IoU with the truth {b:.4f} and {a:.4f}, difference {change}", markup=False, soft_wrap=True)


def figure(interval: Mapping[str, Any], sign: bool = False, digits: int = 4) -> str:
    """`0.8476 [0.8012, 0.8820]`; a dash where there is no value."""
    form = f"{'+' if sign else ''}.{digits}f"
    if interval["value"] is None:
        return "–"
    if interval["low"] is None:
        return format(interval["value"], form)
    low, high = (format(interval[end], form) for end in ("low", "high"))
    left_out = f", {interval['undefined']} draws without value" if interval["undefined"] else ""
    return f"{interval['value']:{form}} [{low}, {high}{left_out}]"

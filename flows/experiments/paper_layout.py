"""The TSA-Net paper's tables with ours beside: the same columns, filled from the runs that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data_catalog.catalog import Workspace
from data_catalog.store import ArtifactDamaged
from data_catalog.weights.registry import WeightsError
from flows.experiments.comparison_record import MetricRow, OurRow, PaperTableRecord
from flows.experiments.contenders import Contender
from flows.experiments.published import PaperColumn, PaperTable, paper_tables
from flows.runs.attention_form import attention_form
from tasks.training.config import ModelConfig
from tasks.training.score_table import OVERALL

SYSTEMS = {
    (False, "mean", "usdl"): "USDL",
    (False, "mean", "musdl"): "MUSDL",
    (True, "mean", "svr"): "C3D-SVR",
    (True, "lstm", "linear"): "C3D-LSTM",
    (True, "mean", "regression"): "C3D-AVG-STL",
}
"""Networks without attention in Tables 1 and 4: whether C3D, temporal module and head → name."""

Figures = Mapping[tuple[str, str], float | None]
"""Metric and action → a contender's figure; what is not there is not known."""


def paper_layout(
    workspace: Workspace,
    adapter: str,
    contenders: Sequence[Contender],
    metrics: Mapping[str, Sequence[MetricRow]],
    clips: Mapping[str, Sequence[str]],
) -> list[PaperTableRecord]:
    """The paper's tables on the datasets that `adapter` reads, each with a row for every contender.

    Args:
        workspace: where the tube masks are, of which costs are counted.
        adapter: of the dataset that is compared.
        contenders: in the order of `metrics`.
        metrics: `compare`'s figures: metric → one row a contender.
        clips: action → the clips compared.

    Returns:
        One record a table; numbers are in the paper's units, None where there is none.
    """
    tables = paper_tables(adapter)
    if not tables:
        return []
    counted = any(column.metric in ("attention_macs", "macs_saved") for table in tables for column in table.columns)
    ours = [_figures(metrics, place) for place in range(len(contenders))]
    if counted:
        for contender, figures in zip(contenders, ours, strict=True):
            figures.update(_costs(workspace, contender, clips))
    names = [network_name(contender.first.config.model) for contender in contenders]
    dense = next((figures for name, figures in zip(names, ours, strict=True) if name == "NL-Net"), {})
    for figures in ours:
        figures.update(_changes(figures, dense))
    return [
        {
            "table": table.name,
            "caption": table.caption,
            "columns": [column.title for column in table.columns],
            "printed": [{"name": row, "values": list(values)} for row, values in table.rows.items()],
            "ours": [
                row
                for contender, name, figures in zip(contenders, names, ours, strict=True)
                for row in _rows(table, contender.label, name, figures)
            ],
        }
        for table in tables
    ]


def network_name(model: ModelConfig) -> str:
    """What the paper would call a network: NL-Net, TSA-Net, TSAx2-Net, USDL and so on, else Plain-Net."""
    if model.attention == "none":
        return SYSTEMS.get((model.backbone.startswith("c3d"), model.temporal, model.head), "Plain-Net")
    kinds = {"nonlocal": "NL", "tsa": "TSA"}
    kind = kinds.get(model.attention, model.attention)
    return f"{kind}-Net" if model.stacks == 1 else f"{kind}x{model.stacks}-Net"


def _figures(
    metrics: Mapping[str, Sequence[MetricRow]], place: int
) -> dict[tuple[str, str], float | None]:
    return {
        (metric, action): figure["value"]
        for metric, rows in metrics.items()
        for action, figure in rows[place]["figures"].items()
    }


def _costs(
    workspace: Workspace, contender: Contender, clips: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], float | None]:
    """Multiply-accumulates of a contender's attention as Table 3 counts them, and of dense attention in its place.

    Over all actions they are plain means of the actions', as in Table 3.
    """
    kind = contender.first.config.model.attention
    if kind == "none":
        return {}
    try:
        form = attention_form(contender.first.config.model, workspace.weights)
    except WeightsError:
        return {}  # how large the network was is known by weights that are gone; the scores are still there
    keys: dict[str, str] = {}
    for run in contender.seeds[0]:
        keys |= run.keys.get("masks", {})
    own: dict[str, float] = {}
    dense: dict[str, float] = {}
    for action, members in clips.items():
        try:
            masks = [workspace.store.read("masks", keys[clip], ["mask"]).arrays["mask"] for clip in members]
        except (KeyError, FileNotFoundError, ArtifactDamaged):
            return {}  # removed by `tubeflow gc`; the scores are still there
        dense[action] = float(np.mean([form.dense(mask.size).printed for mask in masks]))
        tubes = [form.cost(form.positions(mask)).printed for mask in masks]
        own[action] = dense[action] if kind == "nonlocal" else float(np.mean(tubes))
    saved = {action: own[action] / dense[action] - 1 for action in own}
    found: dict[tuple[str, str], float | None] = {}
    for name, values in (("attention_macs", own), ("dense_macs", dense), ("macs_saved", saved)):
        found |= {(name, action): value for action, value in values.items()}
        found[name, OVERALL] = float(np.mean(list(values.values())))
    return found


def _changes(figures: Figures, dense: Figures) -> dict[tuple[str, str], float | None]:
    """Correlations less those of the dense network among the contenders."""
    changes: dict[tuple[str, str], float | None] = {}
    for (metric, action), value in figures.items():
        other = dense.get((metric, action))
        if metric == "spearman" and value is not None and other is not None:
            changes["spearman_change", action] = value - other
    return changes


def _rows(table: PaperTable, label: str, network: str, figures: Figures) -> list[OurRow]:
    """A contender's rows of a table: one, or where rows are actions, one for each action that it has."""
    if table.row_actions is None:
        values = [_value(figures, column.metric, column.action, column) for column in table.columns]
        return [{"contender": label, "network": network, "name": label, "values": values}]
    if not network.startswith("TSA"):
        return []  # the table compares tubes with the dense network
    rows: list[OurRow] = []
    for name, action in table.row_actions.items():
        if ("spearman", action) in figures:
            values = [_value(figures, _metric_of(column), action, column) for column in table.columns]
            rows.append({"contender": label, "network": network, "name": name, "values": values})
    return rows


def _metric_of(column: PaperColumn) -> str:
    return "dense_macs" if (column.method, column.metric) == ("NL-Net", "attention_macs") else column.metric


def _value(figures: Figures, metric: str, action: str, column: PaperColumn) -> float | None:
    value = figures.get((metric, action))
    return None if value is None else value / column.scale

"""`tubeflow compare`: runs and experiments beside each other and beside published figures, with intervals and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data_catalog.catalog import CatalogError, Workspace
from flows.config import ConfigError
from flows.experiments.comparison_record import (
    ComparisonRecord,
    IntervalRecord,
    MetricRow,
    UndefinedRow,
    interval_record,
    paired_test_record,
)
from flows.experiments.contenders import Contender, find_contenders, join_seeds
from flows.experiments.interval_compare import compare_intervals
from flows.experiments.paper_layout import paper_layout
from flows.experiments.published import missing_figures, paper_tables, published, published_rows
from flows.experiments.step_compare import compare_steps
from flows.experiments.tube_compare import compare_tubes
from models.metrics.comparison import (
    METRICS,
    REPETITIONS,
    ActionPredictions,
    Bootstrap,
    PairedTest,
    bootstrap,
    error_test,
    holm,
    permutation_test,
)
from tasks.engine import progress
from tasks.training.score_table import OVERALL, score_table

SCORE_METRICS, LABEL_METRICS = ("spearman", "r_l2", "mse"), ("accuracy",)


@dataclass(frozen=True)
class Question:
    """What is compared: weights `last` or `best`, the split, how often clips are drawn again, the baseline's label."""

    weights: str = "last"
    split: str = "test"
    repetitions: int = REPETITIONS
    baseline: str | None = None


def compare(workspace: Workspace, names: Sequence[str], question: Question) -> ComparisonRecord:
    """Compare runs and experiments on the clips that all of them predict; the first is the baseline if none is named.

    Raises:
        CatalogError, ConfigError: they can't be compared; the message says why.
    """
    if question.weights not in ("last", "best"):
        raise ConfigError(f"A run keeps the weights 'last' and 'best', not '{question.weights}'.")
    contenders = _distinct(join_seeds(one for name in names for one in find_contenders(workspace, name)))
    contenders = _baseline_first(contenders, question.baseline)
    dataset = _same_dataset(contenders)
    heads = {contender.first.config.model.head == "classification" for contender in contenders}
    if len(heads) > 1:
        raise CatalogError("Scores and classes can't be compared; choose runs of one kind of model.head.")
    tables = [contender.predictions(question.weights, question.split) for contender in contenders]
    samples, clips = align([c.label for c in contenders], tables)
    names_of = LABEL_METRICS if heads == {True} else SCORE_METRICS
    adapter = workspace.datasets.info(dataset).adapter
    metrics = {}
    for done, name in enumerate(names_of):
        progress.report("compare", done, len(names_of), name)
        metrics[name] = _figures(name, contenders, samples, question)
    progress.report("compare", len(names_of), len(names_of))
    action_of = tables[0][0].set_index("clip_id")["action"]
    members = {action: [clip for clip in clips if action_of[clip] == action] for action in samples}
    return {
        "dataset": dataset,
        "weights": question.weights,
        "split": question.split,
        "clips": {action: len(sample.truth) for action, sample in samples.items()},
        "contenders": [
            {"label": one.label, "seeds": [[run.run_id for run in runs] for runs in one.seeds]} for one in contenders
        ],
        "metrics": metrics,
        "correction": {"method": "Holm", "comparisons": len(contenders) - 1},
        "undefined": _undefined(contenders, samples, names_of, heads == {True}),
        "published": published_rows(adapter, names_of),
        "paper": paper_layout(workspace, adapter, contenders, metrics, members),
        "missing": missing_figures(adapter),
        "tubes": [
            row
            for one in contenders[1:]
            if (row := compare_tubes(workspace, contenders[0], one, clips, question.repetitions)) is not None
        ],
        "intervals": [
            row
            for one, of_seeds in zip(contenders, tables, strict=True)
            for row in compare_intervals(one.label, of_seeds, clips)
        ],
        "steps": [
            row
            for one, of_seeds in zip(contenders, tables, strict=True)
            for row in compare_steps(one.label, of_seeds, clips, question.repetitions)
        ],
        "notes": _notes(tables, len(clips), adapter),
    }


def _distinct(contenders: Iterable[Contender]) -> list[Contender]:
    found: dict[str, Contender] = {}
    for contender in contenders:
        label = contender.label if contender.label not in found else f"{contender.label} ({contender.first.run_id})"
        found[label] = Contender(label, contender.seeds)
    return list(found.values())


def _baseline_first(contenders: Sequence[Contender], baseline: str | None) -> list[Contender]:
    if baseline is None:
        return list(contenders)
    if all(one.label != baseline for one in contenders):
        raise CatalogError(f"There is no row '{baseline}'; rows: {'; '.join(one.label for one in contenders)}.")
    return sorted(contenders, key=lambda one: one.label != baseline)


def _same_dataset(contenders: Sequence[Contender]) -> str:
    datasets = {run.dataset for contender in contenders for runs in contender.seeds for run in runs}
    if len(datasets) > 1:
        raise CatalogError(f"The runs are of different datasets ({', '.join(sorted(datasets))}); choose runs of one.")
    return datasets.pop()


def align(
    labels: Sequence[str], tables: Sequence[Sequence[pd.DataFrame]]
) -> tuple[dict[str, ActionPredictions], list[str]]:
    """Predictions of the clips that every contender has, per action; and the ids of these clips.

    Args:
        labels: for messages.
        tables: per contender and seed, columns clip_id, action, true, predicted.

    Raises:
        CatalogError: no clip in common, or a clip whose label was changed between two runs.
    """
    indexed = [[table.set_index("clip_id") for table in one] for one in tables]
    first = indexed[0][0]
    common = [
        clip
        for clip in first.index[np.isfinite(first["true"].to_numpy(float))]
        if all(clip in table.index for one in indexed for table in one)
    ]
    if not common:
        raise CatalogError(f"{' and '.join(labels)} have no labelled clip in common; choose runs of the same split.")
    for label, one in zip(labels, indexed, strict=True):
        for table in one:
            changed = table.loc[common, "true"].to_numpy(float) != first.loc[common, "true"].to_numpy(float)
            if changed.any():
                clip = common[int(np.flatnonzero(changed)[0])]
                raise CatalogError(
                    f"The label of clip '{clip}' was changed between {labels[0]} and {label}; rerun one."
                )
    samples = {}
    for action in sorted(set(first.loc[common, "action"])):
        members = [clip for clip in common if first.loc[clip, "action"] == action]
        predictions = [np.stack([table.loc[members, "predicted"].to_numpy(float) for table in one]) for one in indexed]
        samples[action] = ActionPredictions(first.loc[members, "true"].to_numpy(float), predictions)
    return samples, common


def _figures(
    metric: str, contenders: Sequence[Contender], samples: Mapping[str, ActionPredictions], question: Question
) -> list[MetricRow]:
    """One row a contender, each with figures per action and over all."""
    how = METRICS[metric]
    prepared = how.prepare(samples)
    drawn = bootstrap(prepared, how.score, how.join, question.repetitions)
    others = range(1, len(contenders))
    rows: list[MetricRow] = [
        {"contender": contender.label, "figures": _per_action(drawn, samples, number)}
        for number, contender in enumerate(contenders)
    ]
    several = [number for number, contender in enumerate(contenders) if len(contender.seeds) > 1]
    if several:
        together = {action: sample.ensembles() for action, sample in samples.items()}
        of_ensembles = bootstrap(how.prepare(together), how.score, how.join, question.repetitions)
        for number in several:
            rows[number]["ensemble"] = _per_action(of_ensembles, together, number)
    tests = [permutation_test(prepared, one, 0, how.score, how.join, question.repetitions) for one in others]
    for number, test in zip(others, holm(tests), strict=True):
        rows[number]["differences"] = _per_action(drawn, samples, number, 0)
        rows[number]["permutation_test"] = paired_test_record(test)
    if metric == "mse":
        for number, test in zip(others, holm([_errors(samples, one) for one in others]), strict=True):
            rows[number]["wilcoxon_test"] = paired_test_record(test)
    return rows


def _per_action(
    drawn: Bootstrap, samples: Mapping[str, ActionPredictions], model: int, baseline: int | None = None
) -> dict[str, IntervalRecord]:
    places: list[tuple[str, str | None]] = [(action, action) for action in samples]
    return {
        shown: interval_record(
            drawn.interval(model, action) if baseline is None else drawn.difference(model, baseline, action)
        )
        for shown, action in [*places, (OVERALL, None)]
    }


def _undefined(
    contenders: Sequence[Contender], samples: Mapping[str, ActionPredictions], names: Sequence[str], classifies: bool
) -> list[UndefinedRow]:
    """Why figures have no value: contender, action, metric, reason; of the first such seed."""
    truth = np.concatenate([sample.truth for sample in samples.values()])
    actions = [action for action, sample in samples.items() for _ in sample.truth]
    found: dict[tuple[str, str, str], str] = {}
    for place, contender in enumerate(contenders):
        for seed in np.concatenate([sample.predictions[place] for sample in samples.values()], axis=1):
            table = score_table(truth, seed, actions, classifies)
            for action in samples:
                for name in names:
                    if (reason := table[action][name].undefined) is not None:
                        found.setdefault((contender.label, action, name), reason)
    return [
        {"contender": label, "action": action, "metric": name, "reason": reason}
        for (label, action, name), reason in found.items()
    ]


def _errors(samples: Mapping[str, ActionPredictions], model: int) -> PairedTest:
    truth = np.concatenate([sample.truth for sample in samples.values()])
    a, b = (
        np.concatenate([sample.predictions[number] for sample in samples.values()], axis=1) for number in (model, 0)
    )
    if len(a) + len(b) > 2:
        return PairedTest(None, "signed ranks over clips leave out the spread of seeds; see the permutation test")
    return error_test(truth, a, b)


def _notes(tables: Sequence[Sequence[pd.DataFrame]], common: int, adapter: str) -> list[str]:
    notes = []
    most = max(len(table) for one in tables for table in one)
    if most > common:
        notes.append(
            f"{most - common} of {most} clips are left out: not every run predicts them, or no label is known."
        )
    if not paper_tables(adapter) and all(table.dataset != adapter for table in published().tables):
        notes.append(f"Published figures are of real datasets; there are none for one of adapter '{adapter}'.")
    return notes

"""Learning rates of the bench `procedural_aqa`: tuned for each row alone, by clips that are held out of its training.

Every row has the same budget: each rate of `RATES` with each seed of `SEEDS`, trained on three quarters of the training
clips and ranked on the last quarter; the test clips have no say. Seeds differ from those of the rows that are reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from data_catalog.catalog import CatalogError, Workspace
from flows.experiments.contenders import SEED, Contender, experiment_records, find_contenders
from flows.experiments.matrix import Matrix
from tasks.training.score_table import OVERALL, score_table

RATES = (3e-4, 1e-3, 3e-3)
SEEDS = (100,)
RATE = "train.lr"
SETTINGS = ("train.validation=0.25", 'evaluate.splits=["validation"]')
SUFFIX = "-rates"
"""What the matrix of a study's rates is called beyond the study's own."""


def tuned(matrix: Matrix) -> list[str]:
    """The rows whose rate is tuned: those that don't say themselves which one they take."""
    return [row for row, fields in matrix.variants.items() if RATE not in fields]


def rates_matrix(matrix: Matrix) -> Matrix:
    """Every tuned row with every rate and seed of the budget."""
    variants = {row: matrix.variants[row] for row in tuned(matrix)}
    axes = {SEED: list(SEEDS), RATE: list(RATES)}
    return matrix.model_copy(
        update={"variants": variants, "matrix": axes, "override": (*matrix.override, *SETTINGS)}
    )


def with_rates(matrix: Matrix, chosen: Mapping[str, float]) -> Matrix:
    """The matrix with the chosen rate in each tuned row. Raises CatalogError for a row without one."""
    if without := [row for row in tuned(matrix) if row not in chosen]:
        raise CatalogError(f"No learning rate of '{without[0]}' was tuned yet; run the bench without --read.")
    rates = {row: {RATE: rate} for row, rate in chosen.items() if row in tuned(matrix)}
    variants = {row: {**fields, **rates.get(row, {})} for row, fields in matrix.variants.items()}
    return matrix.model_copy(update={"variants": variants})


def tuned_contenders(workspace: Workspace, study_matrix: str) -> Iterator[Contender]:
    """What was run to tune a study's rates, oldest first."""
    for record in experiment_records(workspace):
        if record["matrix"] == study_matrix + SUFFIX and any(cell["run_id"] for cell in record["cells"]):
            yield from find_contenders(workspace, record["experiment_id"])


def measured_rates(workspace: Workspace, study_matrix: str) -> dict[str, dict[float, float]]:
    """Row → rate → Spearman on the validation clips, mean over seeds; a constant prediction ranks at 0.

    All experiments of the study's rates count, the latest run of a cell in the place of an earlier one.
    """
    found: dict[tuple[str, float], dict[int, float]] = {}
    for contender in tuned_contenders(workspace, study_matrix):
        row = contender.label.split(f", {RATE}=")[0]
        for runs, table in zip(contender.seeds, contender.predictions("last", "validation"), strict=True):
            training = runs[0].config.train
            metrics = score_table(
                table["true"].to_numpy(float), table["predicted"].to_numpy(float), table["action"].tolist(), False
            )
            value = metrics[OVERALL]["spearman"].value
            found.setdefault((row, training.lr), {})[training.seed] = 0.0 if value is None else value
    means: dict[str, dict[float, float]] = {}
    for (row, rate), values in found.items():
        if set(values) >= set(SEEDS):
            means.setdefault(row, {})[rate] = fmean(values[seed] for seed in SEEDS)
    return means


def best_rates(measured: Mapping[str, Mapping[float, float]], rates: Sequence[float] = RATES) -> dict[str, float]:
    """Row → the rate that ranked best, the smaller of equals; rows that lack a rate are left out."""
    whole = {row: by_rate for row, by_rate in measured.items() if set(by_rate) >= set(rates)}
    return {row: min(rates, key=lambda rate: (-by_rate[rate], rate)) for row, by_rate in whole.items()}

"""Claim to be tested: attention inside the athlete's tube scores better than none, at a fraction of Non-local's cost.

    python -m benchmarks.procedural_aqa --workspace W            # draws, tunes, runs, prints; again: from the cache
    python -m benchmarks.procedural_aqa --workspace W --into docs/results.md --plot docs/results.png    # into the page
    python -m benchmarks.procedural_aqa --workspace W --read     # prints what was run
    python -m benchmarks.procedural_aqa --workspace W --only tubes --row 'TSA-Net, tracker mil' --seed 0    # a part
    python -m benchmarks.procedural_aqa --workspace W --gpu      # the full I3D at the paper's lengths, from pixels

The models are rows of matrices, `flows/experiments/matrices/procedural*.yaml`, run through the pipeline itself, so a
run that was stopped resumes where it was, and parts that were run are joined. Data: procedural dives of two divers of
whom one is judged, and nothing in the picture tells who (`pairs`); the same judged by a relation between two moments,
so that positions have to be compared, which behind a frozen network and before a linear head only the form can do
(`relation`), before a perceptron the head as well (`relation-perceptron`); as `pairs` from so far away that a tube is a
few positions (`distant`); a judged diver whom the camera keeps in the middle, between two others (`centred`); and
`pairs` with other tubes (`tubes`).

But for a few rows from pixels (`pixels`) all stand on a frozen stage 1, of a PlainNet that was trained once on other
dives of single divers, whose features are computed once a clip; what stands behind it is trained. Before that each
row's learning rate is tuned on clips held out of its training (`benchmarks.procedural_rates`), with one budget for all;
not so in `pixels`, whose matrix names one for all rows.

Two tables a study. Spearman: mean of the seeds' figures at the last epoch, and in brackets the 95 % interval over
held-out clips and seeds. Slopes: by how many points predictions follow what the score depends on in the judged diver's
dive, and in the other's. Differences with intervals, and p (permutation of seeds with draws of clips, corrected by
Holm's method over the table), against PlainNet or, where one thing about TSA-Net is varied, against TSA-Net. MACs of
what stands at the cut on the held-out clips' own tubes, mean of a clip: as the paper counts (g and W_z), and all of it
as written. The row of the tracker `nano` needs its weights: `tubeflow weights pull nanotrack_v3`; without them the
command says so and continues.
"""

import flows.quiet  # noqa: F401  # isort: skip  # before anything that imports Prefect

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.procedural_causes import held_out_causes
from benchmarks.procedural_cells import side_by_side
from benchmarks.procedural_plot import draw
from benchmarks.procedural_probe import probe_table, single_positions, tube_features
from benchmarks.procedural_rates import (
    SUFFIX,
    best_rates,
    measured_rates,
    rates_matrix,
    tuned,
    tuned_contenders,
    with_rates,
)
from benchmarks.procedural_studies import FEW, STUDIES, Study, prepare, prepare_stage1
from benchmarks.procedural_tables import TSA, agreeing, findings, rate_table, tables, training_time, write_block
from data_catalog.catalog import CatalogError, Workspace
from flows.config import PipelineConfig
from flows.execution.server.temporary_server import temporary_server
from flows.experiments.contenders import SEED, ExperimentRecord, experiment_records
from flows.experiments.matrix import Cell, Matrix, dataset_actions, expand, load_matrix, run_matrix
from flows.local_run import run_pipeline
from flows.stages import Selection

GPU = (
    "model.backbone=i3d",
    "pack.input_size=224",
    "normalize.length=103",
    "masks.starts=[0, 10, 20, 30, 40, 50, 60, 70, 80, 87]",
    "train.epochs=40",
    "train.lr=1.0e-4",
    "train.precision=bf16-mixed",
    "engine.device=cuda",
    "features.mode=none",
    "model.weights=null",
)


def part_of(matrix: Matrix, seeds: Sequence[int] | None, rows: Sequence[str] | None) -> Matrix:
    """The matrix with those seeds and variants alone. Raises CatalogError for a row that it doesn't have."""
    changes: dict[str, Any] = {}
    if seeds:
        changes["matrix"] = {**matrix.matrix, SEED: list(seeds)}
    if rows:
        changes["variants"] = {row: fields for row, fields in matrix.variants.items() if row in rows}
        if unknown := set(rows) - set(matrix.variants):
            raise CatalogError(f"There is no row '{min(unknown)}'; rows: {', '.join(matrix.variants)}.")
    return matrix.model_copy(update=changes)


def wanted(study: Study, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that are run: of rows that carry no claim only those of the first `FEW` seeds."""
    seeds = list(dict.fromkeys(cell.config.train.seed for cell in cells))
    return [cell for cell in cells if cell.variant in study.claims or cell.config.train.seed in seeds[:FEW]]


def run(
    workspace: Workspace, study: Study, name: str, cells: Sequence[Cell], processes: int
) -> ExperimentRecord:
    """Run those cells of a matrix of that name, several at once, and return the experiment's record.

    What they have in common is made first, with all processors for one run after the other.
    """
    for shared in {_clips_key(cell.config): cell.config for cell in cells}.values():
        run_pipeline(shared, study.dataset, workspace.root, Selection(until="pack"))
    with side_by_side(cells, study.dataset, workspace.root, processes) as run_cell:
        record = run_matrix(workspace, name, study.dataset, cells, run_cell)
    for cell in record["cells"]:
        if cell["why"]:
            print(f"{cell['variant']}, {cell['changes']}: {cell['why']}", flush=True)
    return record


def _clips_key(config: PipelineConfig) -> str:
    """What of a config decides what is made of the clips."""
    parts = config.model_dump(mode="json", include={"normalize", "detect", "track", "masks", "pack", "features"})
    return json.dumps([parts, config.model.weights, config.model.backbone], sort_keys=True)


def tune_and_run(workspace: Workspace, study: Study, options: argparse.Namespace) -> None:
    """Tune the learning rates of the study's rows where that wasn't done, then run them."""
    matrix = part_of(load_matrix(study.matrix), options.seed, options.row)
    workers = [f"engine.workers={options.workers}"] if options.workers else []
    overrides = [*(GPU if options.gpu else ()), *workers, *options.override]
    actions = dataset_actions(workspace, study.dataset)
    if options.gpu:  # trained from pixels at one rate, which `GPU` names
        run(workspace, study, study.matrix, wanted(study, expand(matrix, overrides, actions)), options.processes)
        return
    if tuned(matrix):
        cells = expand(rates_matrix(matrix), overrides, actions)
        run(workspace, study, study.matrix + SUFFIX, cells, options.processes)
    chosen = best_rates(measured_rates(workspace, study.matrix))
    cells = wanted(study, expand(with_rates(matrix, chosen), overrides, actions))
    run(workspace, study, study.matrix, cells, options.processes)


def experiments(workspace: Workspace, study: Study) -> list[str]:
    """The experiments of the study's matrix that agree with the latest one in their settings, oldest first.

    Raises:
        CatalogError: it was never run.
    """
    found = [one["experiment_id"] for one in experiment_records(workspace) if one["matrix"] == study.matrix]
    if not found:
        raise CatalogError(f"The matrix '{study.matrix}' was not run in this workspace yet; leave out --read.")
    kept = agreeing(workspace, found)
    if left_out := sorted(set(found) - set(kept)):
        print(f"Left out, as their settings are others or nothing in them was run: {', '.join(left_out)}")
    return kept


def options_of_command_line() -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--read", action="store_true", help="print what was run, run nothing")
    parser.add_argument("--experiment", action="append", help="print this one only, run nothing; repeatable")
    parser.add_argument("--only", choices=[study.name for study in STUDIES], action="append", help="this study")
    parser.add_argument("--row", action="append", help="this row only; repeatable; goes with --only")
    parser.add_argument("--seed", type=int, action="append", help="this seed only; repeatable")
    parser.add_argument("--gpu", action="store_true", help="full I3D, 103 frames, ten segments, 40 epochs, on CUDA")
    parser.add_argument("--workers", type=int, help="processes that draw, clips at once; all cores if not given")
    parser.add_argument("--processes", type=int, help="trainings at once, each of one thread; all cores if not given")
    parser.add_argument("--repetitions", type=int, default=2000, help="bootstrap draws and permutations")
    parser.add_argument("--into", type=Path, help="a page that has a place for each study, e.g. docs/results.md")
    parser.add_argument("--plot", type=Path, help="a PNG of the first study, e.g. docs/results.png")
    parser.add_argument("-o", "--override", action="append", default=[], help="section.field=value for all rows")
    options = parser.parse_args()
    options.processes = options.processes or len(os.sched_getaffinity(0))
    if (options.experiment or options.row) and len(options.only or ()) != 1:
        parser.error("--experiment and --row go with --only, which says of what study")
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu was asked, but PyTorch sees no CUDA device here")
    return options


def main() -> int:
    """Command line: draw, run and print, or print only."""
    options = options_of_command_line()
    workspace = Workspace.open(options.workspace)
    asked = [study for study in STUDIES if not options.only or study.name in options.only]
    if not (options.read or options.experiment):
        with temporary_server(print):  # one for all
            for study in asked:
                if study.stage1 is not None and not options.gpu:
                    prepare_stage1(workspace, study.stage1, options.workers)
                prepare(workspace, study, options.workers)
                tune_and_run(workspace, study, options)
    for study in asked:
        names = options.experiment or experiments(workspace, study)
        causes = held_out_causes(Path(workspace.datasets.info(study.dataset).root), study.cause)
        own, mean = causes.ranks()
        known = (
            f"The athlete's {study.cause} alone ranks these clips at {own:.3f}, the mean {study.cause} of all at "
            f"{mean:.3f}."
        )
        found = findings(workspace, names, options.repetitions)
        rates = "Learning rates were not tuned."
        if tuned(load_matrix(study.matrix)):
            rates = rate_table(measured_rates(workspace, study.matrix))
        trained = training_time(workspace, [*found.contenders, *tuned_contenders(workspace, study.matrix)])
        text = f"{tables(found, causes)}\n\n{known}\n\n{rates}\n\n{trained}"
        if study.probed:
            tube = next(one for one in found.contenders if one.label == TSA)
            probed = probe_table(single_positions(tube_features(workspace, tube)))
            text += f"\n\nWhat linear maps of single positions of the tube say about the score:\n\n{probed}"
        print(f"\n{study.name}: matrix {study.matrix}, dataset {study.dataset}\n\n{text}", flush=True)
        if options.into:
            write_block(options.into, study.name, text)
        if options.plot and study is STUDIES[0]:
            draw(found, causes, options.plot)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CatalogError as exc:
        raise SystemExit(str(exc)) from None

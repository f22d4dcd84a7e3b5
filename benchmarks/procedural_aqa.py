"""Claim to be tested: attention inside the athlete's tube scores better than none, at a fraction of Non-local's cost.

    python -m benchmarks.procedural_aqa --workspace W            # draws, runs, prints; again: from the cache
    python -m benchmarks.procedural_aqa --workspace W --into docs/results.md --plot docs/results.png    # into the page
    python -m benchmarks.procedural_aqa --workspace W --read     # prints what was run
    python -m benchmarks.procedural_aqa --workspace W --only pairs --row 'TSA-Net, tracker mil' --seed 0    # a part
    python -m benchmarks.procedural_aqa --workspace W --gpu      # the full I3D at the paper's lengths

The models are rows of matrices, `flows/experiments/matrices/procedural*.yaml`, run through the pipeline itself, so a
run that was stopped resumes where it was, and parts that were run are joined. Data: procedural dives of two divers of
whom one is judged, and nothing in the picture tells who (`pairs`); the same from so far away that a tube is a few
positions (`distant`); and a judged diver whom the camera keeps in the middle, between two others (`centred`).

Two tables a study. Spearman: mean of the seeds' figures at the last epoch, and in brackets the 95 % bootstrap interval
over held-out clips; the figure of each seed ± their standard deviation. Slopes: by how many points predictions follow
the judged diver's splash, and the other's. Differences with intervals, and p (paired permutation test), against
PlainNet or, where one thing about TSA-Net is varied, against TSA-Net. MACs of the attention blocks on the held-out
clips' own tubes, mean of a clip: as the paper counts (g and W_z), and all of it as written. The row of the tracker
`nano` needs its weights: `tubeflow weights pull nanotrack_v3`; without them the command says so and continues.
"""

import flows.cli.quiet  # noqa: F401  # isort: skip  # before anything that imports Prefect

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.procedural_plot import draw
from benchmarks.procedural_splash import held_out_splashes
from benchmarks.procedural_tables import agreeing, findings, tables, write_block
from data_catalog.catalog import CatalogError, Workspace
from flows.cli.local import run_pipeline
from flows.datasets.ingest import ProceduralSpec, make_procedural
from flows.experiments.contenders import SEED, experiment_records
from flows.experiments.matrix import Matrix, dataset_actions, expand, load_matrix, run_matrix
from flows.tracking.export_tubes import write_quads
from flows.tracking.perturbed_truth import true_tubes

GPU = (
    "model.backbone=i3d",
    "pack.input_size=224",
    "normalize.length=103",
    "masks.starts=[0, 10, 20, 30, 40, 50, 60, 70, 80, 87]",
    "train.epochs=40",
    "train.lr=1.0e-4",
    "train.precision=bf16-mixed",
    "engine.device=cuda",
)


@dataclass(frozen=True)
class Study:
    """A question, the dataset that it is put to, the matrix that is run on it, and the tubes that the matrix names.

    Attributes:
        tubes: name of the file in the workspace's weights → how far the tubes drift from the truth.
    """

    name: str
    dataset: str
    spec: ProceduralSpec
    matrix: str
    tubes: Mapping[str, float]


PAIRS = ProceduralSpec(clips=256, held_out=64, size="640x360", distractors=1, camera="group")
STUDIES = (
    Study("pairs", "pairs", PAIRS, "procedural", {"truth.json": 0.0, "drift25.json": 0.25, "drift100.json": 1.0}),
    Study(
        "distant",
        "distant",
        PAIRS.model_copy(update={"zoom": 0.4}),
        "procedural_distant",
        {"truth-distant.json": 0.0},
    ),
    Study(
        "centred",
        "centred",
        PAIRS.model_copy(update={"distractors": 2, "camera": "athlete"}),
        "procedural_centred",
        {"truth-centred.json": 0.0},
    ),
)


def prepare(workspace: Workspace, study: Study, workers: int | None) -> None:
    """Draw the dataset with so many processes and write the files of tubes, where they aren't there yet.

    A dataset of that name with another number of clips is drawn again, and its tubes with it.
    """
    known = study.dataset in workspace.datasets.names()
    if not known or workspace.datasets.count(study.dataset) != study.spec.clips + study.spec.held_out:
        for name in study.tubes:
            (workspace.weights / name).unlink(missing_ok=True)
        make_procedural(workspace, study.dataset, study.spec, workers=workers)
    workspace.weights.mkdir(parents=True, exist_ok=True)
    for name, drift in study.tubes.items():
        path = workspace.weights / name
        if not path.is_file():
            write_quads(path, true_tubes(workspace, study.dataset, jitter=drift))


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


def run(workspace: Workspace, study: Study, overrides: Sequence[str], matrix: Matrix) -> str:
    """Run every cell of the study's matrix, or of the part of it that is given; give the experiment's id."""
    cells = expand(matrix, overrides, dataset_actions(workspace, study.dataset))
    record = run_matrix(
        workspace,
        study.matrix,
        study.dataset,
        cells,
        lambda config: run_pipeline(config, study.dataset, workspace.root),
    )
    for cell in record["cells"]:
        if cell["why"]:
            print(f"{cell['variant']}, {cell['changes']}: {cell['why']}")
    return str(record["experiment_id"])


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
    parser.add_argument("--repetitions", type=int, default=2000, help="bootstrap draws and permutations")
    parser.add_argument("--into", type=Path, help="a page that has a place for each study, e.g. docs/results.md")
    parser.add_argument("--plot", type=Path, help="a PNG of the first study, e.g. docs/results.png")
    parser.add_argument("-o", "--override", action="append", default=[], help="section.field=value for all rows")
    options = parser.parse_args()
    if (options.experiment or options.row) and len(options.only or ()) != 1:
        parser.error("--experiment and --row go with --only, which says of what study")
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu was asked, but PyTorch sees no CUDA device here")
    return options


def main() -> int:
    """Command line: draw, run and print, or print only."""
    options = options_of_command_line()
    workspace = Workspace.open(options.workspace)
    for study in STUDIES:
        if options.only and study.name not in options.only:
            continue
        if not (options.read or options.experiment):
            prepare(workspace, study, options.workers)
            workers = [f"engine.workers={options.workers}"] if options.workers else []
            overrides = [*(GPU if options.gpu else ()), *workers, *options.override]
            run(workspace, study, overrides, part_of(load_matrix(study.matrix), options.seed, options.row))
        names = options.experiment or experiments(workspace, study)
        splashes = held_out_splashes(Path(workspace.datasets.info(study.dataset).root))
        own, mean = splashes.ranks()
        known = f"The athlete's splash alone ranks these clips at {own:.3f}, the mean splash of all at {mean:.3f}."
        found = findings(workspace, names, options.repetitions)
        text = f"{tables(found, splashes)}\n\n{known}"
        print(f"\n{study.name}: matrix {study.matrix}, dataset {study.dataset}\n\n{text}")
        if options.into:
            write_block(options.into, study.name, text)
        if options.plot and study is STUDIES[0]:
            draw(found, splashes, options.plot)
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CatalogError as exc:
        raise SystemExit(str(exc)) from None

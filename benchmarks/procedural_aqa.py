"""Claim to be tested: attention inside the athlete's tube scores better than none, at a fraction of Non-local's cost.

    python -m benchmarks.procedural_aqa --workspace W            # draws, runs, prints; again: from the cache
    python -m benchmarks.procedural_aqa --workspace W --read     # prints what was run
    python -m benchmarks.procedural_aqa --workspace W --seed 0   # a part of it; parts that were run are joined
    python -m benchmarks.procedural_aqa --workspace W --gpu      # the full I3D at the paper's lengths

The models are rows of three matrices, `flows/matrices/procedural*.yaml`, run through the pipeline itself, so a run that
was stopped goes on where it was. Data: procedural dives of two divers of whom one is judged, and nothing in the picture
tells who (`pairs`); the same from so far away that a tube is a few positions (`distant`); and a judged diver whom the
camera keeps in the middle, between two others (`centred`).

One table a dataset. Spearman: mean of the seeds' figures at the last epoch ± their standard deviation, and in brackets
the 95 % bootstrap interval over held-out clips. Difference and p (paired permutation test) against PlainNet or, where
one thing about TSA-Net is varied, against TSA-Net. MACs of the attention blocks on the held-out clips' own tubes, mean
of a clip: as the paper counts (g and W_z), and all of it as written. The row of the tracker `nano` needs its weights:
`tubeflow weights pull nanotrack_v3`; without them the row says so.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from flows.cli import run_pipeline
from flows.compare import Question, compare
from flows.compare_print import figure
from flows.contenders import SEED, Contender, experiment_records, find_contenders, join_seeds
from flows.datasets import ProceduralSpec, make_procedural
from flows.experiment import dataset_actions, expand, load_matrix, run_matrix, summarise
from flows.flops import attention_channels
from flows.track_truth import true_tubes
from flows.tracks import write_quads
from models.comparison import spearman_many
from models.flops import AttentionCost, attention_cost, in_words, total_cost
from models.tube_growth import grow_tubes
from tasks.scoring import OVERALL

PLAIN, TSA, NONLOCAL = "PlainNet", "TSA-Net", "NL-Net"
AGAINST_PLAIN = (TSA, NONLOCAL, "TSA-Net x2", "TSA-Net x3")
"""Rows that ask whether attention helps; the others vary one thing about TSA-Net and are compared with it."""

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
    """A dataset, the matrix that is run on it, and the files of tubes that the matrix names.

    Attributes:
        tubes: name of the file in the workspace's weights → how far the tubes drift from the truth.
    """

    dataset: str
    spec: ProceduralSpec
    matrix: str
    tubes: Mapping[str, float]


STUDIES = (
    Study(
        "pairs",
        ProceduralSpec(clips=128, size="640x360", distractors=1, camera="group"),
        "procedural",
        {"truth.json": 0.0, "drift25.json": 0.25, "drift100.json": 1.0},
    ),
    Study(
        "distant",
        ProceduralSpec(clips=96, size="640x360", distractors=1, camera="group", zoom=0.4),
        "procedural_distant",
        {"truth-distant.json": 0.0},
    ),
    Study(
        "centred",
        ProceduralSpec(clips=128, size="640x360", distractors=2),
        "procedural_centred",
        {"truth-centred.json": 0.0},
    ),
)


def prepare(workspace: Workspace, study: Study, workers: int | None) -> None:
    """Draw the dataset with so many processes and write the files of tubes, where they aren't there yet."""
    if study.dataset not in workspace.datasets.names():
        make_procedural(workspace, study.dataset, study.spec, workers=workers)
    workspace.weights.mkdir(parents=True, exist_ok=True)
    for name, drift in study.tubes.items():
        path = workspace.weights / name
        if not path.is_file():
            write_quads(path, true_tubes(workspace, study.dataset, jitter=drift))


def run(workspace: Workspace, study: Study, overrides: Sequence[str], seeds: Sequence[int] | None = None) -> str:
    """Run every cell of the study's matrix, or those of some seeds; give the experiment's id."""
    matrix = load_matrix(study.matrix)
    if seeds:
        matrix = matrix.model_copy(update={"matrix": {**matrix.matrix, SEED: list(seeds)}})
    cells = expand(matrix, overrides, dataset_actions(workspace, study.dataset))
    whole: dict[str, Any] = {"only": None, "start": None, "until": None}
    record = run_matrix(
        workspace,
        study.matrix,
        study.dataset,
        cells,
        lambda config: run_pipeline(config, study.dataset, workspace.root, whole, {}),
    )
    for cell in record["cells"]:
        if cell["why"]:
            print(f"{cell['variant']}, {cell['changes']}: {cell['why']}")
    return str(record["experiment_id"])


def experiments(workspace: Workspace, study: Study) -> list[str]:
    """All experiments of the study's matrix, oldest first. Raises CatalogError where it was never run."""
    found = [one["experiment_id"] for one in experiment_records(workspace) if one["matrix"] == study.matrix]
    if not found:
        raise CatalogError(f"The matrix '{study.matrix}' was not run in this workspace yet; leave out --read.")
    return found


def attention_macs(masks: Sequence[NDArray[np.bool_]], contender: Contender) -> AttentionCost:
    """Mean cost for a clip of all attention blocks of a contender.

    Args:
        masks: one (N, T, Hf, Wf) a clip.
        contender: its model says which attention, how many blocks, and how small a tube may be.
    """
    model = contender.first.config.model
    if model.attention == "none":
        return AttentionCost(0, 0, 0, 0)
    channels = attention_channels(contender.first.config)
    floor = int(model.attention_options.get("min_positions", 0))
    affinity = model.affinity or ("softmax" if model.compat == "released" else "dot")
    costs = []
    for mask in masks:
        joined = torch.from_numpy(mask.reshape(1, -1, *mask.shape[2:]))
        positions = mask.size if model.attention == "nonlocal" else int(grow_tubes(joined, floor).sum())
        costs += [attention_cost(positions, channels, affinity=affinity)] * model.stacks
    total, clips = total_cost(costs), len(masks)
    positions = round(total.positions / (clips * model.stacks))  # those of one block: all work on the same tube
    return AttentionCost(positions, total.published // clips, total.true // clips, total.executed // clips)


def held_out_masks(workspace: Workspace, contender: Contender) -> list[NDArray[np.bool_]]:
    """Tube masks of a contender's test clips."""
    run = contender.first
    table = run.predictions()
    clips = sorted(set(table.loc[table["split"] == "test", "clip_id"]))
    return [workspace.store.read("masks", run.keys["masks"][clip], ["mask"]).arrays["mask"] for clip in clips]


def seed_spread(contenders: Sequence[Contender]) -> dict[str, tuple[tuple[float | None, ...], str]]:
    """Label → Spearman of every seed at the last epoch, and their standard deviation in words."""
    chosen = ("last", OVERALL, "spearman")
    rows = [row for row in summarise(contenders) if (row.weights, row.action, row.metric) == chosen]
    return {row.contender: (row.values, "–" if row.spread is None else f"{row.spread:.3f}") for row in rows}


def baseline_of(label: str) -> str | None:
    """The row that a row is compared with; None for PlainNet."""
    if label == PLAIN:
        return None
    return PLAIN if label in AGAINST_PLAIN else TSA


def table(workspace: Workspace, names: Sequence[str], repetitions: int) -> list[list[str]]:
    """The table's cells: one row a contender, in the order of the matrix, after a row of headings.

    Args:
        workspace: the workspace.
        names: experiments of one matrix; where they ran different seeds, a row has all of them.
        repetitions: bootstrap draws.
    """
    contenders = join_seeds(one for name in names for one in find_contenders(workspace, name))
    labels = [one.label for one in contenders]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise CatalogError(f"Row '{twice[0]}' was run with different settings in {', '.join(names)}; use --experiment.")
    if absent := {PLAIN, TSA} - set(labels):
        raise CatalogError(f"There is no figure of {' and '.join(sorted(absent))} yet, which rows are compared with.")
    spread = seed_spread(contenders)
    found = {
        name: compare(workspace, names, Question(repetitions=repetitions, baseline=name))["metrics"]
        for name in (PLAIN, TSA)
    }
    by_label = {
        name: {metric: {row["contender"]: row for row in rows} for metric, rows in metrics.items()}
        for name, metrics in found.items()
    }
    lines = [["", "Spearman", "seeds", "R-l2", "against", "difference", "p", "positions", "MACs, paper's", "MACs, all"]]
    for contender in contenders:
        label, against = contender.label, baseline_of(contender.label)
        values, deviation = spread[label]
        rows = by_label[against or PLAIN]
        rho = rows["spearman"][label]
        difference, p = "", ""
        if against is not None:
            difference = figure(rho["differences"][OVERALL], sign=True, digits=3)
            p = "–" if rho["permutation_test"]["p"] is None else f"{rho['permutation_test']['p']:.3f}"
        cost = attention_macs(held_out_masks(workspace, contender), contender)
        lines.append(
            [
                label,
                figure(rho["figures"][OVERALL], digits=3),
                f"{' '.join('–' if v is None else f'{v:.3f}' for v in values)} (± {deviation})",
                figure(rows["r_l2"][label]["figures"][OVERALL], digits=1),
                against or "",
                difference,
                p,
                str(cost.positions),
                in_words(cost.published),
                in_words(cost.true),
            ]
        )
    return lines


def splash_ranks(folder: Path) -> tuple[float, float]:
    """How well splashes alone rank the held-out clips (Spearman, less splash first).

    Returns:
        With the athlete's own splash, which is most of what the judges see; and with the mean of all splashes of a
        clip, which is what one knows who sees everything but not who is judged.
    """
    facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["clips"]
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        held_out = {row["clip_id"]: float(row["score"]) for row in csv.DictReader(stream) if row["split"] == "test"}
    own = np.array([facts[clip]["faults"]["splash"] for clip in held_out])
    others = [[one["splash"] for one in facts[clip].get("distractors", [])] for clip in held_out]
    mean = np.array([np.mean([mine, *theirs]) for mine, theirs in zip(own, others, strict=True)])
    score = np.array(list(held_out.values()))
    return float(spearman_many(-own, score)), float(spearman_many(-mean, score))


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first being the headings."""
    head, *body = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *body])


def main() -> int:
    """Command line: draw, run and print, or print only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--read", action="store_true", help="print what was run, run nothing")
    parser.add_argument("--experiment", action="append", help="print this one only, run nothing; repeatable")
    parser.add_argument("--seed", type=int, action="append", help="this seed only; repeatable")
    parser.add_argument("--gpu", action="store_true", help="full I3D, 103 frames, ten segments, 40 epochs, on CUDA")
    parser.add_argument("--only", choices=[study.dataset for study in STUDIES], help="one of the studies")
    parser.add_argument("--workers", type=int, help="processes that draw, clips at once; all cores if not given")
    parser.add_argument("--repetitions", type=int, default=2000, help="bootstrap draws and permutations")
    parser.add_argument("-o", "--override", action="append", default=[], help="section.field=value for all rows")
    options = parser.parse_args()
    if options.experiment and not options.only:
        parser.error("--experiment goes with --only, which says whose experiment it is")
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu was asked, but PyTorch sees no CUDA device here")
    workspace = Workspace.open(options.workspace)
    for study in STUDIES:
        if options.only not in (None, study.dataset):
            continue
        if not (options.read or options.experiment):
            prepare(workspace, study, options.workers)
            workers = [f"engine.workers={options.workers}"] if options.workers else []
            run(workspace, study, [*(GPU if options.gpu else ()), *workers, *options.override], options.seed)
        print(f"\n{study.dataset}: {study.spec.clips} clips, a quarter held out\n")
        names = options.experiment or experiments(workspace, study)
        print(markdown(table(workspace, names, options.repetitions)))
        own, mean = splash_ranks(Path(workspace.datasets.info(study.dataset).root))
        print(f"\nThe athlete's splash alone ranks the held-out clips at {own:.3f}, the mean splash at {mean:.3f}.")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CatalogError as exc:
        raise SystemExit(str(exc)) from None

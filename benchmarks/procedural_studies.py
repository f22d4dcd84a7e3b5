"""What the bench `procedural_aqa` asks: its studies, their data, and where the frozen stage 1 comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from data_catalog.catalog import Workspace
from flows.config import PipelineConfig, load_config
from flows.datasets.ingest import ProceduralSpec, make_procedural
from flows.inference.export_backbone import export_backbone
from flows.local_run import run_pipeline
from flows.runs.finished import find_run
from flows.tracking.export_tubes import write_quads
from flows.tracking.perturbed_truth import true_tubes

CLAIMS = ("PlainNet", "TSA-Net", "mask", "pointwise", "TSA-Net x3 with norm")
"""Rows that carry a claim, which are run with every seed of their matrix; the others with the first `FEW`."""
FEW = 3


@dataclass(frozen=True)
class Stage1:
    """Where a frozen stage 1 comes from: a PlainNet trained once, from pixels, on dives that no row is scored on.

    Attributes:
        dataset: its name; the true tubes are in `truth-<dataset>.json`.
        file: the weights of the whole backbone, in the workspace's weights.
    """

    dataset: str
    file: str
    spec: ProceduralSpec
    epochs: int


LINES = ProceduralSpec(clips=128, seed=1000, size="320x240", judged="lines")
"""One diver a clip, marked by lean, tilt and splash, each by itself; of another seed than every clip that is scored."""
STAGE1 = Stage1("stage1", "procedural-stage1.safetensors", LINES, epochs=10)
STAGE1_LARGE = Stage1(
    "stage1-large",
    "procedural-stage1-lines.safetensors",
    LINES.model_copy(update={"clips": 512}),
    epochs=6,
)
"""The same with four times the clips: sides are harder to learn to see than splashes."""


@dataclass(frozen=True)
class Study:
    """A question, the dataset that it is put to, the matrix that is run on it, and the tubes that the matrix names.

    Attributes:
        tubes: name of the file in the workspace's weights → how far the tubes drift from the truth.
        cause: what of a diver the score follows, a fact of dataset.json.
        stage1: what its features are made by; None where it is trained from pixels.
        claims: rows that are run with every seed.
        probed: whether it is asked what linear maps of single positions tell.
    """

    name: str
    dataset: str
    spec: ProceduralSpec
    matrix: str
    tubes: Mapping[str, float]
    cause: str = "splash"
    stage1: Stage1 | None = STAGE1
    claims: tuple[str, ...] = field(default=CLAIMS)
    probed: bool = False


PAIRS = ProceduralSpec(clips=256, held_out=64, size="320x240", distractors=1, camera="group")
RELATION = PAIRS.model_copy(update={"clips": 512, "seed": 2000, "judged": "agreement"})
STUDIES = (
    Study("pairs", "pairs", PAIRS, "procedural", {"truth.json": 0.0}),
    Study(
        "relation",
        "relation",
        RELATION,
        "procedural_relation",
        {"truth-relation.json": 0.0},
        cause="agreement",
        stage1=STAGE1_LARGE,
        claims=("PlainNet", "NL-Net", "TSA-Net", "mask", "pointwise", "pool"),
        probed=True,
    ),
    Study(
        "relation-perceptron",
        "relation",
        RELATION,
        "procedural_relation_perceptron",
        {"truth-relation.json": 0.0},
        cause="agreement",
        stage1=STAGE1_LARGE,
        claims=(),
    ),
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
    Study("pixels", "pairs", PAIRS, "procedural_pixels", {"truth.json": 0.0}, stage1=None, claims=()),
    Study(
        "tubes",
        "pairs",
        PAIRS,
        "procedural_tubes",
        {"truth.json": 0.0, "drift25.json": 0.25, "drift100.json": 1.0},
        claims=(),
    ),
)

STAGE1_SETTINGS = (
    "normalize.length=32",
    "masks.starts=[0, 16]",
    "track.tracker=published",
    "model.attention=none",
    "train.flip=0",  # the sides are those of the picture
    "train.loggers=[csv]",
)


def prepare(workspace: Workspace, study: Study, workers: int | None) -> None:
    """Draw the dataset with so many processes and write the files of tubes, where they aren't there yet.

    A dataset of that name with another number of clips is drawn again, and its tubes with it.
    """
    _draw(workspace, study.dataset, study.spec, study.tubes, workers)


def stage1_config(stage1: Stage1, workers: int | None) -> PipelineConfig:
    """How its PlainNet is trained, with so many processes."""
    own = [f"track.weights={_truth(stage1)}", f"train.epochs={stage1.epochs}"]
    return load_config("demo", [*STAGE1_SETTINGS, *own, *([f"engine.workers={workers}"] if workers else [])])


def _truth(stage1: Stage1) -> str:
    return f"truth-{stage1.dataset}.json"


def prepare_stage1(workspace: Workspace, stage1: Stage1, workers: int | None) -> None:
    """Train the PlainNet and keep its backbone, where that isn't there yet."""
    target = workspace.weights / stage1.file
    if target.is_file():
        return
    _draw(workspace, stage1.dataset, stage1.spec, {_truth(stage1): 0.0}, workers)
    summary = run_pipeline(stage1_config(stage1, workers), stage1.dataset, workspace.root)
    export_backbone(workspace, find_run(workspace, summary.run_id), "last", target)


def _draw(
    workspace: Workspace, dataset: str, spec: ProceduralSpec, tubes: Mapping[str, float], workers: int | None
) -> None:
    known = dataset in workspace.datasets.names()
    if not known or workspace.datasets.count(dataset) != spec.clips + spec.held_out:
        for name in tubes:
            (workspace.weights / name).unlink(missing_ok=True)
        make_procedural(workspace, dataset, spec, workers=workers)
    workspace.weights.mkdir(parents=True, exist_ok=True)
    for name, drift in tubes.items():
        path = workspace.weights / name
        if not path.is_file():
            write_quads(path, true_tubes(workspace, dataset, jitter=drift))

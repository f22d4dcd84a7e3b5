"""`tubeflow export` of a run on features that were made elsewhere: a model that takes a clip's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_catalog.atomic import replacing
from data_catalog.catalog import CatalogError, Workspace
from data_catalog.json_file import write_json
from flows.config import config_text
from flows.inference.exported_file import ENDINGS, Arrays, Exported, keep_checked, load_model, write_model
from flows.inference.known_kind import run_members
from flows.inference.model_card import data_text, held_out_metrics, intervals_text, metrics_text
from flows.inference.predict_features import score_span
from flows.runs.finished import FinishedRun, calibration_of, trained_state
from tasks.own_features import feature_clips
from tasks.trained import batches_for, build_feature_scorer, needs_difficulty

if TYPE_CHECKING:
    from data_catalog.pack.feature_clips import FeatureClips
    from models.exportable import FeatureScoreModel
    from models.metrics.calibration import Calibration
    from tasks.training.scorer import FeatureScorer

GIVEN, OUTPUTS, SPREAD = ("features", "difficulty"), ("score", "segments", "raw"), "spread"
CHECKED_CLIPS = 3
OF_ANY_LENGTH = ("mean", "attention")
"""Temporal modules whose file takes any number of steps: tracing the others writes one number into it."""


def export_feature_run(
    workspace: Workspace, run: FinishedRun, form: str, weights: str, action: str | None, path: Path | None
) -> Exported:
    """As `export_run`, of a run on own features: no frames, no tube, any number of steps where clips differ in it.

    Raises:
        CatalogError, ConfigError: as of `export_run`; or the features that it was trained on are no longer there.
    """
    state = trained_state(workspace, run, weights)
    chosen, span = score_span(workspace, run, action)
    members = run_members(workspace, run)
    if not members:
        raise CatalogError(
            f"The features of run '{run.run_id}' are no longer there, so its model can't be compared with them; run "
            f"the same config on dataset '{run.dataset}' again."
        )
    clips = feature_clips(members, workspace.store, run.dataset)
    scorer = build_feature_scorer(clips, state, run.config.model, run.config.train, span)
    calibration = calibration_of(workspace, run, weights)
    names = (*OUTPUTS, *([SPREAD] if calibration is not None else []))
    target = (path or Path(f"{run.run_id}-{weights}")).absolute()
    folder = None if target.suffix in ENDINGS.values() else target
    target = target if folder is None else folder / f"model{ENDINGS[form]}"
    lengths = [len(clips.read(index)) for index in range(len(clips))]
    portable, example = _portable(scorer, run, chosen, span, SPREAD in names), _inputs(scorer, clips, _longest(lengths))
    steps = _steps(run, lengths)
    difference, compared = keep_checked(
        run.run_id,
        form,
        target,
        lambda file: write_model(portable, example, form, file, names, GIVEN, steps),
        lambda file: _compare(scorer, clips, form, file, names),
    )
    meaning = _describe(run, weights, chosen, span, lengths, clips.features, names, calibration)
    meaning |= {"largest_relative_difference": difference, "compared_clips": compared}
    description = target.with_suffix(".json")
    write_json(description, {"file": target.name, **meaning})
    if folder is not None:
        _write_card(workspace, run, folder, form, weights, meaning)
    return Exported(target, description, form, difference, compared, folder)


def _longest(lengths: Sequence[int]) -> int:
    return int(np.argmax(lengths))


def _steps(run: FinishedRun, lengths: Sequence[int]) -> dict[str, Any] | None:
    """What of the inputs may have another length: the steps, where clips differ in it. Raises CatalogError."""
    import torch

    if len(set(lengths)) == 1:
        return None
    if run.config.model.temporal not in OF_ANY_LENGTH:
        raise CatalogError(
            f"A model with model.temporal {run.config.model.temporal} is exported for one number of steps, and the "
            f"clips of run '{run.run_id}' have {min(lengths)} to {max(lengths)}; those with "
            f"{' or '.join(OF_ANY_LENGTH)} take any. Score files of features with: tubeflow predict FILE --run "
            f"{run.run_id}"
        )
    return {"features": {1: torch.export.Dim("steps", min=2)}, "difficulty": None}


def _portable(
    scorer: FeatureScorer, run: FinishedRun, action: str, span: tuple[float, float], spread: bool
) -> FeatureScoreModel:
    from models.exportable import FeatureScoreModel

    shares = run.config.model.head not in ("musdl", "classification")  # these decode to a unit of their own
    return FeatureScoreModel(
        scorer.network, span if shares else None, run.config.train.difficulty, action, spread
    ).eval()


def _inputs(scorer: FeatureScorer, clips: FeatureClips, index: int) -> Arrays:
    """A clip as the model takes it: features (1, N, F) float32, difficulty (1,) float32, 1 where it isn't known."""
    difficulty = np.float32(clips.labels.difficulty[index])
    known = difficulty if np.isfinite(difficulty) else np.float32(1)
    return clips.read(index)[None].float().numpy(), np.array([known], np.float32)


def _compare(
    scorer: FeatureScorer, clips: FeatureClips, form: str, file: Path, names: Sequence[str]
) -> tuple[float, int]:
    """Largest relative difference to the run's own network over a few clips, test clips first; and how many."""
    import torch

    loaded, worst = load_model(form, file, GIVEN), 0.0
    order = [*clips.indices("test"), *clips.indices("train")][:CHECKED_CLIPS]
    for index in order:
        inputs = _inputs(scorer, clips, index)
        [batch] = batches_for(scorer, clips, [index], 0, batch=1)
        batch["difficulty"] = torch.from_numpy(inputs[1])
        with torch.no_grad():
            found = scorer.predict(batch, SPREAD in names)
            own = {"score": found.points, "segments": found.segments, "raw": scorer.run(batch).numpy()}
        own |= {} if found.spread is None else {SPREAD: found.spread}
        for given, wanted in zip(loaded(inputs), map(own.__getitem__, names), strict=True):
            unit = max(1.0, float(np.abs(wanted).max()))
            worst = max(worst, float(np.abs(given - wanted).max()) / unit)
    return worst, len(order)


def _describe(
    run: FinishedRun,
    weights: str,
    action: str,
    span: tuple[float, float],
    lengths: Sequence[int],
    features: int,
    names: Sequence[str],
    calibration: Calibration | None,
) -> dict[str, Any]:
    """What a program that uses the file must know."""
    used = needs_difficulty(run.config.model, run.config.train)
    steps: int | str = lengths[0] if len(set(lengths)) == 1 else "2 or more"
    meanings = {
        "score": "probability of label 1" if run.config.model.head == "classification" else "score points",
        "segments": "the same of each step as a whole clip",
        "raw": "the head's output before decoding",
        SPREAD: "what `intervals` multiply: score + ends · spread, in points",
    }
    made = f"features of each step, made as those of dataset '{run.dataset}' were; the model centres and scales them"
    return {
        "run_id": run.run_id,
        "weights": weights,
        "action": action,
        "score_range": list(span),
        "head": run.config.model.head,
        "inputs": {
            "features": {"shape": [1, steps, features], "dtype": "float32", "meaning": made, "used": True},
            "difficulty": {"shape": [1], "dtype": "float32", "meaning": "degree of difficulty", "used": used},
        },
        "outputs": {name: meanings[name] for name in names},
        **({} if calibration is None else {"intervals": calibration.as_json()}),
    }


def _write_card(
    workspace: Workspace, run: FinishedRun, folder: Path, form: str, weights: str, meaning: Mapping[str, Any]
) -> None:
    """Write `README.md`, `config.yaml` and `metrics.json` beside the model."""
    metrics = held_out_metrics(run, weights)
    write_json(folder / "metrics.json", metrics)
    length = meaning["inputs"]["features"]["shape"][2]
    inputs = '{"features": steps[None], "difficulty": np.ones(1, np.float32)}'
    opened = {
        "onnx": "import onnxruntime\nsession = onnxruntime.InferenceSession('model.onnx')\n"
        f"given = {inputs}\nscore = session.run(['score'], {{i.name: given[i.name] for i in session.get_inputs()}})",
        "torch-export": "import torch\nmodel = torch.export.load('model.pt2').module()\n"
        "score = model(torch.from_numpy(steps[None]), torch.ones(1))[0]",
    }
    sections = [
        f"# {run.dataset}-{run.config.model.temporal}-{run.config.model.head}-{weights}",
        f"Scores a clip of {meaning['action'] or 'one action'} from features of its steps. Made by Tubeflow's run "
        f"`{run.run_id}`, epoch `{weights}`; `config.yaml` is its whole configuration, `model.json` says what goes in "
        "and comes out.",
        "## Use",
        f"```python\nimport numpy as np\nsteps = np.load('clip.npy')  # (T, {length}) float32\n{opened[form]}\n```",
        "The features have to be made as those of the data below were. Tubeflow didn't make them and knows no more of "
        "them than their labels and files, so this model begins with features and not with a video.",
        "## Metrics",
        "\n\n".join(part for part in (metrics_text(metrics), intervals_text(metrics)) if part),
        "## Data",
        data_text(workspace, run),
        "## Limits",
        "Scores are in the points of the data above and of that action alone. The file was compared with the run's own "
        f"network on {meaning['compared_clips']} clips: largest relative difference "
        f"{meaning['largest_relative_difference']:.1e}. Tubeflow doesn't know the licence of the data; ask those whose "
        "features and scores these are before you pass the model on.",
    ]
    for name, text in (("config.yaml", config_text(run.config)), ("README.md", "\n\n".join(sections) + "\n")):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

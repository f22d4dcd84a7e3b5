"""`tubeflow export`: a run's model as ONNX or torch.export, checked against the run's own network before it is kept.

By default as a folder, with a card and a program that scores a video without Tubeflow (`flows.inference.model_card`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.json_file import write_json
from data_catalog.pack.file import PackReader
from flows.inference.export_features import export_feature_run
from flows.inference.exported_file import (
    ENDINGS,
    EXPORT_STEPS,
    Arrays,
    Exported,
    check_format,
    keep_checked,
    load_model,
    write_model,
)
from flows.inference.exported_kind import kind_to_export, write_kind
from flows.inference.model_card import write_card
from flows.inference.predict_videos import choose_action
from flows.runs.finished import FinishedRun, calibration_of, trained_state
from tasks.engine import progress
from tasks.trained import action_range, build_scorer, needs_difficulty, read_batch

if TYPE_CHECKING:
    from models.exportable import ScoreModel
    from models.metrics.calibration import Calibration
    from tasks.training.scorer import ClipScorer

CHECKED_CLIPS = 3
INPUTS, OUTPUTS = ("frames", "mask", "difficulty"), ("score", "segments", "raw")
SPREAD, FEATURES = "spread", "features"
"""Further outputs: of a model whose run made intervals; of a folder, where it is known what training clips are like."""


def export_run(
    workspace: Workspace, run: FinishedRun, form: str, weights: str, action: str | None, path: Path | None
) -> Exported:
    """Write the model of a run, and beside it `<name>.json`, which says what goes in and what comes out.

    Where `path` ends like a model's file, these two are all; else it is a folder, to which `write_card` adds the rest.

    The file is loaded again and compared with the run's network on clips of its pack; a file whose outputs differ by
    more than `TOLERANCE` is not kept.

    Raises:
        CatalogError, ConfigError: the run, the format or the model doesn't allow it; the message is for the user.
    """
    check_format(form)
    if run.config.features.mode == "own":
        return export_feature_run(workspace, run, form, weights, action, path)
    state = trained_state(workspace, run, weights)
    reader = PackReader(workspace.store.path("pack", run.artifact(workspace, "pack")))
    chosen = choose_action(run, reader, action)
    model, training = run.config.model, run.config.train
    span = action_range(reader.labels, training, chosen)
    scorer = build_scorer(reader, state, model, training, span)
    calibration = calibration_of(workspace, run, weights)
    # What a file alone puts out stays as it was: nothing beside it says what features are to be compared with.
    target = (path or Path(f"{run.run_id}-{weights}")).absolute()
    folder = None if target.suffix in ENDINGS.values() else target
    target = target if folder is None else folder / f"model{ENDINGS[form]}"
    known, unlike = (None, {}) if folder is None else kind_to_export(workspace, run, weights)
    names = output_names(calibration is not None, known is not None)
    progress.report("export", 0, EXPORT_STEPS, "building the model")
    portable = _portable(scorer, reader, run, chosen, span, names)
    difference, clips = _write_checked(portable, scorer, reader, run, form, target, names)
    example = clip_inputs(reader, run, 0)
    description = target.with_suffix(".json")
    meaning = describe(
        reader, run, weights, chosen, told_range(scorer, span), example, difference, clips, names, calibration
    )
    meaning |= {"unlike": unlike} if unlike else {}
    write_json(description, {"file": target.name, **meaning})
    if folder is not None:
        write_kind(known, folder)
        write_card(workspace, run, folder, form, weights, chosen, meaning)
    return Exported(target, description, form, difference, clips, folder)


def _write_checked(
    portable: ScoreModel,
    scorer: ClipScorer,
    reader: PackReader,
    run: FinishedRun,
    form: str,
    target: Path,
    names: Sequence[str],
) -> tuple[float, int]:
    example = clip_inputs(reader, run, 0)
    return keep_checked(
        run.run_id,
        form,
        target,
        lambda path: write_model(portable, example, form, path, names, INPUTS),
        lambda path: _compare(scorer, reader, run, load_model(form, path, INPUTS), names),
    )


def _portable(
    scorer: ClipScorer,
    reader: PackReader,
    run: FinishedRun,
    action: str,
    span: tuple[float, float],
    names: Sequence[str],
) -> ScoreModel:
    from models.exportable import ScoreModel

    shares = run.config.model.head not in ("musdl", "classification")  # these decode to a unit of their own
    try:
        return ScoreModel(
            scorer.network,
            tuple(reader.geometry.starts),
            span if shares else None,
            run.config.train.difficulty,
            action,
            spread=SPREAD in names,
            pooled=FEATURES in names,
        ).eval()
    except ValueError as exc:
        raise CatalogError(f"The model of run '{run.run_id}' can't be exported: {exc}.") from exc


def told_range(scorer: ClipScorer, span: tuple[float, float]) -> tuple[float, float]:
    """Lowest and highest score (of execution where it is multiplied): of judges, what their rule allows."""
    from models.heads import MusdlHead

    head = scorer.network.head
    return (0.0, head.highest()) if isinstance(head, MusdlHead) else span


def clip_inputs(reader: PackReader, run: FinishedRun, index: int) -> Arrays:
    """A clip of the pack as the model takes it: frames (1, L, S, S, 3), mask (1, N, T, Hf, Wf), difficulty (1,)."""
    batch = read_batch(reader, index, run.config.train.eval_shift)
    known = needs_difficulty(run.config.model, run.config.train)
    difficulty = batch["difficulty"].float().numpy() if known else np.ones(1, np.float32)
    return batch["frames"].numpy(), batch["mask"].numpy(), difficulty


def output_names(spread: bool, pooled: bool) -> tuple[str, ...]:
    """What a model puts out, in order; what not every model has stands behind what each has."""
    return (*OUTPUTS, *([SPREAD] if spread else []), *([FEATURES] if pooled else []))


def _compare(
    scorer: ClipScorer,
    reader: PackReader,
    run: FinishedRun,
    loaded: Callable[[Arrays], Arrays],
    names: Sequence[str],
) -> tuple[float, int]:
    """Largest relative difference to the run's own network over a few clips, test clips first; and how many."""
    order = [*reader.indices("test"), *reader.indices("train")][:CHECKED_CLIPS]
    worst = 0.0
    for index in order:
        inputs = clip_inputs(reader, run, index)
        outputs = loaded(inputs)
        own = _own_outputs(scorer, inputs, index, spread=SPREAD in names)
        for found, wanted in zip(outputs, map(own.__getitem__, names), strict=True):
            unit = max(1.0, float(np.abs(wanted).max()))
            worst = max(worst, float(np.abs(found - wanted).max()) / unit)
    return worst, len(order)


def _own_outputs(scorer: ClipScorer, inputs: Arrays, index: int, spread: bool) -> dict[str, NDArray[np.floating]]:
    import torch

    frames, mask, difficulty = (torch.from_numpy(array) for array in inputs)
    batch: Any = {"frames": frames, "mask": mask, "difficulty": difficulty, "index": torch.tensor([index])}
    with torch.no_grad():
        found = scorer.predict(batch, spread)
        raw = scorer.outputs(frames, mask).output.numpy()
    said = {} if found.spread is None else {SPREAD: found.spread}
    return {"score": found.points, "segments": found.segments, "raw": raw, FEATURES: found.features, **said}


def describe(
    reader: PackReader,
    run: FinishedRun,
    weights: str,
    action: str,
    span: tuple[float, float],
    example: Arrays,
    difference: float,
    clips: int,
    names: Sequence[str],
    calibration: Calibration | None = None,
) -> dict[str, object]:
    """What a program that uses the file must know."""
    config, g = run.config, reader.geometry
    meanings = (
        f"{example[0].shape[1]} frames ({config.normalize.window}), RGB, resized to "
        f"{config.normalize.width}x{config.normalize.height}, the centre square of {g.crop} px cut out and resized "
        f"to {g.input_size} px",
        f"tube mask of each segment: cells of which the tube covers {g.tau:g}, over {g.stride} frames each",
        "degree of difficulty" + ("" if needs_difficulty(config.model, config.train) else ", without effect"),
    )
    outputs = {
        "score": "probability of label 1" if config.model.head == "classification" else "score points",
        "segments": "the same of each segment by itself",
        "raw": "the head's output before decoding",
        SPREAD: "what `intervals` multiply: score + ends · spread, in points",
        FEATURES: "mean of the features of the segments; `unlike` says how far from those of training clips is too far",
    }
    return {
        "run_id": run.run_id,
        "weights": weights,
        "action": action,
        "score_range": list(span),
        "head": config.model.head,
        "inputs": {
            name: {"shape": list(array.shape), "dtype": str(array.dtype), "meaning": meaning, "used": used}
            for name, array, meaning, used in zip(
                INPUTS, example, meanings, (True, True, needs_difficulty(config.model, config.train)), strict=True
            )
        },
        "preprocessing": preprocessing(reader, run),
        "outputs": {name: outputs[name] for name in names},
        **({} if calibration is None else {"intervals": calibration.as_json()}),
        "segment_starts": list(g.starts),
        "first_frame": config.train.eval_shift,
        "largest_relative_difference": difference,
        "compared_clips": clips,
    }


def preprocessing(reader: PackReader, run: FinishedRun) -> dict[str, object]:
    """The numbers by which a video and a tube become the model's inputs; `standalone_predict` reads them."""
    normalize, masks, g = run.config.normalize, run.config.masks, reader.geometry
    tube = "the tracker's pixel masks" if masks.source == "mask" else "cells as the released code fills them"
    return {
        "frames": normalize.length,
        "window": normalize.window,
        "width": normalize.width,
        "height": normalize.height,
        "jpeg_quality": normalize.jpeg_quality,
        "crop": g.crop,
        "input_size": g.input_size,
        "first_frame": run.config.train.eval_shift,
        "tube": "quads" if (masks.source, masks.geometry) == ("quad", "paper") else tube,
        "grid": list(g.grid),
        "tau": g.tau,
        "starts": list(g.starts),
        "segment_length": g.segment_length,
        "stride": g.stride,
    }

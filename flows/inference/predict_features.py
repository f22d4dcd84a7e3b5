"""`tubeflow predict` with a run on features that were made elsewhere: files of features in the place of videos."""

from __future__ import annotations

import json

from data_catalog.catalog import CatalogError, Workspace
from data_catalog.datasets.feature_files.arrays import BadFeatures
from data_catalog.datasets.feature_files.clip_features import Place
from data_catalog.datasets.poses.pose_files import read_steps
from data_catalog.pack.feature_clips import FeatureClips, HeldFeatures
from data_catalog.pack.file import ClipLabels
from flows.config import ConfigError
from flows.inference.predict_videos import NotScored, Request, VideoScore, VideoScores, choose_known, intervals_of
from flows.inference.unlike_clips import find_novelty
from flows.runs.finished import FinishedRun, calibration_of, trained_state
from tasks.evaluate import with_intervals
from tasks.trained import build_feature_scorer, needs_difficulty, score_clips


def predict_features(workspace: Workspace, run: FinishedRun, request: Request) -> VideoScores:
    """Score files of features, one clip a file; those that can't be used are in `failures`.

    Raises:
        CatalogError, ConfigError: nothing can be scored; the message is for the user.
    """
    state = trained_state(workspace, run, request.weights)
    action, span = score_span(workspace, run, request.action)
    if needs_difficulty(run.config.model, run.config.train) and request.difficulty is None:
        raise ConfigError(f"Run '{run.run_id}' multiplies by the degree of difficulty; give it with --difficulty.")
    if request.boxes:
        raise ConfigError("Features have no first frame; leave --box away.")
    length = len(state["mean"])
    known = run.dataset in workspace.datasets.names()
    posed = known and workspace.datasets.info(run.dataset).adapter == "poses"
    files, features, failures = [], [], []
    for path in request.videos:
        try:
            read = read_steps(path.absolute(), Place(path.stem, posed=posed))
            if read.shape[1] != length:
                made = f"{path.name} has features of {read.shape[1]} numbers and run '{run.run_id}' takes {length}"
                raise BadFeatures(made, "make them with the network that made the run's")
        except BadFeatures as exc:
            failures.append(NotScored(path.stem, "features", f"{exc.reason}.", f"{exc.remedy.capitalize()}."))
            continue
        files.append(path)
        features.append(read)
    scores: tuple[VideoScore, ...] = ()
    novelty = None
    if files:
        labels = [ClipLabels(path.stem, "test", action, None, request.difficulty, (), None) for path in files]
        clips = FeatureClips("the files", labels, HeldFeatures(features))
        scorer = build_feature_scorer(clips, state, run.config.model, run.config.train, span)
        calibration = calibration_of(workspace, run, request.weights)
        found = score_clips(scorer, clips, list(range(len(clips))), 0, spread=calibration is not None)
        table = found.table if calibration is None else with_intervals(found.table, calibration)
        steps = [name for name in table.columns if name.startswith("segment_")]
        scores = tuple(
            VideoScore(
                clip_id=path.stem,
                video=str(path),
                score=float(row["predicted"]),
                segments=tuple(map(float, row[steps[: len(one)]])),
                empty_segments=0,
                overlay="",
                intervals=intervals_of(row.to_dict()),
            )
            for (_, row), path, one in zip(table.iterrows(), files, features, strict=True)
        )
        novelty = find_novelty(workspace, run, request.weights, found.features)
    classifies = run.config.model.head == "classification"
    result = VideoScores(run.run_id, request.weights, classifies, (), scores, tuple(failures))
    return result if novelty is None else result.compared(novelty)


def score_span(workspace: Workspace, run: FinishedRun, wanted: str | None) -> tuple[str, tuple[float, float]]:
    """The action that is meant, and the lowest and highest score of its training, as the run's network learnt it.

    Raises:
        CatalogError, ConfigError: the run isn't there any more, or which action it is must be said.
    """
    attributes = workspace.store.attributes("train", run.artifact(workspace, "train"))
    if "score_spans" not in attributes:
        raise CatalogError(f"Run '{run.run_id}' was not trained on features.")
    spans = json.loads(str(attributes["score_spans"]))
    action = choose_known(run, tuple(sorted(spans)), wanted)
    low, high = spans[action]
    return action, (float(low), float(high))

"""Score with a run whatever it was trained on: videos, or features that were made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_catalog.catalog import Workspace
from flows.inference.predict_features import predict_features
from flows.inference.predict_videos import Preprocess, Request, VideoScores, predict_videos
from flows.runs.finished import find_run


def predict(
    workspace: Workspace,
    run: str,
    request: Request,
    overrides: Sequence[str],
    folder: Path | None,
    preprocess: Preprocess,
) -> VideoScores:
    """Score what is asked for with a run, see `predict_videos` and `predict_features`.

    Args:
        workspace: the workspace.
        run: run_id, or `last` for the newest that was evaluated.
        request: the videos or files of features.
        overrides: another detector or tracker, as `section.field=value`.
        folder: where each video with its tube is written; by default the run's folder of predictions in the workspace.
        preprocess: takes the videos up to their tube masks.

    Raises:
        CatalogError, ConfigError: nothing can be scored; the message is for the user.
    """
    chosen = find_run(workspace, run)
    if chosen.config.features.mode == "own":
        return predict_features(workspace, chosen, request)
    folder = folder or workspace.predictions / chosen.run_id
    return predict_videos(workspace, chosen, request, overrides, folder, preprocess)

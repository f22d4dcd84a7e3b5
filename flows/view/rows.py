"""From the plans of a dataset to the gallery's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from data_catalog.catalog import Workspace
from data_catalog.datasets.records import ClipRecord
from data_catalog.tables.tube_quality import TubeQuality
from flows.config import PipelineConfig
from flows.runs.quality import known_quality
from flows.view.clip_rows import ClipRow, Problem, StageState, row_json
from tasks.engine.plan import StagePlan

THUMB_WIDTH = 320


def stage_state(plan: StagePlan, clip: str) -> StageState:
    """Where a clip stands in one stage; `waiting` is behind a stage in which it is quarantined."""
    if clip in plan.hits:
        return "hit"
    if clip in plan.quarantined:
        return "quarantined"
    return "missing" if clip in plan.jobs else "waiting"


def make_rows(
    workspace: Workspace,
    dataset: str,
    clips: Sequence[ClipRecord],
    plans: Mapping[str, StagePlan],
    config: PipelineConfig | None,
) -> dict[str, ClipRow]:
    """A row for each clip, by clip id; without a config nothing is known of the stages."""
    middle = config.normalize.length // 2 if config is not None else 0
    judged = known_quality(workspace, plans, config.quality) if config is not None else {}
    rows = {}
    for clip in clips:
        name = clip.clip_id
        problem, missing = None, ("normalize", "this dataset was never run") if not plans else None
        for stage, plan in plans.items():
            if name in plan.quarantined:
                row = plan.quarantined[name]
                problem = Problem(stage, row.reason, row.remedy)
            elif missing is None and name in plan.reasons:
                missing = (stage, plan.reasons[name])
        rows[name] = ClipRow(
            dataset,
            name,
            clip.split,
            clip.action,
            clip.score,
            clip.label,
            clip.bad,
            len(clip.boxes),
            {stage: stage_state(plan, name) for stage, plan in plans.items()},
            problem,
            missing,
            judged[name].suspicion if name in judged else None,
            judged[name].reasons if name in judged else (),
            normalize_key=done_key(plans, "normalize", name),
            track_key=done_key(plans, "track", name),
            frame=telling_frame(judged[name], middle) if name in judged else middle,
        )
    return rows


def telling_frame(quality: TubeQuality, middle: int) -> int:
    """The frame that shows best what is odd: inside the longest kind of trouble, or in the middle of the clip."""
    kinds = (quality.lost_frames, quality.drift_frames, quality.outside_frames, quality.jumps, quality.area_changes)
    worst = max(kinds, key=len)
    return worst[len(worst) // 2] if worst else middle


def done_key(plans: Mapping[str, StagePlan], stage: str, clip: str) -> str | None:
    """Key of a clip's artifact, if it is there."""
    plan = plans.get(stage)
    return plan.jobs[clip].key if plan is not None and clip in plan.hits else None


def row_answer(row: ClipRow) -> dict[str, object]:
    """A row as the API returns it, with its addresses."""
    return row_json(row, thumb_url(row.normalize_key, row.track_key, row.frame), clip_url(row.dataset, row.clip))


def thumb_url(normalize_key: str | None, track_key: str | None, frame: int) -> str | None:
    """Address of a thumbnail with the tube drawn, or without where there is none."""
    if normalize_key is None:
        return None
    query: dict[str, str | int] = {"frame": frame, "width": THUMB_WIDTH}
    if track_key is not None:
        query["track"] = track_key
    return f"/thumbs/{normalize_key}.jpg?{urlencode(query)}"


def clip_url(dataset: str, clip: str) -> str:
    """Address of a clip's page."""
    return "/clip?" + urlencode({"dataset": dataset, "clip": clip})

"""The seven stages in order, a choice of them, and the plan of a run over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from flows.config import ConfigError, PipelineConfig
from tasks import detect, evaluate, masks, normalize, pack, track, train
from tasks.engine.config import StageConfig
from tasks.engine.plan import Planner, StagePlan
from tasks.engine.stage import Stage

StageName = Literal["normalize", "detect", "track", "masks", "pack", "train", "evaluate"]  # a choice in the form
CLIP_STAGES: tuple[Stage[Any], ...] = (normalize.STAGE, detect.STAGE, track.STAGE, masks.STAGE)
DATASET_STAGES: tuple[Stage[Any], ...] = (pack.STAGE, train.STAGE, evaluate.STAGE)
STAGE_NAMES = tuple(stage.name for stage in CLIP_STAGES + DATASET_STAGES)
PREPROCESS = STAGE_NAMES[:5]
EXPERIMENT = STAGE_NAMES[5:]


def select_stages(only: str | None = None, start: str | None = None, until: str | None = None) -> tuple[str, ...]:
    """The stages between `start` and `until`, or `only` one. Raises ConfigError for an unknown name."""
    for name in (only, start, until):
        if name is not None and name not in STAGE_NAMES:
            raise ConfigError(f"There is no stage '{name}'; stages: {', '.join(STAGE_NAMES)}.")
    if only is not None:
        return (only,)
    first = STAGE_NAMES.index(start) if start else 0
    last = STAGE_NAMES.index(until) if until else len(STAGE_NAMES) - 1
    if first > last:
        raise ConfigError(f"Stage '{start}' comes after '{until}'; nothing would run.")
    return STAGE_NAMES[first : last + 1]


def make_plan(
    planner: Planner, config: PipelineConfig, selected: Sequence[str] = STAGE_NAMES
) -> dict[str, StagePlan]:
    """The plan of all stages up to the last selected one; what comes later needs no weights yet."""
    needed = STAGE_NAMES[: 1 + max(STAGE_NAMES.index(name) for name in selected)]
    return planner.plan(
        [(stage, section(stage, config)) for stage in CLIP_STAGES if stage.name in needed],
        [(stage, section(stage, config)) for stage in DATASET_STAGES if stage.name in needed],
    )


def plan_clips(planner: Planner, config: PipelineConfig) -> dict[str, StagePlan]:
    """The plan of the stages that work on one clip at a time."""
    return make_plan(planner, config, [CLIP_STAGES[-1].name])


def section(stage: Stage[Any], config: PipelineConfig) -> StageConfig:
    """What a stage is configured with: its own section, or the several that its config is composed of."""
    if stage.composed is None:
        own: StageConfig = getattr(config, stage.name)
        return own
    composed: type[StageConfig] = stage.composed
    return composed(**{name: getattr(config, name) for name in composed.model_fields})


def runnable_clips(plans: dict[str, StagePlan], selected: Sequence[str]) -> list[str]:
    """Clips for which every stage that comes first and isn't selected is done; the others wait."""
    clips = list(plans[CLIP_STAGES[0].name].jobs)
    chosen = [stage.name for stage in CLIP_STAGES if stage.name in selected]
    if not chosen:
        return []
    for stage in CLIP_STAGES[: STAGE_NAMES.index(chosen[0])]:
        ready = plans[stage.name].hits
        waiting = [clip for clip in clips if clip not in ready and clip not in plans[stage.name].quarantined]
        plans[chosen[0]].waiting.update(waiting)
        clips = [clip for clip in clips if clip in ready]
    return clips

"""The seven stages in order, a choice of them, and the plan of a run over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from flows.config import ConfigError, PipelineConfig
from tasks import detect, evaluate, masks, normalize, pack, track, train
from tasks.engine.config import StageConfig
from tasks.engine.plan import Planner, StagePlan
from tasks.engine.stage import Stage

StageName = Literal["normalize", "detect", "track", "masks", "pack", "train", "evaluate"]  # a choice in the form
ConfigT = TypeVar("ConfigT", bound=StageConfig)
AnyStage = Stage[Any]  # each has a config class of its own
CLIP_STAGES: tuple[AnyStage, ...] = (normalize.STAGE, detect.STAGE, track.STAGE, masks.STAGE)
DATASET_STAGES: tuple[AnyStage, ...] = (pack.STAGE, train.STAGE, evaluate.STAGE)
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)


@dataclass(frozen=True)
class Selection:
    """Which stages a run takes: `only` one, or those from `start` to `until`; all where nothing is set."""

    only: StageName | None = None
    start: StageName | None = None
    until: StageName | None = None

    @classmethod
    def of(cls, only: str | None = None, start: str | None = None, until: str | None = None) -> Selection:
        """A selection in the words that somebody typed.

        Raises:
            ConfigError: there is no such stage, or nothing would run.
        """
        selection = cls(*(None if name is None else stage_name(name) for name in (only, start, until)))
        selection.stages()
        return selection

    def stages(self) -> tuple[StageName, ...]:
        """The selected stages in order. Raises ConfigError where `start` comes after `until`."""
        if self.only is not None:
            return (self.only,)
        first = STAGE_NAMES.index(self.start) if self.start else 0
        last = STAGE_NAMES.index(self.until) if self.until else len(STAGE_NAMES) - 1
        if first > last:
            raise ConfigError(f"Stage '{self.start}' comes after '{self.until}'; nothing would run.")
        return STAGE_NAMES[first : last + 1]


def stage_name(text: str) -> StageName:
    """The stage of that name. Raises ConfigError where there is none."""
    for name in STAGE_NAMES:
        if name == text:
            return name
    raise ConfigError(f"There is no stage '{text}'; stages: {', '.join(STAGE_NAMES)}.")


PREPROCESS = Selection(until="pack")
EXPERIMENT = Selection(start="train")


def make_plan(
    planner: Planner, config: PipelineConfig, selected: Sequence[str] = STAGE_NAMES
) -> dict[str, StagePlan]:
    """The plan of all stages up to the last selected one; what comes later needs no weights yet."""
    needed = STAGE_NAMES[: 1 + max(STAGE_NAMES.index(name) for name in selected)]
    clip_stages = [(stage, section(stage, config)) for stage in CLIP_STAGES if stage.name in needed]
    dataset_stages = [(stage, section(stage, config)) for stage in DATASET_STAGES if stage.name in needed]
    return planner.plan(clip_stages, dataset_stages)


def plan_clips(planner: Planner, config: PipelineConfig) -> dict[str, StagePlan]:
    """The plan of the stages that work on one clip at a time."""
    return make_plan(planner, config, [CLIP_STAGES[-1].name])


def section(stage: AnyStage, config: PipelineConfig) -> StageConfig:
    """What a stage is configured with: its own section, or the several that its config is composed of."""
    if stage.composed is None:
        own: StageConfig = getattr(config, stage.name)
        return own
    composed: type[StageConfig] = stage.composed
    return composed(**{name: getattr(config, name) for name in composed.model_fields})


def planned_config(plans: Mapping[str, StagePlan], name: StageName, kind: type[ConfigT]) -> ConfigT:
    """What a stage's artifacts of a plan are made with."""
    config = plans[name].config
    if not isinstance(config, kind):
        raise TypeError(f"stage '{name}' is planned with {type(config).__name__}, not {kind.__name__}")
    return config


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

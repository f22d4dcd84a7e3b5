"""The stages in order, a choice of them, and the plan of a run over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from data_catalog.catalog import Workspace
from flows.config import ConfigError, PipelineConfig
from tasks import detect, evaluate, features, masks, normalize, own_features, pack, track, train
from tasks.engine.config import StageConfig
from tasks.engine.plan import Planner, StagePlan
from tasks.engine.stage import Stage

# A choice in the form; a config has `features` where `features.mode` isn't none.
StageName = Literal["normalize", "detect", "track", "masks", "features", "pack", "train", "evaluate"]
ConfigT = TypeVar("ConfigT", bound=StageConfig)
AnyStage = Stage[Any]  # each has a config class of its own
CLIP_STAGES: tuple[AnyStage, ...] = (normalize.STAGE, detect.STAGE, track.STAGE, masks.STAGE)
"""From a clip's video to its tube: whatever the config, they are there."""
DATASET_STAGES: tuple[AnyStage, ...] = (pack.STAGE, train.STAGE, evaluate.STAGE)
IN_ORDER: tuple[StageName, ...] = get_args(StageName)
"""The names of all stages that there can be."""
STAGE_NAMES: tuple[StageName, ...] = tuple(name for name in IN_ORDER if name != features.STAGE.name)
"""The names of those that every config has."""


def stages_of_clips(config: PipelineConfig) -> tuple[AnyStage, ...]:
    """The stages of a config that work on one clip at a time."""
    if config.features.mode == "own":
        return (own_features.STAGE,)
    return CLIP_STAGES if config.features.mode == "none" else (*CLIP_STAGES, features.STAGE)


def stages_of_dataset(config: PipelineConfig) -> tuple[AnyStage, ...]:
    """The stages of a config that work on all clips together."""
    if config.features.mode == "own":
        return train.ON_OWN_FEATURES_STAGE, evaluate.ON_OWN_FEATURES_STAGE
    packing, training, evaluation = DATASET_STAGES
    if config.features.mode != "none":
        training, evaluation = train.ON_FEATURES, evaluate.ON_FEATURES
    return packing, train.with_steps(training) if config.train.steps else training, evaluation


def stages_there(config: PipelineConfig, names: Sequence[StageName]) -> tuple[StageName, ...]:
    """Those of the named stages that a config has. Raises ConfigError where none is left."""
    there = {stage.name for stage in (*stages_of_clips(config), *stages_of_dataset(config))}
    found = tuple(name for name in names if name in there)
    if not found:
        if config.features.mode == "own":
            raise ConfigError(f"Features of one's own have no stage '{names[0]}'; there are features, train, evaluate.")
        raise ConfigError(f"With features.mode none there is no stage '{names[0]}'; set it to cut or pooled.")
    return found


def check_kind(workspace: Workspace, dataset: str, config: PipelineConfig) -> None:
    """Features that were made elsewhere go with `features.mode: own`, videos with every other mode.

    Raises:
        ConfigError: the dataset is of the other kind.
        CatalogError: there is no such dataset.
    """
    own = config.features.mode == "own"
    if workspace.datasets.info(dataset).holds_features == own:
        return
    if own:
        raise ConfigError(f"Dataset '{dataset}' holds videos; the preset features is for features made elsewhere.")
    raise ConfigError(f"Dataset '{dataset}' holds features, no videos; run it with the preset features.")


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
        first = IN_ORDER.index(self.start) if self.start else 0
        last = IN_ORDER.index(self.until) if self.until else len(IN_ORDER) - 1
        if first > last:
            raise ConfigError(f"Stage '{self.start}' comes after '{self.until}'; nothing would run.")
        return IN_ORDER[first : last + 1]


def stage_name(text: str) -> StageName:
    """The stage of that name. Raises ConfigError where there is none."""
    for name in IN_ORDER:
        if name == text:
            return name
    raise ConfigError(f"There is no stage '{text}'; stages: {', '.join(IN_ORDER)}.")


PREPROCESS = Selection(until="pack")
EXPERIMENT = Selection(start="train")


def make_plan(
    planner: Planner, config: PipelineConfig, selected: Sequence[str] = STAGE_NAMES
) -> dict[str, StagePlan]:
    """The plan of all stages up to the last selected one; what comes later needs no weights yet."""
    needed = IN_ORDER[: 1 + max(IN_ORDER.index(name) for name in selected)]
    of_clips = [(stage, section(stage, config)) for stage in stages_of_clips(config) if stage.name in needed]
    of_dataset = [(stage, section(stage, config)) for stage in stages_of_dataset(config) if stage.name in needed]
    return planner.plan(of_clips, of_dataset)


def plan_clips(planner: Planner, config: PipelineConfig) -> dict[str, StagePlan]:
    """The plan of the stages that lead to a clip's tube."""
    stages = [stage for stage in stages_of_clips(config) if stage in CLIP_STAGES]
    return planner.plan([(stage, section(stage, config)) for stage in stages], [])


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
    chosen = clip_plans(plans, selected)
    if not chosen:
        return []
    clips = list(next(iter(plans.values())).jobs)  # of the first stage, which every clip can begin with
    for name in _stands_on(chosen[0].stage, plans):
        ready = plans[name].hits
        waiting = [clip for clip in clips if clip not in ready and clip not in plans[name].quarantined]
        chosen[0].waiting.update(waiting)
        clips = [clip for clip in clips if clip in ready]
    return clips


def clip_plans(plans: Mapping[str, StagePlan], selected: Sequence[str]) -> list[StagePlan]:
    """The selected ones among the plans of stages that work on one clip at a time, in order."""
    return [plans[one.name] for one in (*CLIP_STAGES, features.STAGE) if one.name in plans and one.name in selected]


def _stands_on(stage: AnyStage, plans: Mapping[str, StagePlan]) -> list[str]:
    """The stages whose artifacts a stage's own are made from, directly or not, in order."""
    found: set[str] = set()
    waiting = [*stage.parents]
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += plans[name].stage.parents
    return [name for name in plans if name in found]

"""What a pipeline run is made of: one frozen section a stage, and where it runs.

The same object is the flow's parameter, so Prefect's page shows it as a form. Presets are YAML files in `presets/`;
`-o section.field=value` changes single fields.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from flows.plain_yaml import read_yaml
from models.backbones import BACKBONES, has_parts, missing_package
from models.head_names import HEADS, is_fitted, missing_for_head
from models.trackers import TRACKERS
from tasks.assessment.published_tubes import PUBLISHED
from tasks.assessment.tube_checks import QualityConfig
from tasks.detect import NOBODY, DetectConfig
from tasks.engine.config import StageConfig
from tasks.evaluate import EvaluateConfig
from tasks.features import FROZEN, FeaturesConfig
from tasks.masks import MasksConfig
from tasks.normalize import NormalizeConfig
from tasks.pack import PackConfig
from tasks.track import TrackConfig
from tasks.training.config import OF_PIXELS, ON_OWN_FEATURES, ModelConfig, TrainConfig

ENCODERS = ("videomae", "vit")  # backbones whose grid is that of their weights
OF_POSES = ("dct", "stgcn")  # temporal modules
MAX_SHOWN = 80  # characters of a wrong value
PRESETS = Path(__file__).parent / "presets"


class ConfigError(ValueError):
    """A configuration that can't be used; one line an error, all of them at once."""


class EngineConfig(StageConfig):
    """Where the work runs. Nothing here changes what is computed, so nothing here enters a key."""

    runner: Literal["local", "processes", "dask", "ray"] = Field(
        "local", description="Threads or processes of this machine, or workers of Dask or Ray."
    )
    workers: int | None = Field(None, ge=1, description="How many at once; None takes as many as there are processors.")
    shard_clips: int | None = Field(
        None, ge=1, description="Clips a task run works on; with None each worker gets about eight shards."
    )
    threads: int | None = Field(
        None, ge=1, description="Threads of a worker while it works on clips; None shares the processors."
    )
    address: str | None = Field(
        None,
        description="Where dask or ray runs already: tcp://HOST:8786 or Dask's scheduler file, ray://HOST:10001. "
        "None starts workers on this machine.",
    )
    resources: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="What stages that compute on a GPU ask of their worker on dask or ray: {GPU: 1}."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where networks run: auto (a GPU where there is one), cpu, cuda or cuda:1.",
    )

    @model_validator(mode="after")
    def _workers_elsewhere_need_an_engine(self) -> EngineConfig:
        for name in ("address", "resources"):
            if getattr(self, name) and self.runner not in ("dask", "ray"):
                raise ValueError(f"engine.{name} goes with engine.runner dask or ray, and it is {self.runner}")
        return self


class PipelineConfig(StageConfig):
    """Everything that determines a run: normalize → detect → track → masks → (features) → pack → train → evaluate."""

    normalize: NormalizeConfig = NormalizeConfig()
    detect: DetectConfig = DetectConfig()
    track: TrackConfig = TrackConfig()
    masks: MasksConfig = MasksConfig()
    features: FeaturesConfig = FeaturesConfig()
    pack: PackConfig = PackConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    engine: EngineConfig = EngineConfig()
    quality: QualityConfig = QualityConfig()

    @model_validator(mode="after")
    def _published_tubes_need_nobody_detected(self) -> PipelineConfig:
        """A published tube says itself who is followed, so a clip without a first-frame box must get through detect."""
        published = self.track.tracker == PUBLISHED
        if published and self.detect.detector != NOBODY:
            object.__setattr__(self, "detect", DetectConfig(detector=NOBODY))
        if not published and self.detect.detector == NOBODY:
            raise ValueError(f"detect.detector {NOBODY} goes with track.tracker {PUBLISHED} only; choose another")
        return self

    @model_validator(mode="after")
    def _backbone_and_head_exist(self) -> PipelineConfig:
        """Reported before hours of tracking, not by the training behind them."""
        for field, known, name in (
            ("model.backbone", BACKBONES, self.model.backbone), ("model.head", HEADS, self.model.head)
        ):  # fmt: skip
            try:
                known.check(name)
            except ValueError as exc:
                raise ValueError(f"{field}: {exc}") from exc
        for field, name, package in (
            ("model.backbone", self.model.backbone, missing_package(self.model.backbone)),
            ("model.head", self.model.head, missing_for_head(self.model.head)),
        ):
            if package is not None:
                raise ValueError(
                    f"{field} {name} needs the package {package}; install it with: pip install 'tubeflow[{package}]'"
                )
        return self

    @model_validator(mode="after")
    def _what_makes_features_is_frozen(self) -> PipelineConfig:
        """`train.freeze` says what is frozen, whoever decided it; what can't be frozen is reported here."""
        mode, frozen = self.features.mode, self.train.freeze
        if mode != "none":
            if frozen not in ("none", FROZEN[mode]):
                raise ValueError(
                    f"features.mode {mode} freezes {FROZEN[mode]}, and train.freeze says {frozen}; leave that out"
                )
            frozen = FROZEN[mode]
            object.__setattr__(self, "train", self.train.model_copy(update={"freeze": frozen}))
        if frozen == "backbone" and self.model.attention != "none":
            raise ValueError(
                f"with the whole backbone frozen ({'features.mode pooled' if mode == 'pooled' else 'train.freeze'}) "
                "there is no place for attention; set model.attention to none, or features.mode to cut"
            )
        if frozen == "stage1" and not has_parts(self.model.backbone):
            raise ValueError(
                f"model.backbone {self.model.backbone} carries more across its cut than the map there, so its first "
                "stage can't be frozen by itself; set features.mode to pooled, or take another backbone"
            )
        return self

    @model_validator(mode="after")
    def _a_fitted_head_stands_on_what_stays(self) -> PipelineConfig:
        """Nothing in front of a head that is fitted at once can be trained with it."""
        head = self.model.head
        if not is_fitted(head):
            return self
        if self.features.mode != "own" and self.train.freeze != "backbone":
            raise ValueError(
                f"model.head {head} is fitted to features that stay as they are; set features.mode to pooled and "
                "model.attention to none"
            )
        if self.model.temporal not in ("mean", "dct"):
            raise ValueError(
                f"model.head {head} is fitted at once; set model.temporal to mean, or of poses to dct; they learn "
                "nothing"
            )
        if self.train.steps or self.train.devices > 1:
            raise ValueError(f"model.head {head} is fitted at once; set train.steps to 0, train.devices to 1")
        return self

    @model_validator(mode="after")
    def _modules_of_poses_need_poses(self) -> PipelineConfig:
        """What a network makes of frames has no joints."""
        if self.model.temporal in OF_POSES and self.features.mode != "own":
            raise ValueError(
                f"model.temporal {self.model.temporal} is of poses; it goes with datasets of tubeflow ingest poses and "
                "features.mode own, as the presets pose_dct and st_gcn have it"
            )
        return self

    @model_validator(mode="after")
    def _own_features_have_no_frames(self) -> PipelineConfig:
        """What moves frames in time has nothing to move."""
        if self.features.mode == "own" and (self.train.shift != (0, 0) or self.train.eval_shift):
            sentence = "train.shift and train.eval_shift move frames, and features.mode own has none; set them to 0"
            raise ValueError(sentence)
        return self

    @model_validator(mode="after")
    def _masks_need_a_tracker_that_segments(self) -> PipelineConfig:
        """Reported before anything runs, not clip by clip."""
        name = self.track.tracker
        if self.masks.source != "mask" or name not in (PUBLISHED, *TRACKERS.names()):
            return self  # a name that is unknown is reported by the track stage
        if name == PUBLISHED or not TRACKERS.find(name).segments:
            able = " or ".join(name for name, entry in TRACKERS.items() if entry.segments)
            raise ValueError(
                f"masks.source mask needs a tracker that returns masks, and {name} returns none; "
                f"set track.tracker to {able}, or masks.source to quad"
            )
        return self


def preset_names() -> list[str]:
    """The presets that come with Tubeflow, sorted."""
    return sorted(path.stem for path in PRESETS.rglob("*.yaml"))


def preset_path(name: str) -> Path:
    """Where a preset that comes with Tubeflow is; those of the paper's Tables 1 and 4 have a folder of their own."""
    return next(PRESETS.rglob(f"{name}.yaml"))


def load_config(preset: str, overrides: Iterable[str] = ()) -> PipelineConfig:
    """Read a preset by name, or a YAML file by path, and apply `section.field=value` overrides.

    A file that begins with `preset: NAME` says only what it has otherwise than that preset, field by field.

    Raises:
        ConfigError: there is no such preset or file, it isn't YAML, or fields are unknown or of a wrong type.
    """
    return apply_overrides(_read_values(preset), overrides)


def _read_values(preset: str) -> dict[str, Any]:
    """What a file says, laid over the preset that it names as its own `preset`. Raises ConfigError."""
    known = preset_names()
    path = preset_path(preset) if preset in known else Path(preset)
    if not path.is_file():
        near = _nearest(preset, known)
        raise ConfigError(f"There is no preset or file '{preset}'{near}; presets: {', '.join(known)}.")
    try:
        values = read_yaml(path.read_text(encoding="utf-8")) or {}
    except OSError as exc:
        raise ConfigError(f"{path} can't be read: {exc.strerror}.") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(not_yaml(path, exc)) from exc
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a mapping of sections such as 'track:', found {type(values).__name__}.")
    base = values.pop("preset", None)
    if base is None:
        return values
    if base not in preset_names():  # files of other people may lead round in a circle
        raise ConfigError(f"{path}: 'preset: {shorten(str(base))}' is none of {', '.join(preset_names())}.")
    merged = _read_values(base)
    for section, fields in values.items():
        both = isinstance(fields, dict) and isinstance(merged.get(section), dict)
        merged[section] = {**merged[section], **fields} if both else fields
    inside = {f"{section}.{name}" for section, fields in values.items() if isinstance(fields, dict) for name in fields}
    _fit_to_tokens(merged, _read_values(base), inside)
    return merged


def config_text(config: PipelineConfig) -> str:
    """The whole config as YAML, with every default; `load_config` reads it back.

    With features that were made elsewhere, without the sections and fields that are about videos.
    """
    absent: dict[str, Any] = {}
    if config.features.mode == "own":
        absent = dict.fromkeys(("normalize", "detect", "track", "masks", "pack", "quality"), True)
        absent["model"] = set(ModelConfig.model_fields) - ON_OWN_FEATURES
        absent["train"] = set(OF_PIXELS)
    return yaml.safe_dump(config.model_dump(mode="json", exclude=absent), sort_keys=False)


def not_yaml(path: Path, exc: Exception) -> str:
    """Where a file stops being YAML, in a sentence."""
    mark, problem = getattr(exc, "problem_mark", None), getattr(exc, "problem", None)
    if mark is None:
        return f"{path} is not YAML; {problem or 'it has to be UTF-8 text'}."
    return f"{path} is not YAML in line {mark.line + 1}, column {mark.column + 1}: {getattr(exc, 'problem', '')}."


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> PipelineConfig:
    """Make a config from plain values with overrides laid over them. Raises ConfigError with every error."""
    merged, overrides = copy.deepcopy(dict(values)), list(overrides)
    faults = [fault for override in overrides if (fault := _lay_over(merged, override)) is not None]
    _fit_to_tokens(merged, values, {override.partition("=")[0].strip() for override in overrides})
    try:
        config = validate_config(merged)
    except ConfigError as exc:
        faults.append(str(exc))
    if faults:
        raise ConfigError("\n".join(faults))
    return config


def _fit_to_tokens(values: dict[str, Any], before: Mapping[str, Any], said: Collection[str]) -> None:
    """Fill in the grid, stride and input side of an encoder's tokens where its weights' config says them.

    Args:
        values: what the config is to be; receives them.
        before: what it was made from: of the same weights, its own numbers stay.
        said: dotted names of fields that were given besides; they stay, too.
    """
    kind, weights = _network_of(values)
    if kind not in ENCODERS or not isinstance(weights, str | None):
        return
    from models.backbones.encoder_form import token_settings  # loads PyTorch

    try:
        found = token_settings(kind, None if weights is None else Path(weights))
    except (OSError, ValueError):
        return  # whoever reads the weights says it; a name of the hub is known in its workspace alone
    same = _network_of(before) == (kind, weights)
    for section, fields in found.items():
        told = values.setdefault(section, {})
        for name, value in fields.items() if isinstance(told, dict) else ():
            if f"{section}.{name}" not in said and not (same and name in told):
                told[name] = value


def _network_of(values: Mapping[str, Any]) -> tuple[object, object]:
    model = values.get("model")
    return (model.get("backbone"), model.get("weights")) if isinstance(model, dict) else (None, None)


def _lay_over(values: dict[str, Any], override: str) -> str | None:
    """Put one `section.field=value` into plain values; returns what is wrong with it."""
    dotted, sign, text = override.partition("=")
    *folders, leaf = dotted.strip().split(".")
    if not sign or not folders or not all([*folders, leaf]):
        return f"'{override}' is not an override; write section.field=value, e.g. track.tracker=nano."
    target = values
    for depth, folder in enumerate(folders):
        if target.get(folder) is None:
            target[folder] = {}
        target = target[folder]
        if not isinstance(target, dict):
            return f"'{override}' can't be used: {'.'.join(folders[: depth + 1])} is a single value, not a section."
    try:
        target[leaf] = read_yaml(text) if text else None
    except yaml.YAMLError as exc:
        why = f"its value is not YAML ({getattr(exc, 'problem', None) or 'damaged'})"
        return f"'{shorten(override)}' can't be used: {why}; put text with special characters into quotes."
    return None


def validate_config(values: Mapping[str, object]) -> PipelineConfig:
    """Check plain values against the schema. Raises ConfigError with every error, and the nearest valid key."""
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as exc:
        raise ConfigError("\n".join(_explain(dict(error)) for error in exc.errors())) from exc


def _explain(error: Mapping[str, Any]) -> str:
    where = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        section: Any = PipelineConfig  # annotations are objects to the type checker
        for part in where[:-1]:
            section = section.model_fields[part].annotation
        known = list(section.model_fields) if issubclass(section, BaseModel) else []
        return f"Unknown key '{'.'.join(where)}'{_nearest(where[-1], known, '.'.join([*where[:-1], ''])) or '.'}"
    if error["type"] == "value_error" and not where:  # of several fields together; says itself which
        return f"{error['ctx']['error']}."
    given = error.get("input")
    shown = f", got {shorten(repr(given))}" if isinstance(given, (str, int, float, bool, type(None))) else ""
    return f"{'.'.join(where) or 'config'}: {error['msg']}{shown}."


def shorten(text: str) -> str:
    """What somebody wrote, as much of it as fits into a sentence."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{prefix}{match[0]}'?" if match else ""

"""Which network is trained and how, and the row that each epoch leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from data_catalog.weights.registry import load_registry
from tasks.engine.config import StageConfig

Option = bool | int | float | str
EpochRow = dict[str, float | None]
"""Epoch number, losses, learning rate and metrics of one epoch; None where a metric is undefined."""


Share = Annotated[float, Field(ge=0, lt=1)]
WITHOUT_EFFECT = frozenset({"loggers", "workers", "checkpoint_steps", "accelerator"})
"""Fields of TrainConfig that change how training runs, not what comes out."""


def names_file(weights: str | None) -> bool:
    """Whether the weights are a file or registered, and not a name that only the backbone knows."""
    return weights is not None and (bool(Path(weights).suffix) or weights in load_registry())


class ModelConfig(StageConfig):
    """Which network; see `models.tsanet.build_tsanet`.

    Attributes:
        weights: a file, a name of `tubeflow weights list`, or a name that the backbone knows (torchvision's
            "kinetics"); None starts from random weights.
        stacks: number of attention blocks one after another. Two and more of the paper's form, which normalises
            nothing, may not train from random weights; of `affinity: softmax` they do (docs/results.md).
    """

    backbone: str = "i3d"
    split: str | None = None
    weights: str | None = None
    attention: Literal["tsa", "nonlocal", "none"] = "tsa"
    stacks: int = Field(default=1, ge=1)
    affinity: Literal["dot", "softmax"] | None = None
    attention_options: dict[str, Option] = Field(default_factory=dict)
    head: Literal["regression", "usdl", "musdl", "classification"] = "usdl"
    head_options: dict[str, Option] = Field(default_factory=dict)
    compat: Literal["paper", "released"] = "paper"

    def key_view(self) -> dict[str, Any]:
        """Without the weights' path or name, whose digest is in the key; a name that only the backbone knows stays."""
        return self.model_dump(mode="json", exclude={"weights"} if names_file(self.weights) else None)


class TrainConfig(StageConfig):
    """How it is trained. The defaults are the paper's.

    Attributes:
        epochs: at most; fewer with `patience`.
        patience: stop when so many epochs in a row were no better than the best one; None never does.
        batch: clips of one step over all devices together; each takes its share.
        accumulate: steps whose gradients are summed before the weights change, so that `batch * accumulate` clips
            count as one batch (for BatchNorm they stay `accumulate` batches).
        ema: decay of a moving average of the weights, which is then what is validated and kept, e.g. 0.999.
        actions: train on these actions only; None for all.
        score_range: what the score is normalised with, see `tasks.training.targets.score_scale`.
        difficulty: predict the execution and multiply by the clip's known difficulty.
        flip: probability of a horizontal flip of a training clip.
        shift: smallest and largest temporal shift of a training clip in frames; `eval_shift` that of a test
            clip.
        validation: what the best epoch is chosen by instead of the test set. A number: this share of each action's
            training clips, picked by a digest of seed and clip_id (or the pack's split named "validation", if it
            has one). A text: the split of that name. Such clips don't train.
        select_on: split whose metric chooses the best epoch; where unset, "validation" if `validation` is set and
            else "test", as published figures do.
        freeze_batchnorm: keep the statistics of the backbone's weights.
        checkpoint_steps: batches between two checkpoints within an epoch, 0 for one per epoch.
        workers: reading processes of each device.
        devices: GPUs, or on a CPU processes, among which each batch is shared (Lightning's DDP).
        strategy: how they work together; "ddp_find_unused_parameters_true" for a network of which a step may leave
            parameters out (none of ours does).
        precision: of training and of the metrics of each epoch; the evaluate stage computes in float32.
        sync_batchnorm: BatchNorm's statistics over the batches of all devices; GPUs only.
        compile: torch.compile the network, minutes before the first step (`benchmarks.train_options --compile`).
        deterministic: refuse operations whose result may differ from run to run; a CPU has none here.
        loggers: where the metrics of each epoch are written to, besides the artifact.
    """

    # What was done before these were there; `select_on` is resolved by `key_view`.
    added: ClassVar[Mapping[str, Any]] = {"patience": None, "ema": None, "compile": False}

    seed: int = 0
    epochs: int = Field(default=100, ge=1)
    patience: int | None = Field(default=None, ge=1)
    batch: int = Field(default=4, ge=1)
    accumulate: int = Field(default=1, ge=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    clip_gradient: float | None = Field(default=None, gt=0)
    actions: tuple[str, ...] | None = None
    score_range: Literal["all", "train"] | tuple[float, float] = "all"
    difficulty: bool = False
    flip: float = Field(default=0.5, ge=0, le=1)
    shift: tuple[int, int] = (0, 0)
    eval_shift: int = 0
    validation: Share | str = 0.0
    select_on: Literal["test", "validation"] | None = None
    freeze_batchnorm: bool = False
    checkpoint_steps: int = Field(default=100, ge=0)
    workers: int = Field(default=0, ge=0)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = Field(default=1, ge=1)
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    sync_batchnorm: bool = False
    compile: bool = False
    deterministic: bool = False
    loggers: tuple[Literal["csv", "tensorboard", "mlflow", "wandb"], ...] = ("csv", "tensorboard")

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.shift[0] > self.shift[1]:
            raise ValueError(f"shift is (smallest, largest), got {self.shift}")
        if self.batch % self.devices:
            raise ValueError(f"a batch of {self.batch} clips cannot be shared evenly by {self.devices} devices")
        if self.validation in ("train", "test"):
            raise ValueError(f"validation clips may be no {self.validation} clips; name another split, or give a share")
        return self

    @property
    def selecting(self) -> Literal["test", "validation"]:
        """Split whose metric chooses the best epoch."""
        return self.select_on or ("validation" if self.validation else "test")

    def key_view(self) -> dict[str, Any]:
        """Without what changes how training runs and not what comes out."""
        view = {name: value for name, value in super().key_view().items() if name not in WITHOUT_EFFECT}
        view["select_on"] = self.selecting
        if isinstance(self.validation, float) and self.validation:
            view["validation"] = f"{self.validation} of each action, by clip_id"  # how the clips are drawn
        return view

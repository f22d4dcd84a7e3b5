"""Which network is trained and how, and the row that each epoch leaves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from data_catalog.weights.registry import load_registry
from models.backbones import BACKBONES, has_form
from models.head_names import HEADS
from tasks.engine.config import StageConfig

Option = bool | int | float | str
EpochRow = dict[str, float | None]
"""Epoch number, losses, learning rate and metrics of one epoch; None where a metric is undefined."""


Share = Annotated[float, Field(ge=0, lt=1)]
WITHOUT_EFFECT = frozenset({"loggers", "workers", "checkpoint_steps", "accelerator"})
"""Fields of TrainConfig that change how training runs, not what comes out."""

ON_OWN_FEATURES = frozenset({"temporal", "temporal_options", "head", "head_options"})
"""Fields of ModelConfig that a network on features that were made elsewhere has."""
PANEL = 7
"""Judges of the head `musdl` where its options say nothing."""
HEAD_PLUGIN = "head_plugin"
"""What in the key says which package brings the head."""
OF_PIXELS = frozenset({"flip", "shift", "eval_shift", "freeze_batchnorm", "freeze"})
"""Fields of TrainConfig that it has no use for."""


class ModelConfig(StageConfig):
    """Which network; see `models.tsanet.build_tsanet`."""

    backbone: str = Field("i3d", description="Network that turns a segment's frames into features, e.g. i3d.")
    split: str | None = Field(
        None,
        description="Where the backbone is cut in two, the attention standing between, e.g. maxpool_4a; None takes the "
        "backbone's own place.",
    )
    weights: str | None = Field(
        None,
        description="Weights that the backbone starts from: a file, a name of `tubeflow weights list`, or one that the "
        'backbone knows (torchvision\'s "kinetics"); of videomae and vit a folder that transformers saved, or the name '
        "of a repository that was pulled; None starts from random weights.",
    )
    # What was done before these were there.
    added: ClassVar[Mapping[str, Any]] = {
        "attention_norm": None,
        "attention_gain": None,
        "temporal": "mean",
        "temporal_options": {},
    }

    attention: Literal["tsa", "nonlocal", "none", "mask", "pointwise", "pool", "channel", "constant"] = Field(
        "tsa",
        description="Which positions attend to each other: those of the tube (tsa), all (nonlocal), or no attention "
        "(none). The others use the tube without comparing its positions and cost next to nothing: features outside of "
        "it set to zero (mask), each position by itself, x + W_z g(x) (pointwise), the head's mean over the tube only "
        "(pool), the tube mask as one more channel (channel), a learnt constant added inside (constant).",
    )
    stacks: int = Field(
        1,
        ge=1,
        description="Number of attention blocks one after another. Two and more of the paper's form, which normalises "
        "nothing, may end in a constant at high learning rates; train.clip_gradient=1 or attention_norm prevents it.",
    )
    affinity: Literal["dot", "softmax"] | None = Field(
        None,
        description="How much a position attends to another: the dot product over the number of positions (paper) or "
        "a softmax (released code), which at I3D's 480 to 528 channels is one-hot at the start: each position attends "
        "to a single one, see docs/fidelity.md; None takes the one of `compat`.",
    )
    attention_norm: bool | None = Field(
        None,
        description="BatchNorm behind W_z. For dot over all tube positions of the batch, of all devices together; for "
        "softmax over each clip's tube, as released. None is that of the affinity: none for dot, one for softmax.",
    )
    attention_gain: float | None = Field(
        None,
        ge=0,
        description="What a block's last layer (the norm, or W_z without one) is multiplied by at the start: 0 begins "
        "as the identity, 1 with the layer's usual start; None is 0 unless attention_options say zero_init: false.",
    )
    attention_options: dict[str, Option] = Field(
        {}, description="Further arguments of the attention block, by name; empty takes its defaults."
    )
    temporal: Literal["mean", "attention", "lstm", "levels", "dct", "stgcn"] = Field(
        "mean",
        description="How segments, or steps of features, become one vector: their mean, a weighted mean (attention), "
        "the last state of an LSTM, or what a transformer's queries collect of them, one a level of quality (levels); "
        "of poses also the low frequencies of each joint's way (dct) or convolution over the skeleton (stgcn).",
    )
    temporal_options: dict[str, Option] = Field(
        {}, description="Further arguments of the temporal module, by name; empty takes its defaults."
    )
    head: str = Field(
        "usdl",
        description="What is predicted: one score (by a perceptron; linear: by one layer), a score with its own "
        "uncertainty (gaussian), a distribution of the score (usdl), one a judge (musdl), one score weighed from "
        "levels of quality (likert, with temporal: levels), the difference to training clips of the same action and "
        "difficulty (contrastive), one score by support vector regression on features that stay as they are (svr), or "
        "one of two labels (classification); or the head of a plug-in, which predicts a score.",
    )
    head_options: dict[str, Option] = Field(
        {}, description="Further arguments of the head, by name; empty takes its defaults."
    )
    compat: Literal["paper", "released"] = Field(
        "paper", description="Whose form is built where they differ: the paper's or the released code's."
    )

    @model_validator(mode="after")
    def _what_the_form_has(self) -> ModelConfig:
        compares = self.attention in ("tsa", "nonlocal")
        if self.attention_norm is not None and not compares:
            raise ValueError(f"attention_norm goes with attention tsa and nonlocal only, not with {self.attention}")
        if self.attention_gain is not None and self.attention in ("none", "mask", "pool"):
            raise ValueError(f"attention {self.attention} has no weights, so no attention_gain")
        if self.stacks > 1 and self.attention in ("mask", "pool", "constant"):
            raise ValueError(f"{self.stacks} of attention {self.attention} do no more than one; set stacks to 1")
        return self

    def key_view(self) -> dict[str, Any]:
        """Without the weights' path or name, whose digest is in the key; a name that only the backbone knows stays.

        With the packages that bring backbone and head, where some do.
        """
        view = super().key_view()
        if self.weights_are_files:
            del view["weights"]
        origins = {"backbone_plugin": BACKBONES.origin(self.backbone), HEAD_PLUGIN: HEADS.origin(self.head)}
        view |= {name: origin for name, origin in origins.items() if origin is not None}
        return view

    @property
    def weights_are_files(self) -> bool:
        """Whether the weights are files or registered, and not a name that only the backbone knows."""
        if self.weights is None:
            return False
        return has_form(self.backbone) or bool(Path(self.weights).suffix) or self.weights in load_registry()

    @property
    def attention_words(self) -> str:
        """The attention in a few words: "tsa", "tsa ×3 with norm, gain 0.1", "mask", "none"."""
        words = self.attention if self.stacks == 1 else f"{self.attention} ×{self.stacks}"
        if self.attention_norm is not None:
            words += " with norm" if self.attention_norm else " without norm"
        return words if self.attention_gain is None else f"{words}, gain {self.attention_gain:g}"

    @property
    def panel(self) -> int | None:
        """How many judges' marks the head learns; None where it learns the score."""
        return int(self.head_options.get("judges", PANEL)) if self.head == "musdl" else None

    @property
    def panel_by_difficulty(self) -> bool:
        """Whether what the judges' marks make is multiplied by the difficulty."""
        return self.head == "musdl" and bool(self.head_options.get("with_difficulty", True))

    def block_options(self) -> dict[str, Option]:
        """Arguments of the attention block, by name."""
        named = {"norm": self.attention_norm, "gain": self.attention_gain}
        return {**self.attention_options, **{name: value for name, value in named.items() if value is not None}}


class TrainConfig(StageConfig):
    """How it is trained. The defaults are the paper's."""

    # What was done before these were there; `select_on` is resolved by `key_view`.
    added: ClassVar[Mapping[str, Any]] = {
        "patience": None,
        "ema": None,
        "compile": False,
        "freeze": "none",
        "steps": 0.0,
    }

    seed: int = Field(0, description="Seed of the weights, the order of the clips and everything else that is random.")
    epochs: int = Field(100, ge=1, description="Passes over the training clips at most; fewer with `patience`.")
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after this number of epochs in a row that were no better than the best one; None disables "
        "early stopping.",
    )
    batch: int = Field(4, ge=1, description="Clips of one step over all devices together; each takes its share.")
    accumulate: int = Field(
        1,
        ge=1,
        description="Steps whose gradients are summed before the weights change, so that batch * accumulate clips "
        "count as one batch (for BatchNorm they stay separate batches).",
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay per step of a moving average of the weights, which is then what is validated and kept, "
        "e.g. 0.999; None keeps the weights themselves.",
    )
    lr: float = Field(1e-4, gt=0, description="Learning rate of Adam, before `schedule`.")
    weight_decay: float = Field(1e-5, ge=0, description="Adam's weight decay (L2); 0 is none.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Learning rate over the training: constant, or falling to 0 along a cosine."
    )
    clip_gradient: float | None = Field(
        None, gt=0, description="Largest norm of the gradient, beyond which it is scaled down; None clips nothing."
    )
    actions: tuple[str, ...] | None = Field(None, description="Train on clips of these actions only; None for all.")
    score_range: Literal["all", "train"] | tuple[float, float] = Field(
        "all",
        description="What a score is normalised with: each action's smallest and largest score over all clips, as "
        "published, or over the training clips, or two numbers in points.",
    )
    difficulty: bool = Field(
        False, description="Predict the execution, and multiply it by the clip's known degree of difficulty."
    )
    steps: float = Field(
        0.0,
        ge=0,
        description="Weight of a second loss, beside the score's: a layer on each segment's features says which kind "
        "of step its frames lie in, learnt from the clips that are labelled with steps; 0 is without.",
    )
    flip: float = Field(0.5, ge=0, le=1, description="Probability of a horizontal flip of a training clip.")
    shift: tuple[int, int] = Field(
        (0, 0), description="Smallest and largest temporal shift of a training clip, in frames."
    )
    eval_shift: int = Field(0, description="Temporal shift of a test clip, in frames.")
    validation: Share | str = Field(
        0.0,
        description="What the best epoch is chosen by instead of the test clips. A number: this share of each action's "
        "training clips, picked by a digest of seed and clip_id (or the split named validation, if there is one). A "
        "text: the split of that name. Such clips don't train.",
    )
    select_on: Literal["test", "validation"] | None = Field(
        None,
        description="Split whose metric chooses the best epoch; None takes validation if `validation` is set and else "
        "test, as published figures do.",
    )
    freeze: Literal["none", "stage1", "backbone"] = Field(
        "none",
        description="What of the backbone stays as it is, BatchNorm's statistics included: nothing, everything in "
        "front of the cut (stage1), or all of it (backbone, without attention). Set by features.mode: cut freezes "
        "stage1, pooled the backbone.",
    )
    freeze_batchnorm: bool = Field(False, description="Keep the BatchNorm statistics of the backbone's weights.")
    checkpoint_steps: int = Field(
        100, ge=0, description="Batches between two checkpoints within an epoch; 0 writes one per epoch only."
    )
    workers: int = Field(0, ge=0, description="Reading processes of each device; 0 reads in the training's process.")
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="Where `train` runs when it is called directly; a run sets it from engine.device."
    )
    devices: int = Field(
        1, ge=1, description="GPUs, or on a CPU processes, among which each batch is shared (Lightning's DDP)."
    )
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = Field(
        "auto",
        description="How several devices work together; the last is for a network of which a step may leave "
        "parameters out (none of ours does).",
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true",
        description="Bits of training and of the metrics of each epoch; the evaluate stage computes in float32.",
    )
    sync_batchnorm: bool = Field(
        False, description="BatchNorm's statistics over the batches of all devices together; GPUs only."
    )
    compile: bool = Field(
        False, description="Compile the network with torch.compile, which takes minutes before the first step."
    )
    deterministic: bool = Field(
        False,
        description="Refuse operations whose result may differ from run to run; on a CPU there are none here.",
    )
    loggers: tuple[Literal["csv", "tensorboard", "mlflow", "wandb"], ...] = Field(
        ("csv",),
        description="Where the metrics of each epoch are written to, besides the artifact; tensorboard, mlflow and "
        "wandb are packages of their own.",
    )

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.shift[0] > self.shift[1]:
            raise ValueError(f"shift is (smallest, largest), got {self.shift}")
        if self.batch % self.devices:
            raise ValueError(f"a batch of {self.batch} clips cannot be shared evenly by {self.devices} devices")
        if self.steps and self.devices > 1:
            raise ValueError("train.steps learns on one device; set train.devices to 1")
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

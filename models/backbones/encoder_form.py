"""What an encoder of patches is built from, read from what `transformers` saves beside its weights.

Its size is not known from its name, as I3D's is, so it has to be known before the weights are read, and again when a
trained network is built without them. It is a line of JSON, the form, which travels among the network's own tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, uint8

from models.backbones.split import IMAGENET_MEAN, IMAGENET_STD, SEGMENT_FRAMES
from models.safetensors_file import read_safetensors

FORM = "form"
"""Name of the form among a network's tensors: its JSON as bytes, (n,) uint8."""
CONFIG = "config.json"
PREPROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
"""Where an image or a video processor is saved; the first that is there counts."""

Colour = tuple[float, float, float]

_MAX_BYTES = 1 << 20
_LARGEST = 1 << 16  # of any whole number in a config; the largest published encoders have a fifth of it
_PIXELS_TO_SHARES = 1 / 255
_BASE_SIDE, _BASE_PATCH, _BASE_TUBELET = 224, 16, 2  # where a config leaves them out
_COMMON = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "layer_norm_eps", "image_size",
    "patch_size", "num_channels",
)  # fmt: skip
_OWN = {
    "videomae": ("num_frames", "tubelet_size", "qv_bias", "use_mean_pooling"),
    "vit": ("qkv_bias",),
}
_COLOURS: dict[str, tuple[Colour, Colour]] = {
    "videomae": (IMAGENET_MEAN, IMAGENET_STD),
    "vit": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of the published models, for a folder without a preprocessor."""


@dataclass(frozen=True)
class EncoderForm:
    """What an encoder is built from.

    Attributes:
        kind: `model_type` of transformers' config, `videomae` or `vit`.
        fields: what decides the network of that config, by name; empty is transformers' own, the base size.
        mean, std: RGB statistics, in units of [0, 1], that the weights expect of their input.
    """

    kind: str
    fields: Mapping[str, Any]
    mean: Colour
    std: Colour

    def text(self) -> str:
        """As a line of JSON, the same for the same form."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def standard_form(kind: str) -> EncoderForm:
    """The base size of a kind: patches of 16 pixels, 224-pixel input."""
    return EncoderForm(kind, {}, *_COLOURS[kind])


def form_of_text(kind: str, text: str) -> EncoderForm:
    """The form that `EncoderForm.text` wrote.

    Raises:
        ValueError: it is none, or one of another kind.
    """
    try:
        found = json.loads(text)
        form = EncoderForm(found["kind"], found["fields"], _colour(found["mean"]), _colour(found["std"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise ValueError(f"what is said of the encoder's size is damaged ({exc}); take the weights anew") from exc
    _check_kind(kind, form.kind, "these weights")
    _check_fields(form.fields, "these weights")
    return form


def form_text(tensor: Tensor) -> str:
    """What the tensor `form` of a network, (n,) uint8, says. Raises ValueError where it is none."""
    if tensor.dtype != uint8 or tensor.dim() != 1 or len(tensor) > _MAX_BYTES:
        raise ValueError("what is said of the encoder's size is damaged; take the weights anew")
    return bytes(tensor.tolist()).decode("utf-8", errors="replace")


def read_form(kind: str, weights: Path) -> EncoderForm:
    """The form of saved weights; the weights themselves are not read.

    Args:
        kind: `videomae` or `vit`.
        weights: a folder as `save_pretrained` writes it, a file in such a folder (its `config.json` alone stands for
            random weights of that form), or a file that `tubeflow export --format backbone` wrote.

    Raises:
        FileNotFoundError: nothing is there, or no config beside it.
        ValueError: it says nothing of an encoder of this kind.
    """
    own = None if weights.suffix != ".safetensors" or not weights.is_file() else _form_inside(weights)
    if own is not None:
        return form_of_text(kind, own)
    folder = weights if weights.is_dir() else weights.parent
    path = folder / CONFIG if weights.suffix != ".json" else weights
    config = _read_json(path)
    _check_kind(kind, config.get("model_type"), str(path))
    fields = {name: config[name] for name in (*_COMMON, *_OWN[kind]) if name in config}
    _check_fields(fields, str(path))
    return EncoderForm(kind, fields, *_read_colours(kind, path.parent))


def patch_cells(image: Any, patch: Any) -> tuple[int, tuple[int, int]]:
    """Input side in pixels, and rows and columns of patches. Raises ValueError where they don't fill it evenly."""
    rows, columns = (image, image) if isinstance(image, int) else image
    down, across = (patch, patch) if isinstance(patch, int) else patch
    if rows != columns:
        raise ValueError(f"the encoder takes images of {rows}×{columns} px; only square input can be given to it")
    if min(down, across) < 1 or rows % down or columns % across:
        raise ValueError(f"patches of {down}×{across} px don't fill an input of {rows} px, so the grid has no cells")
    return rows, (rows // down, columns // across)


def token_settings(kind: str, weights: Path | None) -> dict[str, dict[str, Any]]:
    """What a config has to say of frames and masks so that they fit the tokens of an encoder, by section and field.

    Args:
        kind: `videomae` or `vit`.
        weights: as of `read_form`; None is the base size.

    Raises:
        FileNotFoundError, ValueError: as `read_form`, or patches don't fill the input.
    """
    fields = (standard_form(kind) if weights is None else read_form(kind, weights)).fields
    side, grid = patch_cells(fields.get("image_size", _BASE_SIDE), fields.get("patch_size", _BASE_PATCH))
    frames, stride = SEGMENT_FRAMES, 1
    if kind == "videomae":
        frames, stride = fields.get("num_frames", SEGMENT_FRAMES), fields.get("tubelet_size", _BASE_TUBELET)
    return {
        "masks": {"grid": list(grid), "stride": stride, "segment_length": frames},
        "pack": {"input_size": side},
    }


def _form_inside(weights: Path) -> str | None:
    """The form that a file holds among its tensors, None where it holds none."""
    tensor = read_safetensors(weights, only=FORM).get(FORM)
    return None if tensor is None else form_text(tensor)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}, which says how large the encoder is; give a folder as transformers' save_pretrained "
            "writes it, with the config beside the weights"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} is larger than a config can be; check that it is one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{path} is no JSON ({exc}); fetch it again") from exc
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no config, which has names and values; fetch it again")
    return content


def _check_kind(kind: str, found: object, where: str) -> None:
    if found != kind:
        raise ValueError(f"model.backbone is {kind}, and {where} is of model_type {found!r}; choose the one that fits")


def _check_fields(fields: Mapping[str, Any], where: str) -> None:
    """Nothing but plain numbers, words and pairs of numbers, of a size that networks have."""
    for name, value in fields.items():
        parts = value if isinstance(value, list | tuple) else [value]
        if len(parts) not in (1, 2) or not all(isinstance(part, int | float | str) for part in parts):
            raise ValueError(f"{name} in {where} is {value!r}, which is no size")
        if any(isinstance(part, int) and not isinstance(part, bool) and not 0 <= part <= _LARGEST for part in parts):
            raise ValueError(f"{name} in {where} is {value!r}; sizes are 0 to {_LARGEST}")


def _read_colours(kind: str, folder: Path) -> tuple[Colour, Colour]:
    """Mean and standard deviation that the preprocessor in `folder` normalises with."""
    path = next((folder / name for name in PREPROCESSORS if (folder / name).is_file()), None)
    if path is None:
        return _COLOURS[kind]
    found = _read_json(path)
    factor = found.get("rescale_factor", _PIXELS_TO_SHARES) if found.get("do_rescale", True) else 1
    if not isinstance(factor, int | float) or not math.isclose(factor, _PIXELS_TO_SHARES, rel_tol=1e-3):
        raise ValueError(f"{path} doesn't divide pixels by 255, as these networks' input is; correct rescale_factor")
    if not found.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    try:
        mean, std = _colour(found["image_mean"]), _colour(found["image_std"])
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"{path} doesn't say with which image_mean and image_std pixels are normalised") from exc
    if min(std) <= 0:
        raise ValueError(f"{path} has image_std {std}, which pixels can't be divided by")
    return mean, std


def _colour(values: Any) -> Colour:
    red, green, blue = (float(value) for value in values)
    return red, green, blue

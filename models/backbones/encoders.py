"""Encoders of patches, of the library `transformers`: VideoMAE over a segment, ViT over each of its frames.

Both turn patches into tokens and pass them through layers of equal width, so the tokens behind any layer are a map:
one cell of the grid a patch, one time step a tubelet (VideoMAE) or a frame (ViT). Sizes, patches and colours are those
of the saved config (`models.backbones.encoder_form`). The library is an extra, imported when a network is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from models.backbones.checkpoint import read_tensors, refuse_faults
from models.backbones.encoder_form import FORM, EncoderForm, form_of_text, patch_cells, read_form, standard_form
from models.backbones.split import SEGMENT_FRAMES, FeatureHook, SplitBackbone, mean_position

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EMBEDDINGS = "embeddings"
"""The cut in front of the first layer."""
_OF_TASKS = re.compile(r"(\w+\.)?(classifier|fc_norm|decoder|encoder_to_decoder|pooler|(embeddings\.)?mask_token)\b")
"""Names in published files that are of the task a network was trained for, and not of the encoder."""


class EncoderBackbone(SplitBackbone):
    """What both have in common.

    Args:
        network: transformers' model, without what stands behind its encoder.
        layers: its layers, in order.
        form: what it was built from; kept as the tensor `form`.
        split: `layer.N`, counted from 0, behind which to cut, or `embeddings`; None takes the layer two thirds in.

    Raises:
        ValueError: no such layer, or patches that don't fill a square input evenly.
    """

    form: Tensor

    def __init__(self, network: nn.Module, layers: nn.ModuleList, form: EncoderForm, split: str | None) -> None:
        super().__init__()
        config: Any = network.config
        self.network = network
        names = [EMBEDDINGS, *(f"layer.{number}" for number in range(len(layers)))]
        split = split or names[-(-2 * len(layers) // 3)]
        if split not in names:
            raise ValueError(
                f"{form.kind} has no layer {split!r} to split after; choose {EMBEDDINGS} or layer.0 to {names[-1]}"
            )
        self._cut = names.index(split)
        self.mean, self.std = form.mean, form.std
        self.input_size, self._cells = patch_cells(config.image_size, config.patch_size)
        self.register_buffer(FORM, torch.tensor(list(form.text().encode()), dtype=torch.uint8))

    def _layers(self) -> nn.ModuleList:
        raise NotImplementedError

    def stage1_layers(self) -> list[nn.Module]:
        """The embeddings and the layers up to the cut."""
        return [cast(nn.Module, self.network.embeddings), *self._layers()[: self._cut]]

    def _in_front(self, tokens: Tensor) -> Tensor:
        for layer in self._layers()[: self._cut]:
            tokens = layer(tokens)
        return tokens

    def _behind(self, tokens: Tensor) -> Tensor:
        """Through the layers behind the cut and the last norm, where the network has one."""
        for layer in self._layers()[self._cut :]:
            tokens = layer(tokens)
        norm = cast("nn.Module | None", self.network.layernorm)
        return tokens if norm is None else cast(Tensor, norm(tokens))


class VideoMAEBackbone(EncoderBackbone):
    """VideoMAE: the feature is the mean of its last tokens.

    `stage1` takes (M, 3, 16, 224, 224) to (M, 768, 8, 14, 14) in the base size.
    """

    def __init__(self, network: nn.Module, form: EncoderForm, split: str | None) -> None:
        super().__init__(network, cast(Any, network).encoder.layer, form, split)
        config: Any = network.config
        self.frames = config.num_frames
        self._places = (config.num_frames // config.tubelet_size, *self._cells)
        self.settle(EMBEDDINGS if not self._cut else f"layer.{self._cut - 1}")

    def _layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, cast(Any, self.network).encoder.layer)

    def stage1(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) float to the map of tokens (M, C, T, Hf, Wf) at the cut."""
        tokens = self._in_front(cast(Any, self.network).embeddings(x.transpose(1, 2), None))
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *self._places)

    def last_map(self, h: Tensor) -> Tensor:
        """Map of tokens (M, C, T, Hf, Wf) float to that of the last layer, of the same shape."""
        return self._behind(h.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(h.shape)

    def stage2(self, h: Tensor) -> Tensor:
        """Map of tokens (M, C, T, Hf, Wf) float to pooled features (M, F)."""
        return mean_position(self.last_map(h))


class ViTBackbone(EncoderBackbone):
    """ViT on each frame of a segment: the feature is the mean of the frames' class tokens.

    The class tokens travel beside the map: they skip the attention at the cut, and see in the layers behind it what it
    changed. The second stage has no meaning without the first; use the full call.
    """

    def __init__(self, network: nn.Module, form: EncoderForm, split: str | None) -> None:
        super().__init__(network, cast(Any, network).layers, form, split)
        self.frames = SEGMENT_FRAMES
        self.settle(EMBEDDINGS if not self._cut else f"layer.{self._cut - 1}")

    def _layers(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.network.layers)

    def stage1_layers(self) -> list[nn.Module]:
        """Refused, as the class tokens cross the cut beside the map. Raises NotImplementedError."""
        raise NotImplementedError("ViT's first stage makes the class tokens, too, which its map does not hold")

    def _open(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Segments to class tokens (M·T, 1, C) and the map (M, C, T, Hf, Wf) at the cut."""
        frames = x.transpose(1, 2)
        tokens = self._in_front(cast(Any, self.network).embeddings(frames.flatten(0, 1)))
        places = tokens[:, 1:].reshape(*frames.shape[:2], *self._cells, -1)  # (M, T, Hf, Wf, C)
        return tokens[:, :1], places.permute(0, 4, 1, 2, 3)

    def stage1(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) float to the map of patch tokens (M, C, T, Hf, Wf) at the cut."""
        return self._open(x)[1]

    def stage2(self, h: Tensor) -> Tensor:
        """Refused: a map (M, C, T, Hf, Wf) float does not hold the class tokens.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("ViT's second stage needs the class tokens of its first; call the whole network")

    def forward(self, x: Tensor, between: FeatureHook | None = None) -> Tensor:
        """Segments (M, 3, frames, S, S) float to pooled features (M, F); `between` works on the map at the cut."""
        token, h = self._open(x)
        h = h if between is None else between(h)
        places = h.permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1, 2)  # (M·T, Hf·Wf, C)
        last = self._behind(torch.cat([token, places], dim=1))[:, 0]
        return last.reshape(len(h), -1, last.shape[-1]).mean(dim=1)



def build_videomae(
    split: str | None = None, weights: str | Path | None = None, form: str | None = None
) -> VideoMAEBackbone:
    """VideoMAE, with the weights of a saved one if given; see `_build`; default cut `layer.7` of the base size."""
    network, built_from = _build("videomae", weights, form)
    return VideoMAEBackbone(network, built_from, split)


def build_vit(split: str | None = None, weights: str | Path | None = None, form: str | None = None) -> ViTBackbone:
    """ViT over frames, with the weights of a saved one if given; see `_build`; default cut as of VideoMAE."""
    network, built_from = _build("vit", weights, form)
    return ViTBackbone(network, built_from, split)


def videomae_form(weights: Path) -> str:
    """The form of saved VideoMAE weights, as text. Raises as `read_form`."""
    return read_form("videomae", weights).text()


def vit_form(weights: Path) -> str:
    """The form of saved ViT weights, as text. Raises as `read_form`."""
    return read_form("vit", weights).text()


def _build(kind: str, weights: str | Path | None, form: str | None) -> tuple[PreTrainedModel, EncoderForm]:
    """A network and what it was built from.

    Args:
        kind: `videomae` or `vit`.
        weights: the file of saved weights, its config beside it; the config itself for random weights of that form.
        form: of trained weights that are to be put in; then `weights` is None.

    Raises:
        ValueError: no transformers, a config that makes no network, or weights that aren't the encoder's.
        FileNotFoundError: there is no such file, or no config beside it.
    """
    path = None if weights is None else Path(weights)
    if form is not None:
        wanted = form_of_text(kind, form)
    else:
        wanted = standard_form(kind) if path is None else read_form(kind, path)
    if path is None or path.suffix == ".json":
        return _network(wanted), wanted
    return _network(wanted, path), wanted


def _network(form: EncoderForm, path: Path | None = None) -> PreTrainedModel:
    try:
        import transformers
    except ImportError as exc:
        raise ValueError(
            f"model.backbone {form.kind} needs the package transformers; install it with: "
            "pip install 'tubeflow[transformers]'"
        ) from exc
    videomae = form.kind == "videomae"
    cls: Any = transformers.VideoMAEModel if videomae else transformers.ViTModel
    config_cls: Any = transformers.VideoMAEConfig if videomae else transformers.ViTConfig
    options = {} if videomae else {"add_pooling_layer": False}
    try:
        config = config_cls(**form.fields)
        if path is None:
            return cast("PreTrainedModel", cls(config, **options))
    except Exception as exc:  # whatever the library makes of a wrong size
        first = " ".join(str(exc).split())
        raise ValueError(f"the config of this {form.kind} makes no network: {first}") from exc
    return _loaded(cls, config, path, options)


def _loaded(cls: Any, config: Any, path: Path, options: dict[str, Any]) -> PreTrainedModel:
    """With the weights of a file, whose names the library translates; nothing but these tensors is read."""
    tensors = {name: tensor for name, tensor in read_tensors(path).items() if name != FORM}
    with _quiet():
        network, told = cls.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True, ignore_mismatched_sizes=True,
            dtype=torch.float32, **options,
        )  # fmt: skip
    missing, reshaped = sorted(told["missing_keys"]), sorted(str(one[0]) for one in told["mismatched_keys"])
    unexpected = sorted(name for name in told["unexpected_keys"] if not _OF_TASKS.match(name))
    refuse_faults(path, "the encoder that its config describes", missing, unexpected, reshaped)
    return cast("PreTrainedModel", network.train())


@contextmanager
def _quiet() -> Iterator[None]:
    """The library prints bars and tables of what it left out; what is wrong is said by us."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

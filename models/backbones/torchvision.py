"""torchvision's video networks, cut after a named layer, with their published Kinetics weights.

Nothing about sizes is written here: the input side and the colour statistics come from the weight enum's own
transforms, everything behind them from the dry run.  Layers go by torchvision's module names; the classifier is
taken off, so that no parameter of a trained model is without gradient.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torchvision.models.video as zoo
from torch import Tensor, cat, nn
from torchvision.models import WeightsEnum

from models.backbones.checkpoint import load_state, read_tensors
from models.backbones.split import FeatureHook, SplitBackbone, mean_position


class TorchvisionBackbone(SplitBackbone):
    """A torchvision network that is a chain of layers: `stage1` up to the cut, `stage2` behind it and the mean.

    Args:
        network: torchvision's network, its classifier taken off.
        layers: names of the chain's modules, in order, of which all but `tail` can be the cut.
        split: name of the layer behind which to cut.
        transforms: the published weights' preprocessing, for the input side and colour statistics.
        tail: how many of the last layers are no place for a cut.
        places_first: the network's maps are (M, T, H, W, C), as Swin's are.

    Raises:
        ValueError: `split` names no layer.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: list[str],
        split: str,
        transforms: Any,
        tail: int = 0,
        places_first: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.layers = layers
        self.places_first = places_first
        self._cut = _position(type(network).__name__, split, layers[: len(layers) - tail]) + 1
        _take_statistics(self, transforms)
        self.settle(split)

    def _run(self, x: Tensor, names: Iterable[str]) -> Tensor:
        for name in names:
            x = self.network.get_submodule(name)(x)
        return x

    def stage1_layers(self) -> list[nn.Module]:
        """The modules up to the cut."""
        return [self.network.get_submodule(name) for name in self.layers[: self._cut]]

    def stage1(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) float to the feature map (M, C, T, Hf, Wf) at the cut."""
        h = self._run(x, self.layers[: self._cut])
        return h.permute(0, 4, 1, 2, 3) if self.places_first else h

    def last_map(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to the map of the last layer, (M, F, T', H', W')."""
        if not self.places_first:
            return self._run(h, self.layers[self._cut :])
        return self._run(h.permute(0, 2, 3, 4, 1), self.layers[self._cut :]).permute(0, 4, 1, 2, 3)

    def stage2(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to pooled features (M, F)."""
        return mean_position(self.last_map(h))


class MViTBackbone(SplitBackbone):
    """torchvision's MViT: the feature at the end is its class token.

    The token travels beside the feature map: it skips the attention at the cut and sees the map's change in the
    blocks behind.  The second stage therefore has no meaning without the first; use the full call.
    """

    def __init__(self, network: nn.Module, split: str, transforms: Any) -> None:
        super().__init__()
        self.network = network
        names = [f"blocks.{i}" for i in range(len(cast(nn.ModuleList, network.blocks)))]
        self._cut = _position(type(network).__name__, split, names) + 1
        _take_statistics(self, transforms)
        self.settle(split)

    def _open(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Segments to class tokens (M, 1, C) and the map (M, C, T, H, W) at the cut."""
        net: Any = self.network
        tokens = net.pos_encoding(net.conv_proj(x).flatten(2).transpose(1, 2))
        thw = (net.pos_encoding.temporal_size, *net.pos_encoding.spatial_size)
        for block in net.blocks[: self._cut]:
            tokens, thw = block(tokens, thw)
        return tokens[:, :1], tokens[:, 1:].transpose(1, 2).unflatten(2, thw)

    def stage1(self, x: Tensor) -> Tensor:
        """Segments (M, 3, frames, S, S) float to the feature map (M, C, T, Hf, Wf) at the cut."""
        return self._open(x)[1]

    def stage2(self, h: Tensor) -> Tensor:
        """Refused: a map (M, C, T, Hf, Wf) float does not hold the class token.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("MViT's second stage needs the class token of its first; call the whole network")

    def forward(self, x: Tensor, between: FeatureHook | None = None) -> Tensor:
        """Segments (M, 3, frames, S, S) float to class tokens (M, F); `between` works on the map at the cut."""
        net: Any = self.network
        token, h = self._open(x)
        h = h if between is None else between(h)
        thw = tuple(h.shape[2:])
        tokens = cat([token, h.flatten(2).transpose(1, 2)], dim=1)
        for block in net.blocks[self._cut :]:
            tokens, thw = block(tokens, thw)
        return cast(Tensor, net.norm(tokens)[:, 0])


def _position(network: str, split: str, names: list[str]) -> int:
    if split not in names:
        raise ValueError(f"{network} has no layer {split!r} to split after; choose one of {', '.join(names)}")
    return names.index(split)


def _take_statistics(backbone: SplitBackbone, transforms: Any) -> None:
    backbone.input_size = transforms.crop_size[0]
    backbone.mean = tuple(transforms.mean)
    backbone.std = tuple(transforms.std)


def _load(
    build: Callable[..., nn.Module], enum: type[WeightsEnum], weights: str | Path | None, classifier: str
) -> nn.Module:
    """A network with weights from torchvision's server or a file, its classifier replaced by nothing.

    Raises:
        ValueError: unknown weights, no connection, or a file of another network.
    """
    network = build(weights=None)
    published = {"kinetics": enum["DEFAULT"], **{w.name: w for w in enum}}
    if str(weights) in published:
        network.load_state_dict(_fetch(published[str(weights)]))
    setattr(network, classifier, nn.Identity())
    if weights is None or str(weights) in published:
        return network
    path = Path(weights)
    if not path.is_file():
        raise ValueError(f"weights {str(weights)!r} is neither a file nor one of {', '.join(published)}")
    tensors = {name: t for name, t in read_tensors(path).items() if not name.startswith(f"{classifier}.")}
    load_state(network, path, type(network).__name__, tensors)
    return network


def _fetch(published: WeightsEnum) -> Mapping[str, Any]:
    """A published state_dict, from torchvision's cache or server, its digest checked."""
    try:
        return cast(Mapping[str, Any], published.get_state_dict(progress=False, check_hash=True))
    except OSError as exc:  # URLError is one
        raise ValueError(
            f"the Kinetics weights could not be fetched from {published.url} ({exc}); download that file on a "
            "connected machine and give its path as weights"
        ) from exc


_RESNET_LAYERS = ["stem", "layer1", "layer2", "layer3", "layer4"]
_S3D_LAYERS = [f"features.{i}" for i in range(16)]
_SWIN_LAYERS = ["patch_embed", *(f"features.{i}" for i in range(7)), "norm"]


def build_r3d_18(split: str | None = None, weights: str | Path | None = None) -> TorchvisionBackbone:
    """ResNet-18 with 3-d convolutions; default cut `layer3`."""
    enum = zoo.R3D_18_Weights
    network = _load(zoo.r3d_18, enum, weights, "fc")
    return TorchvisionBackbone(network, _RESNET_LAYERS, split or "layer3", enum.DEFAULT.transforms())


def build_r2plus1d_18(split: str | None = None, weights: str | Path | None = None) -> TorchvisionBackbone:
    """ResNet-18 with convolutions parted into space and time; default cut `layer3`."""
    enum = zoo.R2Plus1D_18_Weights
    network = _load(zoo.r2plus1d_18, enum, weights, "fc")
    return TorchvisionBackbone(network, _RESNET_LAYERS, split or "layer3", enum.DEFAULT.transforms())


def build_s3d(split: str | None = None, weights: str | Path | None = None) -> TorchvisionBackbone:
    """Separable I3D; default cut `features.11`, its Mixed_4e."""
    enum = zoo.S3D_Weights
    network = _load(zoo.s3d, enum, weights, "classifier")
    return TorchvisionBackbone(network, _S3D_LAYERS, split or "features.11", enum.DEFAULT.transforms())


def build_swin3d_t(split: str | None = None, weights: str | Path | None = None) -> TorchvisionBackbone:
    """Video Swin transformer, tiny; default cut `features.4`, the end of its 14×14 stage."""
    enum = zoo.Swin3D_T_Weights
    network = _load(zoo.swin3d_t, enum, weights, "head")
    transforms = enum.DEFAULT.transforms()
    return TorchvisionBackbone(network, _SWIN_LAYERS, split or "features.4", transforms, tail=1, places_first=True)


def build_mvit_v2_s(split: str | None = None, weights: str | Path | None = None) -> MViTBackbone:
    """Multiscale vision transformer v2, small; default cut `blocks.13`, the end of its 14×14 stage."""
    enum = zoo.MViT_V2_S_Weights
    network = _load(zoo.mvit_v2_s, enum, weights, "head")
    return MViTBackbone(network, split or "blocks.13", enum.DEFAULT.transforms())

"""C3D (Tran et al., ICCV 2015): eight convolutions of 3×3×3, five pools, fully connected layers behind them.

Layers bear the names of the files that are passed around of it (`conv1`, `conv2`, `conv3a` … `fc8`), so such a file is
read as it is. What is behind the feature that is asked for is left out: the classifier `fc8` always, and `fc7`.

Published C3D systems read one of two features: what `fc6` makes of the last map (C3D-SVR, C3D-LSTM), or that map itself
(C3D-AVG). Each is a backbone, `c3d` and `c3d_pool5`; their convolutions are the same.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from models.backbones.checkpoint import load_state, read_tensors
from models.backbones.i3d import EndpointBackbone
from models.backbones.split import SplitBackbone

logger = logging.getLogger(__name__)

Feature = Literal["fc6", "pool5"]

CUT = "conv4b"
"""Where 4×14×14 positions are left, as at I3D's cuts."""
UNITS = 4096
WIDTHS = {
    "conv1": 64, "conv2": 128, "conv3a": 256, "conv3b": 256, "conv4a": 512, "conv4b": 512, "conv5a": 512, "conv5b": 512
}  # fmt: skip
LAST_MAP = (1, 4, 4)
"""Steps, rows and columns of the map behind `pool5`, of 16 frames of 112 pixels."""
NO_CUT = ("pool5", "fc6")
"""Behind these there are no cells of the input left: `pool5` looks beyond the edge, `fc6` has no places."""
CLASSIFIERS = ("fc7.", "fc8.")


class Convolution(nn.Conv3d):
    """3×3×3 with a ReLU behind, the map's size kept."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(c_in, c_out, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, T, H, W) float to (M, C', T, H, W)."""
        return super().forward(x).relu()


class FullyConnected(nn.Linear):
    """A whole map to units with a ReLU behind."""

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, T, H, W) float to (M, units)."""
        return super().forward(x.flatten(1)).relu()


class C3D(EndpointBackbone):
    """C3D cut after a layer: `stage1` (M, 3, 16, 112, 112) to (M, 512, 4, 14, 14) for `conv4b`.

    The feature is no mean over a map, so `attention: pool` can't be had with it.

    Args:
        split: `conv1` to `conv5b`, pools between them included.
        feature: `fc6`, 4096 numbers behind their ReLU; or `pool5`, the last map's 8192, channel after channel.

    Raises:
        ValueError: an unknown layer, or one behind which the input's cells are gone.
    """

    input_size = 112
    last_map = SplitBackbone.last_map

    def __init__(self, split: str = CUT, feature: Feature = "fc6") -> None:
        layers = build_layers()
        if feature == "fc6":
            steps, rows, columns = LAST_MAP
            layers["fc6"] = FullyConnected(WIDTHS["conv5b"] * steps * rows * columns, UNITS)
        if split in NO_CUT:
            places = ", ".join(name for name in layers if name not in NO_CUT)
            raise ValueError(f"C3D can't be split after {split!r}, which keeps no cells; choose one of {places}")
        super().__init__(layers, split)

    def stage2(self, h: Tensor) -> Tensor:
        """Feature map (M, C, T, Hf, Wf) float to features (M, F)."""
        for name in self.endpoints[self._cut :]:
            h = getattr(self, name)(h)
        return h.flatten(1)


def build_layers() -> dict[str, nn.Module]:
    """Convolutions and pools in order, by the names of the files that are passed around."""
    layers: dict[str, nn.Module] = {}
    channels = 3
    for name, width in WIDTHS.items():
        layers[name] = Convolution(channels, width)
        channels = width
        if not name.endswith("a"):  # behind the last convolution of each group
            number = name.strip("convab")
            # The first keeps the frames; the last sees a row and a column beyond the edge, for a 4×4 map of 7×7.
            size = (1, 2, 2) if number == "1" else (2, 2, 2)
            layers[f"pool{number}"] = nn.MaxPool3d(size, padding=(0, 1, 1) if number == "5" else 0)
    return layers


def build_c3d(split: str | None = None, weights: str | Path | None = None) -> C3D:
    """C3D up to `fc6`; default cut `conv4b`. With a file, weights of those layers, of which all have to be there."""
    return _built(split, weights, "fc6")


def build_c3d_pool5(split: str | None = None, weights: str | Path | None = None) -> C3D:
    """C3D up to its last map; `fc6` of a file is left out as well."""
    return _built(split, weights, "pool5")


def _built(split: str | None, weights: str | Path | None, feature: Feature) -> C3D:
    backbone = C3D(split or CUT, feature)
    if weights is not None:
        path = Path(weights)
        tensors = read_tensors(path)
        behind = CLASSIFIERS if feature == "fc6" else ("fc6.", *CLASSIFIERS)
        kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(behind)}
        load_state(backbone, path, "C3D", kept)
        if len(kept) < len(tensors):
            logger.info("%s: left out %s", path.name, ", ".join(name for name in tensors if name not in kept))
    return backbone

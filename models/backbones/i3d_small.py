"""A narrow I3D that learns from nothing on two CPU cores: same building blocks, same 14×14×4 map at the cut.

Against I3D it takes 112-pixel input, halves space twice in its first layer, and keeps one Inception block before
the cut and two behind it.  Because the feature grid over the crop and the temporal stride are I3D's, the same tube
masks serve both.  Its batch statistics follow the data faster (momentum 0.1): a demo run is a few hundred steps
long, and each step normalises over all segments of its batch.
"""

from pathlib import Path

from torch import nn

from models.backbones.checkpoint import load_state, read_tensors
from models.backbones.i3d import BranchWidths, EndpointBackbone, Mixed, SamePool3d, Unit3d

MOMENTUM = 0.1
STEM_WIDTHS = (24, 64)
WIDTHS: dict[str, BranchWidths] = {
    "Mixed_4b": (32, 32, 48, 8, 16, 16),
    "Mixed_5b": (48, 48, 96, 16, 32, 32),
    "Mixed_5c": (64, 64, 128, 16, 32, 32),
}


class I3DSmall(EndpointBackbone):
    """Narrow I3D: `stage1` (M, 3, 16, 112, 112) to (M, 112, 4, 14, 14) for `mixed_4b`, `stage2` to (M, 256).

    Args:
        split: `conv_1a`, `conv_2c`, `mixed_4b` (default), `maxpool_5a`, `mixed_5b` or `mixed_5c`.
    """

    input_size = 112

    def __init__(self, split: str = "mixed_4b") -> None:
        first, second = STEM_WIDTHS
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_5x5": Unit3d(3, first, (3, 5, 5), (2, 4, 4), MOMENTUM),
            "Conv3d_2c_3x3": Unit3d(first, second, (3, 3, 3), (2, 2, 2), MOMENTUM),
        }
        channels = second
        for name, widths in WIDTHS.items():
            if name == "Mixed_5b":
                layers["MaxPool3d_5a_2x2"] = SamePool3d((2, 2, 2), (2, 2, 2))
            block = Mixed(channels, widths, MOMENTUM)
            layers[name] = block
            channels = block.c_out
        super().__init__(layers, split)


def build_i3d_small(split: str | None = None, weights: str | Path | None = None) -> I3DSmall:
    """The narrow I3D, with weights from a file of its own state_dict if given."""
    backbone = I3DSmall(split or "mixed_4b")
    if weights is not None:
        path = Path(weights)
        load_state(backbone, path, "i3d_small", read_tensors(path))
    return backbone

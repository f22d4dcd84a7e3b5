"""SAM 2 and 2.1 out of a weights file: ultralytics' architecture, and tensors that can run nothing.

ultralytics' own loader reads the file as a program and tells the version by its name. Here the file is read with
PyTorch's restricted unpickler, and what it holds shows in its tensors: the width and number of the encoder's blocks say
which of the four sizes, and 2.1 has an embedding for frames without the object.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.backbones.checkpoint import load_state, read_tensors
from models.detectors.yolo import silence_ultralytics

# Channels of the first block, and number of blocks → name of the builder in ultralytics.models.sam.build.
SIZES = {(96, 12): "build_sam2_t", (96, 16): "build_sam2_s", (112, 24): "build_sam2_b", (144, 48): "build_sam2_l"}
_FIRST = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCKS = "image_encoder.trunk.blocks."
_ONLY_IN_2_1 = "no_obj_embed_spatial"


def load_sam2(path: Path) -> Any:
    """The `SAM2Model` of a file of ultralytics (`sam2_t.pt` … `sam2.1_l.pt`) or of Meta, in evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds something else; names of missing and unexpected tensors are told.
    """
    tensors = read_tensors(path)
    first = tensors.get(_FIRST)
    blocks = {name.removeprefix(_BLOCKS).partition(".")[0] for name in tensors if name.startswith(_BLOCKS)}
    size = (0 if first is None else first.shape[0], len(blocks))
    if size not in SIZES:
        raise ValueError(
            f"{path.name} does not hold a SAM 2: its image encoder has {size[1]} blocks of {size[0]} channels, "
            "and none of the sizes t, s, b, l has; give a file such as sam2.1_t.pt"
        )
    network = build_sam2(SIZES[size], is_2_1(tensors))
    load_state(network, path, f"SAM {'2.1' if is_2_1(tensors) else '2'}", tensors)
    network.set_binarize(True)  # what ultralytics' video predictor does: prompted masks are remembered as 0 and 1
    return network.eval().requires_grad_(False)


def is_2_1(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors, of any shapes and dtypes, are of version 2.1; their names tell."""
    return _ONLY_IN_2_1 in tensors


def build_sam2(builder: str, newer: bool) -> Any:
    """A SAM 2 with random weights; `newer`: 2.1. `builder`: a value of `SIZES`."""
    silence_ultralytics()
    from ultralytics.models.sam import build

    network: Any = getattr(build, builder)()
    if newer:
        # ultralytics makes these four when the file's name says 2.1, and reads the file in the same breath.
        network.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, network.mem_dim))
        network.obj_ptr_tpos_proj = nn.Linear(network.hidden_dim, network.mem_dim)
        network.proj_tpos_enc_in_obj_ptrs = True
        network.use_signed_tpos_enc_to_obj_ptrs = True
    return network

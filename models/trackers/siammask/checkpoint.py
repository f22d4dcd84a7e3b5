"""Weights files of SiamMask: the official repository's, pysot's `siammask_r50_l3`, and our own."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from models.backbones.checkpoint import load_state, read_tensors
from models.trackers.siammask.network import SiamMask
from models.trackers.siammask.person.person_network import PersonSiamMask
from models.trackers.siammask.small import SmallSiamMask

# Beginnings of tensor names, and what they are called here.
_OFFICIAL = {
    "features.features.": "backbone.",
    "features.downsample.downsample.": "neck.",
    "rpn_model.cls.": "cls.",
    "rpn_model.loc.": "loc.",
    "mask_model.mask.": "mask.",
    "refine_model.": "refine.",
}
_PYSOT = {
    "backbone.": "backbone.",
    "neck.downsample.downsample.": "neck.",
    "rpn_head.cls.": "cls.",
    "rpn_head.loc.": "loc.",
    "mask_head.": "mask.",
    "refine_head.": "refine.",
}


_SMALL = ("outlines.place.",)
_PERSON = ("read_likeness.",)


class LoadedNetwork(NamedTuple):
    """A network in evaluation mode, and the preset that was published with such weights."""

    network: SiamMask | SmallSiamMask | PersonSiamMask
    preset: str


def load_siammask(path: Path) -> LoadedNetwork:
    """Read a checkpoint of any family; whether it is the sharp form shows in its tensors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds something else; names of missing and unexpected tensors are told.
    """
    tensors = read_tensors(path)
    if any(name.startswith(_SMALL) for name in tensors):
        return _load_own(path, tensors, SmallSiamMask(), "small")
    if any(name.startswith(_PERSON) for name in tensors):
        return _load_own(path, tensors, PersonSiamMask(), "person")
    pysot = any(name.startswith(("rpn_head.", "mask_head.", "refine_head.")) for name in tensors)
    official = any(name.startswith(tuple(_OFFICIAL)) for name in tensors)
    found = rename(tensors, _PYSOT if pysot else _OFFICIAL) if pysot or official else tensors
    sharp = any(name.startswith("refine.") for name in found)
    network = SiamMask(sharp=sharp)
    load_state(network, path, f"SiamMask ({'sharp' if sharp else 'base'} form)", found)
    preset = "pysot" if pysot else "davis" if sharp else "base"
    return LoadedNetwork(network.eval().requires_grad_(False), preset)


def _load_own(
    path: Path, tensors: Mapping[str, Tensor], network: SmallSiamMask | PersonSiamMask, preset: str
) -> LoadedNetwork:
    """One of our own forms; the file is in half precision, the network computes in single."""
    form = "siammask-people" if isinstance(network, PersonSiamMask) else "siammask-s"
    load_state(network, path, form, {name: tensor.float() for name, tensor in tensors.items()})
    return LoadedNetwork(network.eval().requires_grad_(False), preset)


def rename(tensors: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors under our names; a name that begins like none of `prefixes` is kept, and then reported as unexpected."""
    renamed = {}
    for name, tensor in tensors.items():
        begin = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        renamed[prefixes.get(begin, "") + name.removeprefix(begin)] = tensor
    return renamed

"""Reading weights files of backbones: tensors only, both public naming families of I3D, clear words when wrong."""

import logging
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.safetensors_file import read_safetensors

logger = logging.getLogger(__name__)

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_SHOWN = 5  # names of a wrong file that a message lists before it only counts

# kinetics_i3d_pytorch writes Mixed blocks as Sequentials; the index inside one tells which convolution it is.
_BRANCHES = {
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}
_CLASSIFIERS = ("logits.", "conv3d_0c_1x1.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a weights file (`.pt`, `.pth`, `.safetensors`) without running anything that it contains.

    Tensors keep the shapes and dtypes that the file has.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the weights file {path} does not exist; check the path in the configuration")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile, KeyError, ValueError) as exc:
        raise ValueError(
            f"{path.name} is not a file of plain tensors (a torch state_dict); it may be incomplete, or a whole "
            "pickled model, which is refused because opening it would run its code"
        ) from exc
    while isinstance(content, Mapping) and (inner := next((w for w in _WRAPPERS if w in content), None)):
        content = content[inner]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path.name} holds no state_dict (names with tensors); export one with model.state_dict()")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def canonical_i3d_name(name: str) -> str:
    """Name of an I3D tensor in our (piergiaj) form, from either public family.

    `mixed_3b.branch_1.0.batch3d.weight` becomes `Mixed_3b.b1a.bn.weight`; a name already in our form is kept.
    """
    name = re.sub(r"^(conv3d|mixed)_", lambda m: m[0].capitalize(), name).replace(".batch3d.", ".bn.")
    return re.sub(r"branch_\d(\.[01](?=\.))?", lambda m: _BRANCHES.get(m[0], m[0]), name)


def check_fit(path: Path, network: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise one bounded sentence if a file's tensors are not the network's: names and shapes, of whatever dtype.

    Raises:
        ValueError: names missing, left over, or of another shape.
    """
    missing = [n for n in wanted if n not in found and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in found if n not in wanted]
    reshaped = [
        f"{n} {tuple(found[n].shape)} for {tuple(wanted[n].shape)}"
        for n in wanted
        if n in found and found[n].shape != wanted[n].shape
    ]
    refuse_faults(path, network, missing, unexpected, reshaped)


def refuse_faults(path: Path, network: str, missing: list[str], unexpected: list[str], reshaped: list[str]) -> None:
    """Raise one bounded sentence if any of these names of tensors are there. Raises ValueError."""
    faults = [("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped)]
    told = "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in faults if names)
    if told:
        raise ValueError(f"{path.name} does not hold the weights of {network}: {told}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def load_state(module: nn.Module, path: Path, network: str, found: Mapping[str, Tensor]) -> None:
    """Put a file's tensors into a module of the same names and shapes; they are cast to its dtypes.

    Batch counters may be absent.

    Raises:
        ValueError: the tensors are not the module's.
    """
    wanted = module.state_dict()
    check_fit(path, network, wanted, found)
    module.load_state_dict({n: found.get(n, tensor) for n, tensor in wanted.items()})


def load_i3d(backbone: nn.Module, path: Path) -> list[str]:
    """Load a public I3D checkpoint of either naming family; the classifier (157 or 400 classes) is left out.

    Returns:
        The file's own names of the tensors that were dropped; they are also logged.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file does not hold an RGB I3D.
    """
    tensors = read_tensors(path)
    dropped = [name for name in tensors if name.lower().startswith(_CLASSIFIERS)]
    kept = {canonical_i3d_name(name): tensor for name, tensor in tensors.items() if name not in dropped}
    load_state(backbone, path, "an RGB I3D", kept)
    if dropped:
        classes = next((tensors[n].shape[0] for n in dropped if n.endswith("bias")), "unknown")
        logger.info("%s: dropped its classifier of %s classes (%s)", path.name, classes, ", ".join(dropped))
    return dropped

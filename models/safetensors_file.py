"""Weights in the safetensors format, read and written. Such a file is data alone: nothing in it runs."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor


def read_safetensors(path: Path, only: str | None = None) -> dict[str, Tensor]:
    """Named tensors of a file, on the CPU, with the shapes and dtypes that the file names.

    Args:
        path: the file.
        only: the one tensor that is wanted, where it is there; the others' bytes are not read then.

    Raises:
        ValueError: it is cut short, or no such file at all.
        OSError: it cannot be read.
    """
    try:
        if only is None:
            return load(path.read_bytes())
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name == only}  # noqa: SIM118
    except (SafetensorError, KeyError) as exc:  # KeyError: a dtype that torch doesn't have
        raise ValueError(f"{path.name} is not a whole safetensors file ({exc}); fetch it again") from exc


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write named tensors of any shape and dtype.

    Args:
        tensors: by name; copied to the CPU.
        path: replaced if it exists.
        about: kept as the file's metadata.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(_in_one_order(save(plain, dict(about))))


def _in_one_order(content: bytes) -> bytes:
    """The same file with its header's names in alphabetical order.

    The library writes the metadata in another order each time; weights are known by their digest, which must depend on
    what is in them alone.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of eight bytes
    return len(header).to_bytes(8, "little") + header + content[8 + length :]

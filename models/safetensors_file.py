"""Weights in the safetensors format, read and written: a header in JSON, then the tensors' bytes. Nothing in it runs.

The format is 8 bytes of the header's length (little endian), the header, and the data. The header names each tensor's
type, shape, and where its bytes begin and end.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

_TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
          "I8": torch.int8, "U8": torch.uint8, "I32": torch.int32, "I64": torch.int64, "BOOL": torch.bool}  # fmt: skip
_NAMES = {kind: name for name, kind in _TYPES.items()}
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000   # as the format's own reader has it
_ALIGN = 8                        # the data begin at a multiple of it


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a file.

    Raises:
        ValueError: it is cut short, or no such file at all.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        length = int.from_bytes(content[:_LENGTH_BYTES], "little")
        if not 0 < length <= min(_MAX_HEADER_BYTES, len(content) - _LENGTH_BYTES):
            raise ValueError("its header's length is wrong")
        header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
        data = memoryview(content)[_LENGTH_BYTES + length :]
        return {name: _tensor(data, entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as exc:
        raise ValueError(f"{path.name} is not a whole safetensors file ({exc}); fetch it again") from exc


def _tensor(data: memoryview, entry: Mapping[str, object]) -> Tensor:
    kind, shape, place = _TYPES[str(entry["dtype"])], entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or not isinstance(place, list):
        raise ValueError("a shape or place is no list")
    begin, end = (int(offset) for offset in place)
    sides = [int(side) for side in shape]
    if not 0 <= begin <= end <= len(data) or min(sides, default=0) < 0:
        raise ValueError("a tensor lies outside the file")
    if end - begin != math.prod(sides) * kind.itemsize:
        raise ValueError("a tensor has another size than its shape")
    if begin == end:
        return torch.empty(sides, dtype=kind)
    return torch.frombuffer(bytearray(data[begin:end]), dtype=kind).reshape(sides)


def write_safetensors(tensors: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write named tensors; `about` is kept as the file's metadata. Raises OSError."""
    header: dict[str, object] = {"__metadata__": dict(about)}
    parts, end = [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        part = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        offsets = [end, end + len(part)]
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        parts.append(part)
        end += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGN)
    path.write_bytes(len(text).to_bytes(_LENGTH_BYTES, "little") + text + b"".join(parts))

"""Weights in the safetensors format: read back whole, and the same bytes for the same content."""

from pathlib import Path

import torch
from safetensors import safe_open

from models.safetensors_file import read_safetensors, write_safetensors

ABOUT = {f"fact {number}": str(number) for number in range(6)}


def test_the_same_content_is_the_same_file_however_often_it_is_written(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(5, dtype=torch.float16), "a": torch.eye(3), "c": torch.tensor(7)}
    for number in range(8):
        write_safetensors(tensors, tmp_path / str(number), ABOUT)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1
    back = read_safetensors(tmp_path / "0")
    assert set(back) == set(tensors)
    assert all(torch.equal(back[name], tensor) and back[name].dtype == tensor.dtype for name, tensor in tensors.items())
    with safe_open(tmp_path / "0", "pt") as file:
        assert file.metadata() == ABOUT

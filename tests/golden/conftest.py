"""The weight and input recipe of the independent numbers: everything is drawn from seeds, nothing is stored."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The folder of independent numbers."""
    return shared / "golden"


@pytest.fixture(scope="session")
def recipe_weights(golden: Path) -> Callable[[str], dict[str, Tensor]]:
    """Name of a `keys_*.json` to the state_dict it describes; every tensor is checked against its checksum."""

    def draw(keys: str) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for entry in json.loads((golden / f"{keys}.json").read_text())["entries"]:
            if entry.get("init") == "keep":
                tensors[entry["name"]] = torch.tensor(0, dtype=torch.int64)
                continue
            rng = np.random.default_rng(zlib.crc32(entry["name"].encode()))
            noise = rng.standard_normal(tuple(entry["shape"]), dtype=np.float32)
            noise = np.abs(noise) if entry["abs"] else noise
            values = np.float32(entry["loc"]) + np.float32(entry["scale"]) * noise
            assert zlib.crc32(np.ascontiguousarray(values).tobytes()) == entry["crc32"], entry["name"]
            tensors[entry["name"]] = torch.from_numpy(values)
        return tensors

    return draw


@pytest.fixture(scope="session")
def seeded() -> Callable[[int, tuple[int, ...], int], Tensor]:
    """(seed, shape, checksum) to standard normal float32."""

    def draw(seed: int, shape: tuple[int, ...], crc32: int) -> Tensor:
        values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        assert zlib.crc32(values.tobytes()) == int(crc32)
        return torch.from_numpy(values)

    return draw


@pytest.fixture(scope="session")
def relative_error() -> Callable[[NDArray[np.float32], NDArray[np.float32]], float]:
    """Largest absolute difference over the largest absolute wanted value."""

    def measure(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
        assert found.shape == wanted.shape, f"{found.shape} for {wanted.shape}"
        return float(np.abs(found - wanted).max() / np.abs(wanted).max())

    return measure

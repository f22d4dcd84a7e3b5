"""Datasets of features as people have them: one file a clip or one for all, in every format that is read."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
SUFFIXES = (".npz", ".h5", ".pkl", ".pt")
"""Formats that can hold arrays by name; .npy holds one."""


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays by name, names with "/" as groups or as they are, in the format that the suffix says."""
    match path.suffix:
        case ".npz":
            np.savez(path, **arrays)
        case ".h5":
            with h5py.File(path, "w") as file:
                for name, array in arrays.items():
                    file[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array
        case ".pkl":
            path.write_bytes(pickle.dumps(dict(arrays)))
        case ".pt":
            torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
        case suffix:
            raise ValueError(suffix)


def write_labels(root: Path, lines: Mapping[str, str], header: str = "clip_id,split,score") -> Path:
    """A labels.csv: clip id → the rest of its line."""
    path = root / "labels.csv"
    path.write_text("\n".join([header, *(f"{clip_id},{rest}" for clip_id, rest in lines.items())]) + "\n")
    return path


def make_features(root: Path, clips: int = 10) -> Path:
    """Clips of 2 to 4 steps; the score is a sum over the first feature, so that a head can learn it."""
    root.mkdir()
    rng, rows = np.random.default_rng(5), {}
    for number in range(clips):
        steps = rng.normal(size=(2 + number % 3, 6)).astype(np.float32)
        np.save(root / f"c{number}.npy", steps)
        score, difficulty = 40 + 10 * float(steps[:, 0].mean()), 2 + number % 2
        rows[f"c{number}"] = f"{'test' if number % 3 == 0 else 'train'},{score:.3f},{difficulty}"
    write_labels(root, rows, "clip_id,split,score,difficulty")
    return root

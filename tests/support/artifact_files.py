"""Artifacts and ways to damage a file, for the tests of store, index and engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.store import Lineage

KEY = "ab" * 20


def lineage(key: str = KEY, stage: str = "track", **changes: Any) -> Lineage:
    """A lineage as a stage would write it."""
    facts: dict[str, Any] = {
        "stage_version": 3,
        "config": {"track": {"tracker": "mil", "nested": {"a": [1, 2.5, None]}}},
        "inputs": {"source": "0" * 64},
        "weights": {"x.onnx": "1" * 64},
        "parents": {"normalize": "cd" * 20},
        "dataset": "tiny",
        "clip_id": "über/clip'1",
        "libraries": {"numpy": "2.0"},
        "seconds": 0.25,
        "host": "somewhere",
        "created": "2026-01-01T00:00:00.000000+00:00",
    }
    return Lineage(stage=stage, key=key, **(facts | changes))


def arrays() -> dict[str, NDArray[Any]]:
    """One of every kind that stages write."""
    rng = np.random.default_rng(0)
    return {
        "quads": rng.normal(size=(2, 7, 4, 2)).astype(np.float32),
        "lost": rng.random((2, 7)) < 0.5,
        "frames": rng.integers(0, 255, 4096, dtype=np.uint8),
        "empty": np.empty((0, 4), np.float32),
        "number": np.array(3.5),
        "deep/er": np.arange(5, dtype=np.int64),
        "text": np.array(["für", "", "a\nb"], dtype=object),
        "one_text": np.array("metrics"),
    }


def flip_bit(path: Path, at: int, bit: int = 0, keep_times: bool = False) -> None:
    """Flip one bit in place; `keep_times` puts the modification time back, as failing disks and clever tools do."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))
    if keep_times:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def truncate(path: Path, size: int) -> None:
    """Cut a file off in place."""
    with path.open("r+b") as file:
        file.truncate(size)

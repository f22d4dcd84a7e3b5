"""The pool that siammask-s is trained from: synthetic crops as the frozen backbone sees them.

The backbone is most of the work and does not learn, so each crop passes through it once, and its maps are kept in
half precision in files that are mapped, not read: half a megabyte a search crop.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_catalog.synthetic.composites.cutouts import Cast
from data_catalog.synthetic.composites.mixture import Mixture
from data_catalog.synthetic.composites.sequences import CropForm, Sequence
from models.trackers.siammask.anchors import SEARCH_PX, TEMPLATE_PX, map_side
from models.trackers.siammask.decode import CONTEXT
from models.trackers.siammask.learning import SearchBatch, outline_of, position_at
from models.trackers.siammask.mobilenet import DEEP, FINE, STEM
from models.trackers.siammask.refine import window
from models.trackers.siammask.small import OUTLINE_SIDE, SmallSiamMask, target_cells, windows

SEARCHES_EACH = 3   # search crops of a sequence
_FORM = 2           # raised when a pool's content changes: one of another form is begun again. 2: soft outlines, clips
_ROWS: dict[str, tuple[tuple[int, ...], str]] = {
    "deep": ((DEEP, 31, 31), "float16"),
    "fine": ((FINE, 31, 31), "float16"),
    "finest": ((STEM, OUTLINE_SIDE, OUTLINE_SIDE), "float16"),
    "outlines": ((OUTLINE_SIDE, OUTLINE_SIDE), "uint8"),
    "positions": ((2,), "int64"),
    "boxes": ((4,), "float32"),
}
_TARGET = ((DEEP, 7, 7), "float16")


@dataclass(frozen=True)
class Pool:
    """A filled part of the pool; arrays as in `_ROWS`, row k belongs to sequence k // 3."""

    arrays: dict[str, NDArray[Any]]
    targets: NDArray[np.float16]
    sequences: int

    def batch(
        self,
        rows: NDArray[np.int64],
        templates: NDArray[np.int64],
        outlines: int,
        rng: np.random.Generator | None = None,
    ) -> SearchBatch:
        """Search crops with templates.

        Args:
            rows: (B,) of the search crops.
            templates: (B,) the sequence whose template each of them meets.
            outlines: how many of them come with what outlines are learned from.
            rng: if given, half of the templates are cut out of another search crop of their sequence, so that few
                sequences make many pairs.
        """
        targets = self.targets[templates]
        if rng is not None:
            for place in np.flatnonzero(rng.random(len(rows)) < 0.5):
                first = SEARCHES_EACH * templates[place]
                other = rng.choice([row for row in range(first, first + SEARCHES_EACH) if row != rows[place]])
                top, left = self.arrays["positions"][other]   # position (0, 0) is the middle of 7 x 7 cells
                targets[place] = self.arrays["deep"][other, :, top : top + 7, left : left + 7]

        def take(name: str, count: int) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(self.arrays[name][rows[:count]]))

        deep, positions = take("deep", len(rows)).float(), take("positions", outlines)
        return SearchBatch(
            target=torch.from_numpy(np.ascontiguousarray(targets)).float(),
            deep=deep,
            boxes=take("boxes", len(rows)),
            positions=positions,
            windows=(
                window(deep[:outlines], positions - 4, 15),
                take("fine", outlines).float(), take("finest", outlines).float(),
            ),
            outlines=take("outlines", outlines).float() / 255,
            present=torch.from_numpy(templates == rows // SEARCHES_EACH),
        )  # fmt: skip


def fill_pool(
    folder: Path, network: SmallSiamMask, cast: Cast, sequences: int, seed: int,
    progress: Callable[[int], None] | None = None,
) -> Pool:
    """Make `sequences` sequences, pass them through the backbone and keep what it says; resumes where it stopped.

    Sequence i depends on (seed, i) and the cast alone, see `Mixture`. `progress` hears how many are ready.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "ready.json"
    about = {"sequences": sequences, "seed": seed, "form": _FORM}
    known = json.loads(stamp.read_text()) if stamp.is_file() else {}
    ready = int(known.get("ready", 0)) if {k: known.get(k) for k in about} == about else 0
    pool = _open(folder, sequences, "r+" if ready else "w+")
    mixture = Mixture(cast, seed, SEARCHES_EACH, CropForm(TEMPLATE_PX, SEARCH_PX, CONTEXT))
    for index in range(ready, sequences):
        _store(pool, index, mixture(index), network, np.random.default_rng((seed, index, 1)))
        if (index + 1) % 25 == 0 or index + 1 == sequences:
            stamp.write_text(json.dumps(about | {"ready": index + 1}))
            if progress is not None:
                progress(index + 1)
    return pool


def open_pool(folder: Path) -> Pool:
    """What is ready of a pool, also while it is being filled."""
    known = json.loads((folder / "ready.json").read_text())
    pool = _open(folder, int(known["sequences"]), "r")
    return Pool(pool.arrays, pool.targets, int(known["ready"]))


def _open(folder: Path, sequences: int, mode: Any) -> Pool:
    def array(name: str, rows: int, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        return np.lib.format.open_memmap(folder / f"{name}.npy", mode, np.dtype(kind), (rows, *shape))

    arrays = {name: array(name, sequences * SEARCHES_EACH, *form) for name, form in _ROWS.items()}
    return Pool(arrays, array("targets", sequences, *_TARGET), sequences)


@torch.inference_mode()
def _store(pool: Pool, index: int, made: Sequence, network: SmallSiamMask, rng: np.random.Generator) -> None:
    pool.targets[index] = target_cells(network.backbone(as_crops(made.template[None])).layer3)[0].numpy()
    features = network.backbone(as_crops(made.searches))
    boxes = made.boxes - SEARCH_PX / 2
    side = map_side(SEARCH_PX)
    positions = np.stack([
        np.clip(position_at((box[:2] + box[2:]) / 2, side) + rng.integers(-1, 2, 2), 0, side - 1) for box in boxes
    ])  # fmt: skip
    _, fine, finest = windows(features, torch.from_numpy(positions))
    rows = slice(index * SEARCHES_EACH, (index + 1) * SEARCHES_EACH)
    outlines = [outline_of(mask, position) for mask, position in zip(made.masks, positions, strict=True)]
    for name, value in {
        "deep": features.layer3.numpy(), "fine": fine.numpy(), "finest": finest.numpy(),
        "outlines": np.stack(outlines), "positions": positions, "boxes": boxes,
    }.items():  # fmt: skip
        pool.arrays[name][rows] = value


def as_crops(pictures: NDArray[np.generic]) -> Tensor:
    """(B, S, S, 3) uint8 RGB → (B, 3, S, S) float32 BGR, 0 to 255."""
    return torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1])).permute(0, 3, 1, 2).float()

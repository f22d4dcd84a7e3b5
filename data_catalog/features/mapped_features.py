"""The features of one clip as they lie on the disk, and of many clips mapped into memory.

| dataset | shape, dtype | meaning |
|---|---|---|
| `/features` | (V, N, T, Hf, Wf, C) or (V, N, F) float16 | the map at the cut, channels last, or pooled vectors |
| | (1, N, F) float32 | features that were made elsewhere, as they came; N steps, another number in each clip |
| `/flip` | (V,) bool | whether the pixels were flipped from left to right |
| `/shift` | (V,) int32 | frames by which the clip was moved in time |

Of each clip there is one version V for each augmentation that training may draw. One chunk holds one version, stored
raw with a fletcher32 checksum, so that it is one stretch of the file. It is verified when it is read first; from then
on it is read where it lies: the file is mapped, a version is a tensor over the map, and no byte is copied before a
batch is put together. What was read lately is in the system's page cache, as much as fits into memory.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from data_catalog.errors import ArtifactDamaged
from data_catalog.plain_file import require_plain
from data_catalog.self_contained import NotSelfContained, open_self_contained
from data_catalog.store import create_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py
    from torch import Tensor

logger = logging.getLogger(__name__)

Version = tuple[bool, int]
"""An augmentation: whether flipped, and by how many frames moved."""


def write_features(path: Path, versions: Sequence[Version], made: Iterator[NDArray[np.floating]]) -> None:
    """Write a clip's features to `path`, one version in memory at a time; the caller renames the file.

    Args:
        path: a new file.
        versions: the V augmentations.
        made: what was made of each, (N, T, Hf, Wf, C) or (N, F), float16 or float32, in that order.
    """
    with create_file(path) as file:
        dataset = None
        for number, array in enumerate(made):
            if dataset is None:
                dataset = file.create_dataset(
                    "features",
                    shape=(len(versions), *array.shape),
                    chunks=(1, *array.shape),
                    dtype=array.dtype,
                    fletcher32=True,
                    track_times=False,
                )
            dataset[number] = array
        for name, values in (
            ("flip", np.array([flip for flip, _ in versions], np.bool_)),
            ("shift", np.array([shift for _, shift in versions], np.int32)),
        ):
            file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True, track_times=False)


class FeatureReader:
    """Features of clips by their number, mapped into memory; may be handed to worker processes.

    Args:
        paths: file of each clip, in the order of their numbers.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._known: dict[tuple[int, bool, int], Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": {}}  # a map belongs to one process

    def read(self, index: int, flip: bool, shift: int) -> Tensor:
        """Version (flip, shift) of clip number `index`: (N, T, Hf, Wf, C) or (N, F), over the file's own bytes.

        Those that were made elsewhere are float32, all others float16.

        Nobody may write into it.

        Raises:
            ArtifactDamaged: the file is not what was written.
            ValueError: this version wasn't made.
        """
        name = index, bool(flip), int(shift)
        if name not in self._known:
            self._known |= self._map(index)
        if name not in self._known:
            raise ValueError(
                f"{self.paths[index]} has no features of a clip {'flipped and ' if flip else ''}moved by {shift} frames"
            )
        return self._known[name]

    def _map(self, index: int) -> dict[tuple[int, bool, int], Tensor]:
        import torch  # takes seconds, and who only writes features or asks for their size needs none

        path = self.paths[index]
        found = {}
        with _readable(path) as file:
            dataset = file["features"]
            versions = zip(file["flip"][:].tolist(), file["shift"][:].tolist(), strict=True)
            # Private, so that torch may think it can be written to; nothing ever is, so nothing is ever copied.
            bytes_of_file = np.memmap(path, np.uint8, mode="c")
            for number, (flip, shift) in enumerate(versions):
                dataset[number]  # reading it through HDF5 is what compares the checksum
                place = dataset.id.get_chunk_info_by_coord((number, *[0] * (dataset.ndim - 1))).byte_offset
                size = int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize
                own = bytes_of_file[place : place + size].view(dataset.dtype).reshape(dataset.shape[1:])
                found[index, bool(flip), int(shift)] = torch.from_numpy(cast(NDArray[np.floating], own))
        return found


@contextmanager
def _readable(path: Path) -> Iterator[h5py.File]:
    require_plain(path)
    try:
        with open_self_contained(path) as file:
            yield file
    except NotSelfContained as exc:
        raise ArtifactDamaged(path, str(exc)) from exc
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as exc:
        logger.debug("reading %s", path, exc_info=exc)
        raise ArtifactDamaged(path, "can't be read as features") from exc

"""The layout of a pack: the one HDF5 file of a dataset version that training reads.

| dataset | shape, dtype | meaning |
|---|---|---|
| `/frames` | (n, L, S, S, 3) uint8 | RGB, cropped and resized to the network's input |
| `/coverage` | (n, L, Hf, Wf) float32 | share of each feature-grid cell that the tube covers, per frame |
| `/mask` | (n, N, T, Hf, Wf) bool | tube mask of the N segments |
| `/labels/clip_id`, `split`, `action` | (n,) UTF-8 | |
| `/labels/score`, `difficulty`, `label` | (n,) float64 | nan where the dataset has none |
| `/labels/judges` | (n, J) float64 | nan where absent; J is 7, or the number of the largest panel |

One chunk holds one clip, so that reading a clip is one contiguous read; every dataset carries a fletcher32
checksum, so that a flipped bit is noticed while reading; the store's digest of the file covers the rest.
Measured by benchmarks/pack_read.py, see there: frames are stored raw, because a filter costs more reading
time than the bytes that it saves. Nothing in the file depends on when, where or by whom it was written:
same clips, same bytes.
"""

import errno
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.records import judge_places
from data_catalog.plain_file import require_plain
from data_catalog.self_contained import NotSelfContained, open_self_contained
from data_catalog.store import ArtifactDamaged, create_file

logger = logging.getLogger(__name__)

PACK_FORMAT = "tubeflow-pack 1"
SPLIT_NAMES = {"val": "validation"}
"""Splits whose name in the labels is short; packs and metrics spell it out."""
_CHECKSUM_BYTES = 4  # fletcher32, stored behind the data of a chunk
_TEXT_LABELS = ("clip_id", "split", "action")
_NUMBER_LABELS = ("score", "difficulty", "label")


class DamagedPack(ArtifactDamaged, ValueError):
    """A pack that cannot be read: the message names the file and the remedy."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path, what)
        self.args = (f"The pack {path} {what}; delete it and run the pack stage again.",)


@dataclass(frozen=True)
class PackGeometry:
    """What every clip of a pack shares; lengths in frames, sizes in pixels, grid in cells."""

    length: int
    input_size: int
    crop: int
    grid: tuple[int, int]
    starts: tuple[int, ...]
    segment_length: int
    stride: int
    tau: float

    @property
    def steps(self) -> int:
        """T: temporal positions of the feature map in one segment."""
        return self.segment_length // self.stride


@dataclass(frozen=True)
class ClipLabels:
    """The labels of one clip; absent numbers are None."""

    clip_id: str
    split: str
    action: str
    score: float | None
    difficulty: float | None
    judges: tuple[float, ...]
    label: float | None


@dataclass(frozen=True, eq=False)
class PackLabels:
    """The labels of all n clips; numbers (n,) float64, judges (n, J) float64, nan where absent."""

    clip_id: tuple[str, ...]
    split: tuple[str, ...]
    action: tuple[str, ...]
    score: NDArray[np.float64]
    difficulty: NDArray[np.float64]
    label: NDArray[np.float64]
    judges: NDArray[np.float64]

    def indices(self, split: str | None = None, actions: Sequence[str] | None = None) -> list[int]:
        """Numbers of the clips of a split and of some actions, in order."""
        return [
            i
            for i in range(len(self.clip_id))
            if (split is None or self.split[i] == split) and (actions is None or self.action[i] in actions)
        ]


def labels_table(rows: Sequence[ClipLabels]) -> PackLabels:
    """The labels of many clips as columns, for judges as `judge_places` says."""
    numbers = {
        name: np.array([np.nan if getattr(row, name) is None else getattr(row, name) for row in rows], np.float64)
        for name in _NUMBER_LABELS
    }
    judges = np.full((len(rows), judge_places([row.judges for row in rows])), np.nan)
    for place, row in zip(judges, rows, strict=True):
        place[: len(row.judges)] = row.judges
    return PackLabels(
        tuple(row.clip_id for row in rows),
        tuple(row.split for row in rows),
        tuple(row.action for row in rows),
        judges=judges,
        **numbers,
    )


@dataclass(frozen=True, eq=False)
class ClipTubeArrays:
    """One clip's tube as the pack holds it: coverage (L, Hf, Wf) float32, mask (N, T, Hf, Wf) bool."""

    coverage: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ClipArrays:
    """One clip as the pack holds it: frames (L, S, S, 3) uint8, coverage (L, Hf, Wf) float32, mask bool."""

    frames: NDArray[np.uint8]
    coverage: NDArray[np.float32]
    mask: NDArray[np.bool_]


class PackWriter:
    """Writes a pack clip by clip; only the labels stay in memory. Use as a context manager.

    The file counts as whole only once `finish` has run: a reader refuses anything else.
    """

    def __init__(self, path: Path, geometry: PackGeometry, compression: str | None = None) -> None:
        self._geometry = geometry
        self._labels: list[ClipLabels] = []
        self._files = ExitStack()
        self._file = self._files.enter_context(create_file(path))
        g = geometry
        self._frames = self._grown("frames", (g.length, g.input_size, g.input_size, 3), "uint8", compression)
        self._coverage = self._grown("coverage", (g.length, *g.grid), "float32", None)
        self._mask = self._grown("mask", (len(g.starts), g.steps, *g.grid), "bool", None)

    def _grown(self, name: str, shape: tuple[int, ...], dtype: str, compression: str | None) -> h5py.Dataset:
        return self._file.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(1, *shape),
            dtype=dtype,
            compression=compression,
            fletcher32=True,
            track_times=False,
        )

    def __enter__(self) -> "PackWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def append(self, arrays: ClipArrays, labels: ClipLabels) -> None:
        """Add one clip.

        Raises:
            ValueError: if an array has another shape than the pack's.
        """
        position = len(self._labels)
        for dataset, array in (
            (self._frames, arrays.frames),
            (self._coverage, arrays.coverage),
            (self._mask, arrays.mask),
        ):
            if array.shape != dataset.shape[1:]:
                name = dataset.name.removeprefix("/")
                raise ValueError(
                    f"{name} of clip '{labels.clip_id}' has shape {array.shape}, the pack holds "
                    f"{dataset.shape[1:]}; run the stages before pack again with one configuration."
                )
            dataset.resize(position + 1, axis=0)
            dataset[position] = array
        self._labels.append(labels)

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write the labels and attributes (values that JSON can hold), and mark the file as whole."""
        group = self._file.create_group("labels", track_order=False)
        for name in _TEXT_LABELS:
            texts = [getattr(row, name).encode() for row in self._labels]
            width = max(1, *(len(text) for text in texts))
            self._column(group, name, np.array(texts, dtype=h5py.string_dtype("utf-8", width)))
        table = labels_table(self._labels)
        for name in (*_NUMBER_LABELS, "judges"):
            self._column(group, name, getattr(table, name))
        own = {"clips": len(self._labels), "geometry": asdict(self._geometry), **attributes}
        self._file.attrs["pack"] = json.dumps(own, sort_keys=True)
        self._file.attrs["pack_format"] = PACK_FORMAT
        self._file.flush()

    @staticmethod
    def _column(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
        group.create_dataset(name, data=values, chunks=values.shape, fletcher32=True, track_times=False)


class PackReader:
    """Reads a pack. The file is opened once per process, so a reader may be handed to worker processes.

    Raises:
        DamagedPack: when the file is no whole pack of this format.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid = -1
        self._verified: set[int] = set()
        with self._readable("its table of contents"):
            attrs = self._open().attrs
            if attrs.get("pack_format") != PACK_FORMAT:
                raise DamagedPack(self.path, "is not a whole pack of this version")
            self.attributes: dict[str, Any] = json.loads(attrs["pack"])
            self.geometry = _geometry_of(self.attributes["geometry"])
            self.labels = self._read_labels()
        self._check_shapes(self.attributes["clips"])

    def __len__(self) -> int:
        return len(self.labels.clip_id)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pid": -1}

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def read(self, index: int) -> ClipArrays:
        """The arrays of clip number `index`; its checksums are verified when this reader reads it first.

        Raises:
            DamagedPack: when a checksum does not fit; the message names the clip.
        """
        with self._readable(f"clip '{self.labels.clip_id[index]}'"):
            file = self._open()
            frames = self._known_frames(file["frames"], index)
            if frames is None:
                frames = file["frames"][index]
                self._verified.add(index)
            return ClipArrays(frames, file["coverage"][index], file["mask"][index])

    def read_tube(self, index: int) -> ClipTubeArrays:
        """The tube of clip number `index` without its frames; checksums are verified each time. Raises DamagedPack."""
        with self._readable(f"clip '{self.labels.clip_id[index]}'"):
            file = self._open()
            return ClipTubeArrays(file["coverage"][index], file["mask"][index])

    def _known_frames(self, dataset: h5py.Dataset, index: int) -> NDArray[np.uint8] | None:
        """The frames of a clip whose checksum this reader has verified before, without doing so again.

        HDF5's fletcher32 takes ten times as long as the reading; a file that is open and immutable need not pay it in
        every epoch. None where it must be verified, or where the bytes are compressed.
        """
        if index not in self._verified or dataset.compression is not None:
            return None
        shape = dataset.shape[1:]
        chunk = np.empty(int(np.prod(shape)) + _CHECKSUM_BYTES, np.uint8)
        dataset.id.read_direct_chunk((index, 0, 0, 0, 0), out=chunk)
        return chunk[:-_CHECKSUM_BYTES].reshape(shape)

    def verify(self) -> None:
        """Read every clip once, so that every checksum is checked. Raises DamagedPack."""
        self._verified = set()
        for index in range(len(self)):
            self.read(index)

    def indices(self, split: str | None = None, actions: Sequence[str] | None = None) -> list[int]:
        """Numbers of the clips of a split and of some actions, in the order of the file."""
        return self.labels.indices(split, actions)

    def _open(self) -> h5py.File:
        if self._file is None or self._pid != os.getpid():
            self._file, self._pid = open_self_contained(self.path), os.getpid()
            self._verified = set()
        return self._file

    def _read_labels(self) -> PackLabels:
        group = self._open()["labels"]
        texts = {name: tuple(value.decode() for value in group[name][:]) for name in _TEXT_LABELS}
        numbers = {name: group[name][:] for name in (*_NUMBER_LABELS, "judges")}
        return PackLabels(
            texts["clip_id"],
            texts["split"],
            texts["action"],
            numbers["score"],
            numbers["difficulty"],
            numbers["label"],
            numbers["judges"],
        )

    def _check_shapes(self, clips: int) -> None:
        g = self.geometry
        wanted = {
            "frames": (clips, g.length, g.input_size, g.input_size, 3),
            "coverage": (clips, g.length, *g.grid),
            "mask": (clips, len(g.starts), g.steps, *g.grid),
        }
        for name, shape in wanted.items():
            found = self._open()[name].shape
            if found != shape or len(self) != clips:
                raise DamagedPack(self.path, f"holds {name} of shape {found} instead of {shape}")

    @contextmanager
    def _readable(self, part: str) -> Iterator[None]:
        try:
            require_plain(self.path)
        except FileNotFoundError:
            sentence = "There is no pack; run the pack stage first"
            raise FileNotFoundError(errno.ENOENT, sentence, str(self.path)) from None
        except ArtifactDamaged as exc:
            raise DamagedPack(self.path, exc.what) from exc
        try:
            yield
        except PermissionError:
            raise
        except NotSelfContained as exc:
            raise DamagedPack(self.path, str(exc)) from exc
        except (OSError, KeyError, RuntimeError) as exc:
            logger.debug("reading %s", self.path, exc_info=exc)
            raise DamagedPack(self.path, f"is damaged ({part} cannot be read)") from exc


def shifted_times(length: int, shift: int) -> NDArray[np.int64]:
    """(L,) int64: the frame that stands at each place of a clip moved by `shift` frames; its ends are repeated."""
    return np.clip(np.arange(length) + shift, 0, length - 1)


def _geometry_of(values: dict[str, Any]) -> PackGeometry:
    return PackGeometry(**{**values, "grid": tuple(values["grid"]), "starts": tuple(values["starts"])})

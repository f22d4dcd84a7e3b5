"""From the pack to batches, in an order that can be resumed in the middle of an epoch.

Order and augmentation are pure functions: the order of (seed, epoch), the augmentation of a clip of (seed,
epoch, clip_id). Both come from a digest, not from a random generator, so they are the same on every
machine, for every number of workers, and after every restart.

Frames stay uint8 and are not yet split into segments: 103 frames travel to the device instead of 160.

Reading processes come from a fork server, not by forking the process that trains: that one has threads (HDF5,
pyarrow, progress bars, Prefect) whose locks a fork would copy as they stand, so that now and then a child would
wait for ever. The server is a fresh process that has imported torch and little else; it is started once and
serves every loader.
"""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import NotRequired, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from data_catalog.features.mapped_features import FeatureReader
from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import ClipArrays, DamagedPack, PackGeometry, PackLabels, PackReader, shifted_times
from data_catalog.system import clean_start_method
from data_catalog.threads import pin_threads

__all__ = ["Augmentation", "Batch", "ClipLoader", "DamagedPack", "PackGeometry", "PackLabels", "PackReader"]

Partner = Callable[[int, int], int]
"""(epoch, clip number) → number of the clip that it is compared with."""
StepCounts = Callable[[int, int, int], NDArray[np.float32]]
"""(clip number, shift in frames, segments) → (N, K) frames of each segment in a step of each kind."""
Remask = Callable[[NDArray[np.float32]], NDArray[np.bool_]]
"""Coverage (L, Hf, Wf) → tube mask (N, T, Hf, Wf), as the masks stage does it."""


class Batch(TypedDict):
    """B clips: frames (B, L, S, S, 3) uint8 RGB, mask (B, N, T, Hf, Wf) bool, the rest (B,).

    Where clips are read from their features, these stand in the place of frames: float16, the map at the cut
    (B, N, T, Hf, Wf, C) or pooled (B, N, F). Features that were made elsewhere are float32, and mask is (B, N) bool,
    the steps that are there: a clip of fewer steps than another one of the batch ends in zeros.

    Where steps are learnt, `steps` (B, N, K) float32 has how many frames of each segment lie in a step of each kind.
    `index` int64 is the clip's number in the pack; score, difficulty, label float32 and judges (B, J)
    float32 are nan where absent.
    """

    index: Tensor
    frames: NotRequired[Tensor]
    features: NotRequired[Tensor]
    mask: Tensor
    score: Tensor
    difficulty: Tensor
    label: Tensor
    judges: Tensor
    steps: NotRequired[Tensor]


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a clip in training.

    Attributes:
        flip: probability of a horizontal flip of pixels and mask.
        shift: smallest and largest temporal shift in frames, drawn evenly; frame i becomes frame i + shift,
            and beyond the ends the first or last frame is repeated.
    """

    flip: float = 0.0
    shift: tuple[int, int] = (0, 0)

    def draw(self, seed: int, epoch: int, clip_id: str) -> tuple[bool, int]:
        """Whether to flip, and the shift in frames, for one clip in one epoch."""
        bits = _digest(f"{seed}:{epoch}:{clip_id}")
        low, high = self.shift
        return (bits >> 32) / 2**32 < self.flip, low + (bits & 0xFFFFFFFF) % (high - low + 1)


def epoch_order(indices: Sequence[int], seed: int, epoch: int) -> list[int]:
    """The clips' numbers, shuffled; depends on nothing but the arguments."""
    return sorted(indices, key=lambda index: (_digest(f"{seed}:{epoch}:order:{index}"), index))


class ClipLoader:
    """Batches of clips for one epoch after the other; `len` is the number of batches of a whole epoch.

    Each `iter` continues where the last one stopped, a finished epoch is followed by the next one.
    `state_dict` after k batches and `load_state_dict` in another process give the same rest of the epoch.
    With `shuffle=False` every `iter` starts at the first clip instead (evaluation).

    Args:
        indices: the clips' numbers in the pack.
        batch_size: clips per step over all processes of a distributed run; each takes its share.
        augmentation: None for none.
        eval_shift: temporal shift in frames where nothing is drawn.
        remask: makes the tube mask of a shifted clip; needed when a shift can occur. With `workers` it must pickle,
            and what its module imports is what a reading process waits for.
        features: read instead of the pack's frames; has the same clips in the same order.
        partner: whom each clip is compared with; behind the B clips of a batch then stand their B partners, augmented
            by draws of their own.
        steps: what the batches' `steps` are; it must pickle, as `remask`.
        rank: which process of a distributed run this is.
        world_size: how many processes the run has.
        workers: reading processes; 0 reads in this one.

    Raises:
        ValueError: no clips, a batch that cannot be shared evenly, a shift without `remask`, or workers in a process
            that may have no children.
    """

    def __init__(
        self,
        reader: PackReader | FeatureClips,
        indices: Sequence[int],
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augmentation: Augmentation | None = None,
        eval_shift: int = 0,
        remask: Remask | None = None,
        features: FeatureReader | None = None,
        partner: Partner | None = None,
        steps: StepCounts | None = None,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if not indices:
            where = reader.name if isinstance(reader, FeatureClips) else f"the pack {reader.path}"
            raise ValueError(f"{where} has no clip for this split; check the labels' split column.")
        if batch_size % world_size:
            raise ValueError(f"a batch of {batch_size} clips cannot be shared evenly by {world_size} processes.")
        if workers and multiprocessing.current_process().daemon:
            raise ValueError(
                "this process may start no reading processes (it is a worker of another program); set train.workers "
                "to 0."
            )
        shifts = (augmentation.shift if augmentation else (0, 0)) + (eval_shift,)
        if any(shifts) and remask is None:
            raise ValueError("a temporal shift moves the tube too: give `remask`.")
        self.indices = list(indices)
        self.batch_size = batch_size
        self._cursor = _Cursor(self.indices, batch_size, seed, shuffle, rank, world_size, partner)
        drawn = augmentation or Augmentation(shift=(eval_shift, eval_shift))
        dataset = _ClipDataset(reader, seed, drawn, remask, features, steps)
        self._loader = DataLoader(
            dataset,
            batch_sampler=self._cursor,
            num_workers=workers,
            worker_init_fn=_on_one_thread if workers else None,
            multiprocessing_context=_clean_processes(remask) if workers else None,
            collate_fn=_collate,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        return self._cursor.batches

    def __iter__(self) -> Iterator[Batch]:
        cursor = self._cursor
        cursor.start()
        for batch in self._loader:
            # Counted when handed out, not when workers fetch it ahead: this is what a checkpoint must know.
            cursor.position += 1
            yield batch

    def counting(self, batch: int) -> tuple[int, float]:
        """How many clips of a batch count.

        Returns:
            How many of this process's clips aren't there only to fill the batch up (its first ones), and the mean of
            that number over all processes.
        """
        cursor = self._cursor
        clips = min(self.batch_size, len(self.indices) - batch * self.batch_size)
        share = -(-clips // cursor.world_size)
        return min(max(clips - cursor.rank * share, 0), share), clips / cursor.world_size

    def state_dict(self) -> dict[str, int]:
        """Where the next `iter` continues."""
        return {"epoch": self._cursor.epoch, "position": self._cursor.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another loader with the same arguments was."""
        self._cursor.epoch, self._cursor.position = state["epoch"], state["position"]


class _Cursor(Sampler[list[tuple[int, int]]]):
    """Which clips come next: lists of (epoch, clip number), this process's share of each batch."""

    def __init__(
        self,
        indices: list[int],
        batch_size: int,
        seed: int,
        shuffle: bool,
        rank: int,
        world_size: int,
        partner: Partner | None,
    ) -> None:
        self.epoch, self.position = 0, 0
        self.batches = -(-len(indices) // batch_size)
        self._indices, self._batch_size, self._seed, self._shuffle = indices, batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self._partner = partner

    def __len__(self) -> int:
        return self.batches - self.position

    def start(self) -> None:
        """Begin the next epoch if this one is finished; without shuffling, begin again."""
        if not self._shuffle:
            self.position = 0
        elif self.position >= self.batches:
            self.epoch, self.position = self.epoch + 1, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = self.epoch, self.position
        order = epoch_order(self._indices, self._seed, epoch) if self._shuffle else self._indices
        for start in range(first * self._batch_size, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            # Every process must take as many steps and clips as the others: the last batch is filled up
            # from the front of the order. Training weighs what fills up with 0 (`counting`), evaluation drops what
            # it sees twice.
            missing = -len(batch) % self.world_size
            batch = batch + [order[i % len(order)] for i in range(missing)]
            share = len(batch) // self.world_size
            mine = batch[self.rank * share : (self.rank + 1) * share]
            beside = [self._partner(epoch, index) for index in mine] if self._partner is not None else []
            yield [(epoch, index) for index in [*mine, *beside]]


class _ClipDataset(Dataset[Batch]):
    """One augmented clip by (epoch, clip number)."""

    def __init__(
        self,
        reader: PackReader | FeatureClips,
        seed: int,
        augmentation: Augmentation,
        remask: Remask | None,
        features: FeatureReader | None,
        steps: StepCounts | None,
    ) -> None:
        self._steps = steps
        self._reader, self._seed, self._augmentation, self._remask = reader, seed, augmentation, remask
        self._features = features
        self._masks: dict[tuple[int, int], NDArray[np.bool_]] = {}  # of clip and shift, where frames aren't read

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        labels = self._reader.labels
        flip, shift = self._augmentation.draw(self._seed, epoch, labels.clip_id[index])
        item = Batch(
            index=torch.tensor(index),
            mask=torch.empty(0),
            score=torch.tensor(labels.score[index], dtype=torch.float32),
            difficulty=torch.tensor(labels.difficulty[index], dtype=torch.float32),
            label=torch.tensor(labels.label[index], dtype=torch.float32),
            judges=torch.tensor(labels.judges[index], dtype=torch.float32),
        )
        if isinstance(self._reader, FeatureClips):
            item["features"] = self._reader.read(index)
            item["mask"] = torch.ones(len(item["features"]), dtype=torch.bool)
        elif self._features is None:
            frames, mask = augment(self._reader.read(index), flip=flip, shift=shift, remask=self._remask)
            item["frames"], item["mask"] = torch.from_numpy(frames), torch.from_numpy(mask)
        else:
            mask = self._mask(self._reader, index, shift)
            item["features"] = self._features.read(index, flip, shift)
            item["mask"] = torch.from_numpy(np.ascontiguousarray(mask[..., ::-1]) if flip else mask)
        if self._steps is not None:
            item["steps"] = torch.from_numpy(self._steps(index, shift, len(item["mask"])))
        return item

    def _mask(self, pack: PackReader, index: int, shift: int) -> NDArray[np.bool_]:
        """The tube mask of a shifted clip; kept, as it takes longer to read and to make than the clip's features."""
        if (index, shift) not in self._masks:
            tube = pack.read_tube(index)
            self._masks[index, shift] = tube.mask if not shift else shifted_mask(tube.coverage, shift, self._remask)
        return self._masks[index, shift]


def augment(
    clip: ClipArrays, *, flip: bool, shift: int, remask: Remask | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Shift in time, then flip from left to right; pixels and tube mask alike.

    Returns:
        frames (L, S, S, 3) uint8 and mask (N, T, Hf, Wf) bool, contiguous copies.
    """
    frames, mask = clip.frames, clip.mask
    if shift:
        frames, mask = frames[shifted_times(len(frames), shift)], shifted_mask(clip.coverage, shift, remask)
    if flip:
        frames, mask = frames[:, :, ::-1], mask[..., ::-1]
    return np.ascontiguousarray(frames), np.ascontiguousarray(mask)


def shifted_mask(coverage: NDArray[np.float32], shift: int, remask: Remask | None) -> NDArray[np.bool_]:
    """Coverage (L, Hf, Wf) → tube mask (N, T, Hf, Wf) of a clip moved by `shift` frames.

    Raises:
        ValueError: there is no `remask`.
    """
    if remask is None:
        raise ValueError("a temporal shift moves the tube too: give `remask`.")
    return remask(coverage[shifted_times(len(coverage), shift)])


def _on_one_thread(worker: int) -> None:
    pin_threads(1)   # torch does so with its own in such processes; there are OpenCV's and BLAS's too


def _clean_processes(remask: Remask | None) -> BaseContext:
    """Processes that copy no thread's locks; a fork server imports once what each of them needs."""
    context = multiprocessing.get_context(clean_start_method())
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__, *([remask.__module__] if remask is not None else [])])
    return context


def _collate(items: list[Batch]) -> Batch:
    lengths = {len(item["features"]) for item in items if "features" in item}
    if len(lengths) > 1:  # of steps; what is missing at the end of a clip is masked
        for item in items:
            item["features"] = _padded(item["features"], max(lengths))
            item["mask"] = _padded(item["mask"], max(lengths))
            if "steps" in item:
                item["steps"] = _padded(item["steps"], max(lengths))
    return cast(Batch, default_collate(items))


def _padded(steps: Tensor, length: int) -> Tensor:
    """Steps (N, …) with zeros behind them: (length, …)."""
    return torch.cat([steps, steps.new_zeros(length - len(steps), *steps.shape[1:])])


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

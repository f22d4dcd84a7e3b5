"""SiamMask as a tracker: clips in, tubes with masks out; many clips at a time where there are many."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from models.trackers.base import TrackStep, Tube, box_inside, rectangle
from models.trackers.siammask.batched_search import Search, SearchResult, Siamese, Targets
from models.trackers.siammask.checkpoint import load_siammask
from models.trackers.siammask.person.folded_norms import fold_norms
from models.trackers.siammask.person.person_network import PersonSiamMask
from models.trackers.siammask.person.person_search import PersonSearch, PersonSettings
from models.trackers.siammask.settings import LostSettings, SiamMaskSettings, find_preset, lost_settings

# Targets that share a forward pass: beyond, a pass only takes more memory (some 60 MB a target in float32).
MAX_TOGETHER = 32
# The preset of the form that `pretrain tracker --footage` makes which draws no outlines.
UPRIGHT = "upright"

Clip = tuple[NDArray[np.uint8], NDArray[np.float32]]


@dataclass
class _Growing:
    """The tube of one target while it is followed."""

    steps: list[TrackStep]

    def tube(self) -> Tube:
        return Tube(
            quads=np.stack([step.quad for step in self.steps]).astype(np.float32),
            scores=np.asarray([step.score for step in self.steps], np.float32),
            lost=np.asarray([step.lost for step in self.steps], bool),
            masks=[step.mask for step in self.steps],
        )


@dataclass
class _Task:
    """One target of one clip."""

    clip: int
    box: NDArray[np.float64]
    growing: _Growing = field(init=False)

    def __post_init__(self) -> None:
        self.growing = _Growing([TrackStep(rectangle(self.box), 1.0)])


class SiamMaskTracker:
    """Follows targets with a SiamMask network; fulfils `Tracker` and `ManyTracker`.

    The quad is the smallest rotated rectangle around the mask, or the upright box where there is no mask to speak of
    or its confidence is too low. A target whose score falls keeps its last quad, is marked lost, has no mask, and is
    looked for in a wider crop.

    Raises:
        FileNotFoundError, ValueError: see `load_siammask`; unknown `preset`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        device: str = "cpu",
        preset: str | None = None,
        lost: LostSettings | None = None,
    ) -> None:
        loaded = load_siammask(files[0])
        network = loaded.network.to(device)
        if isinstance(network, PersonSiamMask):
            if preset not in (None, UPRIGHT):
                raise ValueError(
                    f"{files[0].name} is of the form that `tubeflow pretrain tracker --footage` makes, which has no "
                    f"preset '{preset}'; leave `preset` away, or take {UPRIGHT}: upright boxes alone, faster"
                )
            self._use(PersonSearch(fold_norms(network), PersonSettings(), outlines=preset != UPRIGHT), device)
            return
        chosen = preset or loaded.preset
        self._use(Search(network, find_preset(chosen), lost or lost_settings(chosen)), device)

    @classmethod
    def around(
        cls, network: Siamese, settings: SiamMaskSettings, lost: LostSettings | None = None, device: str = "cpu"
    ) -> "SiamMaskTracker":
        """A tracker around a network that is already on `device`."""
        tracker = cls.__new__(cls)
        tracker._use(Search(network, settings, lost or LostSettings()), device)
        return tracker

    def _use(self, search: Search | PersonSearch, device: str) -> None:
        self.search = search
        self.device = torch.device(device)
        self._targets: Targets | None = None
        self._quad: NDArray[np.float32] | None = None

    def init(self, frame: NDArray[np.uint8], box: ArrayLike) -> None:
        """See `Tracker.init`."""
        task = _Task(0, box_inside(box, frame))
        self._targets = self._start([frame], [task])
        self._quad = task.growing.steps[0].quad

    def update(self, frame: NDArray[np.uint8]) -> TrackStep:
        """See `Tracker.update`."""
        if self._targets is None or self._quad is None:
            raise RuntimeError("update() before init()")
        found = self.search.step(self._targets, self._upload([frame])).host()
        step = self._read(found, 0, frame.shape[1::-1], self._quad)
        self._quad = step.quad
        return step

    def track(self, frames: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[Tube]:
        """See `Tracker.track`; all athletes go through the network together."""
        [tubes] = self.track_many([(frames, boxes)])
        if isinstance(tubes, ValueError):
            raise tubes
        return tubes

    def track_many(self, clips: Sequence[Clip]) -> list[list[Tube] | ValueError]:
        """See `ManyTracker.track_many`."""
        results: list[list[Tube] | ValueError] = []
        alike: dict[tuple[int, ...], list[_Task]] = defaultdict(list)
        tasks: list[list[_Task]] = []
        for number, (frames, boxes) in enumerate(clips):
            tasks.append([])
            try:
                inside = [box_inside(box, frames[0]) for box in np.asarray(boxes, np.float32).reshape(-1, 4)]
            except ValueError as exc:
                results.append(exc)
                continue
            results.append([])
            tasks[number] = [_Task(number, box) for box in inside]
            alike[frames.shape] += tasks[number]
        for together in alike.values():
            for begin in range(0, len(together), MAX_TOGETHER):
                self._follow([frames for frames, _ in clips], together[begin : begin + MAX_TOGETHER])
        for result, own in zip(results, tasks, strict=True):
            if not isinstance(result, ValueError):
                result += [task.growing.tube() for task in own]
        return results

    def _follow(self, videos: Sequence[NDArray[np.uint8]], tasks: Sequence[_Task]) -> None:
        """Follow targets of clips of one shape to their end."""
        own = sorted({task.clip for task in tasks})
        targets = self._start([videos[clip][0] for clip in own], tasks)
        frame_wh = videos[own[0]].shape[2], videos[own[0]].shape[1]
        for found in self._steps(targets, [videos[clip] for clip in own]):
            for row, task in enumerate(tasks):
                steps = task.growing.steps
                steps.append(self._read(found, row, frame_wh, steps[-1].quad))

    def _steps(self, targets: Targets, videos: Sequence[NDArray[np.uint8]]) -> Iterator[SearchResult]:
        """What is found in frames 1, 2, …, in the host's memory.

        One frame behind the network: while a GPU works on a frame, the masks of the one before are made.
        """
        before: SearchResult | None = None
        for index in range(1, len(videos[0])):
            found = self.search.step(targets, self._upload([video[index] for video in videos]))
            if before is not None:
                yield before.host()
            before = found
        if before is not None:
            yield before.host()

    def _start(self, frames: Sequence[NDArray[np.uint8]], tasks: Sequence[_Task]) -> Targets:
        rows = {clip: row for row, clip in enumerate(sorted({task.clip for task in tasks}))}
        which = torch.tensor([rows[task.clip] for task in tasks], device=self.device)
        boxes = torch.from_numpy(np.stack([task.box for task in tasks])).to(self.device)
        return self.search.start(self._upload(frames), which, boxes)

    def _upload(self, frames: Sequence[NDArray[np.uint8]]) -> Tensor:
        return torch.from_numpy(np.stack(frames)).to(self.device)

    def _read(self, found: SearchResult, row: int, frame_wh: Sequence[int], last: NDArray[np.float32]) -> TrackStep:
        """One target's step from what is in the host's memory."""
        score = float(found.score[row])
        if found.lost[row]:
            return TrackStep(last, score, lost=True)
        quad, mask = self.search.shape(found, row, (frame_wh[0], frame_wh[1]))
        return TrackStep(quad, score, mask=mask)

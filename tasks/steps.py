"""The steps that clips are labelled with, as a network learns to name them: the kind that each frame lies in.

Frames are those that training sees: a clip's normalised frames, or rows of features that were made elsewhere.

Letters: n clips, L frames of one (or rows of its features), N segments, K kinds of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_catalog.datasets.records import Step
from data_catalog.pack.feature_clips import FeatureClips
from data_catalog.pack.file import PackReader, shifted_times
from models.metrics.step_scores import NO_STEP, segment_overlaps, step_of_frames, steps_named

if TYPE_CHECKING:
    from data_catalog.store import Store
    from tasks.engine.job import Job

Frames = NDArray[np.int64]
NAMES, KINDS, LENGTHS = "steps/names", "steps/kinds", "steps/lengths"
"""How a training's artifact holds them: names (K,), kinds of the frames of all clips in a row, L of each clip (n,)."""


@dataclass(frozen=True, eq=False)
class StepLabels:
    """The kind of step that each frame of n clips lies in.

    Attributes:
        names: of the K kinds, sorted.
        kinds: of each clip (L,) int64, `NO_STEP` where a frame lies in none; (0,) of a clip without steps.
    """

    names: tuple[str, ...]
    kinds: tuple[Frames, ...]

    @classmethod
    def of(cls, steps: Sequence[Sequence[Step]], source_index: Sequence[Frames]) -> StepLabels:
        """Of steps in frames of the source.

        Args:
            steps: of each clip.
            source_index: of each clip (L,) int64, number of the source frame behind each frame; anything where it has
                no steps.

        Raises:
            ValueError: fewer than two kinds, between which there is nothing to tell.
        """
        names = tuple(sorted({step.name for of_clip in steps for step in of_clip}))
        if len(names) < 2:
            raise ValueError(
                f"train.steps learns to tell kinds of steps apart, and the clips have {len(names)}; give them steps "
                "with tubeflow ingest … --steps steps.csv, or set train.steps to 0."
            )
        return cls(names, tuple(_kinds(names, *one) for one in zip(steps, source_index, strict=True)))

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """For an artifact: text (K,), int16 (sum of L,) and int64 (n,)."""
        return {
            NAMES: np.array(self.names, dtype=object),
            KINDS: np.concatenate([*self.kinds, np.empty(0, np.int64)]).astype(np.int16),
            LENGTHS: np.array([len(one) for one in self.kinds], np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> StepLabels | None:
        """The inverse of `as_arrays`, of arrays of these shapes; None of a training without steps."""
        if NAMES not in arrays:
            return None
        ends = np.cumsum(arrays[LENGTHS])[:-1]
        return cls(tuple(arrays[NAMES].tolist()), tuple(np.split(arrays[KINDS].astype(np.int64), ends)))


def _kinds(names: tuple[str, ...], steps: Sequence[Step], source_index: Frames) -> Frames:
    if not steps:
        return np.empty(0, np.int64)
    places = step_of_frames(source_index, [(step.start, step.end) for step in steps])
    of_steps = np.array([names.index(step.name) for step in steps])
    return np.where(places == NO_STEP, NO_STEP, of_steps[places])


@dataclass(frozen=True, eq=False)
class StepTargets:
    """What a network is asked about the steps of n clips, segment by segment.

    Attributes:
        labels: of the clips.
        starts: first frame of each of N segments; None where each row of a clip's features is one.
        length: frames of a segment.
    """

    labels: StepLabels
    starts: tuple[int, ...] | None = None
    length: int = 1

    def counts(self, index: int, shift: int, rows: int) -> NDArray[np.float32]:
        """How many frames of each segment of a clip lie in a step of each kind: (N, K).

        Args:
            index: number of the clip.
            shift: frames by which it is moved in time.
            rows: N.
        """
        kinds, names = self.labels.kinds[index], self.labels.names
        if not len(kinds):
            return np.zeros((rows, len(names)), np.float32)
        starts = range(rows) if self.starts is None else self.starts
        moved = kinds[shifted_times(len(kinds), shift)]
        return segment_overlaps(moved, len(names), list(starts), self.length).astype(np.float32)

    def named(self, index: int, shift: int, shares: NDArray[np.floating]) -> dict[str, tuple[int, int]]:
        """How many frames of a clip lie in a step of each kind that it has, and how many shares (N, K) name right."""
        kinds = self.labels.kinds[index]
        if not len(kinds):
            return {}
        moved = kinds[shifted_times(len(kinds), shift)]
        starts = range(len(moved)) if self.starts is None else self.starts
        counts = steps_named(shares[: len(starts)], moved, list(starts), self.length).tolist()
        both = zip(self.labels.names, counts, strict=True)
        return {name: (frames, right) for name, (frames, right) in both if frames}


def targets_of(labels: StepLabels | None, reader: PackReader | FeatureClips) -> StepTargets | None:
    """What a network is asked about the clips of a pack, or of features that were made elsewhere."""
    if labels is None or isinstance(reader, FeatureClips):
        return None if labels is None else StepTargets(labels)
    return StepTargets(labels, tuple(reader.geometry.starts), reader.geometry.segment_length)


def packed_steps(job: Job, store: Store) -> StepLabels:
    """Of the clips of the job's pack, in its order, on their normalised frames.

    Raises:
        ValueError: fewer than two kinds of steps.
        ArtifactDamaged: a clip's frames can't be read.
    """
    members = {member.clip.clip_id: member for member in job.members}
    pack = PackReader(store.path("pack", job.parents["pack"]))
    steps = [members[clip].clip.steps for clip in pack.labels.clip_id]
    pack.close()
    index = [
        store.read("normalize", members[clip].keys["normalize"], ["source_index"]).arrays["source_index"]
        if of_clip
        else np.empty(0, np.int64)
        for clip, of_clip in zip(pack.labels.clip_id, steps, strict=True)
    ]
    return StepLabels.of(steps, index)


def own_steps(job: Job, clips: FeatureClips) -> StepLabels:
    """Of clips of which there are features alone: frames are their rows. Raises ValueError as `packed_steps`."""
    steps = [member.clip.steps for member in job.members]
    rows = [len(clips.read(number)) if of_clip else 0 for number, of_clip in enumerate(steps)]
    return StepLabels.of(steps, [np.arange(count, dtype=np.int64) for count in rows])

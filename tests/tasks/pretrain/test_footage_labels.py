"""Labels of footage are kept where the ways there and back, and the outline, agree; what is left out has its reason."""

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from models.detectors.base import Detections
from models.teachers.pose_outline import Posture, SeenPerson
from models.trackers.base import FrameLoopTracker, TrackStep, rectangle
from tasks.pretrain.footage_labels import FootageLabels, LabelRules, label_footage

Image = NDArray[np.uint8]
FRAMES = 30
RULES = LabelRules(stretch=30)
SOME = [0, 2, *range(10, 30, 2)]   # labels, where those of frames 4 to 9 are left out


def boxes() -> NDArray[np.float64]:
    """(30, 4): somebody of 20 x 50 pixels who walks to the right."""
    left = 10.0 + 2 * np.arange(FRAMES)
    return np.stack([left, np.full(FRAMES, 20.0), left + 20, np.full(FRAMES, 70.0)], axis=1)


def film() -> list[Image]:
    """Their frame's number is in the first pixel: the teachers below know by it where they are."""
    frames = np.zeros((FRAMES, 100, 120, 3), np.uint8)
    frames[:, 0, 0] = np.arange(FRAMES)[:, None]
    return list(frames)


class KnowingDetector:
    """Sees the person, and a post that is none."""

    def detect(self, frames: list[Image]) -> list[Detections]:
        post = [100.0, 10, 110, 90]
        scores = np.array([0.9, 0.5], np.float32)
        return [Detections(np.array([boxes()[frame[0, 0, 0]], post], np.float32), scores) for frame in frames]


class KnowingFollower(FrameLoopTracker):
    """Right but where, on the way there, `astray` says that it sticks to where it began."""

    def __init__(self, astray: range = range(0)) -> None:
        self.astray, self.start, self.first = astray, np.zeros(4), 0

    def init(self, frame: Image, box: ArrayLike) -> None:
        self.start, self.first = np.asarray(box, np.float64), int(frame[0, 0, 0])

    def update(self, frame: Image) -> TrackStep:
        number = int(frame[0, 0, 0])
        stuck = number in self.astray and number > self.first
        return TrackStep(rectangle(self.start if stuck else boxes()[number]), 1.0)


class KnowingOutliner:
    """Draws the person if the box holds them; `absent`, `wide`: frames in which it sees nobody, or too much."""

    def __init__(self, absent: range = range(0), wide: range = range(0)) -> None:
        self.absent, self.wide, self.carried = absent, wide, list[bool]()

    def see(self, frame: Image, box: NDArray[np.float64], before: Posture | None = None) -> SeenPerson | None:
        self.carried.append(before is not None)
        number = int(frame[0, 0, 0])
        true = boxes()[number]
        if box[0] > 95:
            return None
        if number in self.wide:
            true = np.array([0.0, 0, 120, 100])
        mask = np.zeros(frame.shape[:2], bool)
        x0, y0, x1, y1 = true.astype(int)
        mask[y0:y1, x0:x1] = True
        return SeenPerson(mask, true, 0.2 if number in self.absent else 0.95, Posture(np.zeros(2), 70.0, 0.0))


def labels(follower: KnowingFollower | None = None, outliner: KnowingOutliner | None = None) -> FootageLabels:
    return label_footage(
        film(), [KnowingDetector()], follower or KnowingFollower(), outliner or KnowingOutliner(), RULES
    )


def test_a_person_is_labelled_in_every_second_frame() -> None:
    outliner = KnowingOutliner()
    found = labels(outliner=outliner)
    [person] = found.people
    assert person.frames.tolist() == list(range(0, FRAMES, 2))
    assert (person.boxes == boxes()[::2]).all()
    assert person.mask(3, 120).sum() == 20 * 50
    assert found.left_out == {"not the person that the detector saw": 1}   # the post
    # The start; the first label; each square then from the one before; at last the post.
    assert outliner.carried == [False, False, *[True] * 14, False]


def test_later_stretches_count_from_the_clips_beginning() -> None:
    found = label_footage(
        film(), [KnowingDetector()], KnowingFollower(), KnowingOutliner(), LabelRules(stretch=12)
    )
    assert [person.frames.tolist() for person in found.people] == [
        list(range(0, 12, 2)), list(range(12, 24, 2)),   # the last six frames are too few to follow anybody in
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("follower", "outliner", "reason", "kept"),
    [
        (KnowingFollower(range(20, 30)), KnowingOutliner(), "the way back was another", range(0, 20, 2)),
        (KnowingFollower(), KnowingOutliner(absent=range(4, 10)), "no pose was seen", SOME),
        (KnowingFollower(), KnowingOutliner(wide=range(4, 10)), "outline and followed box differ", SOME),
    ],
)
def test_what_teachers_disagree_on_is_left_out(
    follower: KnowingFollower, outliner: KnowingOutliner, reason: str, kept: list[int]
) -> None:
    found = labels(follower, outliner)
    assert [person.frames.tolist() for person in found.people] == [list(kept)]
    assert found.left_out[reason] == FRAMES // 2 - len(kept)


def test_a_person_seen_a_few_times_is_nobody_to_learn_from() -> None:
    assert labels(outliner=KnowingOutliner(absent=range(6, 30))).people == []

"""`tubeflow detect evaluate`: how often detectors and policies choose the athlete, as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

from models.detectors import Detector
from tasks.assessment.detector_accuracy import (
    RIGHT,
    ROUGHLY,
    AthleteClip,
    ChosenBox,
    DetectEvaluation,
    PeopleFound,
    evaluate_detectors,
)


class ChoiceCount(TypedDict):
    """Of one detector and policy: clips, and how many have the athlete's box by an IoU of .5 and of .3."""

    clips: int
    right: int
    roughly: int


class DetectionRecord(TypedDict):
    """What `tubeflow detect evaluate --json` prints; `right` by detector and policy."""

    choices: list[dict[str, object]]
    found: list[dict[str, object]]
    followed_sec: float
    right: dict[str, dict[str, ChoiceCount]]


@dataclass(frozen=True)
class DetectionSummary:
    """What detectors and policies came to.

    Attributes:
        choices: of every detector and policy on every clip.
        found: of every detector on every clip.
        followed_sec: how long the policy `followed` looked at later frames, seconds a clip.
    """

    choices: Sequence[ChosenBox]
    found: Sequence[PeopleFound]
    followed_sec: float

    @property
    def right(self) -> dict[str, dict[str, ChoiceCount]]:
        """Detector → policy → how many choices are right."""
        table: dict[str, dict[str, ChoiceCount]] = {}
        for one in self.choices:
            cell = table.setdefault(one.detector, {}).setdefault(one.policy, {"clips": 0, "right": 0, "roughly": 0})
            cell["clips"] += 1
            cell["right"] += one.overlap >= RIGHT
            cell["roughly"] += one.overlap >= ROUGHLY
        return table

    def as_json(self) -> DetectionRecord:
        """What `tubeflow detect evaluate --json` prints."""
        return {
            "choices": [asdict(one) for one in self.choices],
            "found": [asdict(one) for one in self.found],
            "followed_sec": self.followed_sec,
            "right": self.right,
        }


def measure_detectors(
    clips: Sequence[AthleteClip], detectors: Mapping[str, Detector], report: Callable[[str], None] | None = None
) -> DetectionSummary:
    """Every detector with every policy on every clip; `report` is called with each clip's name beforehand.

    Raises:
        ValueError: a video can't be read.
    """
    return DetectionSummary(*evaluate_detectors(clips, detectors, DetectEvaluation(), report))

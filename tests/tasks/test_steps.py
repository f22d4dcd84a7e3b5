"""From steps to what a network is asked of each segment, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from data_catalog.datasets.records import Step
from tasks.steps import StepLabels, StepTargets

STEPS = [(Step("take-off", 10, 13), Step("entry", 14, 20)), (), (Step("entry", 0, 2),)]
INDEX = [np.array([9, 10, 12, 13, 14, 15, 16, 21]), np.empty(0, np.int64), np.arange(3)]


@pytest.fixture
def labels() -> StepLabels:
    return StepLabels.of(STEPS, INDEX)


def test_kinds_are_those_of_all_clips_and_survive_an_artifact(labels: StepLabels) -> None:
    assert labels.names == ("entry", "take-off")
    assert [one.tolist() for one in labels.kinds] == [[-1, 1, 1, -1, 0, 0, 0, -1], [], [0, 0, -1]]
    again = StepLabels.from_arrays(labels.as_arrays())
    assert again is not None
    assert again.names == labels.names
    assert [one.tolist() for one in again.kinds] == [one.tolist() for one in labels.kinds]
    assert StepLabels.from_arrays({"last/w": np.zeros(1)}) is None


def test_segments_are_asked_about_their_frames_where_the_clip_was_moved_to(labels: StepLabels) -> None:
    targets = StepTargets(labels, (0, 4), 4)
    assert targets.counts(0, 0, 2).tolist() == [[0, 2], [3, 0]]
    assert targets.counts(0, 2, 2).tolist() == [[2, 1], [1, 0]]  # frames 2 3 4 5 and 6 7 7 7
    assert targets.counts(1, 0, 2).tolist() == [[0, 0], [0, 0]]
    shares = np.array([[0.4, 0.6], [0.4, 0.6]])
    assert targets.named(0, 0, shares) == {"entry": (3, 0), "take-off": (2, 2)}
    assert targets.named(1, 0, shares) == {}


def test_of_features_each_row_is_a_segment_and_padding_has_no_say(labels: StepLabels) -> None:
    targets = StepTargets(labels)
    assert targets.counts(2, 0, 3).tolist() == [[1, 0], [1, 0], [0, 0]]
    assert targets.named(2, 0, np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]])) == {"entry": (2, 1)}


def test_one_kind_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="tell kinds of steps apart, and the clips have 1"):
        StepLabels.of(STEPS[2:], INDEX[2:])

"""Flags that follow from the quads alone."""

import numpy as np
import pytest

from models.geometry import box_to_quad
from models.trackers.flags import at_border, sudden_change


@pytest.mark.parametrize(
    ("box", "touches"),
    [
        ([10, 10, 50, 40], False),
        ([0.5, 10, 50, 40], True),
        ([10, -3, 50, 40], True),
        ([10, 10, 99.5, 40], True),
        ([10, 10, 50, 59], True),
        ([1.5, 1.5, 98.5, 58.5], False),
    ],
)
def test_border(box, touches):
    assert at_border(box_to_quad(np.asarray(box)), (100, 60)) == touches


def test_sudden_changes_of_place_and_size():
    boxes = [[10, 10, 30, 30], [14, 10, 34, 30], [40, 10, 60, 30], [40, 10, 60, 30], [30, 0, 70, 40], [30, 0, 70, 40]]
    quads = box_to_quad(np.asarray(boxes, float))
    assert sudden_change(quads).tolist() == [False, False, True, False, True, False]
    assert sudden_change(quads[None]).shape == (1, 6)
    assert sudden_change(quads[:1]).tolist() == [False]
    assert not sudden_change(np.repeat(quads[:1] * 0, 3, axis=0)).any()   # a quad without area

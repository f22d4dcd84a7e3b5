"""Steps on normalised frames and segments: against a label for every source frame, and numbers worked out by hand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics.step_scores import NO_STEP, segment_overlaps, step_of_frames, step_scores, steps_named
from tasks.normalize import select_frames


@st.composite
def labelled_clips(draw: st.DrawFn) -> tuple[list[int], int, list[tuple[int, int]]]:
    """A step (or none) for each frame of a video, the clip's first frame in it, and the steps as spans."""
    runs = draw(st.lists(st.integers(1, 40), min_size=2, max_size=8))
    gaps = draw(st.lists(st.booleans(), min_size=len(runs), max_size=len(runs)))
    labels, spans, place = [], [], 0
    for run, gap in zip(runs, gaps, strict=True):
        labels += [NO_STEP if gap else len(spans)] * run
        if not gap:
            spans.append((place, place + run))
        place += run
    return labels, draw(st.integers(0, place - 2)), spans


@settings(max_examples=100, deadline=None)
@given(labelled_clips(), st.integers(1, 120), st.sampled_from(["uniform", "tail"]))
def test_steps_go_through_normalisation_as_frames_do(
    clip: tuple[list[int], int, list[tuple[int, int]]], length: int, window: str
) -> None:
    labels, start, spans = clip
    index = select_frames(start, len(labels), length, window)  # type: ignore[arg-type]
    assert step_of_frames(index, spans).tolist() == [labels[frame] for frame in index]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(NO_STEP, 3), min_size=20, max_size=20), st.lists(st.integers(0, 15), max_size=6))
def test_overlaps_count_the_frames_of_a_segment_in_each_step(frames: list[int], starts: list[int]) -> None:
    found = segment_overlaps(np.array(frames, np.int64), 4, starts, 5)
    assert found.tolist() == [[frames[start : start + 5].count(step) for step in range(4)] for start in starts]


def test_a_steps_score_is_the_mean_of_its_segments_by_overlap() -> None:
    # 24 frames: 6 of step 0, 10 of step 1, 2 of none, 6 of step 2; three segments of 8.
    frames = np.array([0] * 6 + [1] * 10 + [NO_STEP] * 2 + [2] * 6, np.int64)
    overlaps = segment_overlaps(frames, 4, [0, 8, 16], 8)
    assert overlaps.tolist() == [[6, 2, 0, 0], [0, 8, 0, 0], [0, 0, 6, 0]]
    scores = step_scores(np.array([60.0, 80.0, 50.0]), overlaps)
    np.testing.assert_allclose(scores, [60.0, (2 * 60 + 8 * 80) / 10, 50.0, np.nan], rtol=0, atol=1e-12)


def test_a_segment_without_a_score_has_no_say() -> None:
    overlaps = np.array([[4, 4], [0, 8]], np.int64)
    np.testing.assert_array_equal(step_scores(np.array([np.nan, 30.0]), overlaps), [np.nan, 30.0])


def test_a_frame_is_named_by_the_mean_of_its_segments() -> None:
    shares = np.array([[0.9, 0.1], [0.2, 0.8]])
    kinds = np.array([0, 0, 0, 1, NO_STEP, 1, 0, 1])  # frame 3 is in both segments: 1.1 to 0.9 for kind 0
    # Frames 3, of kind 1, and 6, of kind 0, are named wrong; 4 and 7 aren't asked about.
    assert steps_named(shares, kinds, (0, 3), 4).tolist() == [[4, 3], [2, 1]]
    assert not steps_named(shares, np.full(8, NO_STEP), (0, 3), 4).any()

"""Judging tubes: every oddity on its own, thresholds, and figures on clips with planted mishaps."""

import dataclasses

import numpy as np
import pytest

from benchmarks.tube_quality import Case, Slipping, make_case, score
from data_catalog.synthetic.sport.mishaps import cut_to, pass_before, shoot, stop_camera
from data_catalog.synthetic.sport.storyboard import plan_clip
from data_catalog.tables.tube_quality import TubeQuality, TubeSeries
from tasks.assessment.tube_checks import QualityConfig, TubeKeys, judge_series, measure_series

LENGTH, SEGMENTS = 40, 4
SUBJECT = TubeKeys("t" * 40, "m" * 40, "tiny", "dive")
ONES = np.ones((1, LENGTH), np.float32)


def series(**changes: np.ndarray) -> TubeSeries:
    calm = TubeSeries(
        change=np.full(LENGTH, 0.02, np.float32), elapsed=np.ones(LENGTH, np.float32), likeness=ONES, scores=ONES * 0.9,
        lost=ONES * 0, step=ONES * 0.1, area=ONES * 2000, inside=ONES, border=ONES * 0,
        omega=np.full(SEGMENTS, 30, np.float32),
    )  # fmt: skip
    return dataclasses.replace(calm, **{name: value.astype(np.float32) for name, value in changes.items()})


def at(value: float, frames: slice | list[int], calm: float = 0.0) -> np.ndarray:
    row = np.full((1, LENGTH), float(calm))
    row[:, frames] = value
    return row


def judged(config: QualityConfig | None = None, **changes: np.ndarray) -> TubeQuality:
    return judge_series(SUBJECT, series(**changes), config or QualityConfig())


def test_a_calm_tube_is_not_suspicious() -> None:
    row = judged()
    assert (row.suspicion, row.reasons) == (0.0, [])
    assert (row.athletes, row.frames, row.clip_id) == (1, LENGTH, "dive")


@pytest.mark.parametrize(
    ("changes", "column", "expected", "words"),
    [
        ({"change": at(0.8, [20], 0.02)[0]}, "cuts", [20], "scene changes at frame 20."),
        ({"step": at(0.7, [5, 9], 0.1)}, "jumps", [5, 9], "leaps in frames 5, 9."),
        ({"area": at(5000, slice(30, None), 2000)}, "area_changes", [30], "area changes at once in frame 30."),
        ({"scores": at(0.2, slice(12, 15), 0.9)}, "score_drops", [12], "score falls in frame 12."),
        ({"likeness": at(0.3, slice(20, None), 1)}, "drift_frames", list(range(20, 40)), "in 20 of 40 frames, from 20"),
        ({"lost": at(1, slice(15, 35))}, "lost_frames", list(range(15, 35)), "in 20 of 40 frames, from 15 on"),
        ({"inside": at(0.2, slice(0, 30), 1)}, "outside_frames", list(range(30)), "outside the network's crop in 30"),
        ({"border": at(1, slice(0, 38))}, "border_frames", list(range(38)), "frame's border in 38 of 40"),
        ({"omega": np.asarray([30, 0, 0, 12])}, "empty_segments", [1, 2], "2 of 4 segments have an empty"),
    ],
)
def test_each_oddity_is_a_column_a_reason_and_a_suspicion(
    changes: dict[str, np.ndarray], column: str, expected: list[int], words: str
) -> None:
    row = judged(**changes)
    assert getattr(row, column) == expected
    assert len(row.reasons) == 1
    assert words in row.reasons[0]
    assert 0 < row.suspicion < 1
    for other in ("cuts", "jumps", "area_changes", "score_drops", "drift_frames", "empty_segments", "outside_frames"):
        if other != column:
            assert getattr(row, other) == [], other


def test_oddities_add_up_and_the_worst_comes_first() -> None:
    one = judged(step=at(0.7, [5], 0.1))
    both = judged(step=at(0.7, [5], 0.1), change=at(0.8, [20], 0.02)[0])
    assert one.suspicion < both.suspicion < 1
    assert [reason.split()[1] for reason in both.reasons] == ["scene", "tube"]


def test_what_ends_every_dive_is_not_suspicious() -> None:
    row = judged(likeness=at(-0.2, slice(30, None), 1))
    assert row.lost_frames == row.drift_frames == list(range(30, 40))
    assert (row.suspicion, row.drift) == (0.0, 0.25)


def test_a_tracker_that_says_it_is_lost_does_not_drift() -> None:
    row = judged(likeness=at(0.1, slice(15, 35), 1), lost=at(1, slice(15, 35)))
    assert row.drift_frames == []
    assert row.lost_frames == list(range(15, 35))
    under_water = judged(likeness=at(0.3, slice(15, 35), 1), lost=at(1, slice(18, 35)))  # the last look is no drift
    assert under_water.drift_frames == []
    assert judged(likeness=at(0.3, slice(15, 35), 1)).drift_frames == list(range(15, 35))


def test_the_score_of_a_tracker_that_is_lost_is_no_fall() -> None:
    """Under water the scores of nobody go up and down; the way there is reported as a loss already."""
    scores = at(0.9, slice(0, 25))
    scores[0, 23:25] = 0.003  # falls, and is lost from frame 25 on
    scores[0, 25:] = np.where(np.arange(LENGTH - 25) % 3, 0.004, 0.0005)
    row = judged(scores=scores, lost=at(1, slice(25, None)))
    assert row.score_drops == []
    assert row.lost_frames == list(range(25, LENGTH))
    assert judged(scores=scores).score_drops[:2] == [23, 31]  # from a tracker that claims to be sure they do count


def test_a_fall_after_a_moment_of_loss_is_measured_against_before_it() -> None:
    scores = at(0.9, slice(0, 20))
    scores[0, 20:22], scores[0, 22:] = 0.001, 0.1  # lost for two frames, then found again, hardly
    lost = at(1, [20, 21])
    assert judged(scores=scores, lost=lost).score_drops == [22]
    scores[0, 22:] = 0.8
    assert judged(scores=scores, lost=lost).score_drops == []


def test_a_moment_of_unlikeness_is_no_drift() -> None:
    assert judged(likeness=at(0.3, slice(20, 26), 1)).drift_frames == []


def test_thresholds_name_themselves() -> None:
    row, other = judged(), judged(QualityConfig(jump=0.05))
    assert other.jumps == list(range(LENGTH))
    assert row.settings != other.settings
    assert judged(QualityConfig(suspicious=0.9)).settings == row.settings  # only what reads the suspicion


def test_frames_and_quads_have_to_be_of_one_clip() -> None:
    track = {"quads": np.zeros((1, 9, 4, 2)), "scores": np.zeros((1, 9)), "lost": np.zeros((1, 9), bool)}
    with pytest.raises(ValueError, match="9"):
        measure_series(np.zeros((10, 32, 64, 3), np.uint8), np.arange(10), (64, 32), track, np.zeros(2, int), 32)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Skaters of a seed that no threshold was chosen on, with every mishap; the tubes are the truth or slip off it."""
    never, found = 103, []
    for number in range(3):
        rng = np.random.default_rng(number)
        story = plan_clip("skating", number, 6100, "320x240")
        film, other = shoot(story), shoot(plan_clip("skating", number + 50, 6100, "320x240"))
        count = len(film.frames)
        films = {
            "plain": (film, never),
            "cut": (cut_to(film, count // 2, other, 10), never),
            "exit": (shoot(stop_camera(story, count // 3)), never),
            "occlusion": (pass_before(film, count // 3, count // 2, rng), never),
            "slip": (film, 40),
        }
        found += [make_case(name, one, Slipping(slip, rng)) for name, (one, slip) in films.items()]
    return found


def test_planted_mishaps_are_found(cases: list[Case]) -> None:
    """Floors under what `python -m benchmarks.tube_quality` prints, on fewer and other clips."""
    tallies = score(cases, QualityConfig())
    assert tallies["cut"].events == 3
    assert tallies["lost"].events >= 4
    assert tallies["drift"].events >= 3
    for name, (precision, recall) in {"cut": (0.75, 0.66), "lost": (0.75, 0.75), "drift": (0.6, 0.9)}.items():
        assert tallies[name].precision >= precision, (name, tallies[name])
        assert tallies[name].recall >= recall, (name, tallies[name])


def test_worse_thresholds_find_less(cases: list[Case]) -> None:
    deaf = score(cases, QualityConfig(cut_change=3.0, lost_likeness=-9, drift_likeness=-9))
    assert [one.found for one in deaf.values()] == [0, 0, 0]
    assert sum(one.events for one in deaf.values()) >= 10


def test_a_slipped_tube_is_more_suspicious_than_the_truth(cases: list[Case]) -> None:
    rank = {name: [judge_series(SUBJECT, case.series, QualityConfig()).suspicion
                   for case in cases if case.mishap == name]
            for name in ("plain", "slip", "cut")}  # fmt: skip
    assert max(rank["plain"]) < min(rank["slip"])
    assert max(rank["plain"]) < min(rank["cut"])

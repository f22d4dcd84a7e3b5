"""How long is left: what was measured before at first, then what this time's pace says; nothing where nobody knows."""

from __future__ import annotations

import pytest

from tasks.engine.progress import Forecast, Progress, TimeLeft, expect, listening, report


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_said_before_anything_is_measured(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.told(Progress("draw", 0, 10))
    clock.now += 7
    assert left.of("draw") is None
    assert left.overall() is None
    left.told(Progress("draw", 2, None))
    assert left.of("draw") == pytest.approx(7 * 8 / 2)
    left.told(Progress("draw", 10, None))
    assert left.of("draw") == 0
    assert left.of("nothing") is None


def test_a_forecast_holds_until_the_pace_is_known(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.expect(Forecast({"track": 80.0, "train": 20.0}, ""))
    assert left.overall() == 100
    left.told(Progress("track", 0, 8))
    left.told(Progress("track", 4, None))
    clock.now += 80  # 40 % of the time was forecast to be done in 40 s, and it took twice as long
    assert left.share() == pytest.approx(0.4)
    assert left.overall() == pytest.approx(0.6 * 60 + 0.4 * 120)
    left.told(Progress("track", 8, None))
    left.told(Progress("train", 1, 1))
    assert (left.overall(), left.share()) == (0, 1)


def test_one_stage_that_was_never_measured_leaves_the_whole_unknown(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.expect(Forecast({"track": 80.0, "train": None}, ""))
    left.told(Progress("track", 1, 2))
    assert left.overall() is None
    assert left.share() == pytest.approx(0.25), "of the number of stages"


def test_a_run_after_another_begins_anew(clock: Clock) -> None:
    left = TimeLeft(clock)
    left.expect(Forecast({"track": 10.0}, ""))
    left.told(Progress("track", 5, 5))
    left.expect(Forecast({"track": 30.0}, ""))
    assert left.overall() == 30


def test_forecasts_reach_those_who_ask_for_them() -> None:
    heard: list[object] = []
    forecast = Forecast({"track": None}, "Nobody knows.")
    with listening(heard.append), listening(lambda _: None, heard.append):
        expect(forecast)
        report("track", 0, 1)
    expect(forecast)
    assert heard == [forecast, Progress("track", 0, 1)]

"""The alarm rings for the part that takes too long, and for no other."""

from __future__ import annotations

import math

import pytest

from simple_golem.engine.life.shutdown_alarm import TERMINATE_SECONDS, ShutdownAlarm
from simple_golem.engine.shutdown_times import ShutdownPart, ShutdownTimes
from tests.helpers.hand_time import HandTime, hand_time
from tests.helpers.hand_timer import HandTimer


def ending(seconds: float) -> ShutdownTimes:
    return ShutdownTimes(dict.fromkeys(ShutdownPart, seconds))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> HandTime:
    """The time that the alarm, the endings and the timer see."""
    engine = "simple_golem.engine"
    return hand_time(
        monkeypatch, f"{engine}.life.shutdown_alarm", f"{engine}.shutdown_times", "tests.helpers.hand_timer"
    )


@pytest.fixture
def timer() -> HandTimer:
    return HandTimer()


@pytest.fixture
def rung() -> list[ShutdownPart]:
    return []


@pytest.fixture
def alarm(timer: HandTimer, rung: list[ShutdownPart]) -> ShutdownAlarm:
    return ShutdownAlarm(timer, rung.append)


def test_without_an_ending_no_part_has_a_limit(alarm: ShutdownAlarm, timer: HandTimer) -> None:
    alarm.enter(ShutdownPart.METHOD)
    assert (alarm.part, alarm.limit, alarm.is_ending) == (ShutdownPart.METHOD, math.inf, False)
    assert timer.calls == []


def test_an_ending_limits_the_part_under_way(
    alarm: ShutdownAlarm, timer: HandTimer, rung: list[ShutdownPart]
) -> None:
    alarm.enter(ShutdownPart.METHOD)
    alarm.add(ending(0.0))
    timer.ring_due()
    assert rung == [ShutdownPart.METHOD]
    assert alarm.is_due(ShutdownPart.METHOD)
    assert not alarm.is_due(ShutdownPart.SHUTDOWN)


def test_an_ending_of_before_limits_the_next_part(alarm: ShutdownAlarm, clock: HandTime) -> None:
    alarm.add(ending(7.0))
    assert alarm.limit == math.inf
    alarm.enter(ShutdownPart.SHUTDOWN)
    assert alarm.limit - clock.now == pytest.approx(7.0)


def test_a_part_that_has_ended_has_no_alarm(
    alarm: ShutdownAlarm, timer: HandTimer, rung: list[ShutdownPart]
) -> None:
    alarm.add(ending(0.0))
    alarm.enter(ShutdownPart.METHOD)
    alarm.enter(None)
    timer.ring_all()
    assert rung == []
    assert not alarm.is_due(ShutdownPart.METHOD)


def test_the_earliest_of_several_endings_counts(alarm: ShutdownAlarm, clock: HandTime) -> None:
    alarm.enter(ShutdownPart.SHUTDOWN)
    alarm.add(ending(5.0))
    alarm.add(ending(2.0))
    alarm.add(ending(9.0))
    assert alarm.limit - clock.now == pytest.approx(2.0)
    alarm.enter(ShutdownPart.RELEASE)
    assert alarm.limit - clock.now == pytest.approx(2.0)


def test_a_part_gets_the_time_that_it_is_promised(alarm: ShutdownAlarm, clock: HandTime) -> None:
    alarm.add(ending(0.0))
    alarm.enter(ShutdownPart.METHOD, at_least=0.3)
    assert alarm.limit - clock.now == pytest.approx(0.3)
    assert not alarm.is_due(ShutdownPart.METHOD)
    clock.now += 0.5
    assert alarm.is_due(ShutdownPart.METHOD)


def test_a_promise_does_not_limit_a_part_that_has_no_limit(alarm: ShutdownAlarm) -> None:
    alarm.enter(ShutdownPart.METHOD, at_least=0.3)
    assert alarm.limit == math.inf


def test_the_alarm_of_a_release_comes_before_its_limit(
    alarm: ShutdownAlarm, timer: HandTimer, rung: list[ShutdownPart], clock: HandTime
) -> None:
    alarm.add(ending(TERMINATE_SECONDS))
    alarm.enter(ShutdownPart.RELEASE)
    assert alarm.limit > clock.now
    timer.ring_due()
    assert rung == [ShutdownPart.RELEASE]
    assert alarm.is_due(ShutdownPart.RELEASE)


def test_an_alarm_that_was_given_more_time_is_not_due(alarm: ShutdownAlarm, timer: HandTimer) -> None:
    alarm.add(ending(0.0))
    alarm.enter(ShutdownPart.METHOD)
    assert alarm.is_due(ShutdownPart.METHOD)
    alarm.enter(ShutdownPart.METHOD, at_least=10.0)
    assert not alarm.is_due(ShutdownPart.METHOD)


def test_it_is_shortened_by_a_signal_only(alarm: ShutdownAlarm) -> None:
    alarm.add(ShutdownTimes.ordinary())
    assert (alarm.is_ending, alarm.is_shortened) == (True, False)
    alarm.add(ShutdownTimes.interrupted())
    assert alarm.is_shortened

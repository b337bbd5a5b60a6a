"""The daemon's clock, as the date in its answers shows it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from simple_golem.yagna.transport.daemon_clock import DaemonClock

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
# What the date in an answer leaves open.
EXACTNESS = timedelta(seconds=2)


def measured(ahead: timedelta) -> DaemonClock:
    clock = DaemonClock()
    clock.measure(format_datetime(datetime.now(timezone.utc) + ahead, usegmt=True))
    return clock


@pytest.mark.parametrize("minutes", [-120, -2, 2, 120])
def test_a_clock_that_differs_by_minutes_is_converted_in_both_directions(minutes: int) -> None:
    ahead = timedelta(minutes=minutes)
    clock = measured(ahead)
    assert abs(clock.ahead - ahead) < EXACTNESS
    assert abs(clock.now() - datetime.now(timezone.utc) - ahead) < EXACTNESS
    assert clock.to_daemon(NOON) == NOON + clock.ahead
    assert clock.to_local(clock.to_daemon(NOON)) == NOON
    side = "behind" if minutes > 0 else "ahead of"
    assert f" seconds {side} the clock of the daemon" in str(clock)
    assert str(round(abs(clock.ahead).total_seconds())) in str(clock)


@pytest.mark.parametrize("seconds", [-3, 0, 3])
def test_a_difference_of_some_seconds_is_left_as_it_is(seconds: int) -> None:
    clock = measured(timedelta(seconds=seconds))
    assert clock.is_measured
    assert clock.ahead == timedelta(0)
    assert clock.to_daemon(NOON) == NOON


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2026 11:08:01 GMT"])
def test_an_answer_without_a_date_measures_nothing(date: str | None) -> None:
    clock = DaemonClock()
    clock.measure(date)
    assert not clock.is_measured
    assert clock.ahead == timedelta(0)


def test_the_end_of_the_calendar_stays_where_it_is() -> None:
    latest = datetime.max.replace(tzinfo=timezone.utc)
    assert measured(timedelta(minutes=2)).to_daemon(latest) == latest

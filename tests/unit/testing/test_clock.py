"""The clocks of the fake daemon."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone

import pytest

from simple_golem.testing import Clock, HandClock

from .conftest import Meanwhile


def test_appointments_are_kept_in_the_order_of_their_moments() -> None:
    clock, kept = HandClock(), []
    for seconds in (3, 1, 2, 1.5):
        clock.after(seconds, lambda seconds=seconds: kept.append((seconds, clock.monotonic())))
    clock.advance(2.5)
    assert kept == [(1, 1), (1.5, 1.5), (2, 2)]
    clock.advance(1)
    assert (kept[3:], clock.monotonic()) == ([(3, 3)], 3.5)


def test_an_appointment_may_make_another_and_cancel_a_third() -> None:
    clock, kept = HandClock(), []
    third = clock.after(3, lambda: kept.append("never"))

    def first() -> None:
        third.cancel()
        clock.after(1, lambda: kept.append("second"))

    clock.after(1, first)
    clock.advance(5)
    assert kept == ["second"]


def test_an_error_in_one_appointment_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock, kept = HandClock(), []
    clock.after(1, lambda: kept.pop())
    clock.after(2, lambda: kept.append("kept"))
    with caplog.at_level(logging.ERROR):
        clock.advance(2)
    assert kept == ["kept"]
    assert "an appointment of a fake daemon failed" in caplog.text


def test_a_wait_ends_when_its_time_has_come() -> None:
    clock, condition = HandClock(), threading.Condition()

    def wait() -> float:
        with condition:
            while clock.monotonic() < 10:
                clock.wait(condition, 10)
        return clock.monotonic()

    waiting = Meanwhile(wait)
    clock.wait_until_waiting()
    clock.advance(9)
    assert not waiting.is_over
    clock.advance(2)
    assert waiting.outcome() == 11
    with pytest.raises(TimeoutError):
        clock.wait_until_waiting(timeout=0.01)


def test_dates_are_real_unless_there_is_a_date_to_begin_with() -> None:
    real = HandClock()
    real.advance(86400)
    assert abs((datetime.now(timezone.utc) - real.now()).total_seconds()) < 60
    start = datetime(2030, 1, 1, tzinfo=timezone.utc)
    by_hand = HandClock(start)
    by_hand.advance(60)
    assert by_hand.now() == datetime(2030, 1, 1, 0, 1, tzinfo=timezone.utc)


def test_the_real_clock_keeps_appointments_and_has_a_thread_only_for_that() -> None:
    clock, kept, go_on = Clock(), threading.Event(), threading.Event()
    # What is cancelled can't have begun: the thread is busy until then.
    clock.after(0, lambda: go_on.wait(20))
    cancelled = clock.after(0.01, lambda: pytest.fail("it was cancelled"))
    clock.after(0.02, kept.set)
    cancelled.cancel()
    go_on.set()
    assert kept.wait(20)
    forgotten = clock.after(1000, kept.clear)
    names = {thread.name for thread in threading.enumerate()}
    assert "fake-yagna-clock" in names
    forgotten.cancel()
    for thread in threading.enumerate():
        if thread.name == "fake-yagna-clock":
            thread.join(20)
            assert not thread.is_alive()
    clock.after(1000, kept.clear)
    clock.close()
    assert kept.is_set()

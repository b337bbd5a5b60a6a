"""The clock: things are done at their time, in order, unless taken back."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from simple_golem.background.timer import TimedCall, Timer


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer()
    timer.start()
    yield timer
    assert timer.close(20)


@contextmanager
def busy(timer: Timer) -> Iterator[None]:
    """The timer's thread is held up inside the `with`: whatever is asked for there, it sees at once."""
    begun, gate = threading.Event(), threading.Event()
    timer.call_in(0, both(begun.set, gate.wait))
    assert begun.wait(20)
    try:
        yield
    finally:
        gate.set()


def both(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], None]:
    def act() -> None:
        first()
        second()

    return act


def test_an_action_is_done_at_its_time_and_not_before(timer: Timer) -> None:
    done = threading.Event()
    at: list[float] = []
    began = time.monotonic()
    timer.call_in(0.05, both(lambda: at.append(time.monotonic()), done.set))
    assert done.wait(20)
    assert at[0] - began >= 0.05


def test_an_action_in_the_past_is_done_at_once(timer: Timer) -> None:
    done = threading.Event()
    timer.call_at(time.monotonic() - 100, done.set)
    assert done.wait(20)


def test_actions_are_done_in_the_order_of_their_times(timer: Timer) -> None:
    seen: list[str] = []
    done = threading.Event()
    now = time.monotonic()
    with busy(timer):
        timer.call_at(now + 0.04, lambda: seen.append("second"))
        timer.call_at(now + 0.06, both(lambda: seen.append("third"), done.set))
        timer.call_at(now + 0.02, lambda: seen.append("first"))
    assert done.wait(20)
    assert seen == ["first", "second", "third"]


def test_equal_times_are_kept_in_the_order_they_were_made(timer: Timer) -> None:
    seen: list[int] = []
    done = threading.Event()
    at = time.monotonic() + 0.02
    for number in range(10):
        timer.call_at(at, partial(seen.append, number))
    timer.call_at(at, done.set)
    assert done.wait(20)
    assert seen == list(range(10))


def test_an_appointment_that_was_taken_back_is_not_kept(timer: Timer) -> None:
    seen: list[str] = []
    done = threading.Event()
    with busy(timer):
        timer.call_in(0.02, lambda: seen.append("cancelled")).cancel()
        timer.call_in(0.04, done.set)
    assert done.wait(20)
    assert seen == []


def test_an_earlier_appointment_does_not_wait_for_a_later_one(timer: Timer) -> None:
    done = threading.Event()
    timer.call_in(3600, lambda: None)
    timer.call_in(0, done.set)
    assert done.wait(20)


def test_an_action_may_make_the_next_appointment(timer: Timer) -> None:
    done = threading.Event()
    timer.call_in(0, lambda: timer.call_in(0.01, done.set))
    assert done.wait(20)


def test_closing_drops_what_is_still_to_come() -> None:
    timer = Timer()
    timer.start()
    seen: list[str] = []
    timer.call_in(3600, lambda: seen.append("too late"))
    assert timer.close(20)
    assert seen == []


def test_closing_says_that_an_action_holds_it_up() -> None:
    timer = Timer()
    timer.start()
    begun, gate = threading.Event(), threading.Event()
    timer.call_in(0, both(begun.set, gate.wait))
    assert begun.wait(20)
    assert timer.close(0.02) is False
    gate.set()
    assert timer.close(20)


def test_a_clock_that_was_never_started_is_closed() -> None:
    assert Timer().close(0)


def test_withdrawn_calls_take_no_memory_until_their_time(timer: Timer) -> None:
    kept = timer.call_in(3600, lambda: None)
    withdrawn = weakref.WeakSet[TimedCall]()
    for _ in range(1000):
        call = timer.call_in(3600, lambda: None)
        withdrawn.add(call)
        call.cancel()
    del call
    done = threading.Event()
    timer.call_in(0.01, done.set)
    assert done.wait(20)
    assert len(withdrawn) < 200
    assert kept.is_wanted


def test_all_of_many_calls_are_made_in_order(timer: Timer) -> None:
    seen: list[int] = []
    done = threading.Event()
    at = time.monotonic() + 0.05
    with busy(timer):
        for number in range(1000):
            call = timer.call_at(at + number / 1e6, partial(seen.append, number))
            if number % 3 == 0:
                call.cancel()
        timer.call_at(at + 0.01, done.set)
    assert done.wait(20)
    assert seen == [number for number in range(1000) if number % 3]

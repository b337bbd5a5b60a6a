"""Scopes and deadlines: every wait can be ended, from any thread, at once."""

from __future__ import annotations

import gc
import math
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from simple_golem.background.cancellation import (
    Deadline,
    Scope,
    ScopeEnded,
    await_future,
    checked_seconds,
    wait_until,
)
from simple_golem.errors import BadWaitTime

# The wrong ways take five seconds and more.
AT_ONCE = 4.0
LONG = 30.0


def test_a_wait_that_nobody_ends_takes_its_time() -> None:
    began = time.monotonic()
    assert Scope().wait(0.05) is False
    assert time.monotonic() - began >= 0.05


def test_cancelling_ends_a_wait_in_another_thread_at_once() -> None:
    scope = Scope()
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(scope.wait(None)))
    waiter.start()
    began = time.monotonic()
    scope.cancel()
    waiter.join(20)
    assert answers == [True]
    assert time.monotonic() - began < AT_ONCE


def test_a_wait_in_a_cancelled_scope_is_none() -> None:
    scope = Scope()
    scope.cancel()
    began = time.monotonic()
    assert scope.wait(30) is True
    assert time.monotonic() - began < AT_ONCE


def test_a_child_is_cancelled_with_its_parent_and_told_why() -> None:
    parent = Scope()
    grandchild = Scope(Scope(parent))
    parent.cancel("Ctrl-C")
    assert grandchild.cancelled
    with pytest.raises(ScopeEnded, match="Ctrl-C"):
        grandchild.check()


def test_a_child_of_a_cancelled_parent_is_cancelled_from_the_beginning() -> None:
    parent = Scope()
    parent.cancel("too late")
    child = Scope(parent)
    assert child.cancelled
    assert child.reason == "too late"


def test_a_child_does_not_cancel_its_parent() -> None:
    parent = Scope()
    Scope(parent).cancel()
    assert not parent.cancelled
    parent.check()


def test_a_closed_child_outlives_its_parent() -> None:
    parent = Scope()
    with Scope(parent) as child:
        pass
    parent.cancel()
    assert not child.cancelled


def test_a_parent_keeps_no_closed_child_in_memory() -> None:
    parent = Scope()
    with Scope(parent) as child:
        pass
    seen = weakref.ref(child)
    del child
    gc.collect()
    assert seen() is None


def test_the_first_reason_stays() -> None:
    scope = Scope()
    scope.cancel("first")
    scope.cancel("second")
    assert scope.reason == "first"


def test_a_callback_is_called_once() -> None:
    scope = Scope()
    calls: list[str] = []
    scope.on_cancel(lambda: calls.append("called"))
    scope.cancel()
    scope.cancel()
    assert calls == ["called"]


def test_a_callback_that_comes_too_late_is_called_at_once() -> None:
    scope = Scope()
    scope.cancel()
    calls: list[str] = []
    forget = scope.on_cancel(lambda: calls.append("called"))
    forget()
    assert calls == ["called"]


def test_a_callback_that_was_taken_back_is_not_called() -> None:
    scope = Scope()
    calls: list[str] = []
    forget = scope.on_cancel(lambda: calls.append("first"))
    scope.on_cancel(lambda: calls.append("second"))
    forget()
    scope.cancel()
    assert calls == ["second"]


def test_a_cancelled_scope_keeps_no_callback_in_memory() -> None:
    scope, other = Scope(), Scope()
    seen = weakref.ref(other)
    scope.on_cancel(other.cancel)
    scope.cancel()
    assert other.cancelled
    del other
    gc.collect()
    assert seen() is None


def test_a_callback_may_ask_the_scope_itself() -> None:
    scope = Scope()
    seen: list[tuple[bool, str]] = []
    scope.on_cancel(lambda: seen.append((scope.cancelled, scope.reason)))
    scope.cancel("why")
    assert seen == [(True, "why")]


def test_a_deadline_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("simple_golem.background.cancellation.time", SimpleNamespace(monotonic=lambda: now))
    deadline = Deadline(0.25)
    assert not deadline.passed
    assert deadline.remaining() == 0.25
    now += 0.5
    assert deadline.passed
    assert deadline.remaining() == 0.0


def test_a_deadline_without_seconds_never_passes() -> None:
    assert not Deadline(None).passed
    assert Deadline(None).remaining() == math.inf


def test_wait_until_returns_when_the_condition_is_fulfilled() -> None:
    condition = threading.Condition()
    box: list[int] = []

    def put() -> None:
        with condition:
            box.append(1)
            condition.notify_all()

    with condition:
        threading.Thread(target=put).start()
        began = time.monotonic()
        assert wait_until(condition, lambda: bool(box), None)
    assert time.monotonic() - began < AT_ONCE


def test_a_question_that_takes_long_is_not_asked_after_each_of_many_changes() -> None:
    condition, changes, asked = threading.Condition(), 0, 0

    def change_often() -> None:
        nonlocal changes
        for _ in range(500):
            time.sleep(0.001)
            with condition:
                changes += 1
                condition.notify_all()

    def fulfilled() -> bool:
        nonlocal asked
        asked += 1
        until = time.thread_time() + 0.002
        while time.thread_time() < until:
            pass
        return changes == 500

    changing = threading.Thread(target=change_often)
    changing.start()
    began = time.monotonic()
    with condition:
        assert wait_until(condition, fulfilled, LONG)
    # A question takes a twentieth of the time.
    assert asked <= (time.monotonic() - began) / 0.04 + 1
    changing.join()


def test_wait_until_gives_up_in_time() -> None:
    condition = threading.Condition()
    with condition:
        assert not wait_until(condition, lambda: False, 0.02)


@pytest.mark.parametrize(
    ("given", "read"),
    [(0, 0.0), (2, 2.0), (0.5, 0.5), (None, None), (math.inf, None), (10**400, None)],
    ids=["zero", "whole", "part", "None", "infinity", "astronomical"],
)
def test_seconds_are_read(given: float | None, read: float | None) -> None:
    assert checked_seconds(given, "timeout") == read


@pytest.mark.parametrize("bad", [-1, -0.001, math.nan, -math.inf, True, "5", object()])
def test_a_value_that_is_not_a_number_of_seconds_is_refused_by_name(bad: float) -> None:
    with pytest.raises(BadWaitTime, match="timeout"):
        checked_seconds(bad, "timeout")


@pytest.mark.parametrize("endless", [None, math.inf])
def test_no_end_is_refused_where_there_must_be_one(endless: float | None) -> None:
    with pytest.raises(BadWaitTime, match="stop_grace"):
        checked_seconds(endless, "stop_grace", allow_none=False)


def wait_in_scope() -> None:
    Scope().wait(LONG)


def wait_for_condition() -> None:
    changed = threading.Condition()
    with changed:
        wait_until(changed, lambda: False, LONG)


def wait_for_future() -> None:
    await_future(Future(), LONG)


@pytest.mark.skipif(os.name == "nt", reason="there, a signal has no thread")
@pytest.mark.parametrize("wait", [wait_in_scope, wait_for_condition, wait_for_future])
def test_a_signal_that_does_not_wake_the_main_thread_is_handled_soon(wait: Callable[[], None]) -> None:
    """It arrives in another thread; so it is if it arrives just before the main thread begins to wait."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    other = threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))

    def waiting() -> None:
        other.start()  # on a slow machine the signal comes before the wait begins
        wait()

    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            waiting()
        assert time.monotonic() - began < AT_ONCE
    finally:
        signal.signal(signal.SIGINT, old)
        other.join()


def test_a_future_that_does_not_end_in_time_is_told_so() -> None:
    future: Future[int] = Future()
    assert not await_future(future, 0.01)
    future.set_result(1)
    assert await_future(future)


def test_the_wait_for_a_future_ends_when_it_is_cancelled() -> None:
    future: Future[int] = Future()
    cancelling = threading.Timer(0.05, future.cancel)
    cancelling.start()
    assert await_future(future, LONG)
    assert future.cancelled()
    cancelling.join()

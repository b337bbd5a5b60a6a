"""Scopes, which end waits from another thread, and deadlines.

Each wait of the library uses them, so each can be ended at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, TimeoutError
from contextlib import suppress
from types import TracebackType
from typing import Any

from ..errors import BadWaitTime

_SLICE_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 3600.0
# A question that takes longer takes at most a share of the time.
_QUICK_SECONDS = 0.0005
_MOST_OF_TIME = 0.05
_LONGEST_PAUSE_SECONDS = 0.1


def longest_slice() -> float:
    """Return for how many seconds the calling thread may wait before it must look again.

    A signal is handled by the main thread. One that arrives in the moment in which that thread begins to wait
    for a lock is handled only when the wait ends; on Windows, so is each. Other threads may sleep.
    """
    return _SLICE_SECONDS if threading.current_thread() is threading.main_thread() else _LONGEST_WAIT_SECONDS


class ScopeEnded(Exception):
    """A scope was cancelled; internal, users never see it."""


class Scope:
    """Ends all waits that use it when it, or its parent, is cancelled.

    Cancelling is final, and takes effect at once in each thread that waits. A scope that ends before its
    parent is used in a `with` statement, which detaches it from the parent.

    Args:
        parent: cancelling it cancels this scope, too.

    Attributes:
        reason: given by the caller of `cancel`.
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._next_key = 0
        self.reason = ""
        self._detach: Callable[[], None] = _nothing
        if parent is not None:
            self._detach = parent.on_cancel(lambda: self.cancel(parent.reason))

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self, reason: str = "") -> None:
        """End each wait in this scope and in its child scopes; a second call does nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            callback()

    def wait(self, seconds: float | None = None) -> bool:
        """Block for `seconds` (None: without limit), or until the scope is cancelled.

        Returns:
            Whether the scope was cancelled.
        """
        left = Deadline(seconds)
        while not self._event.wait(min(left.remaining(), longest_slice())):
            if left.passed:
                return False
        return True

    def check(self) -> None:
        """Raise `ScopeEnded` if this scope has been cancelled."""
        if self._event.is_set():
            raise ScopeEnded(self.reason)

    def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` when the scope is cancelled, or at once if it already is.

        The callback runs on the thread that cancels, so it must not block.

        Returns:
            A function that removes the callback.
        """
        with self._lock:
            if not self._event.is_set():
                key = self._next_key
                self._next_key += 1
                self._callbacks[key] = callback
                return lambda: self._forget(key)
        callback()
        return _nothing

    def _forget(self, key: int) -> None:
        with self._lock:
            self._callbacks.pop(key, None)

    def close(self) -> None:
        """Detach from the parent, which no longer cancels this scope, nor keeps it in memory."""
        self._detach()

    def __enter__(self) -> Scope:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Deadline:
    """A point in time on the monotonic clock; `seconds` from now, or never (None)."""

    def __init__(self, seconds: float | None = None) -> None:
        self.at = math.inf if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, never negative; infinity for a deadline that never comes."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at


def wait_until(condition: threading.Condition, fulfilled: Callable[[], bool], seconds: float | None) -> bool:
    """Block until `fulfilled()`, for `seconds` at most (None: without limit).

    Args:
        condition: held by the caller; it is notified when `fulfilled()` may have changed.
        fulfilled: called with `condition` held.
        seconds: how long to wait.

    Returns:
        Whether it is fulfilled.
    """
    left = Deadline(seconds)
    while True:
        began = time.thread_time()
        if fulfilled():
            return True
        pause = Deadline(_pause_after(time.thread_time() - began))
        if left.passed:
            return False
        condition.wait(min(left.remaining(), longest_slice()))
        while not (pause.passed or left.passed):
            condition.wait(min(pause.remaining(), left.remaining()))


def _pause_after(took: float) -> float:
    """For how many seconds a question of so many is not asked again, whatever changes.

    Of thousands of instances each changes its state some times, and all are looked at.
    """
    return 0.0 if took < _QUICK_SECONDS else min(took / _MOST_OF_TIME, _LONGEST_PAUSE_SECONDS)


def await_future(future: Future[Any], seconds: float | None = None) -> bool:
    """Block until a future has ended, for `seconds` at most (None: without limit); returns whether it has."""
    left = Deadline(seconds)
    while not future.done():
        if left.passed:
            return False
        # `concurrent.futures.wait` does not hear of a future that was cancelled.
        with suppress(CancelledError, TimeoutError):
            future.exception(min(left.remaining(), longest_slice()))
    return True


def checked_seconds(value: float | None, what: str, *, allow_none: bool = True) -> float | None:
    """Check a number of seconds that a user gave.

    Args:
        value: what was given.
        what: the name of the argument, for the message.
        allow_none: whether None and infinity are allowed. They mean "no limit", and so does a time that is
            too long for Python.

    Returns:
        The seconds; None means no limit.

    Raises:
        BadWaitTime: it is not a number, or is negative, or has no end where an end is needed.
    """
    if value is None and allow_none:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadWaitTime(f"{what} is a number of seconds{' or None' if allow_none else ''}, not {value!r}")
    if math.isnan(seconds := _as_float(value)) or seconds < 0:
        raise BadWaitTime(f"{what} can't be {value!r}: give a number of seconds, zero or more")
    if allow_none:
        return seconds if seconds <= threading.TIMEOUT_MAX else None
    if math.isinf(seconds):
        raise BadWaitTime(f"{what} can't be {value!r}: give a number of seconds that comes to an end")
    return seconds


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int that is too large for a float
        return math.inf if value > 0 else -math.inf


def _nothing() -> None:
    return None

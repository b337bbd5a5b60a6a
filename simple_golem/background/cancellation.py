"""Every wait of the library: something that can be cancelled from outside, and how long is left.

Nothing in the package waits without one of these, so whatever waits can be told to stop.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

from ..errors import BadWaitTime

# Where a wait in the main thread can't be interrupted by Ctrl-C it is cut into pieces of this many seconds.
_LONGEST_SLICE = 0.5 if os.name == "nt" else 3600.0


class ScopeEnded(Exception):
    """What was going on in a scope was cancelled; the engine's own, never seen by a user."""


class Scope:
    """What a wait listens to: it ends when the scope, or one it was made under, is cancelled.

    Cancelling is final and takes effect at once in every thread that waits. A scope that lives shorter than
    its parent is used in a `with` statement, which lets go of the parent.
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._next_key = 0
        self.reason = ""
        self._let_go: Callable[[], None] = _nothing
        if parent is not None:
            self._let_go = parent.on_cancel(lambda: self.cancel(parent.reason))

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def cancel(self, reason: str = "") -> None:
        """End every wait in this scope and in those made under it; a second call does nothing."""
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
        """Block for `seconds` (None: for ever) or until cancelled; True if it was cancelled."""
        left = Deadline(seconds)
        while not self._event.wait(min(left.remaining(), _LONGEST_SLICE)):
            if left.passed:
                return False
        return True

    def check(self) -> None:
        """Raise `ScopeEnded` if this scope has been cancelled."""
        if self._event.is_set():
            raise ScopeEnded(self.reason)

    def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have `callback` called when the scope is cancelled, at once if it is; returns what takes it back.

        The callback runs in the thread that cancels: it signals, and never blocks.
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
        """Let go of the parent: it no longer cancels this scope, nor keeps it in memory."""
        self._let_go()

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
    """Block, holding `condition`, until `fulfilled()` or for `seconds`; returns what `fulfilled()` says."""
    left = Deadline(seconds)
    while not fulfilled():
        if left.passed:
            return False
        condition.wait(min(left.remaining(), _LONGEST_SLICE))
    return True


def checked_seconds(value: float | None, what: str, *, allow_none: bool = True) -> float | None:
    """The number of seconds a user gave for `what`, or `BadWaitTime` if it can't be one."""
    if value is None and allow_none:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadWaitTime(f"{what} is a number of seconds{' or None' if allow_none else ''}, not {value!r}")
    if math.isnan(seconds := _as_float(value)) or seconds < 0:
        raise BadWaitTime(f"{what} can't be {value!r}: give a number of seconds, zero or more")
    if math.isinf(seconds):
        if not allow_none:
            raise BadWaitTime(f"{what} can't be {value!r}: give a number of seconds that comes to an end")
        return None
    return seconds


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond what a float can hold
        return math.inf if value > 0 else -math.inf


def _nothing() -> None:
    return None

"""Keeps the user's log handlers from ending or delaying the threads of this package.

A record is handed to a thread that calls the handlers. The thread that logs waits for them, so that the log
is in order and complete. It waits for a moment at most: a handler that blocks, such as one that sends to a
host that is gone, delays the later records only.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from .forks import in_child
from .threads import EngineThread

# How long a thread waits for the handlers of its record. If they take longer, nobody waits for later records.
_HANDLERS_SECONDS = 0.5
# If the handlers are that far behind, the oldest records are dropped.
_MOST_WAITING = 10_000

# Its `handleError` shows an error as logging's own handlers do.
_reporter = logging.Handler()


class _Handover:
    """Calls what is handed over, in order, on a thread that exists while there is something to call."""

    def __init__(self) -> None:
        # An RLock: the garbage collector may have an object log while this is held.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[Callable[[], object]] = deque(maxlen=_MOST_WAITING)
        self._thread: EngineThread | None = None
        self._taken = self._done = 0
        self._is_late = False

    def call(self, work: Callable[[], object]) -> None:
        """Have `work` called after all earlier work; blocks for half a second at most until it is done."""
        with self._changed:
            thread = self._thread
            if thread is not None and thread.is_current:
                inline = True  # a handler that logs
            else:
                inline = thread is None and not self._started()
            if not inline:
                self._waiting.append(work)
                self._taken += 1
                self._await_locked(self._taken)
        if inline:
            work()

    def drain(self, timeout: float) -> bool:
        """Block until all work is done, for `timeout` seconds at most; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None or self._thread.is_current, timeout)

    def _started(self) -> bool:
        thread = EngineThread("golem-log", self._run)
        if not thread.started():
            return False
        self._thread = thread
        return True

    def _await_locked(self, number: int) -> None:
        if not self._is_late and not self._changed.wait_for(
            lambda: self._done >= number or self._is_late, _HANDLERS_SECONDS
        ):
            self._is_late = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
            with self._changed:
                self._done = self._taken - len(self._waiting)
                self._changed.notify_all()

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            if self._waiting:
                return self._waiting.popleft()
            self._thread = None
            self._is_late = False
            self._changed.notify_all()
            return None


_handover = _Handover()


@in_child
def _no_thread_in_child() -> None:
    global _handover
    _handover = _Handover()


class _GuardedLogger(logging.Logger):
    """A logger whose handlers are called on another thread, and whose errors are reported, not raised."""

    def handle(self, record: logging.LogRecord) -> None:
        try:
            # Later, the arguments may have changed.
            record.msg, record.args = record.getMessage(), None
        except Exception:  # noqa: BLE001 - whatever the `__str__` of an argument raises
            _reporter.handleError(record)
            return
        _handover.call(partial(contextvars.copy_context().run, self._handle, record))

    def _handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except BaseException as error:  # whatever the user's handler raises
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # Ctrl-C, at the end of the program, when the handlers are called here
            _reporter.handleError(record)


def guard_loggers(package: str = __name__.partition(".")[0]) -> None:
    """Guard all loggers of a package that exist by now, unless they are of a class of the user's own.

    What loads modules of this package late calls it once more, for the loggers of these modules.
    """
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if (name == package or name.startswith(f"{package}.")) and type(logger) is logging.Logger:
            logger.__class__ = _GuardedLogger


def drain_log(timeout: float) -> bool:
    """Block until the handlers have had all records, for `timeout` seconds at most; returns if so."""
    return _handover.drain(timeout)

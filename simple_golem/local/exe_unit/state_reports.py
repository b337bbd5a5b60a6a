"""Tells the states of one exe-unit to whoever wants to know: in order, but for those nobody could see."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from ...background.cancellation import wait_until
from ...background.threads import WorkerPool

logger = logging.getLogger(__name__)

# A state and the one that is about to be entered, None if it is to stay.
StatePair = tuple[str, "str | None"]

# A command mostly takes some milliseconds, and the daemon as long for each state that it is told; one that is
# busy takes longer, and is told the less.
_PASSING_SECONDS = 0.05
_TIMES_THE_TELLING = 10
_LONGEST_PASSING_SECONDS = 5.0
_CLOSE_SECONDS = 1.0


class StateReports:
    """A thread that reports each state; one that a command only passes through if it lasts a moment."""

    def __init__(self, name: str, report: Callable[[StatePair], object]) -> None:
        """Args:
        name: of the thread.
        report: called with one state after the other; what it raises is logged.
        """
        self._name = name
        self._report = report
        self._workers = WorkerPool(name, limit=1)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[StatePair, float]] = deque()
        self._last: StatePair | None = None
        self._passing_seconds = _PASSING_SECONDS
        self._working = False

    def tell(self, state: StatePair) -> None:
        """The exe-unit has entered `state`; does not block."""
        passing = state[1] is not None
        with self._changed:
            if self._waiting and self._waiting[-1][0][1] is not None:
                self._waiting.pop()
            before = self._waiting[-1][0] if self._waiting else self._last
            if state == before:
                return
            self._waiting.append((state, time.monotonic() + (self._passing_seconds if passing else 0.0)))
            if not self._working:
                self._working = True
                self._workers.post(self._work)
            elif not passing:
                self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Block until all is told, `timeout` seconds at most; whether it was.

        What is not told by then is told no more, but for the last state: that is the one that stays, and it
        is told whenever who hears it has the time.
        """
        with self._changed:
            told = wait_until(self._changed, lambda: not self._working, timeout)
            while len(self._waiting) > 1:
                self._waiting.popleft()
        self._workers.close(_CLOSE_SECONDS if told else 0.0)
        return told

    def _work(self) -> None:
        while (state := self._next()) is not None:
            began = time.monotonic()
            try:
                self._report(state)
            except Exception:
                # It is not known there, and is to be told with the next command.
                self._last = None
                logger.exception("%s: %s was not reported", self._name, state)
            telling = time.monotonic() - began
            self._passing_seconds = min(
                max(_PASSING_SECONDS, _TIMES_THE_TELLING * telling), _LONGEST_PASSING_SECONDS
            )

    def _next(self) -> StatePair | None:
        """Block for the next state whose time has come; None if there is none any more."""
        with self._changed:
            while self._waiting:
                state, due = self._waiting[0]
                left = due - time.monotonic()
                if left <= 0:
                    self._last = state
                    self._waiting.popleft()
                    return state
                self._changed.wait(left)
            self._working = False
            self._changed.notify_all()
            return None

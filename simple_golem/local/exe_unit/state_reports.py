"""Reports the states of one exe-unit in order, without states that last only a moment."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from ...background.cancellation import wait_until
from ...background.threads import WorkerPool

logger = logging.getLogger(__name__)

# The current state, and the next state while a command leads to it, else None.
StatePair = tuple[str, "str | None"]

# Most commands take milliseconds, and the daemon needs as long for each report. So a state during a command
# is reported only if it lasts longer than this, and longer than ten reports take: a busy daemon gets fewer.
_SHORTEST_REPORTED_SECONDS = 0.05
_REPORT_TIME_FACTOR = 10
_SHORTEST_REPORTED_LIMIT_SECONDS = 5.0
_THREAD_END_SECONDS = 1.0


class StateReports:
    """A thread that reports each state that lasts long enough."""

    def __init__(self, name: str, report: Callable[[StatePair], object]) -> None:
        """Args:
        name: the name of the thread.
        report: called with each state, in order; its exceptions are logged.
        """
        self._name = name
        self._report = report
        self._workers = WorkerPool(name, limit=1)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[StatePair, float]] = deque()
        self._last: StatePair | None = None
        self._shortest_reported = _SHORTEST_REPORTED_SECONDS
        self._working = False

    def add(self, state: StatePair) -> None:
        """Queue the report of a new state; does not block."""
        in_command = state[1] is not None
        with self._changed:
            if self._waiting and self._waiting[-1][0][1] is not None:
                self._waiting.pop()
            before = self._waiting[-1][0] if self._waiting else self._last
            if state == before:
                return
            self._waiting.append((state, time.monotonic() + (self._shortest_reported if in_command else 0.0)))
            if not self._working:
                self._working = True
                self._workers.post(self._work)
            elif not in_command:
                self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Block until all states are reported, for `timeout` seconds at most.

        After that time only the last state is still reported, in the background.

        Returns:
            Whether all states were reported in time.
        """
        with self._changed:
            all_reported = wait_until(self._changed, lambda: not self._working, timeout)
            while len(self._waiting) > 1:
                self._waiting.popleft()
        self._workers.close(_THREAD_END_SECONDS if all_reported else 0.0)
        return all_reported

    def _work(self) -> None:
        while (state := self._next()) is not None:
            began = time.monotonic()
            try:
                self._report(state)
            except Exception:
                # The receiver does not know this state: report it again with the next command.
                self._last = None
                logger.exception("%s: %s was not reported", self._name, state)
            seconds = time.monotonic() - began
            self._shortest_reported = min(
                max(_SHORTEST_REPORTED_SECONDS, _REPORT_TIME_FACTOR * seconds),
                _SHORTEST_REPORTED_LIMIT_SECONDS,
            )

    def _next(self) -> StatePair | None:
        """Block for the next state that has lasted long enough; None if no state waits."""
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

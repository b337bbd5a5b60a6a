"""Which part of its end a life is in, and what happens when that part takes too long."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from ...background.timer import TimedCall, Timer
from ..shutdown_times import ShutdownPart, ShutdownTimes, earliest

# Kept back from the time of a release for ending agreements, also those that others kept waiting.
TERMINATE_SECONDS = 0.7


class LifeAbandoned(Exception):
    """The method of a user returned at last, but its life has ended without it."""


class ShutdownAlarm:
    """The one record of how far a life is, with an alarm for the part that it is in.

    A life is in no part while the engine's own code runs: every wait of that can be cancelled.

    Args:
        clock: keeps the alarm.
        overdue: called on the timer's thread, once, when the time of a part is over; that of a release
            somewhat before, so that an agreement can still be terminated.
    """

    def __init__(self, timer: Timer, overdue: Callable[[ShutdownPart], None]) -> None:
        self._timer = timer
        self._report_overdue = overdue
        self._lock = threading.Lock()
        self._endings: list[ShutdownTimes] = []
        self._part: ShutdownPart | None = None
        self._limit = math.inf
        self._alarm: TimedCall | None = None
        self._concluded = False
        self._abandoned = False

    @property
    def abandoned(self) -> bool:
        """Whether the life goes to its end without its own thread."""
        return self._abandoned

    @property
    def concluded(self) -> bool:
        """Whether the agreement is being terminated, or is already."""
        return self._concluded

    @property
    def ending(self) -> bool:
        """Whether an end was decided."""
        return bool(self._endings)

    def end(self, ending: ShutdownTimes) -> None:
        """Apply the times of one more ending, from the part on that the life is in."""
        with self._lock:
            self._endings.append(ending)
            if self._part is not None:
                self._set_limit(min(self._limit, ending.limit(self._part)))

    def begin(self, part: ShutdownPart | None, at_least: float = 0.0) -> None:
        """From here on the life's own thread is in `part`, or in none.

        Args:
            part: which.
            at_least: seconds that it gets in any case.

        Raises:
            LifeAbandoned: the life goes on without this thread.
        """
        with self._lock:
            if self._abandoned:
                raise LifeAbandoned
            self._set_part(part)
            if at_least and self._limit != math.inf:
                self._set_limit(max(self._limit, time.monotonic() + at_least))

    def conclude(self) -> float:
        """The last part begins: terminating and destroying; returns until when it may take."""
        with self._lock:
            self._concluded = True
            if not self._endings:
                self._endings.append(ShutdownTimes.ordinary())
            self._set_part(ShutdownPart.RELEASE)
            return self._limit

    def concluded_at_last(self) -> None:
        """Everything is done."""
        with self._lock:
            self._set_part(None)

    def abandon(self, part: ShutdownPart) -> bool:
        """Leave the life's own thread behind if it is in `part` still; whether it was."""
        with self._lock:
            if self._part is not part:
                return False
            self._abandoned = True
            self._set_part(None)
            return True

    def _set_part(self, part: ShutdownPart | None) -> None:
        self._part = part
        self._set_limit(earliest(self._endings, part) if part is not None else math.inf)

    def _set_limit(self, limit: float) -> None:
        self._limit = limit
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        part = self._part
        if part is None or limit == math.inf:
            return
        at = limit - TERMINATE_SECONDS if part is ShutdownPart.RELEASE else limit
        self._alarm = self._timer.call_at(at, lambda: self._ring(part))

    def _ring(self, part: ShutdownPart) -> None:
        with self._lock:
            if self._part is not part:
                return
        self._report_overdue(part)

"""The alarm for the part of its end that a life is in."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ...background.timer import TimedCall, Timer
from ..shutdown_times import ShutdownPart, ShutdownTimes, earliest

# The last seconds of a release are reserved for ending the agreement, so its alarm rings earlier.
TERMINATE_SECONDS = 0.7


class ShutdownAlarm:
    """Rings when the current part takes longer than any of the decided endings allows.

    While the engine's own code runs, a life is in no part: every wait of that code can be cancelled. Not safe
    for threads by itself: `LifeState` owns it, and guards it with its lock.

    Args:
        timer: calls `ring` on its thread.
        ring: called with the part that is overdue. It has to ask `is_due`, because the part may have ended
            in the meantime.
    """

    def __init__(self, timer: Timer, ring: Callable[[ShutdownPart], object]) -> None:
        self._timer = timer
        self._ring = ring
        self._endings: list[ShutdownTimes] = []
        self._part: ShutdownPart | None = None
        self._limit = math.inf
        self._call: TimedCall | None = None

    @property
    def part(self) -> ShutdownPart | None:
        """The part that the life is in."""
        return self._part

    @property
    def limit(self) -> float:
        """When the current part has to be over, on the monotonic clock."""
        return self._limit

    @property
    def is_ending(self) -> bool:
        """Whether an ending was decided."""
        return bool(self._endings)

    @property
    def is_shortened(self) -> bool:
        """Whether a signal decided one of the endings."""
        return any(times.is_shortened for times in self._endings)

    def add(self, times: ShutdownTimes) -> None:
        """Apply the times of one more ending, beginning with the current part."""
        self._endings.append(times)
        if self._part is not None:
            self._set_limit(min(self._limit, times.limit(self._part)))

    def enter(self, part: ShutdownPart | None, at_least: float = 0.0) -> None:
        """Enter a part, or none.

        Args:
            part: which.
            at_least: seconds that it gets, even if its time is shorter or over.
        """
        self._part = part
        limit = earliest(self._endings, part) if part is not None else math.inf
        self._set_limit(max(limit, time.monotonic() + at_least) if at_least else limit)

    def is_due(self, part: ShutdownPart) -> bool:
        """Whether the life is in `part`, and the alarm's time for it has come."""
        return self._part is part and time.monotonic() >= self._rings_at()

    def _set_limit(self, limit: float) -> None:
        self._limit = limit
        if self._call is not None:
            self._call.cancel()
            self._call = None
        part = self._part
        if part is not None and limit != math.inf:
            self._call = self._timer.call_at(self._rings_at(), lambda: self._ring(part))

    def _rings_at(self) -> float:
        return self._limit - (TERMINATE_SECONDS if self._part is ShutdownPart.RELEASE else 0.0)

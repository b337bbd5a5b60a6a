"""When a demand is published anew, because proposals for it were lost or used up in vain.

A proposal can be read once and answered once, and leads to one agreement at most. A provider whose proposal
is gone does not offer for the same demand again, but it does so for a new one at once (tried).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 300.0


class Renewal:
    """The proposals that a demand has lost, and the pauses between its renewals; used by any thread.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._is_lost = False
        self._not_before = 0.0
        self._pause = _FIRST_PAUSE_SECONDS

    def proposal_lost(self) -> None:
        """Note that proposals may have been lost, or were used up without an agreement."""
        with self._lock:
            if not self._is_lost:
                self._is_lost = True
                self._not_before = self._clock() + self._pause

    def published(self) -> None:
        """Note that the demand was published again: providers repeat the offers that were lost before."""
        with self._lock:
            self._is_lost = False

    def agreed(self) -> None:
        """Note that an agreement was made: the next pauses are short."""
        with self._lock:
            self._pause = _FIRST_PAUSE_SECONDS

    def seconds_left(self) -> float | None:
        """Return how long the demand stays as it is; None: as long as it likes, since nothing was lost."""
        with self._lock:
            return max(0.0, self._not_before - self._clock()) if self._is_lost else None

    def begin(self) -> bool:
        """Return True if the demand is to be published anew now; the next pause is twice as long."""
        with self._lock:
            if not self._is_lost or self._clock() < self._not_before:
                return False
            self._is_lost = False
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            return True

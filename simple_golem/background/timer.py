"""One thread that calls functions at given times: at the end of a grace or an expiration, for a warning."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import time
from collections.abc import Callable

from .threads import EngineThread

logger = logging.getLogger(__name__)

Action = Callable[[], object]

# The longest wait that every platform allows is shorter than the longest expiration.
_LONGEST_WAIT_SECONDS = 3600.0
_FEW_CALLS = 64


class TimedCall:
    """One call at one time; `cancel` withdraws it."""

    def __init__(self, at: float, action: Action) -> None:
        self.at = at
        self._action: Action | None = action

    def cancel(self) -> None:
        """Withdraw the call; does nothing once it was made."""
        self._action = None

    @property
    def is_wanted(self) -> bool:
        """Whether it is still to be made."""
        return self._action is not None

    def make(self) -> None:
        """Make the call, once, unless it was withdrawn; an error in it is logged."""
        action, self._action = self._action, None
        if action is None:
            return
        try:
            action()
        except Exception:
            # The later calls are made all the same.
            logger.exception("a call of the timer failed")


class Timer:
    """Calls functions on its own thread at times of the monotonic clock.

    A function that is called must not block, because all later ones wait for it. Calls are handed over
    through a `SimpleQueue`, so that even a signal handler can ask for one.

    The thread ends when `close` is called.
    """

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[TimedCall | None] = queue.SimpleQueue()
        self._thread = EngineThread("golem-timer", self._run)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call_at(self, at: float, action: Action) -> TimedCall:
        """Have `action` called when the monotonic clock shows `at`, or soon if that has passed."""
        call = TimedCall(at, action)
        self._inbox.put(call)
        return call

    def call_in(self, seconds: float, action: Action) -> TimedCall:
        """Have `action` called in `seconds`."""
        return self.call_at(time.monotonic() + seconds, action)

    def close(self, timeout: float) -> bool:
        """Drop all calls that are not due, and join the thread.

        Args:
            timeout: seconds to wait for it at most.

        Returns:
            Whether the thread has ended; False if a call blocks it.
        """
        self._inbox.put(None)
        return self._thread.join(timeout)

    def _run(self) -> None:
        order = itertools.count()
        waiting: list[tuple[float, int, TimedCall]] = []
        most = _FEW_CALLS
        while True:
            try:
                call = self._inbox.get(timeout=_seconds_until(waiting[0][0]) if waiting else None)
            except queue.Empty:
                if waiting and waiting[0][0] <= time.monotonic():
                    heapq.heappop(waiting)[2].make()
                continue
            if call is None:
                return
            heapq.heappush(waiting, (call.at, next(order), call))
            if len(waiting) > most:
                # Those that were withdrawn would take memory until their time.
                waiting = [one for one in waiting if one[2].is_wanted]
                heapq.heapify(waiting)
                most = max(_FEW_CALLS, 2 * len(waiting))


def _seconds_until(moment: float) -> float:
    return max(0.0, min(moment - time.monotonic(), _LONGEST_WAIT_SECONDS))

"""One thread that does small things at given times: it ends graces and expirations, and warns who waits."""

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


class TimedCall:
    """One thing to be done at one time; `cancel` takes it back."""

    def __init__(self, at: float, action: Action) -> None:
        self.at = at
        self._action: Action | None = action

    def cancel(self) -> None:
        self._action = None

    def keep(self) -> None:
        action, self._action = self._action, None
        if action is None:
            return
        try:
            action()
        except Exception:
            # The appointments after this one are kept all the same.
            logger.exception("what was to be done at this time failed")


class Timer:
    """Calls actions on its own thread at times of the monotonic clock; an action signals and never blocks.

    Appointments are handed over through a `SimpleQueue`, so that even a signal handler may make one.
    """

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[TimedCall | None] = queue.SimpleQueue()
        self._thread = EngineThread("golem-timer", self._run)

    def start(self) -> None:
        self._thread.start()

    def call_at(self, at: float, action: Action) -> TimedCall:
        """Have `action` called when the monotonic clock shows `at`, or soon if that is past."""
        appointment = TimedCall(at, action)
        self._inbox.put(appointment)
        return appointment

    def call_in(self, seconds: float, action: Action) -> TimedCall:
        """Have `action` called in `seconds`."""
        return self.call_at(time.monotonic() + seconds, action)

    def close(self, timeout: float) -> bool:
        """Drop what is still to come and join the thread; False if it is held up."""
        self._inbox.put(None)
        return self._thread.join(timeout)

    def _run(self) -> None:
        order = itertools.count()
        waiting: list[tuple[float, int, TimedCall]] = []
        while True:
            pause = waiting[0][0] - time.monotonic() if waiting else None
            try:
                appointment = self._inbox.get(timeout=None if pause is None else max(0.0, min(pause, 3600.0)))
            except queue.Empty:
                if waiting and waiting[0][0] <= time.monotonic():
                    heapq.heappop(waiting)[2].keep()
                continue
            if appointment is None:
                return
            heapq.heappush(waiting, (appointment.at, next(order), appointment))

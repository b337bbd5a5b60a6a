"""The clocks of a fake daemon: the real one, and one that a test moves by hand."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

logger = logging.getLogger(__name__)

Action = Callable[[], object]


class Appointment:
    """An action at a moment of a clock; it can be cancelled until then."""

    def __init__(self, at: float, action: Action, clock: Clock | None = None) -> None:
        """Args: clock: hears when the action is cancelled."""
        self.at = at
        self._action: Action | None = action
        self._clock = clock

    @property
    def is_open(self) -> bool:
        """Whether the action has not been done or cancelled."""
        return self._action is not None

    def cancel(self) -> None:
        """Cancel the action, unless it has begun."""
        self._action = None
        if self._clock is not None:
            self._clock.forget_cancelled()

    def do(self) -> None:
        """Do the action, once, unless it was cancelled."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Clock:
    """The real clock.

    A thread carries out appointments. It exists as long as there are any, until `close` at the latest.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._appointments: list[tuple[float, int, Appointment]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def now(self) -> datetime:
        """The date and time, in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Seconds since some moment; they never decrease."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, until: float) -> None:
        """Block until `condition` is notified or `monotonic()` is `until`; the caller holds `condition`."""
        condition.wait(min(max(0.0, until - self.monotonic()), threading.TIMEOUT_MAX))

    def after(self, seconds: float, action: Action) -> Appointment:
        """Call `action` in `seconds`, on another thread; does not block."""
        appointment = Appointment(self.monotonic() + seconds, action, self)
        with self._changed:
            heapq.heappush(self._appointments, (appointment.at, next(self._numbers), appointment))
            self._changed.notify_all()
            self._start_thread()
        return appointment

    def forget_cancelled(self) -> None:
        """Drop the cancelled appointments."""
        with self._changed:
            self._appointments = [one for one in self._appointments if one[2].is_open]
            heapq.heapify(self._appointments)
            self._changed.notify_all()

    def close(self) -> None:
        """Drop all appointments; blocks until the current one is done."""
        with self._changed:
            self._closed = True
            self._appointments.clear()
            self._changed.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start_thread(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="fake-yagna-clock", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (appointment := self._next_due()) is not None:
            do_safely(appointment)

    def _next_due(self) -> Appointment | None:
        """Block until a call is due; returns None when there are no calls, which ends the thread."""
        with self._changed:
            while self._appointments:
                left = self._appointments[0][0] - self.monotonic()
                if left <= 0:
                    return heapq.heappop(self._appointments)[2]
                self._changed.wait(left)
            self._thread = None
        return None


class HandClock(Clock):
    """A clock that stands still until a test moves it; the thread that moves it carries out appointments.

    Args:
        start: the first date; dates move with the clock. None: dates are those of the real clock, so that the
            library and the daemon agree on which dates have passed.
    """

    def __init__(self, start: datetime | None = None) -> None:
        super().__init__()
        self._start = start
        self._passed = 0.0
        self._waiting: dict[object, tuple[threading.Condition, float]] = {}
        self._arrived = threading.Condition()

    def now(self) -> datetime:
        if self._start is None:
            return datetime.now(timezone.utc)
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    def wait(self, condition: threading.Condition, until: float) -> None:
        waiter = object()
        with self._arrived:
            self._waiting[waiter] = condition, until
            self._arrived.notify_all()
        try:
            # Looked at after it is known who waits, so that no moving of the clock is missed.
            if self._passed < until:
                condition.wait()
        finally:
            with self._arrived:
                del self._waiting[waiter]

    def advance(self, seconds: float) -> None:
        """Move the clock: appointments are carried out in order, and waits whose time has come end."""
        until = self._passed + seconds
        while True:
            with self._changed:
                due = bool(self._appointments) and self._appointments[0][0] <= until
                appointment = heapq.heappop(self._appointments)[2] if due else None
                self._passed = max(self._passed, appointment.at) if appointment else until
            self._wake_all()
            if appointment is None:
                return
            do_safely(appointment)

    def wait_until_waiting(self, count: int = 1, timeout: float = 20.0) -> None:
        """Block until at least `count` requests and commands wait for a moment that has not come.

        Args:
            timeout: real seconds to block at most.

        Raises:
            TimeoutError: fewer wait.
        """

        def waiting() -> int:
            return sum(until > self._passed for _, until in self._waiting.values())

        with self._arrived:
            if not self._arrived.wait_for(lambda: waiting() >= count, timeout):
                raise TimeoutError(f"{waiting()} wait for the clock, not {count}")

    def _start_thread(self) -> None:
        """No thread: `advance` carries out the appointments."""

    def _wake_all(self) -> None:
        with self._arrived:
            conditions = {condition for condition, _ in self._waiting.values()}
        for condition in conditions:
            with condition:
                condition.notify_all()


def do_safely(appointment: Appointment) -> None:
    """Carry out one appointment; its error must not end the others."""
    try:
        appointment.do()
    except Exception:
        logger.exception("an appointment of a fake daemon failed")

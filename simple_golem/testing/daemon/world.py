"""What all parts of a fake daemon share: one lock, one clock, ids, threads, and all waits."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ..clock import Action, Appointment, Clock
from ..request import Call, ReadTimedOut

_TICK = timedelta(microseconds=1)


class World:
    """The shared state: code that reads or changes anything of the daemon holds `lock`.

    The lock is held for moments only. Functions of a test, and all that may block, are called without it.
    """

    def __init__(self, clock: Clock, seed: str) -> None:
        """Args: seed: all ids are made of it."""
        self.clock = clock
        self.lock = threading.RLock()
        self._seed = seed
        self._numbers = itertools.count(1)
        self._last_stamp = clock.now()
        self._calls: set[Call] = set()
        self._threads: set[threading.Thread] = set()
        # How often all requests were broken off: what began before is broken off, too.
        self.drops = 0
        self.closed = False

    # --- ids and dates --------------------------------------------------------------------------------

    def hex_id(self, digits: int) -> str:
        """Make a new id of `digits` hexadecimal digits."""
        return hashlib.sha3_256(f"{self._seed} {next(self._numbers)}".encode()).hexdigest()[:digits]

    def uuid(self) -> str:
        """Make a new id in the form of a UUID."""
        digits = self.hex_id(32)
        return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "8" + digits[17:20], digits[20:]))

    def stamp(self) -> datetime:
        """Return the date of an event that happens now; all are different."""
        with self.lock:
            self._last_stamp = max(self.clock.now(), self._last_stamp + _TICK)
            return self._last_stamp

    # --- waits ------------------------------------------------------------------------------------------

    def condition(self) -> threading.Condition:
        """Make a condition that uses the shared lock."""
        return threading.Condition(self.lock)

    def wait(
        self,
        call: Call,
        condition: threading.Condition,
        fulfilled: Callable[[], object],
        seconds: float,
    ) -> bool:
        """Block until `fulfilled()` is true, for `seconds` at most; returns whether it is. Holds the lock.

        Raises:
            ConnectionDropped: the request was abandoned.
            ReadTimedOut: the read timeout of its client has passed.
        """
        began = self.clock.monotonic()
        try:
            while not fulfilled():
                passed = self.clock.monotonic() - began
                if passed >= seconds:
                    return False
                if passed >= call.patience:
                    raise ReadTimedOut(f"no answer in {call.patience:g} s")
                call.waits(condition)
                call.check()
                self.clock.wait(condition, began + min(seconds, call.patience))
            return True
        finally:
            call.condition = None

    @contextmanager
    def under_way(self, call: Call) -> Iterator[None]:
        """Let `drop_all` abandon this request while the context is open."""
        with self.lock:
            self._calls.add(call)
        try:
            yield
        finally:
            with self.lock:
                self._calls.discard(call)

    @property
    def calls_under_way(self) -> int:
        """The number of requests that have not been answered."""
        return len(self._calls)

    def drop_all(self, why: str) -> None:
        """Abandon all requests under way."""
        with self.lock:
            self.drops += 1
            calls = list(self._calls)
        for call in calls:
            call.abandon(why)

    # --- what is done on other threads ------------------------------------------------------------------

    def spawn(self, name: str, work: Callable[[], object]) -> None:
        """Call `work` on a new thread; `join` waits for it."""

        def run() -> None:
            try:
                work()
            finally:
                with self.lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self.lock:
            self._threads.add(thread)
            # Under the lock: `join` can't wait for a thread that was not started.
            thread.start()

    def join(self, timeout: float) -> None:
        """Block until the threads have ended, at most `timeout` seconds each; the lock must not be held."""
        with self.lock:
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(timeout)

    def after(self, seconds: float, action: Action) -> Appointment:
        """Call `action` in `seconds`, with the lock; at once, on this thread, if that is 0."""

        def act() -> None:
            with self.lock:
                if not self.closed:
                    action()

        if seconds <= 0:
            appointment = Appointment(self.clock.monotonic(), act)
            appointment.do()
            return appointment
        return self.clock.after(seconds, act)

"""What all parts of a fake daemon share: one lock, one clock, ids, and every wait."""

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
    """One lock for everything: whoever reads or changes anything of the daemon holds it.

    It is held for moments only; user functions, and whatever else may block, are called without it.
    """

    def __init__(self, clock: Clock, seed: str) -> None:
        """Args: seed: what the ids are made of."""
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
        """A new id of so many digits."""
        return hashlib.sha3_256(f"{self._seed} {next(self._numbers)}".encode()).hexdigest()[:digits]

    def uuid(self) -> str:
        """A new id in the form of a UUID."""
        digits = self.hex_id(32)
        return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "8" + digits[17:20], digits[20:]))

    def stamp(self) -> datetime:
        """The date of something that happens now; never the same twice."""
        with self.lock:
            self._last_stamp = max(self.clock.now(), self._last_stamp + _TICK)
            return self._last_stamp

    # --- waits ------------------------------------------------------------------------------------------

    def condition(self) -> threading.Condition:
        """A condition under the one lock."""
        return threading.Condition(self.lock)

    def wait(
        self,
        call: Call,
        condition: threading.Condition,
        fulfilled: Callable[[], object],
        seconds: float,
    ) -> bool:
        """Block, holding the lock, until `fulfilled()` or for `seconds`; whether it was fulfilled.

        Raises:
            ConnectionDropped: the request was abandoned.
            ReadTimedOut: its client waits no longer.
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
        """While this is open, the request ends when the daemon does."""
        with self.lock:
            self._calls.add(call)
        try:
            yield
        finally:
            with self.lock:
                self._calls.discard(call)

    @property
    def calls_under_way(self) -> int:
        """How many requests have not been answered yet."""
        return len(self._calls)

    def drop_all(self, why: str) -> None:
        """Break off every request under way."""
        with self.lock:
            self.drops += 1
            calls = list(self._calls)
        for call in calls:
            call.abandon(why)

    # --- what is done on other threads ------------------------------------------------------------------

    def spawn(self, name: str, work: Callable[[], object]) -> None:
        """Do something on a thread of its own, which `join` waits for."""

        def run() -> None:
            try:
                work()
            finally:
                with self.lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self.lock:
            self._threads.add(thread)
        thread.start()

    def join(self, timeout: float) -> None:
        """Block until the threads have ended, at most `timeout` seconds each; the lock must not be held."""
        with self.lock:
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(timeout)

    def after(self, seconds: float, action: Action) -> Appointment:
        """Have `action` called, holding the lock, in `seconds`; at once, by this thread, if that is 0."""

        def act() -> None:
            with self.lock:
                if not self.closed:
                    action()

        if seconds <= 0:
            appointment = Appointment(self.clock.monotonic(), act)
            appointment.do()
            return appointment
        return self.clock.after(seconds, act)

"""A clock that several processes share, and that one of them speeds up; and Python's clocks replaced by it.

Only the time of the answers of sockets stays the real one.
"""

from __future__ import annotations

import datetime
import mmap
import queue
import struct
import threading
import time
from pathlib import Path
from typing import Any

_COUNT = struct.Struct("<q")
# Real seconds and shown seconds at the moment since which the clock has a speed, and that speed.
_ENTRY = struct.Struct("<ddd")
_MOST_ENTRIES = 64
# A wait looks again after so many seconds: the speed may have changed.
_SLICE_SECONDS = 0.1

_real_time, _real_sleep = time.time, time.sleep
_real_wait = threading.Condition.wait
_real_get = queue.SimpleQueue.get


class FastClock:
    """Shows the same time to all processes that have opened its file."""

    def __init__(self, path: Path) -> None:
        """Args: path: of a file that `make` has made."""
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    @staticmethod
    def make(path: Path) -> None:
        """Make the file; the clock shows the real time at first."""
        path.write_bytes(bytes(_COUNT.size + _MOST_ENTRIES * _ENTRY.size))
        clock = FastClock(path)
        clock._append(_real_time(), _real_time(), 1.0)

    def now(self) -> float:
        """Seconds since 1970."""
        real, shown, speed = self._entry()
        return shown + (_real_time() - real) * speed

    @property
    def speed(self) -> float:
        """How many of its seconds pass in a real one."""
        return self._entry()[2]

    def set_speed(self, speed: float) -> None:
        """Go faster or slower from now on; only one process may call this."""
        real, shown, before = self._entry()
        now = _real_time()
        self._append(now, shown + (now - real) * before, speed)

    def real_slice(self, until: float) -> float:
        """Real seconds until the clock shows `until`, or until one must look again."""
        return max(0.0, min((until - self.now()) / self.speed, _SLICE_SECONDS))

    def _entry(self) -> tuple[float, float, float]:
        (count,) = _COUNT.unpack_from(self._map)
        real, shown, speed = _ENTRY.unpack_from(self._map, _COUNT.size + (count - 1) * _ENTRY.size)
        return real, shown, speed

    def _append(self, *entry: float) -> None:
        (count,) = _COUNT.unpack_from(self._map)
        _ENTRY.pack_into(self._map, _COUNT.size + count * _ENTRY.size, *entry)
        _COUNT.pack_into(self._map, 0, count + 1)  # after it, so that nobody reads half of it


def replace_clocks(clock: FastClock) -> None:
    """Have this process know no other clock; to be called before the modules that use one are imported."""
    time.time = time.monotonic = clock.now
    time.sleep = lambda seconds: _sleep(clock, seconds)
    # Modules of Python that have these functions under names of their own.
    for module, name in ((threading, "_time"), (queue, "time")):
        setattr(module, name, clock.now)

    class FastDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> FastDatetime:
            return cls.fromtimestamp(clock.now(), tz)

    class FastQueue(queue.SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            if not block or timeout is None:
                return _real_get(self, block)
            until = clock.now() + timeout
            while True:
                try:
                    return _real_get(self, True, clock.real_slice(until))
                except queue.Empty:
                    if clock.now() >= until:
                        raise

    def wait(condition: threading.Condition, timeout: float | None = None) -> bool:
        # Who waits must expect to be woken too early, and so may be.
        if timeout is None:
            return _real_wait(condition)
        return _real_wait(condition, clock.real_slice(clock.now() + timeout))

    def wait_for_event(event: threading.Event, timeout: float | None = None) -> bool:
        until = None if timeout is None else clock.now() + timeout
        with event._cond:  # type: ignore[attr-defined]
            while not event.is_set() and (until is None or clock.now() < until):
                event._cond.wait(None if until is None else until - clock.now())  # type: ignore[attr-defined]
        return event.is_set()

    for owner, name, function in (
        (datetime, "datetime", FastDatetime),
        (queue, "SimpleQueue", FastQueue),
        (threading.Condition, "wait", wait),
        (threading.Event, "wait", wait_for_event),
    ):
        setattr(owner, name, function)


def _sleep(clock: FastClock, seconds: float) -> None:
    until = clock.now() + seconds
    while clock.now() < until:
        _real_sleep(clock.real_slice(until))

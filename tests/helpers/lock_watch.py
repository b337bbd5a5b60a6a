"""Records which locks of the package are taken while others are held."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_WATCHED, _NOT_WATCHED = "simple_golem.", "simple_golem.testing"


class LockWatch:
    """All pairs of locks of which the second was taken while the same thread held the first.

    Locks are known by the class whose object made them.
    """

    def __init__(self) -> None:
        self.pairs: set[tuple[str, str]] = set()
        self.names: set[str] = set()
        self._held = threading.local()

    @property
    def held(self) -> list[WatchedLock]:
        """The locks that the calling thread holds, in the order in which it took them."""
        held: list[WatchedLock] = self._held.__dict__.setdefault("locks", [])
        return held

    def about_to_take(self, lock: WatchedLock) -> None:
        self.pairs |= {(one.name, lock.name) for one in self.held if one is not lock}

    def make(self, real: Any) -> Any:
        """Make a lock as `real` does, which is watched if an object of the package made it."""
        name = _maker_of(sys._getframe(2))
        if name is None:
            return real()
        self.names.add(name)
        lock = real()
        return (WatchedRLock if hasattr(lock, "_release_save") else WatchedLock)(lock, name, self)


class WatchedLock:
    """A lock that tells the watch when it is taken."""

    def __init__(self, real: Any, name: str, watch: LockWatch) -> None:
        self.name = name
        self._real = real
        self._watch = watch

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self._watch.about_to_take(self)
        taken: bool = self._real.acquire(blocking, timeout)
        if taken:
            self._watch.held.append(self)
        return taken

    def release(self) -> None:
        self._watch.held.remove(self)
        self._real.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def locked(self) -> bool:
        return bool(self._real.locked())


class WatchedRLock(WatchedLock):
    """A lock that its holder can take again; a Condition releases it as often as it was taken."""

    def _is_owned(self) -> bool:
        return bool(self._real._is_owned())

    def _release_save(self) -> tuple[int, Any]:
        times = self._watch.held.count(self)
        for _ in range(times):
            self._watch.held.remove(self)
        return times, self._real._release_save()

    def _acquire_restore(self, state: tuple[int, Any]) -> None:
        self._watch.about_to_take(self)
        self._real._acquire_restore(state[1])
        self._watch.held.extend([self] * state[0])


@contextmanager
def watched_locks() -> Iterator[LockWatch]:
    """Watch all locks that are made inside the `with` statement."""
    watch = LockWatch()
    lock, rlock = threading.Lock, threading.RLock

    def make_lock() -> Any:
        return watch.make(lock)

    def make_rlock() -> Any:
        return watch.make(rlock)

    threading.Lock, threading.RLock = make_lock, make_rlock  # type: ignore[misc, assignment]
    try:
        yield watch
    finally:
        threading.Lock, threading.RLock = lock, rlock  # type: ignore[misc]


def _maker_of(frame: FrameType | None) -> str | None:
    """The class of the object that makes a lock or a condition, if it is one of the package."""
    while frame is not None and frame.f_code.co_filename == threading.__file__:
        if not isinstance(frame.f_locals.get("self"), threading.Condition):
            return None  # an Event's or a Thread's own
        frame = frame.f_back
    maker = type(frame.f_locals.get("self")) if frame is not None else object
    if maker.__module__.startswith(_WATCHED) and not maker.__module__.startswith(_NOT_WATCHED):
        return maker.__name__
    return None

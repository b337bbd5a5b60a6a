"""Watches in which order threads take locks, and notes each lock that is taken too late."""

from __future__ import annotations

import threading
from collections.abc import Sequence


class LockOrder:
    """An order of locks, outermost first: a thread that holds one may take only later ones.

    Args:
        names: the names of the locks in their order.

    Attributes:
        violations: which lock was taken while which later one was held, as texts.
        taken: the names of the locks that were taken.
        nested: each pair of locks that were held together, the outer one first.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._held = threading.local()
        self.violations: list[str] = []
        self.taken: set[str] = set()
        self.nested: set[tuple[str, str]] = set()

    def watch(self, owner: object) -> None:
        """Replace the locks of `owner` that the order names (`Class.attribute`) by watched ones.

        A condition is replaced by one with a watched lock, so `owner` must not be in use yet.
        """
        for name in self._names:
            cls, _, attribute = name.partition(".")
            if cls == type(owner).__name__:
                lock = getattr(owner, attribute)
                watched = WatchedLock(self, name, reentrant=type(lock) is type(threading.RLock()))
                is_condition = isinstance(lock, threading.Condition)
                setattr(owner, attribute, threading.Condition(watched) if is_condition else watched)  # type: ignore[arg-type]

    def entering(self, name: str) -> None:
        held = self._held_names()
        self.taken.add(name)
        for outer in held:
            self.nested.add((outer, name))
            if self._names.index(outer) > self._names.index(name):
                self.violations.append(f"{name} was taken while {outer} was held")
        held.append(name)

    def leaving(self, name: str) -> None:
        self._held_names().remove(name)

    def _held_names(self) -> list[str]:
        if not hasattr(self._held, "names"):
            self._held.names = []
        return self._held.names  # type: ignore[no-any-return]


class WatchedLock:
    """A lock that tells a `LockOrder` when it is taken for the first time by a thread, and when released."""

    def __init__(self, order: LockOrder, name: str, *, reentrant: bool) -> None:
        self._order = order
        self._name = name
        self._lock = threading.RLock() if reentrant else threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        first = self._owner != threading.get_ident()
        if first and blocking:
            # Before it blocks: a wrong order is noted also where it ends in a deadlock.
            self._order.entering(self._name)
        if not self._lock.acquire(blocking, timeout):
            if first and blocking:
                self._order.leaving(self._name)
            return False
        if first and not blocking:
            self._order.entering(self._name)
        self._owner = threading.get_ident()
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._order.leaving(self._name)
        self._lock.release()

    def _is_owned(self) -> bool:
        """Asked by `threading.Condition`."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

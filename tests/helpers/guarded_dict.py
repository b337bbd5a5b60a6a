"""A dictionary that other threads change: it notes each look through it without the lock that guards it."""

from __future__ import annotations

import threading
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any


class GuardedDict(dict[str, Any]):
    """A dictionary, and how often somebody has looked through it while the lock was free."""

    def __init__(self, lock: Any, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._lock = lock
        self.looks = 0
        self.unguarded = 0

    def __iter__(self) -> Iterator[str]:
        self._note()
        return super().__iter__()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        self._note()
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        self._note()
        return super().items()

    def _note(self) -> None:
        self.looks += 1
        self.unguarded += is_free(self._lock)


def is_free(lock: Any) -> bool:
    """Whether no thread holds a lock, which may be one that its holder can take again."""
    got: list[bool] = []

    def try_it() -> None:
        got.append(lock.acquire(blocking=False))
        if got[0]:
            lock.release()

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return got[0]

"""The bounded memory of a fake daemon."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

# A fake that serves for days must not fill the memory with what is long over.
MOST_RECORDS = 20_000
Kept = TypeVar("Kept")


class Records(dict[str, Kept], Generic[Kept]):
    """Records by their ids: all open ones, and the newest of those that are over."""

    def __init__(self, is_over: Callable[[Kept], bool], most: int = MOST_RECORDS) -> None:
        super().__init__()
        self._is_over = is_over
        self._most = most
        self._new = 0

    def put(self, key: str, kept: Kept) -> None:
        """Add a record; now and then the oldest ones that are over are dropped."""
        self[key] = kept
        self._new += 1
        if self._new * 10 > self._most:
            self._new = 0
            for old in [key for key, kept in self.items() if self._is_over(kept)][: -self._most]:
                del self[old]


class EventLog:
    """The newest events, in the order of their dates, which are all different."""

    def __init__(self, most: int = MOST_RECORDS) -> None:
        self._dates: list[datetime] = []
        self._events: list[tuple[str | None, Mapping[str, Any]]] = []
        self._most = most

    def add(self, date: datetime, session: str | None, event: Mapping[str, Any]) -> None:
        """Add an event of a session of the requestor."""
        self._dates.append(date)
        self._events.append((session, event))
        if len(self._events) > self._most + self._most // 10:
            del self._dates[: -self._most], self._events[: -self._most]

    def after(
        self,
        date: datetime | None,
        session: str | None,
        most: int | None = None,
        kinds: Iterable[str] | None = None,
    ) -> list[Mapping[str, Any]]:
        """Return the events after `date`, oldest first, of one session or all, of some kinds or all."""
        first = 0 if date is None else bisect_right(self._dates, date)
        wanted = None if kinds is None else tuple(kinds)
        return [
            event
            for whose, event in self._events[first:]
            if session in (None, whose) and (wanted is None or event["eventType"].endswith(wanted))
        ][:most]

"""Follows one of the daemon's lists of events: a cursor that moves on, a reader that outlives any fault."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Protocol, TypeVar

from ..background.cancellation import Deadline, Scope, ScopeEnded

logger = logging.getLogger(__name__)

POLL_SECONDS = 20.0
_PAUSE_SECONDS = 0.05
_AFTER_FAULT_SECONDS = 1.0
_THE_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Dated(Protocol):
    """An event with a time."""

    @property
    def date(self) -> datetime: ...


E = TypeVar("E", bound=Dated)


def follow(what: str, read: Callable[[datetime], list[E]], handle: Callable[[E], None], stop: Scope) -> None:
    """Hand every event to `handle`, oldest first, until `stop` is cancelled; blocks for that long.

    Args:
        what: the kind of events, for the log.
        read: asks the daemon for those after a time, in a long poll that `stop` abandons.
        handle: takes one event, and does not block.
        stop: what ends it.
    """
    after = _THE_BEGINNING
    while not stop.cancelled:
        known, pause = after, Deadline(_PAUSE_SECONDS)
        try:
            events = read(after)
        except ScopeEnded:
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the reader must outlive it
            logger.warning("reading %s events failed, trying again: %s", what, error)
            stop.wait(_AFTER_FAULT_SECONDS)
            continue
        for event in events:
            after = max(after, event.date)
            handle(event)
        # An event whose time is finer than the cursor's is told again and again.
        if after == known:
            stop.wait(pause.remaining())

"""How long the parts of an end may take: the one place with all those seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from enum import Enum

STOP_GRACE_SECONDS = 10.0
EXPIRATION_RESERVE_SECONDS = 60.0
_INVOICE_SECONDS = 15.0
# What terminating an agreement and destroying its activity need in the worst case, kept back for them.
RELEASE_RESERVE_SECONDS = 1.5


class ShutdownPart(Enum):
    """What an end consists of, in this order."""

    BATCH = "a batch under way ends"
    METHOD = "the method that is running returns"
    SHUTDOWN = "shutdown() is done"
    RELEASE = "the agreement is terminated and the activity destroyed"
    INVOICES = "the invoices arrive and are accepted"


class ShutdownTimes:
    """One decision to end something, and until when each part of that may take.

    Args:
        seconds: for each part, counted from the beginning of the part, or, if `since_begun`, of the ending.
        since_begun: which of the two.
        timeout: seconds for the whole; the last 1.5 of them belong to terminating and destroying.
    """

    def __init__(
        self,
        seconds: Mapping[ShutdownPart, float],
        *,
        since_begun: bool = False,
        timeout: float | None = None,
    ) -> None:
        self._seconds = seconds
        self._since_begun = since_begun
        self.begun = time.monotonic()
        self._until = math.inf if timeout is None else self.begun + timeout

    @property
    def is_shortened(self) -> bool:
        """Whether it was decided by a signal."""
        return self._since_begun

    @property
    def last_moment(self) -> float:
        """When the whole has to be over, on the monotonic clock; infinity if each part has its own time."""
        if self._since_begun:
            return self.begun + self._seconds[ShutdownPart.INVOICES]
        return self._until

    def limit(self, part: ShutdownPart) -> float:
        """When `part`, beginning now, has to be over, on the monotonic clock."""
        start = self.begun if self._since_begun else time.monotonic()
        until = self._until
        if part in (ShutdownPart.BATCH, ShutdownPart.METHOD, ShutdownPart.SHUTDOWN):
            until -= RELEASE_RESERVE_SECONDS
        return min(start + self._seconds[part], until)

    @classmethod
    def ordinary(cls, stop_grace: float = STOP_GRACE_SECONDS, timeout: float | None = None) -> ShutdownTimes:
        """`stop()`, the end of `with`, `close()`, the expiration."""
        seconds = {
            ShutdownPart.BATCH: stop_grace,
            ShutdownPart.METHOD: 5.0,
            ShutdownPart.SHUTDOWN: 30.0,
            ShutdownPart.RELEASE: 10.0,
            ShutdownPart.INVOICES: _INVOICE_SECONDS,
        }
        return cls(seconds, timeout=timeout)

    @classmethod
    def out_of_budget(cls, stop_grace: float) -> ShutdownTimes:
        """What was kept back of the budget lasts for 15 seconds, and some have passed until that is known."""
        seconds = {
            ShutdownPart.BATCH: min(stop_grace, 4.0),
            ShutdownPart.METHOD: 2.0,
            ShutdownPart.SHUTDOWN: 8.0,
            ShutdownPart.RELEASE: 10.0,
            ShutdownPart.INVOICES: _INVOICE_SECONDS,
        }
        return cls(seconds, timeout=12.0)

    @classmethod
    def by_provider(cls) -> ShutdownTimes:
        """The provider has ended the agreement, but the activity still answers."""
        seconds = {
            ShutdownPart.BATCH: 0.0,
            ShutdownPart.METHOD: 1.0,
            ShutdownPart.SHUTDOWN: 5.0,
            ShutdownPart.RELEASE: 10.0,
            ShutdownPart.INVOICES: _INVOICE_SECONDS,
        }
        return cls(seconds)

    @classmethod
    def interrupted(cls) -> ShutdownTimes:
        """Ctrl-C or SIGTERM: seconds since then."""
        seconds = {
            ShutdownPart.BATCH: 1.0,
            ShutdownPart.METHOD: 1.0,
            ShutdownPart.SHUTDOWN: 2.0,
            ShutdownPart.RELEASE: 3.5,
            ShutdownPart.INVOICES: 4.5,
        }
        return cls(seconds, since_begun=True)

    @classmethod
    def aborted(cls) -> ShutdownTimes:
        """A second Ctrl-C: nothing but terminating and destroying."""
        seconds = dict.fromkeys(ShutdownPart, 0.0) | {ShutdownPart.RELEASE: RELEASE_RESERVE_SECONDS}
        return cls(seconds, since_begun=True)


def earliest(endings: list[ShutdownTimes], part: ShutdownPart) -> float:
    """When `part`, beginning now, has to be over, if all of `endings` were decided."""
    return min((ending.limit(part) for ending in endings), default=math.inf)

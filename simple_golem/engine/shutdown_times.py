"""How long each part of an end may take: all those limits, in one place."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from enum import Enum

STOP_GRACE_SECONDS = 10.0
# A cluster is stopped before its expiration: by this part of its time, but by this many seconds at most.
_EXPIRATION_RESERVE_PART = 0.1
_EXPIRATION_RESERVE_SECONDS = 5.0
_SHUTDOWN_SECONDS = 30.0
_INVOICE_SECONDS = 15.0
_LOST_RELEASE_SECONDS = 3.0
# After this time the end goes on without a method that has not returned.
_METHOD_SECONDS = 5.0
# Ending an agreement and destroying its activity take so long in the worst case; the time is reserved.
RELEASE_RESERVE_SECONDS = 1.5


class ShutdownPart(Enum):
    """The parts of an end, in their order."""

    BATCH = "a batch under way ends"
    METHOD = "the method that is running returns"
    SHUTDOWN = "shutdown() is done"
    RELEASE = "the agreement is terminated and the activity destroyed"
    INVOICES = "the invoices arrive and are accepted"


class ShutdownTimes:
    """One decision to end something, with the time limit of each part.

    Args:
        seconds: the limit of each part, counted from the beginning of that part.
        since_begun: counts all limits from the moment of the decision instead.
        timeout: seconds for the whole; the last 1.5 of them are reserved for the release.

    Attributes:
        begun: the moment of the decision, on the monotonic clock.
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
        """Whether a signal decided it."""
        return self._since_begun

    @property
    def last_moment(self) -> float:
        """When the whole has to be over, on the monotonic clock; infinity if only the parts have limits."""
        if self._since_begun:
            return self.begun + self._seconds[ShutdownPart.INVOICES]
        return self._until

    def limit(self, part: ShutdownPart) -> float:
        """When `part`, if it begins now, has to be over, on the monotonic clock."""
        start = self.begun if self._since_begun else time.monotonic()
        until = self._until
        if part in (ShutdownPart.BATCH, ShutdownPart.METHOD, ShutdownPart.SHUTDOWN):
            until -= RELEASE_RESERVE_SECONDS
        return min(start + self._seconds[part], until)

    @classmethod
    def ordinary(cls, stop_grace: float = STOP_GRACE_SECONDS, timeout: float | None = None) -> ShutdownTimes:
        """The limits for `stop()`, the end of `with`, `close()` and the expiration.

        Args:
            stop_grace: seconds that a batch may go on.
            timeout: seconds for the whole; None if only the parts have limits.
        """
        seconds = {
            ShutdownPart.BATCH: stop_grace,
            ShutdownPart.METHOD: _METHOD_SECONDS,
            ShutdownPart.SHUTDOWN: _SHUTDOWN_SECONDS,
            ShutdownPart.RELEASE: 10.0,
            ShutdownPart.INVOICES: _INVOICE_SECONDS,
        }
        return cls(seconds, timeout=timeout)

    @classmethod
    def out_of_budget(cls, stop_grace: float) -> ShutdownTimes:
        """The limits for the end of the budget, of which a reserve for 15 seconds is left.

        All parts together take less than that, because some seconds pass before the end is noticed.
        """
        seconds = {
            ShutdownPart.BATCH: min(stop_grace, 4.0),
            ShutdownPart.METHOD: 2.0,
            ShutdownPart.SHUTDOWN: 8.0,
            ShutdownPart.RELEASE: 10.0,
            ShutdownPart.INVOICES: _INVOICE_SECONDS,
        }
        return cls(seconds, timeout=12.0)

    @classmethod
    def by_provider(cls, *, is_gone: bool) -> ShutdownTimes:
        """The limits for a life that has lost its provider.

        Args:
            is_gone: whether its activity is gone, too: nobody waits long for the answer of its provider.
        """
        seconds = {
            ShutdownPart.BATCH: 0.0 if is_gone else 1.0,
            ShutdownPart.METHOD: 1.0,
            ShutdownPart.SHUTDOWN: 5.0,
            ShutdownPart.RELEASE: _LOST_RELEASE_SECONDS if is_gone else 10.0,
            ShutdownPart.INVOICES: _INVOICE_SECONDS,
        }
        return cls(seconds)

    @classmethod
    def interrupted(cls) -> ShutdownTimes:
        """The limits for Ctrl-C and SIGTERM, in seconds since the signal."""
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
        """The limits for a second Ctrl-C: only the release gets any time."""
        seconds = dict.fromkeys(ShutdownPart, 0.0) | {ShutdownPart.RELEASE: RELEASE_RESERVE_SECONDS}
        return cls(seconds, since_begun=True)


def expiration_reserve(seconds: float, stop_grace: float, has_shutdown: bool) -> float:
    """Return how many seconds before its expiration a cluster is stopped.

    Args:
        seconds: how long the cluster may run.
        stop_grace: seconds that a batch may go on after the stop.
        has_shutdown: whether its class has a `shutdown` of its own, which needs time.
    """
    longest = stop_grace + _SHUTDOWN_SECONDS if has_shutdown else _EXPIRATION_RESERVE_SECONDS
    return min(seconds * _EXPIRATION_RESERVE_PART, longest)


def earliest(endings: list[ShutdownTimes], part: ShutdownPart) -> float:
    """When `part`, if it begins now, has to be over, if all of `endings` were decided."""
    return min((ending.limit(part) for ending in endings), default=math.inf)

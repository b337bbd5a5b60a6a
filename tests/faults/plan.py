"""Which request is hit by which fault; what carries the requests, an adapter or a proxy, asks for each."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Fault(Enum):
    """What can happen to one request."""

    REFUSED = "the connection is refused"
    RESET = "the connection breaks before the daemon has the request"
    LOST = "the daemon carries the request out, and the connection breaks before its answer"
    UNAVAILABLE = "the answer is 503, and the daemon does not get the request"
    FAILED = "the answer is 500, and the daemon does not get the request"
    CUT = "the daemon carries the request out, and the connection breaks in the middle of its answer"
    TIMED_OUT = "the answer is 408, and the daemon does not get the request"
    TOO_MANY = "the answer is 429, and the daemon does not get the request"
    BAD_GATEWAY = "the daemon carries the request out, and the answer is 502"
    GATEWAY_TIMEOUT = "the daemon carries the request out, and the answer is 504"
    SLOW = "the daemon carries the request out, and its answer comes late and piece by piece"
    SHORT = "the daemon carries the request out, and its answer ends before its Content-Length"
    PAGE = "the daemon carries the request out, and a page of HTML comes in place of its answer"


# The status of an answer that comes in place of the daemon's.
STATUSES = {
    Fault.UNAVAILABLE: 503,
    Fault.FAILED: 500,
    Fault.TIMED_OUT: 408,
    Fault.TOO_MANY: 429,
    Fault.BAD_GATEWAY: 502,
    Fault.GATEWAY_TIMEOUT: 504,
    Fault.PAGE: 200,
}
# After these it has not begun to carry the request out, and knows so.
NOT_BEGUN = frozenset((Fault.REFUSED, Fault.UNAVAILABLE, Fault.TOO_MANY, Fault.SLOW))
# These come instead of the daemon, which does not get the request.
BEFORE = frozenset((Fault.REFUSED, Fault.RESET, *list(STATUSES)[:4]))
PAGE = b"<html><body>This is not the daemon.</body></html>"
SLOW_SECONDS = 0.3


class Plan(Protocol):
    """Decides about each request."""

    def fault(self, method: str, path: str) -> Fault | None:
        """What happens to this request; None: nothing. Called by any thread, once for each request."""


@dataclass(frozen=True)
class Hit:
    """One fault, at the `nth` request to an endpoint, from 1."""

    fault: Fault
    endpoint: str
    nth: int = 1


class OnceEach:
    """A plan in which each hit takes place once.

    Attributes:
        done: the hits that have taken place.
        seen: how often each endpoint was asked.
    """

    def __init__(self, *hits: Hit) -> None:
        self._hits = {(hit.endpoint, hit.nth): hit for hit in hits}
        self._lock = threading.Lock()
        self.done: list[Hit] = []
        self.seen: Counter[str] = Counter()

    def fault(self, method: str, path: str) -> Fault | None:
        endpoint = endpoint_of(method, path)
        with self._lock:
            self.seen[endpoint] += 1
            hit = self._hits.get((endpoint, self.seen[endpoint]))
            if hit is None:
                return None
            self.done.append(hit)
            return hit.fault


class AtRandom:
    """A plan that hits a share of all requests; a seed decides which, in the order in which they come.

    Attributes:
        done: how often each fault has taken place.
    """

    def __init__(self, seed: int, share: float, faults: Sequence[Fault] = tuple(Fault)) -> None:
        self._random = random.Random(seed)
        self._share = share
        self._faults = faults
        self._lock = threading.Lock()
        self.done: Counter[Fault] = Counter()

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            if self._random.random() >= self._share:
                return None
            fault = self._random.choice(self._faults)
            self.done[fault] += 1
            return fault


_ID = re.compile(r"[\w-]{20,}")


def endpoint_of(method: str, path: str) -> str:
    """A request without its ids, such as `POST /market-api/v1/agreements/*/confirm`."""
    parts = path.partition("?")[0].split("/")
    return f"{method} {'/'.join('*' if _ID.fullmatch(part) else part for part in parts)}"

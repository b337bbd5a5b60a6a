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

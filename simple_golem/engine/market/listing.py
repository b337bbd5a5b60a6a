"""A cluster's place on the market: one demand after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .demand import Demand


class Listing:
    """The current demand of a cluster, which is replaced once it was withdrawn.

    Args:
        make: makes a demand that is not published yet.
        publish: publishes a demand.

    Attributes:
        demand: the current one.
    """

    def __init__(self, make: Callable[[], Demand], publish: Callable[[Demand], None]) -> None:
        self.demand = make()
        self._make = make
        self._publish = publish
        self._lock = threading.Lock()

    def open(self) -> None:
        """Publish a demand, if none is on the market; blocks for one request."""
        with self._lock:
            if self.demand.closed:
                self.demand = self._make()
            elif self.demand.published:
                return
            self._publish(self.demand)

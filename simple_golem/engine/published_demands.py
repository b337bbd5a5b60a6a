"""The demands that a session has on the market, so that closing withdraws every one."""

from __future__ import annotations

import threading

from ..background.cancellation import Scope, ScopeEnded
from ..background.threads import WorkerPool
from ..errors import NotRunning
from .market.demand import Demand


class PublishedDemands:
    """Publishes and withdraws demands; used by any thread.

    Args:
        workers: withdraw demands that nobody waits for.
        release: what these requests listen to.
    """

    def __init__(self, workers: WorkerPool, release: Scope) -> None:
        self._workers = workers
        self._release = release
        self._lock = threading.Lock()
        self._demands: list[Demand] = []
        self._is_closing = False
        self._is_closed = False

    def publish(self, demand: Demand) -> None:
        """Publish a demand; blocks for one request.

        Raises:
            NotRunning: the session is being closed.
        """
        with self._lock:
            if self._is_closing:
                raise NotRunning("this Golem is being closed")
            self._demands = [one for one in self._demands if not one.finished]
            self._demands.append(demand)
        try:
            demand.publish()
        except ScopeEnded as error:
            raise NotRunning("this Golem is being closed") from error

    def withdraw(self, demand: Demand) -> None:
        """Withdraw a demand without blocking; after `close` this does nothing."""
        if self._is_closed:
            return
        demand.close()
        self._workers.post(demand.withdraw, self._release)

    def withdraw_all(self) -> None:
        """Withdraw all demands without blocking; from now on none can be published."""
        with self._lock:
            self._is_closing = True
            demands = list(self._demands)
        for demand in demands:
            self.withdraw(demand)

    def close(self) -> None:
        """Withdraw all demands; blocks for one request each."""
        for demand in self._demands:
            demand.withdraw(self._release)
        self._is_closed = True

    def join(self, timeout: float) -> list[str]:
        """Join the readers, `timeout` seconds at most for each; returns the names of those that are stuck."""
        return [demand.name for demand in self._demands if not demand.join(timeout)]

"""The demands that a session has on the market, so that closing withdraws every one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..background.cancellation import Scope, ScopeEnded
from ..background.threads import WorkerPool
from ..errors import GolemError, NotRunning
from ..yagna.client import Yagna
from .market.demand import Demand
from .market.demand_properties import SESSION_MARK

logger = logging.getLogger(__name__)


def withdraw_demands_of(
    yagna: Yagna, session_id: str, scope: Scope, on_withdrawn: Callable[[str], object]
) -> None:
    """Withdraw all demands that have the mark of a session; blocks for a few requests.

    Args:
        yagna: the daemon.
        session_id: the session.
        scope: cancelling it ends the requests.
        on_withdrawn: called with the id of each demand.
    """
    for demand in yagna.market.demands(scope=scope):
        if demand["properties"].get(SESSION_MARK) == session_id:
            yagna.market.unsubscribe(demand["demandId"], scope=scope)
            on_withdrawn(demand["demandId"])


class PublishedDemands:
    """Publishes and withdraws demands; used by any thread.

    Args:
        yagna: the daemon.
        session_id: the session, whose mark the demands have.
        workers: withdraw demands that nobody waits for.
        asking: cancelling it abandons the publications.
        release: what the withdrawals listen to.
        on_left: called by `close` if the daemon may still have a demand.
    """

    def __init__(
        self,
        yagna: Yagna,
        session_id: str,
        workers: WorkerPool,
        asking: Scope,
        release: Scope,
        on_left: Callable[[], object],
    ) -> None:
        self._yagna = yagna
        self._session_id = session_id
        self._workers = workers
        self._asking = asking
        self._release = release
        self._on_left = on_left
        self._lock = threading.Lock()
        self._demands: list[Demand] = []
        # At `close`, those.
        self._withdrawn_by_workers: list[Demand] = []
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
            self._demands = [one for one in self._demands if one.may_be_left or not one.finished]
            self._demands.append(demand)
        try:
            demand.publish(self._asking)
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
        """Withdraw all demands, also those whose ids were lost; blocks for one request each."""
        for demand in self._demands:
            demand.withdraw(self._release)
        self._is_closed = True
        self._withdrawn_by_workers = [one for one in self._demands if one.is_being_withdrawn]
        if any(demand.may_be_left for demand in self._demands):
            self._withdraw_those_left()
        if any(demand.was_abandoned for demand in self._demands):
            self._on_left()  # the daemon may still be about to publish it

    def tell_of_withdrawals(self) -> None:
        """Tell of demands that a worker was withdrawing at `close`, if it has not managed to.

        To be called when the workers have ended, or had their time.
        """
        if any(demand.is_being_withdrawn or demand.may_be_left for demand in self._withdrawn_by_workers):
            self._on_left()

    def _withdraw_those_left(self) -> None:
        def log_withdrawal(demand_id: str) -> None:
            logger.info("the demand %s is withdrawn, too", demand_id)

        try:
            withdraw_demands_of(self._yagna, self._session_id, self._release, log_withdrawal)
        except (GolemError, ScopeEnded) as error:
            logger.warning(
                "a demand may be left on the market (%s): `simple-golem cleanup` withdraws it later",
                error or "no time left",
            )
            self._on_left()

    def join(self, timeout: float) -> list[str]:
        """Join the readers, `timeout` seconds at most for each; returns the names of those that are stuck."""
        return [demand.name for demand in self._demands if not demand.join(timeout)]

"""A Golem that is open: its session and its clusters.

`lifecycle` loads this module, and with it the engine, when a Golem is opened.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT

from ..background.forks import leave_to_parent
from ..background.log_guard import guard_loggers
from ..engine.event_dispatcher import Listener
from ..engine.network.network_handle import Network
from ..engine.session import Session
from ..engine.shutdown_times import ShutdownTimes, expiration_reserve
from ..errors import GolemError, NotRunning, OutOfBudget, ServiceFailed
from ..model.base.table import html_table
from ..model.cost import plain
from ..model.offers.strategy import Strategy
from ..model.offers.terms import Terms
from ..model.payload.payload import Payload
from ..model.service.respawn import Respawn
from ..model.service.service import Service
from ..model.service.suspended import SuspendedInstance
from ..model.settings import Settings
from ..progress.terminal import can_show_bar
from .closing import Closing
from .cluster import Cluster
from .cluster_builder import ClusterBuilder
from .cluster_context import InstanceNumbers
from .instance import TABLE_HEAD, Instance
from .instance_group import service_failed

if TYPE_CHECKING:
    from ..progress.progress_bar import ProgressBar
    from .pool.pool import Pool
    from .pool.retry_rules import ErrorClasses

logger = logging.getLogger(__name__)

_JOIN_SECONDS = 2.0


class OpenGolem:
    """Starts clusters in one session, and closes all of it; used by any thread.

    Args:
        settings: of the Golem.
        health_interval, health_misses: as given to the Golem.
        stop_grace: seconds that a batch may take to end after a stop.
        listeners: are called with every event.
        show_progress: whether a progress bar is shown, in a terminal or a notebook.
        on_closed: called when the session is closed.

    Attributes:
        session: what the clusters share.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        health_interval: float,
        health_misses: int,
        stop_grace: float,
        listeners: Iterable[Listener],
        show_progress: bool,
        on_closed: Callable[[], object],
    ) -> None:
        guard_loggers()
        self.session = Session(settings, health_interval, health_misses, self._stop_out_of_budget)
        self._progress_bar: ProgressBar | None = None
        if show_progress and can_show_bar():
            from ..progress.progress_bar import ProgressBar

            guard_loggers()
            self._progress_bar = ProgressBar(sys.stderr)
            self.session.events.add(self._progress_bar)
            leave_to_parent(self._progress_bar, ProgressBar.forget_in_child)
        for listener in listeners:
            self.session.events.add(listener)
        self._on_closed = on_closed
        self._stop_grace = stop_grace
        self._lock = threading.Lock()
        self._numbers = InstanceNumbers()
        self._clusters: list[Cluster] = []
        self._pools: list[Pool] = []
        self._is_closing = False
        self._closing = Closing(self.session, lambda: self.clusters, self._session_is_closed)

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """All clusters, in the order of their start."""
        return tuple(self._clusters)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances of all clusters."""
        return tuple(instance for cluster in self.clusters for instance in cluster.instances)

    def open(self, budget: Decimal) -> None:
        """Check daemon and key, and allocate the budget; blocks for requests.

        Raises:
            NoDaemon, BadAppKey: no daemon answers, or it does not know the key.
            AllocationRefused: the budget could not be allocated.
        """
        self.session.open(budget)

    def top_up(self, amount: Decimal) -> Decimal:
        """Enlarge the budget; returns the new total. Blocks for one request.

        Raises:
            AllocationRefused: there are not enough funds; the budget stays as it is.
        """
        return self.session.on_worker(self.session.top_up, amount)

    def run_service(
        self,
        service_class: type[Service],
        num_instances: int | None,
        instance_params: Sequence[Mapping[str, Any]] | None,
        payload: Payload | None,
        expiration: datetime | timedelta | None,
        *,
        name: str | None = None,
        strategy: Strategy,
        terms: Terms,
        respawn: tuple[bool, bool, StopBaseT, WaitBaseT],
        start_timeout: float | None = None,
        network: bool | Network = False,
        network_addresses: Sequence[str] | None = None,
        suspended: Sequence[SuspendedInstance] = (),
    ) -> Cluster:
        """Start a cluster, and return without waiting for providers; blocks for requests.

        The arguments and errors are those of `Golem.run_service` and `Golem.resume_service`.
        """
        builder = ClusterBuilder.checked(
            self.session.settings.registry_url,
            service_class,
            num_instances,
            instance_params,
            payload,
            expiration,
            name=name,
            strategy=strategy,
            terms=terms,
            respawn=Respawn.checked(*respawn),
            start_timeout=start_timeout,
            network=network,
            network_addresses=network_addresses,
            adopted=suspended,
        )
        self._require_budget()
        return self.session.on_worker(self._start_cluster, builder)

    def html_table(self, caption: str) -> str:
        """A table of all instances, for a notebook."""
        rows = [one._row() for cluster in self.clusters for one in cluster.instances]
        return html_table(TABLE_HEAD, rows, caption)

    def create_network(self, ip: str) -> Network:
        """Make a private network; blocks for requests to the daemon.

        Raises:
            BadNetwork: `ip` is no range of addresses.
        """
        return Network(self.session.on_worker(self.session.networks.create, ip))

    def _start_cluster(self, builder: ClusterBuilder) -> Cluster:
        cluster = builder.cluster(self.session, self._stop_grace, self._numbers)
        # Before the cluster has an instance: if this fails, nothing may end what is suspended.
        self.session.resume(builder.adopted)
        with self._lock:
            self._refuse_if_closing()
            self._clusters.append(cluster)
        try:
            cluster._open_market()
        except GolemError:
            cluster._end(ShutdownTimes.aborted(), "the demand could not be published")
            with self._lock:
                self._clusters.remove(cluster)
            raise
        finally:
            # In any case: closing may be waiting already until the instances have ended.
            cluster._start()
        self._end_before_expiration(cluster)
        return cluster

    def pool(
        self,
        max_machines: int,
        service: type[Service],
        payload: Payload | None,
        name: str | None,
        *,
        network: bool | Network,
        attempts: int,
        retry: ErrorClasses | None,
        item_timeout: float | None,
        idle_seconds: float,
        strategy: Strategy,
        terms: Terms,
    ) -> Pool:
        """Return a pool of machines, of which none is rented yet; blocks for the image registry.

        The arguments and errors are those of `Golem.pool`.
        """
        from .pool.pool_builder import pool_and_builder

        guard_loggers()
        pool, builder = pool_and_builder(
            self.session,
            self._stop_grace,
            max_machines,
            service,
            payload,
            name,
            network=network,
            attempts=attempts,
            retry=retry,
            item_timeout=item_timeout,
            idle_seconds=idle_seconds,
            strategy=strategy,
            terms=terms,
        )
        self._require_budget()
        with self._lock:
            self._refuse_if_closing()
            self._pools.append(pool)
        pool._start(partial(self._cluster_of_pool, builder))
        return pool

    def _cluster_of_pool(self, builder: ClusterBuilder, expiration: datetime) -> Cluster:
        builder = replace(builder, expiration=expiration)
        cluster = self.session.on_worker(builder.cluster, self.session, self._stop_grace, self._numbers)
        with self._lock:
            self._refuse_if_closing()
            self._clusters.append(cluster)
        self._end_before_expiration(cluster)
        return cluster

    def _refuse_if_closing(self) -> None:
        if self._is_closing:
            raise NotRunning("this Golem is being closed")

    def _require_budget(self) -> None:
        money = self.session.money
        if money.watch.is_used_up:
            raise OutOfBudget(
                f"the budget of {plain(money.budget.total)} {money.budget.currency} is used up: call "
                "golem.top_up(amount) first"
            )

    def _end_before_expiration(self, cluster: Cluster) -> None:
        left = (cluster.expiration - datetime.now(timezone.utc)).total_seconds()
        reserve = expiration_reserve(left, self._stop_grace, cluster._has_shutdown)
        self.session.timer.call_in(left - reserve, partial(cluster._expire, reserve))

    def _stop_out_of_budget(self) -> None:
        """Stop all clusters in good order; the engine calls this, and it does not block."""
        error = OutOfBudget(f"the budget is used up: {self.session.money.watch.describe()}")
        for cluster in self.clusters:
            cluster._cut_off(ShutdownTimes.out_of_budget(self._stop_grace), error)

    def close(self, times: ShutdownTimes) -> None:
        """Stop and release everything in the given times; blocks until that is done.

        A second call shortens a closing that is under way.
        """
        with self._lock:
            self._is_closing = True
        for pool in self._pools:
            pool._abandon(NotRunning("this Golem is closed before the item was answered"))
        self._closing.close(times)

    def shorten_by_signal(self) -> None:
        """Shorten a closing; a signal handler may call this."""
        self._closing.shorten_by_signal()

    def _session_is_closed(self) -> None:
        for pool in self._pools:
            if not pool._join(_JOIN_SECONDS):
                logger.warning("the thread of %r has not ended; it was left behind", pool)
        if self._progress_bar is not None:
            self._progress_bar.close()
        self._on_closed()

    def failed_unnoticed(self) -> ServiceFailed | None:
        """Return an error that names all instances that failed, unless each was named by an error before."""
        instances = [one for cluster in self.clusters if not cluster._is_occupied for one in cluster]
        broken = [one for one in instances if one.failure is not None]
        if all(one._failure_told for one in broken):
            return None
        return service_failed(broken, f"{len(broken)} of {len(instances)} instances failed")

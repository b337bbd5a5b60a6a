"""An open Golem: its session with the daemon, its clusters, and how all of them are closed.

`golem.py` loads this module, and with it the engine, when a Golem is opened.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT

from ..background.threads import EngineThread, on_engine_thread
from ..engine.event_dispatcher import Listener
from ..engine.session import Session
from ..engine.shutdown_times import EXPIRATION_RESERVE_SECONDS, ShutdownTimes
from ..errors import GolemError, NotRunning, OutOfBudget
from ..model.cost import plain
from ..model.offers.strategy import Strategy
from ..model.offers.terms import Terms
from ..model.payload.payload import Payload
from ..model.service.service import Service
from ..model.service.suspended import SuspendedInstance
from ..model.settings import Settings
from ..progress.progress_bar import ProgressBar
from .cluster import Cluster
from .cluster_builder import ClusterBuilder
from .cluster_reports import service_failed
from .instance import Instance
from .respawn import Respawn

logger = logging.getLogger(__name__)

_THREADS_JOIN_SECONDS = 2.0
# How long a wait in the main thread may be without looking at signals, where a platform needs that.
_SLICE_SECONDS = 0.5


class OpenGolem:
    """What a Golem has from its opening on; it stays readable after closing.

    Attributes:
        session: what the engine knows of the daemon, the money and the agreements.
        clusters: all clusters, in the order of their start.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        stop_grace: float,
        health_interval: float,
        health_misses: int,
        listeners: Iterable[Listener],
        progress: bool,
        on_closed: Callable[[], object],
    ) -> None:
        """Prepare the session; nothing is asked of the daemon yet.

        Args:
            settings: which daemon, and which network.
            stop_grace: seconds that a batch under way may go on after a stop.
            health_interval: seconds between two looks at an activity.
            health_misses: how many looks without an answer make an instance unresponsive.
            listeners: called with each event.
            progress: whether a progress bar is shown where standard error is a terminal.
            on_closed: called, by the closing thread, when everything is closed.
        """
        self.session = Session(settings, health_interval, health_misses)
        self.clusters: list[Cluster] = []
        self._stop_grace = stop_grace
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._closing: EngineThread | None = None
        self._ending: ShutdownTimes | None = None
        self._progress_bar: ProgressBar | None = None
        self.session.budget_watch.on_end = self._budget_is_used_up
        for listener in listeners:
            self.session.events.add(listener)
        if progress and ProgressBar.is_possible():
            self._progress_bar = ProgressBar(sys.stderr)
            self.session.events.add(self._progress_bar)

    def open(self, budget: Decimal) -> None:
        """Ask the daemon for an allocation of `budget` GLM; blocks for as long as it takes."""
        self.session.open(budget)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances of all clusters."""
        return tuple(instance for cluster in self.clusters for instance in cluster.instances)

    # --- running services -----------------------------------------------------------------------------

    def run_service(
        self,
        service_class: type[Service],
        num_instances: int | None,
        instance_params: Sequence[Mapping[str, Any]] | None,
        payload: Payload | None,
        expiration: datetime | timedelta | None,
        *,
        strategy: Strategy,
        terms: Terms,
        respawn: tuple[bool, bool, StopBaseT, WaitBaseT],
        start_timeout: float | None = None,
        adopted: Sequence[SuspendedInstance] = (),
    ) -> Cluster:
        """Start a cluster; blocks for the image registry and for publishing the demand.

        The arguments and errors are those of `Golem.run_service` and `Golem.resume_service`.
        """
        builder = ClusterBuilder.checked(
            self.session.settings.registry_url,
            service_class,
            num_instances,
            instance_params,
            payload,
            expiration,
            strategy=strategy,
            terms=terms,
            respawn=Respawn.checked(*respawn),
            start_timeout=start_timeout,
            adopted=adopted,
        )
        session = self.session
        if session.budget_watch.is_used_up:
            raise OutOfBudget(
                f"the budget of {plain(session.budget.total)} GLM is used up: call golem.top_up(amount) first"
            )
        cluster: Cluster = session.on_worker(self._launch, builder)
        return cluster

    def _launch(self, builder: ClusterBuilder) -> Cluster:
        cluster = builder.cluster(self.session, self._stop_grace)
        # As long as nothing lives: what can't be resumed must not be ended with this cluster.
        self.session.adopt(builder.adopted)
        with self._lock:
            if self._closing is not None:
                raise NotRunning("this Golem is being closed")
            self.clusters.append(cluster)
        try:
            cluster.open_market()
        except GolemError:
            cluster.end(ShutdownTimes.aborted(), "the demand could not be published")
            with self._lock:
                self.clusters.remove(cluster)
            raise
        finally:
            # Also where it was ended already: closing may be waiting for what would never have lived.
            cluster.start()
        self._end_before_expiration(cluster)
        return cluster

    def _end_before_expiration(self, cluster: Cluster) -> None:
        left = (cluster.expiration - datetime.now(timezone.utc)).total_seconds()
        begin = max(left - self._stop_grace - EXPIRATION_RESERVE_SECONDS, left / 2)

        def expire() -> None:
            if not cluster.wait(0):
                logger.info("%r has reached its expiration and is stopped", cluster)
                cluster.end(ShutdownTimes.ordinary(self._stop_grace), "the expiration is near")

        self.session.timer.call_in(begin, expire)

    # --- money ----------------------------------------------------------------------------------------

    def top_up(self, amount: Decimal) -> Decimal:
        """Add `amount` GLM to the budget; returns the new budget. Blocks for as long as the daemon takes."""
        session = self.session
        total: Decimal = session.on_worker(session.budget.top_up, amount)
        session.budget_watch.topped_up()
        session.payments.topped_up()
        session.chooser.topped_up()
        return total

    def _budget_is_used_up(self) -> None:
        """From the engine: stop everything in good order, the first cluster first."""
        error = OutOfBudget(f"the budget is used up: {self.session.budget_watch.told()}")
        for cluster in tuple(self.clusters):
            cluster.cut_off(ShutdownTimes.out_of_budget(self._stop_grace), error)

    # --- closing --------------------------------------------------------------------------------------

    def close(self, ending: ShutdownTimes) -> None:
        """Close everything in the times of `ending`; the work is done on an engine thread, and awaited here.

        A further call joins the closing that is under way, and shortens it to its own times. On a thread of
        the engine it only asks for the closing and does not block.
        """
        with self._lock:
            self.session.check_process()
            closing = self._closing
            first = closing is None
            if closing is None:
                self._ending = ending
                closing = self._closing = EngineThread("golem-closer", self._close, ending)
                # The interpreter at its end makes no threads any more.
                here = not closing.started()
        if first and here:
            closing.run_here()
        elif not first and closing.alive:
            self._shorten(ending)
        if on_engine_thread():
            return
        try:
            self._join(closing)
        except BaseException:
            self._shorten(ShutdownTimes.interrupted())
            self._join(closing)
            raise

    @staticmethod
    def _join(closing: EngineThread) -> None:
        while not closing.join(_SLICE_SECONDS):
            pass

    def _close(self, ending: ShutdownTimes) -> None:
        if ending.is_shortened:
            self.session.shorten(ending)
            self._say_that_it_stops()
        else:
            self._warn_of_what_never_ran()
        self._end_clusters(ending)
        self.session.withdraw_demands()
        for cluster in self.clusters:
            cluster.wait()
        self.session.close(ending)
        if self._progress_bar is not None:
            self._progress_bar.close()
        for name in [name for cluster in self.clusters for name in cluster.join(_THREADS_JOIN_SECONDS)]:
            logger.warning("the thread %s has not ended; it was left behind", name)
        self._on_closed()

    def _say_that_it_stops(self) -> None:
        alive = [one.name for one in self.instances if not one.state.is_final]
        if alive:
            logger.warning(
                "interrupted: stopping %d instance%s and paying what is owed, for five seconds at most; "
                "another Ctrl-C leaves without paying",
                len(alive),
                "" if len(alive) == 1 else "s",
            )

    def _warn_of_what_never_ran(self) -> None:
        for cluster in self.clusters:
            if cluster.is_untouched:
                logger.warning(
                    "%r is stopped before anything of it ran (%s): wait for it inside the `with`, e.g. by "
                    "cluster.wait(60) or cluster.wait_until_running()",
                    cluster,
                    cluster.market_report(),
                )

    def _end_clusters(self, ending: ShutdownTimes) -> None:
        for cluster in self.clusters:
            cluster.end(ending, "the Golem is being closed")

    def _shorten(self, ending: ShutdownTimes) -> None:
        """Shorten a closing that is under way."""
        self._end_clusters(ending)
        if ending.is_shortened:
            self._ending = ending
        self.session.shorten(ending)

    def shorten_by_signal(self) -> None:
        """From a signal handler, in the middle of anything: the timer's thread does the rest."""
        hurried = self._ending is not None and self._ending.is_shortened
        ending = ShutdownTimes.aborted() if hurried else ShutdownTimes.interrupted()
        self._ending = ending
        self.session.timer.call_in(0.0, partial(self._shorten, ending))

    def raise_for_failures(self) -> None:
        """Raise `ServiceFailed` if instances failed and that was not yet raised."""
        broken = [one for one in self.instances if one.failure is not None]
        if any(not one.failure_told for one in broken):
            raise service_failed(broken, f"{len(broken)} of {len(self.instances)} instances failed:")

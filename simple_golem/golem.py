"""Golem: open a session with a daemon, run services in it, and leave nothing behind."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Any

import tenacity
from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT

from .background.cancellation import checked_seconds
from .background.signals import EndSignals, Terminated, shortening
from .background.threads import EngineThread, on_engine_thread
from .engine.activity.health_check import HEALTH_MISSES, HEALTH_SECONDS
from .engine.event_dispatcher import Listener
from .engine.market.offer_preview import offers_on_market
from .engine.session import Session
from .engine.shutdown_times import EXPIRATION_RESERVE_SECONDS, STOP_GRACE_SECONDS, ShutdownTimes
from .errors import (
    BadInstanceCount,
    BadListener,
    BadSetting,
    GolemError,
    NotRunning,
    OutOfBudget,
    ServiceFailed,
)
from .model.cost import Cost, plain
from .model.cost_report import CostReport
from .model.offers.offer import Offer
from .model.offers.strategy import Score, Strategy, require_strategy
from .model.offers.terms import Terms, require_terms
from .model.payload import vm
from .model.payload.payload import Payload, require_payload
from .model.service.service import Service
from .model.service.suspended import SuspendedInstance
from .model.settings import Settings, parse_budget
from .progress.progress_bar import ProgressBar
from .services.cluster import Cluster, failed
from .services.cluster_builder import ClusterBuilder
from .services.instance import Instance, Respawn

logger = logging.getLogger(__name__)

DEFAULT_RESPAWN_STOP: StopBaseT = tenacity.stop_after_attempt(3)
DEFAULT_RESPAWN_WAIT: WaitBaseT = tenacity.wait_exponential(max=30)
_THREADS_JOIN_SECONDS = 2.0
# How long a wait in the main thread may be without looking at signals, where a platform needs that.
_SLICE_SECONDS = 0.5
# Strong references: one that was dropped without being closed must be closed at the end of the program.
_open_golems: set[Golem] = set()


class Golem:
    """An open session on the Golem Network; use it in a `with` statement.

    Args:
        budget: GLM that may be spent at most (a number, or a str or Decimal for exact ones).
        app_key: key of the daemon's REST API; else `YAGNA_APPKEY`.
        api_url: where the daemon listens; else `YAGNA_API_URL`, else `http://127.0.0.1:7465`.
        subnet_tag: which providers are asked; else `YAGNA_SUBNET`, else `public`.
        payment_driver: else `YAGNA_PAYMENT_DRIVER`, else `erc20`.
        payment_network: else `YAGNA_PAYMENT_NETWORK`, else `hoodi`, a test network.
        strategy: which providers are taken, and which of them first; cheapest first by default. A function
            is called with each offer and returns its score, or None to refuse it.
        terms: what is asked of providers as to debit notes and payments.
        stop_grace: seconds that a batch under way may go on after a stop.
        raise_failures: whether leaving `with`, or `close`, raises `ServiceFailed` for instances that failed.
        health_interval: seconds between two looks at an activity that has answered nothing else.
        health_misses: how many looks without an answer make an instance unresponsive; twice as many end it.
        progress: whether clusters that start and files on their way are shown by a progress bar, where the
            program's standard error is a terminal.

    Raises:
        NoAppKey, UnknownNetwork, BadBudget, BadSetting, BadStrategy, BadTerms: at once, with nothing spent.

    Example:
        with Golem(budget=1) as golem:
            cluster = golem.run_service(MyService, num_instances=3)
            cluster.wait(60)
        print(golem.cost)
    """

    def __init__(
        self,
        budget: float | str | Decimal,
        *,
        app_key: str | None = None,
        api_url: str | None = None,
        subnet_tag: str | None = None,
        payment_driver: str | None = None,
        payment_network: str | None = None,
        strategy: Strategy | Score | None = None,
        terms: Terms | None = None,
        stop_grace: float = STOP_GRACE_SECONDS,
        raise_failures: bool = True,
        health_interval: float = HEALTH_SECONDS,
        health_misses: int = HEALTH_MISSES,
        progress: bool = True,
    ) -> None:
        self._budget = parse_budget(budget)
        self._settings = Settings.resolve(app_key, api_url, subnet_tag, payment_driver, payment_network)
        self._strategy = Strategy() if strategy is None else require_strategy(strategy)
        self._terms = Terms() if terms is None else require_terms(terms)
        self._stop_grace = checked_seconds(stop_grace, "stop_grace", allow_none=False) or 0.0
        self._raise_failures = raise_failures
        self._health_interval = checked_seconds(health_interval, "health_interval", allow_none=False) or 0.0
        self._health_misses = health_misses
        if self._health_interval == 0 or isinstance(health_misses, bool) or health_misses < 1:
            raise BadSetting(
                "health_interval takes seconds, more than 0, and health_misses a number from 1 on"
            )
        self._progress = progress
        self._progress_bar: ProgressBar | None = None
        self._end_signals = EndSignals()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._listeners: list[Listener] = []
        self._clusters: list[Cluster] = []
        self._closing: EngineThread | None = None
        self._ending: ShutdownTimes | None = None
        self._closed = False

    # --- open and close -------------------------------------------------------------------------------

    def open(self) -> Golem:
        """Connect to the daemon and set the budget aside; returns this Golem. Opened twice is opened once.

        Blocks for as long as the daemon takes, some milliseconds where no chain has to be asked.

        Raises:
            NoDaemon: no daemon answers at the URL.
            BadAppKey: the daemon does not know the key.
            AllocationRefused: there are not enough funds, or the payment network does not answer.
        """
        with self._lock:
            if self._closed:
                raise NotRunning("this Golem was closed; make a new one")
            if self._session is not None:
                self._session.check_process()
                return self
            for other in list(_open_golems):
                logger.warning(
                    "another Golem is open in this process, with %s: each has its own budget and providers",
                    ", ".join(instance.name for instance in other.instances) or "no instances",
                )
            self._session = Session(self._settings, self._health_interval, self._health_misses)
            self._session.budget_watch.on_end = self._budget_is_used_up
            for listener in self._listeners:
                self._session.events.add(listener)
            if self._progress and ProgressBar.is_possible():
                self._progress_bar = ProgressBar(sys.stderr)
                self._session.events.add(self._progress_bar)
        try:
            self._session.open(self._budget)
        except BaseException as error:
            # Ctrl-C in the middle: what was made by then is released; else there is nothing to release.
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._finish(ShutdownTimes.interrupted())
            with self._lock:
                self._session = None
            raise
        _open_golems.add(self)
        return self

    def close(self, timeout: float | None = None) -> None:
        """Stop everything, pay what is owed, release the rest; blocks until that is done. Once is enough.

        Called from a method of a service it only asks all instances to stop.

        Args:
            timeout: seconds for the whole; the last 1.5 of them belong to ending agreements.

        Raises:
            ServiceFailed: an instance failed, which is raised once; not with `raise_failures=False`.
        """
        limit = checked_seconds(timeout, "timeout")
        self._finish(ShutdownTimes.ordinary(self._stop_grace, limit))
        if not on_engine_thread():
            self._raise_for_failures()

    def __enter__(self) -> Golem:
        self._end_signals.handle()
        try:
            return self.open()
        except BaseException:
            self._end_signals.restore()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        hurried = isinstance(error, (KeyboardInterrupt, Terminated))
        try:
            with shortening(self._shorten_by_signal, told=hurried):
                self._finish(
                    ShutdownTimes.interrupted() if hurried else ShutdownTimes.ordinary(self._stop_grace)
                )
        finally:
            self._end_signals.restore()
        if error is None:
            self._raise_for_failures()

    def _finish(self, ending: ShutdownTimes) -> None:
        """Close in the times of `ending`; the work is done on an engine thread, which this one joins."""
        with self._lock:
            session = self._session
            if session is None or (self._closed and self._closing is None):
                self._closed = True
                return
            session.check_process()
            closing = self._closing
            first = closing is None
            if closing is None:
                self._closed = True
                self._ending = ending
                closing = self._closing = EngineThread("golem-closer", self._close, session, ending)
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

    def _close(self, session: Session, ending: ShutdownTimes) -> None:
        if ending.is_shortened:
            session.shorten(ending)
            self._say_that_it_stops()
        else:
            self._warn_of_what_never_ran()
        self._end_clusters(ending)
        session.withdraw_demands()
        for cluster in self._clusters:
            cluster.wait()
        session.close(ending)
        if self._progress_bar is not None:
            self._progress_bar.close()
        for name in [name for cluster in self._clusters for name in cluster.join(_THREADS_JOIN_SECONDS)]:
            logger.warning("the thread %s has not ended; it was left behind", name)
        _open_golems.discard(self)

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
        for cluster in self._clusters:
            if cluster.is_untouched:
                logger.warning(
                    "%r is stopped before anything of it ran (%s): wait for it inside the `with`, e.g. by "
                    "cluster.wait(60) or cluster.wait_until_running()",
                    cluster,
                    cluster.market_report(),
                )

    def _end_clusters(self, ending: ShutdownTimes) -> None:
        for cluster in self._clusters:
            cluster.end(ending, "the Golem is being closed")

    def _shorten(self, ending: ShutdownTimes) -> None:
        """Shorten a closing that is under way."""
        self._end_clusters(ending)
        session = self._session
        if session is None:
            return
        if ending.is_shortened:
            self._ending = ending
        session.shorten(ending)

    def _raise_for_failures(self) -> None:
        if not self._raise_failures:
            return
        broken = [one for one in self.instances if one.failure is not None]
        if any(not one.failure_told for one in broken):
            raise failed(broken, f"{len(broken)} of {len(self.instances)} instances failed:")

    def _shorten_by_signal(self) -> None:
        """From a signal handler, in the middle of anything: the timer's thread does the rest."""
        hurried = self._ending is not None and self._ending.is_shortened
        ending = ShutdownTimes.aborted() if hurried else ShutdownTimes.interrupted()
        self._ending = ending
        session = self._session
        if session is not None:
            session.timer.call_in(0.0, partial(self._shorten, ending))

    # --- telling what happens -------------------------------------------------------------------------

    def on_event(self, listener: Listener) -> Listener:
        """Call `listener(event)` for everything that happens from now on; returns it, so it decorates too.

        Events come one after the other, in order, on a thread of their own: a slow listener holds up nobody,
        and an error in it is logged. They are those of `simple_golem.events`; `str(event)` is a line
        for a log.

        Example:
            @golem.on_event
            def show(event):
                print(event)
        """
        if not callable(listener):
            raise BadListener(f"{listener!r} can't be called: give a function that takes an event")
        with self._lock:
            self._listeners.append(listener)
            if self._session is not None:
                self._session.events.add(listener)
        return listener

    # --- running services -----------------------------------------------------------------------------

    def run_service(
        self,
        service_class: type[Service],
        *,
        num_instances: int | None = None,
        instance_params: Sequence[Mapping[str, Any]] | None = None,
        payload: Payload | None = None,
        expiration: datetime | timedelta | None = None,
        strategy: Strategy | Score | None = None,
        terms: Terms | None = None,
        start_timeout: float | None = None,
        respawn_unstarted_instances: bool = True,
        respawn_running: bool = False,
        respawn_stop: StopBaseT = DEFAULT_RESPAWN_STOP,
        respawn_wait: WaitBaseT = DEFAULT_RESPAWN_WAIT,
    ) -> Cluster:
        """Start instances of a service and return at once with their `Cluster`.

        Blocks for the image registry and for publishing the demand, not for providers.

        Args:
            service_class: a subclass of `Service`, or `Service` itself with a payload.
            num_instances: how many; 1 if neither this nor `instance_params` says more.
            instance_params: keyword arguments of the constructor, a mapping for each instance.
            payload: what to run on; None asks the class's `get_payload`.
            expiration: when the cluster ends of itself: an aware datetime, or a timedelta from now;
                None is 180 minutes.
            strategy, terms: other ones than those of the Golem.
            start_timeout: seconds that each instance has to get to run, else it has failed; None: no bound.
            respawn_unstarted_instances: whether an instance that fails before it runs tries another provider.
            respawn_running: whether one that was running and lost its activity does.
            respawn_stop, respawn_wait: tenacity's objects that say how often, and after which pauses.

        Raises:
            BadService, BadInstanceCount, BadPayload, BadStrategy, BadWaitTime: the argument at fault is
                named.
            OutOfBudget: the budget is used up; `top_up` comes first.
            UnknownImage, RegistryError: the image can't be found.
            Exception: whatever the constructor of the service raises; nothing is spent then.
        """
        return self._run(
            ClusterBuilder.checked(
                self._opened().settings.registry_url,
                service_class,
                num_instances,
                instance_params,
                payload,
                expiration,
                strategy=self._strategy if strategy is None else require_strategy(strategy),
                terms=self._terms if terms is None else require_terms(terms),
                respawn=Respawn.checked(
                    respawn_unstarted_instances, respawn_running, respawn_stop, respawn_wait
                ),
                start_timeout=checked_seconds(start_timeout, "start_timeout"),
            )
        )

    def resume_service(
        self,
        service_class: type[Service],
        suspended: Sequence[SuspendedInstance],
        *,
        instance_params: Sequence[Mapping[str, Any]] | None = None,
        payload: Payload | None = None,
        expiration: datetime | timedelta | None = None,
        respawn_running: bool = False,
    ) -> Cluster:
        """Take up instances that were suspended by an earlier session, with the same activities.

        `deploy()` and `start()` are not called again; `run()` is. From now on this Golem's budget pays for
        them, and that of the earlier session is released. Blocks as `run_service` does.

        Args:
            service_class: the class of the services.
            suspended: what `cluster.suspend()` or `instance.suspend()` returned.
            instance_params: keyword arguments of the constructor, a mapping for each instance.
            payload: for new providers, if there have to be any; None asks the class's `get_payload`.
            expiration: when the cluster ends of itself; None is 180 minutes from now.
            respawn_running: whether one that has lost its activity is started anew on another provider.

        Raises:
            BadInstanceCount: `suspended` is empty, or has something else in it.
            NotRunning: one of them was resumed before.
        """
        kept = list(suspended)
        if not kept or not all(isinstance(one, SuspendedInstance) for one in kept):
            raise BadInstanceCount(f"suspended is {suspended!r}: give what cluster.suspend() returned")
        respawn = Respawn.checked(
            respawn_running, respawn_running, DEFAULT_RESPAWN_STOP, DEFAULT_RESPAWN_WAIT
        )
        return self._run(
            ClusterBuilder.checked(
                self._opened().settings.registry_url,
                service_class,
                len(kept),
                instance_params,
                payload,
                expiration,
                strategy=self._strategy,
                terms=self._terms,
                respawn=respawn,
                adopted=kept,
            )
        )

    def _run(self, order: ClusterBuilder) -> Cluster:
        session = self._opened()
        if session.budget_watch.is_used_up:
            raise OutOfBudget(
                f"the budget of {plain(session.budget.total)} GLM is used up: call golem.top_up(amount) first"
            )
        cluster: Cluster = session.on_worker(self._launch, session, order)
        return cluster

    def _launch(self, session: Session, order: ClusterBuilder) -> Cluster:
        cluster = order.cluster(session, self._stop_grace)
        # As long as nothing lives: what can't be resumed must not be ended with this cluster.
        session.adopt(order.adopted)
        with self._lock:
            if self._closed:
                raise NotRunning("this Golem is being closed")
            self._clusters.append(cluster)
        try:
            cluster.open_market()
        except GolemError:
            cluster.end(ShutdownTimes.aborted(), "the demand could not be published")
            with self._lock:
                self._clusters.remove(cluster)
            raise
        finally:
            # Also where it was ended already: closing may be waiting for what would never have lived.
            cluster.begin()
        self._arrange_end(session, cluster)
        return cluster

    def _arrange_end(self, session: Session, cluster: Cluster) -> None:
        left = (cluster.expiration - datetime.now(timezone.utc)).total_seconds()
        begin = max(left - self._stop_grace - EXPIRATION_RESERVE_SECONDS, left / 2)

        def expire() -> None:
            if not cluster.wait(0):
                logger.info("%r has reached its expiration and is stopped", cluster)
                cluster.end(ShutdownTimes.ordinary(self._stop_grace), "the expiration is near")

        session.timer.call_in(begin, expire)

    # --- money -------------------------------------------------------------------------------------------

    def top_up(self, amount: float | str | Decimal) -> Decimal:
        """Set more GLM aside for this Golem; returns the new budget. Blocks for as long as the daemon takes.

        Args:
            amount: GLM to be added.

        Raises:
            BadBudget: it is no positive amount.
            AllocationRefused: there are not enough funds; the budget stays as it is.
            NotRunning: the Golem is not open.
        """
        more = parse_budget(amount, "amount")
        session = self._opened()
        total: Decimal = session.on_worker(session.budget.top_up, more)
        session.budget_watch.topped_up()
        session.payments.topped_up()
        session.chooser.topped_up()
        return total

    def _budget_is_used_up(self) -> None:
        """From the engine: stop everything in good order, the first cluster first."""
        session = self._session
        if session is None:
            return
        error = OutOfBudget(f"the budget is used up: {session.budget_watch.told()}")
        for cluster in self.clusters:
            cluster.cut_off(ShutdownTimes.out_of_budget(self._stop_grace), error)

    def offers(self, payload: Payload | None = None, timeout: float = 5.0) -> tuple[Offer, ...]:
        """Look at what is on the market, cheapest first, without committing to anything.

        Works whether or not the Golem is open, and needs no funds. Blocks until a second has brought no new
        offer, for `timeout` seconds at most.

        Args:
            payload: what is asked for; None is the default image, on any provider.
            timeout: seconds at most.

        Raises:
            NoDaemon, BadAppKey: nobody answers, or does not know the key.

        Example:
            for offer in golem.offers(vm.repo(min_mem_gib=4)):
                print(offer.provider_name, offer.prices.per_hour)
        """
        wanted = vm.repo() if payload is None else require_payload(payload)
        seconds = checked_seconds(timeout, "timeout", allow_none=False) or 0.0
        return offers_on_market(self._settings, wanted, seconds, self._strategy)

    def _opened(self) -> Session:
        session = self._session
        if session is None or self._closed:
            raise NotRunning(
                "this Golem is closed; make a new one"
                if self._closed
                else "this Golem is not open: write `with Golem(budget=1) as golem:`, or call golem.open()"
            )
        session.check_process()
        return session

    def __repr__(self) -> str:
        if self._session is None:
            return "<Golem: not open>"
        state = "closed" if self._closed else "open"
        return f"<Golem: {state}, {len(self.instances)} instances, cost {self.cost}>"

    # --- what stays readable after closing ------------------------------------------------------------

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """All clusters of this Golem, in the order of their start."""
        return tuple(self._clusters)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances of all clusters."""
        return tuple(instance for cluster in self._clusters for instance in cluster.instances)

    @property
    def budget(self) -> Decimal:
        """GLM that may be spent, with all that was topped up."""
        return self._session.budget.total if self._session is not None else self._budget

    @property
    def cost(self) -> Cost:
        """What was spent so far: invoices accepted, and debit notes of what has no invoice yet."""
        settings = self._settings
        spent = self._session.ledger.cost() if self._session is not None else Decimal(0)
        return Cost(spent, settings.currency, settings.payment_network, settings.is_test_money)

    @property
    def cost_report(self) -> CostReport:
        """The same, agreement by agreement: printed it is a table, `to_json()` is for programs."""
        accounts = self._session.ledger.accounts() if self._session is not None else ()
        return CostReport(tuple(account.entry() for account in accounts), self.cost)


@atexit.register
def _close_what_is_open() -> None:
    for golem in list(_open_golems):
        logger.warning(
            "a Golem was still open at the end of the program and is closed now; next time call golem.close()"
        )
        try:
            golem.close(timeout=10)
        except (GolemError, ServiceFailed) as error:
            logger.error("%s", error)

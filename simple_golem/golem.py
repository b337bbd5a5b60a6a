"""Golem: open a session with a daemon, run services in it, and leave nothing behind."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

# Only the engine needs it, which is loaded when a Golem is opened. But it takes 0.1 seconds, and nobody
# expects them there.
import requests  # noqa: F401
import tenacity
from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT

from .background.cancellation import checked_seconds
from .background.signals import EndSignals, Terminated, shortening
from .background.threads import on_engine_thread
from .engine.shutdown_times import STOP_GRACE_SECONDS, ShutdownTimes
from .errors import (
    BadInstanceCount,
    BadListener,
    BadSetting,
    GolemError,
    NotRunning,
    ServiceFailed,
)
from .model.cost import Cost
from .model.cost_report import CostReport
from .model.offers.offer import Offer
from .model.offers.strategy import Score, Strategy, require_strategy
from .model.offers.terms import Terms, require_terms
from .model.payload import vm
from .model.payload.payload import Payload, require_payload
from .model.service.service import Service
from .model.service.suspended import SuspendedInstance
from .model.settings import HEALTH_MISSES, HEALTH_SECONDS, Settings, parse_budget

if TYPE_CHECKING:
    from .engine.event_dispatcher import Listener
    from .services.cluster import Cluster
    from .services.instance import Instance
    from .services.open_golem import OpenGolem

logger = logging.getLogger(__name__)

DEFAULT_RESPAWN_STOP: StopBaseT = tenacity.stop_after_attempt(3)
DEFAULT_RESPAWN_WAIT: WaitBaseT = tenacity.wait_exponential(max=30)
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
        self._end_signals = EndSignals()
        self._lock = threading.Lock()
        self._opened: OpenGolem | None = None
        self._listeners: list[Listener] = []
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
        # The engine takes 45 ms to load: only programs that open a Golem pay for it.
        from .services.open_golem import OpenGolem

        with self._lock:
            if self._closed:
                raise NotRunning("this Golem was closed; make a new one")
            if self._opened is not None:
                self._opened.session.check_process()
                return self
            for other in list(_open_golems):
                logger.warning(
                    "another Golem is open in this process, with %s: each has its own budget and providers",
                    ", ".join(instance.name for instance in other.instances) or "no instances",
                )
            self._opened = OpenGolem(
                self._settings,
                stop_grace=self._stop_grace,
                health_interval=self._health_interval,
                health_misses=self._health_misses,
                listeners=self._listeners,
                progress=self._progress,
                on_closed=partial(_open_golems.discard, self),
            )
        try:
            self._opened.open(self._budget)
        except BaseException as error:
            # Ctrl-C in the middle: what was made by then is released; else there is nothing to release.
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._finish(ShutdownTimes.interrupted())
            with self._lock:
                self._opened = None
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
        """Close in the times of `ending`; a Golem that was never opened can't be opened any more."""
        with self._lock:
            self._closed = True
            opened = self._opened
        if opened is not None:
            opened.close(ending)

    def _raise_for_failures(self) -> None:
        if self._raise_failures and self._opened is not None:
            self._opened.raise_for_failures()

    def _shorten_by_signal(self) -> None:
        if self._opened is not None:
            self._opened.shorten_by_signal()

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
            if self._opened is not None:
                self._opened.session.events.add(listener)
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
        return self._open_one().run_service(
            service_class,
            num_instances,
            instance_params,
            payload,
            expiration,
            strategy=self._strategy if strategy is None else require_strategy(strategy),
            terms=self._terms if terms is None else require_terms(terms),
            respawn=(respawn_unstarted_instances, respawn_running, respawn_stop, respawn_wait),
            start_timeout=checked_seconds(start_timeout, "start_timeout"),
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
        return self._open_one().run_service(
            service_class,
            len(kept),
            instance_params,
            payload,
            expiration,
            strategy=self._strategy,
            terms=self._terms,
            respawn=(respawn_running, respawn_running, DEFAULT_RESPAWN_STOP, DEFAULT_RESPAWN_WAIT),
            adopted=kept,
        )

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
        return self._open_one().top_up(more)

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
        # As in `open`: it needs the engine.
        from .engine.market.offer_preview import offers_on_market

        wanted = vm.repo() if payload is None else require_payload(payload)
        seconds = checked_seconds(timeout, "timeout", allow_none=False) or 0.0
        return offers_on_market(self._settings, wanted, seconds, self._strategy)

    def _open_one(self) -> OpenGolem:
        opened = self._opened
        if opened is None or self._closed:
            raise NotRunning(
                "this Golem is closed; make a new one"
                if self._closed
                else "this Golem is not open: write `with Golem(budget=1) as golem:`, or call golem.open()"
            )
        opened.session.check_process()
        return opened

    def __repr__(self) -> str:
        if self._opened is None:
            return "<Golem: not open>"
        state = "closed" if self._closed else "open"
        return f"<Golem: {state}, {len(self.instances)} instances, cost {self.cost}>"

    # --- what stays readable after closing ------------------------------------------------------------

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """All clusters of this Golem, in the order of their start."""
        return tuple(self._opened.clusters) if self._opened is not None else ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances of all clusters."""
        return self._opened.instances if self._opened is not None else ()

    @property
    def budget(self) -> Decimal:
        """GLM that may be spent, with all that was topped up."""
        return self._opened.session.budget.total if self._opened is not None else self._budget

    @property
    def cost(self) -> Cost:
        """What was spent so far: invoices accepted, and debit notes of what has no invoice yet."""
        settings = self._settings
        spent = self._opened.session.ledger.cost() if self._opened is not None else Decimal(0)
        return Cost(spent, settings.currency, settings.payment_network, settings.is_test_money)

    @property
    def cost_report(self) -> CostReport:
        """The same, agreement by agreement: printed it is a table, `to_json()` is for programs."""
        accounts = self._opened.session.ledger.accounts() if self._opened is not None else ()
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

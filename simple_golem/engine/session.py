"""What all instances of one open Golem share: the daemon, the money, the market, the threads."""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from ..background.cancellation import Scope, ScopeEnded, await_future
from ..background.forks import current_process, refuse_in_child
from ..background.log_guard import guard_loggers
from ..background.threads import WorkerPool
from ..background.timer import Timer
from ..errors import AllocationRefused, GolemError, NoDaemon, NotRunning, Overcharged, YagnaError
from ..model.cost import Cost
from ..model.local_offers import why_no_offers, why_no_private_networks
from ..model.service.suspended import SuspendedInstance
from ..model.settings import Settings
from ..yagna.client import Yagna
from ..yagna.daemon_events import DaemonEvents
from ..yagna.values import Identity
from .activity.health_check import HealthCheck
from .agreements import Agreements
from .cleanup.clean_up import BackgroundCleanup
from .event_dispatcher import EventDispatcher
from .files.publisher import FilePublisher
from .market.agreement import AgreementMaker
from .market.chooser import Chooser
from .market.providers import Providers
from .payment.budget import COVERED
from .payment.journal_record import JournalOwner
from .payment.money import Money
from .published_demands import PublishedDemands
from .shutdown_times import ShutdownPart, ShutdownTimes

if TYPE_CHECKING:
    from .network.networks import Networks

logger = logging.getLogger(__name__)
T = TypeVar("T")
_CLOSED = "this Golem is being closed"

# Characters of a wrong answer that an error shows.
_LONGEST_ANSWER = 160
_WORKERS = 32
_COUNTER_WORKERS = 16
# The last requests of a session that is closed get so long after the time for invoices is over.
_LAST_REQUESTS_SECONDS = 5.0
_LAST_REQUESTS_SECONDS_IF_LIMITED = 1.5
_LAST_REQUESTS_SECONDS_IF_SHORTENED = 0.3
_JOIN_SECONDS = 2.0
# The allocation is prolonged this often, so that it exists when something is run after hours.
_PROLONG_SECONDS = 1800.0
# A daemon that does not run is told of at once, and not after the time of a restart.
_FIRST_ANSWER_SECONDS = 1.0


class Session:
    """One session with a daemon, from its allocation to the last invoice.

    Args:
        settings: the daemon, the payment platform and the subnet.
        health_interval: seconds between two checks of an activity.
        health_misses: checks without an answer that make an activity unresponsive.
        on_budget_used_up: called when the budget is used up, by an engine thread; it must not block.

    Attributes:
        made_in: the process that may use it.
        app_session_id: the daemon lists agreements, debit notes and invoices under this id.
        yagna: the daemon.
        events: the dispatcher of events; `emit` gives it one.
        timer: calls what has its time.
        workers: do what must not delay other threads.
        counter_workers: send counter-proposals.
        asking: cancelled when the time is over in which requests for new things may be answered.
        release_scope: cancelled when the time for releasing everything is over.
        files: publishes files for providers.
        demands: those on the market.
        providers, chooser, agreement_maker: which providers are occupied, which one comes next, and how
            it is asked.
        money: budget, accounts and answers to providers.
        agreements: those in force.
    """

    def __init__(
        self,
        settings: Settings,
        health_interval: float,
        health_misses: int,
        on_budget_used_up: Callable[[], object],
    ) -> None:
        self.settings = settings
        self.made_in = current_process()
        self.app_session_id = secrets.token_hex(16)
        self.yagna = Yagna(
            settings.api_url,
            settings.app_key,
            market_url=settings.market_url,
            activity_url=settings.activity_url,
            payment_url=settings.payment_url,
        )
        self.events = EventDispatcher()
        self.emit = self.events.emit
        self.timer = Timer()
        self.workers = WorkerPool("golem-worker", _WORKERS)
        # They have no other work: a counter-proposal to a provider that is away takes a minute.
        self.counter_workers = WorkerPool("golem-counter", _COUNTER_WORKERS)
        self.release_scope = Scope()
        self.asking = Scope(self.release_scope)
        self._stop = Scope()
        self.files = FilePublisher(self.yagna)
        self.providers = Providers()
        self.chooser = Chooser(self.providers)
        self.agreement_maker = AgreementMaker(self.yagna, self.app_session_id, self.emit)
        self.money = Money(
            self.yagna,
            settings.payment_platform,
            self.timer,
            self.asking,
            self._stop,
            self.emit,
            on_overcharge=self._overcharged,
            on_used_up=on_budget_used_up,
        )
        self.demands = PublishedDemands(
            self.yagna,
            self.app_session_id,
            self.workers,
            self.asking,
            self.release_scope,
            on_left=lambda: self.money.journals.write("demands left"),
        )
        self._health = HealthCheck(self._stop, health_interval, health_misses)
        self.agreements = Agreements(
            self.yagna,
            self.app_session_id,
            self.money,
            self.chooser,
            self.providers,
            self._health,
            self._stop,
        )
        self._daemon_events = DaemonEvents(
            self.yagna,
            self._stop,
            on_agreement=self.agreements.agreement_event,
            on_debit_note=self.money.payments.debit_note_event,
            on_invoice=self.money.payments.invoice_event,
        )
        self._cleanup = BackgroundCleanup(self.yagna, self.app_session_id, self._stop, self.emit)
        # Guards the number of works of `on_worker` that are under way.
        self._works_changed = threading.Condition()
        self._works = 0
        # Guards the rest.
        self._lock = threading.Lock()
        self._given_advice: set[str] = set()
        self._networks: Networks | None = None
        self._own_node_id = ""

    # --- opening --------------------------------------------------------------------------------------

    def open(self, budget: Decimal) -> None:
        """Check daemon and key, allocate the budget, and start the session's threads; blocks for requests.

        Raises:
            NoDaemon, BadAppKey: no daemon answers, or it does not know the key.
            AllocationRefused: the budget could not be allocated.
        """
        self.timer.start()
        try:
            self.on_worker(self._open, budget)
        except (KeyboardInterrupt, SystemExit):
            raise  # `close` releases what was made by now
        except BaseException:
            self._end_threads()
            raise

    def _open(self, budget: Decimal) -> None:
        identity = self._identity()
        if self.yagna.clock.ahead:
            logger.warning(
                "%s: times that are sent to the daemon are corrected; set the clock of this machine",
                self.yagna.clock,
            )
        owner = JournalOwner(self.settings.api_url, identity.node_id, self.settings.payment_platform)
        self._own_node_id = identity.node_id
        self.money.journals.create(owner, self.app_session_id)
        try:
            self.money.budget.allocate(budget)
        except AllocationRefused:
            # A killed session may still hold the funds that are missing.
            if not self._cleanup.is_needed(owner):
                raise
            self._cleanup.run_once(owner)
            self.money.budget.allocate(budget)
        self._daemon_events.follow(self.app_session_id)
        self._health.start()
        self.timer.call_in(_PROLONG_SECONDS, self._prolong_allocation)
        self._cleanup.start(owner)
        for reason in why_no_offers(self.settings):
            logger.warning("no provider of the local network can answer: %s", reason)

    def _identity(self) -> Identity:
        """Ask the daemon whose app key it is, which shows also whether it is one."""
        try:
            return self.yagna.identity.me(within=_FIRST_ANSWER_SECONDS, scope=self.asking)
        except YagnaError as error:
            if error.status is not None and error.status >= 500:
                raise
            answer = str(error)[:_LONGEST_ANSWER]
            raise NoDaemon(
                f"what answers at {self.settings.api_url} is no yagna daemon ({answer}): set YAGNA_API_URL, "
                "or the argument api_url, to where yagna listens"
            ) from error

    def _prolong_allocation(self) -> None:
        if self._stop.cancelled:
            return
        self.workers.post(self._cover_next_hours)
        self.timer.call_in(_PROLONG_SECONDS, self._prolong_allocation)

    def _cover_next_hours(self) -> None:
        try:
            self.money.budget.cover(datetime.now(timezone.utc) + COVERED)
        except GolemError as error:
            logger.warning("the allocation of the budget could not be prolonged: %s", error)

    # --- while it is open -----------------------------------------------------------------------------

    def on_worker(self, work: Callable[..., T], *args: object) -> T:
        """Do `work` on a worker, and block until it is done.

        So Ctrl-C can't fall between the daemon's answer and its record. It ends the wait, but not the work:
        `close` waits for that, and releases what was made.

        Raises:
            NotRunning: the session is being closed.
        """
        refuse_in_child(self.made_in)
        # Counted here, and not by the worker, which may begin after the closing has looked.
        with self._works_changed:
            self._works += 1
        try:
            future = self.workers.submit(self._counted, work, *args)
            await_future(future)
            error = future.exception()
        except (RuntimeError, CancelledError) as closed:  # no worker begins it any more
            self._count_no_more()
            raise NotRunning(_CLOSED) from closed
        if isinstance(error, ScopeEnded):
            raise NotRunning(_CLOSED) from error
        if isinstance(error, GolemError):
            raise error.with_traceback(None)  # the frames of the worker tell the caller nothing
        result: T = future.result()
        return result

    def _counted(self, work: Callable[..., T], *args: object) -> T:
        try:
            return work(*args)
        finally:
            self._count_no_more()

    def _count_no_more(self) -> None:
        with self._works_changed:
            self._works -= 1
            self._works_changed.notify_all()

    def _await_works(self, until: float) -> None:
        """Block until nothing of `on_worker` is under way, until `until` on the monotonic clock at most."""
        with self._works_changed:
            self._works_changed.wait_for(lambda: not self._works, max(0.0, until - time.monotonic()))

    def is_new_advice(self, advice: str) -> bool:
        """Return True in the first call for some advice, and False ever after."""
        with self._lock:
            is_new = advice not in self._given_advice
            self._given_advice.add(advice)
        return is_new

    @property
    def networks(self) -> Networks:
        """Private networks, and the connections to instances in them; made when they are first needed."""
        with self._lock:
            if self._networks is None:
                # They take 6 ms, and few programs have networks.
                from .network.networks import Networks

                guard_loggers()
                self._networks = Networks(
                    self.yagna.network,
                    self.money.journals.write,
                    self.asking,
                    self._stop,
                    self.emit,
                    self.timer,
                    self._own_node_id,
                    why_no_private_networks(self.settings),
                )
            return self._networks

    def _close_networks(self, timeout: float) -> bool:
        return self._networks is None or self._networks.close(timeout)

    def resume(self, suspended: Sequence[SuspendedInstance]) -> None:
        """Take over the agreements of suspended instances, and pay for them; blocks for requests.

        Raises:
            NotRunning: one of them is not suspended any more; all are left as they are.
        """
        self.agreements.take_over(suspended)
        for one in suspended:
            self._daemon_events.follow(one.app_session_id)
        if any(one.network_id for one in suspended):
            self.networks.adopt(suspended)

    def top_up(self, amount: Decimal) -> Decimal:
        """Enlarge the budget; returns the new total. Blocks for one request.

        Raises:
            AllocationRefused: there are not enough funds; the budget stays as it is.
        """
        total = self.money.top_up(amount)
        self.chooser.look_again()
        return total

    def cost(self, agreement_ids: Iterable[str] | None = None) -> Cost:
        """Return what these agreements have cost so far, or all (None)."""
        settings = self.settings
        amount, accrued = self.money.cost(agreement_ids)
        return Cost(amount, settings.currency, settings.payment_network, settings.is_test_money, accrued)

    def _overcharged(self, agreement_id: str, error: Overcharged) -> None:
        self.agreements.overcharged(agreement_id, error)

    # --- closing --------------------------------------------------------------------------------------

    def close(self, times: ShutdownTimes) -> None:
        """Wait for the invoices, release the rest of the budget, and end the session's threads.

        Blocks for as long as `times` says. All instances have to be stopped.
        """
        until = times.limit(ShutdownPart.INVOICES)
        is_limited = times.last_moment != math.inf
        self._cancel_release_at(
            until + (_LAST_REQUESTS_SECONDS_IF_LIMITED if is_limited else _LAST_REQUESTS_SECONDS)
        )
        self._await_works(until)
        self.money.wait_for_invoices(until)
        self.demands.close()
        if self._networks is not None:
            self._networks.end_all(self.release_scope)
        self.money.budget.release(self.release_scope)
        self._end_threads()

    def bound(self, times: ShutdownTimes) -> None:
        """Abandon the requests that are still under way some seconds after the end of `times`."""
        self._abandon_asking_at(times)
        if times.last_moment != math.inf:
            self._cancel_release_at(times.last_moment + _LAST_REQUESTS_SECONDS_IF_LIMITED)

    def shorten(self, times: ShutdownTimes) -> None:
        """Have `close` end earlier, as `times` says; from any thread, without blocking."""
        self._abandon_asking_at(times)
        until = times.last_moment
        if until == math.inf:
            return
        last = max(until, times.limit(ShutdownPart.RELEASE)) if times.is_shortened else until
        self._cancel_release_at(last + _LAST_REQUESTS_SECONDS_IF_SHORTENED)
        self.money.expected.shorten(until)

    def _abandon_asking_at(self, times: ShutdownTimes) -> None:
        moment = times.limit(ShutdownPart.METHOD)
        self.timer.call_at(moment, lambda: self.asking.cancel("the Golem is being closed"))

    def _cancel_release_at(self, moment: float) -> None:
        self.timer.call_at(moment, lambda: self.release_scope.cancel("no time left"))

    def _end_threads(self) -> None:
        """End all threads: first those that give work to others."""
        self._stop.cancel("the Golem is closed")
        stuck = [
            *self._daemon_events.join(_JOIN_SECONDS),
            *self._cleanup.join(_JOIN_SECONDS),
            *self._health.join(_JOIN_SECONDS),
            *self.demands.join(_JOIN_SECONDS),
            *self.counter_workers.close(_JOIN_SECONDS),
            *self.money.close(_JOIN_SECONDS),
            *self.workers.close(_JOIN_SECONDS),
        ]
        for name, close in (
            ("golem-connections", self._close_networks),
            ("golem-files", self.files.close),
            ("golem-timer", self.timer.close),
            ("golem-events", self.events.close),
        ):
            stuck += [] if close(_JOIN_SECONDS) else [name]
        if stuck:
            logger.warning("threads that did not end in time: %s", ", ".join(stuck))
        self.demands.tell_of_withdrawals()
        self.yagna.close()
        self.money.journals.close()

"""What all instances of one open Golem share: the daemon, the money, the market, the threads."""

from __future__ import annotations

import logging
import math
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import wait
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from typing import Protocol, TypeVar

from ..background.cancellation import Scope, ScopeEnded
from ..background.threads import EngineThread, WorkerPool
from ..background.timer import Timer
from ..errors import AllocationRefused, ForkedGolem, GolemError, NotRunning, Overcharged
from ..model.cost import Cost
from ..model.service.suspended import SuspendedInstance
from ..model.settings import Settings
from ..yagna.client import Yagna
from ..yagna.event_reader import POLL_SECONDS, follow
from ..yagna.transport.retry import Repeat
from ..yagna.values import AgreementEvent
from .activity.health_check import HealthCheck
from .cleanup import clean_up
from .event_dispatcher import EventDispatcher
from .files.publisher import FilePublisher
from .market.agreement import AgreementMaker
from .market.chooser import Chooser
from .market.demand import Demand
from .market.providers import Providers
from .payment.budget import COVERED, Budget, BudgetWatch
from .payment.journal import JournalOwner, dead_journals, journal_of
from .payment.ledger import Books, Ledger, account_of
from .payment.payments import Payments
from .shutdown_times import ShutdownPart, ShutdownTimes

logger = logging.getLogger(__name__)
T = TypeVar("T")

_WORKERS = 32
_COUNTER_WORKERS = 16
_HEALTH_WORKERS = 8
_PAYMENT_WORKERS = 32
# What the last calls of a closing session get when its time is over.
_LAST_CALLS_SECONDS = 0.3
_LAST_CALLS_UNHURRIED_SECONDS = 5.0
_JOIN_SECONDS = 2.0
# How often the allocation's end is put off.
_COVER_SECONDS = 1800.0
# How long an interrupted call that the daemon alone answers is waited for.
_ANSWER_SECONDS = 4.0


class Watcher(Protocol):
    """Who wants to know what a provider does under an agreement."""

    def agreement_ended(self, reason: str) -> None: ...
    def overcharged(self, error: Overcharged) -> None: ...


class Session:
    """One session with a daemon, from its allocation to the last invoice."""

    def __init__(self, settings: Settings, health_interval: float, health_misses: int) -> None:
        self.settings = settings
        self.app_session_id = secrets.token_hex(16)
        self.yagna = Yagna(
            settings.api_url,
            settings.app_key,
            market_url=settings.market_url,
            activity_url=settings.activity_url,
            payment_url=settings.payment_url,
        )
        self.timer = Timer()
        self.workers = WorkerPool("golem-worker", _WORKERS)
        # Of their own, since a provider that is away holds a counter-proposal up for a minute.
        self.counter_workers = WorkerPool("golem-counter", _COUNTER_WORKERS)
        self._health_workers = WorkerPool("golem-look", _HEALTH_WORKERS)
        self.files = FilePublisher(self.yagna)
        self.providers = Providers()
        self.chooser = Chooser(self.providers)
        self.events = EventDispatcher()
        self.emit = self.events.emit
        self.agreements = AgreementMaker(self.yagna, self.app_session_id, self.emit)
        self.release = Scope()
        self._stop = Scope()
        self.books = Books()
        self.ledger = Ledger(self.books)
        self.budget = Budget(self.yagna, settings.payment_platform, self.ledger, self.emit)
        self.budget_watch = BudgetWatch(self.budget, self.ledger, self.timer, self.emit)
        # Of their own, since a provider that is away holds an accept up for 15 seconds.
        self._payment_workers = WorkerPool("golem-payment", _PAYMENT_WORKERS)
        self.payments = Payments(
            self.yagna,
            self.app_session_id,
            self.budget,
            self.budget_watch,
            self.ledger,
            self._payment_workers,
            self._stop,
            self.emit,
        )
        self.payments.on_overcharge = self._overcharged
        self.health = HealthCheck(self._health_workers, self._stop, health_interval, health_misses)
        self._demands: list[Demand] = []
        self._watched: dict[str, Watcher] = {}
        self._agreement_events: dict[str, EngineThread] = {}
        self._cleaner: EngineThread | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closing = False
        self._advised: set[str] = set()

    def open(self, budget: Decimal) -> None:
        """Prove that daemon and key are good, set the budget aside, and start the session's threads.

        Raises:
            NoDaemon, BadAppKey: nobody answers, or does not know the key.
            AllocationRefused: the budget could not be set aside.
        """
        self.timer.start()
        try:
            self.on_worker(self._open, budget)
        except (KeyboardInterrupt, SystemExit):
            raise  # what was made by now is released by closing
        except BaseException:
            self._end_threads()
            raise

    def _open(self, budget: Decimal) -> None:
        identity = self.yagna.identity.me(repeat=Repeat.NEVER)
        whose = JournalOwner(self.settings.api_url, identity.node_id, self.settings.payment_platform)
        self.books.begin(whose, self.app_session_id)
        try:
            self.budget.allocate(budget)
        except AllocationRefused:
            # What a killed session still holds may be what is missing.
            if not self._has_others_to_clean_up(whose):
                raise
            clean_up(self.yagna, whose, self._stop, self.emit, wait=0.0)
            self.budget.allocate(budget)
        self.payments.start()
        self._watch_agreements_of(self.app_session_id)
        self.health.start()
        self.timer.call_in(_COVER_SECONDS, self._keep_covered)
        self._clean_up_after_others(whose)

    def _clean_up_after_others(self, whose: JournalOwner) -> None:
        """In the background, and for as long as this session lives: late invoices come late."""
        if self._has_others_to_clean_up(whose):
            work = partial(clean_up, self.yagna, whose, self._stop, self.emit, wait=None)
            self._cleaner = EngineThread("golem-cleanup", work).start()

    def _has_others_to_clean_up(self, whose: JournalOwner) -> bool:
        own = journal_of(self.app_session_id)
        return any(path != own for path in dead_journals(whose))

    def _keep_covered(self) -> None:
        """A session that idles for hours must still have its allocation when it runs something."""
        if self._stop.cancelled:
            return
        self.workers.post(self._cover)
        self.timer.call_in(_COVER_SECONDS, self._keep_covered)

    def _cover(self) -> None:
        try:
            self.budget.cover(datetime.now(timezone.utc) + COVERED)
        except GolemError as error:
            logger.warning("the budget could not be kept for longer: %s", error)

    def on_worker(self, work: Callable[..., T], *args: object) -> T:
        """Do `work` on a worker and wait: a Ctrl-C can't fall between a daemon's answer and its record."""
        self.check_process()
        future = self.workers.submit(work, *args)
        try:
            error = future.exception()
            if isinstance(error, GolemError):
                raise error.with_traceback(None)  # the worker's frames are none of the caller's
            return future.result()
        except (KeyboardInterrupt, SystemExit):
            # It takes milliseconds, and what it made must be known before it can be released.
            if wait([future], timeout=_ANSWER_SECONDS).not_done:
                logger.warning(
                    "the daemon has not answered yet: what was asked of it last may still come to be there; "
                    "`yagna payment status` shows allocations"
                )
            raise

    def check_process(self) -> None:
        if os.getpid() != self._process:
            raise ForkedGolem(
                "this Golem was opened in the parent process, and its threads stayed there: "
                "open it in the worker"
            )

    def first_time(self, advice: str) -> bool:
        """Whether some advice has not been given in this session yet."""
        new = advice not in self._advised
        self._advised.add(advice)
        return new

    def add_demand(self, demand: Demand) -> None:
        """Publish a demand that closing takes off the market.

        Raises:
            NotRunning: closing has begun.
        """
        with self._lock:
            if self._closing:
                raise NotRunning("this Golem is being closed")
            self._demands = [one for one in self._demands if not one.finished]
            self._demands.append(demand)
        try:
            demand.publish()
        except ScopeEnded as error:
            raise NotRunning("this Golem is being closed") from error

    def adopt(self, suspended: Sequence[SuspendedInstance]) -> None:
        """Take over the agreements and the money of instances that an earlier session has suspended.

        Raises:
            NotRunning: one of them is not suspended any more; all are left as they are.
        """
        if len({one.agreement_id for one in suspended}) < len(suspended):
            raise NotRunning("an instance is named twice: each can be resumed once")
        kept = [
            (one, self.books.take_over(one.app_session_id, one.agreement_id, self._stop)) for one in suspended
        ]
        unknown = {
            one.agreement_id: self.yagna.market.agreement(one.agreement_id, scope=self._stop)
            for one, account in kept
            if account is None
        }
        for one, account in kept:
            if account is None:
                self.ledger.open(account_of(unknown[one.agreement_id], "", one.name))
                self.ledger.activity_known(one.agreement_id, one.activity_id)
            else:
                self.books.resumed(one.app_session_id, one.agreement_id)
                self.ledger.adopt(account)
            if one.app_session_id not in self._agreement_events:
                self._watch_agreements_of(one.app_session_id)
            self.payments.adopt(one)

    def cost(self, agreement_ids: Iterable[str] | None = None) -> Cost:
        """What all agreements cost so far, or these."""
        settings = self.settings
        amount = self.ledger.cost(agreement_ids)
        return Cost(amount, settings.currency, settings.payment_network, settings.is_test_money)

    # what providers do to agreements

    def _watch_agreements_of(self, app_session_id: str) -> None:
        thread = EngineThread("golem-agreement-events", self._read_agreement_events, app_session_id)
        self._agreement_events[app_session_id] = thread.start()

    def watch(self, agreement_id: str, watcher: Watcher) -> None:
        self._watched[agreement_id] = watcher

    def unwatch(self, agreement_id: str) -> None:
        self._watched.pop(agreement_id, None)

    def _read_agreement_events(self, app_session_id: str) -> None:
        def read(after: datetime) -> list[AgreementEvent]:
            return self.yagna.market.agreement_events(
                after, timeout=POLL_SECONDS, app_session_id=app_session_id, scope=self._stop
            )

        follow("agreement", read, self._take_agreement_event, self._stop)

    def _take_agreement_event(self, event: AgreementEvent) -> None:
        watcher = self._watched.get(event.agreement_id)
        if event.kind == "AgreementTerminatedEvent" and watcher is not None:
            watcher.agreement_ended(event.reason)

    def _overcharged(self, agreement_id: str, error: Overcharged) -> None:
        account = self.ledger.find(agreement_id)
        if account is not None:
            self.providers.ban(account.provider_id)
        watcher = self._watched.get(agreement_id)
        if watcher is not None:
            watcher.overcharged(error)

    # the end

    def withdraw(self, demand: Demand) -> None:
        """Take one demand off the market, without waiting for it; closing has done it, if it has begun."""
        if self._stop.cancelled:
            return
        demand.close()
        self.workers.post(demand.withdraw, self.release)

    def withdraw_demands(self) -> None:
        """Take all demands off the market, without waiting for it; from here on no other is published."""
        with self._lock:
            self._closing = True
            demands = list(self._demands)
        for demand in demands:
            self.withdraw(demand)

    def close(self, ending: ShutdownTimes) -> None:
        """Wait for the invoices, give the rest of the budget back, and end the session's threads."""
        until = ending.limit(ShutdownPart.INVOICES)
        self._cancel_release_at(until + _LAST_CALLS_UNHURRIED_SECONDS)
        self.payments.wait_for_invoices(until)
        for demand in self._demands:
            demand.withdraw(self.release)
        self.budget.release(self.release)
        self._stop.cancel("the Golem is closed")
        stuck = self.payments.join(_JOIN_SECONDS)
        readers = self._agreement_events.values()
        stuck += [reader.name for reader in readers if not reader.join(_JOIN_SECONDS)]
        if self._cleaner is not None and not self._cleaner.join(_JOIN_SECONDS):
            stuck.append(self._cleaner.name)
        stuck += [] if self.health.join(_JOIN_SECONDS) else ["golem-health"]
        stuck += [demand.name for demand in self._demands if not demand.join(_JOIN_SECONDS)]
        if stuck:
            logger.warning("threads that did not end in time: %s", ", ".join(stuck))
        self._end_threads()

    def shorten(self, ending: ShutdownTimes) -> None:
        """Give up the last calls to the daemon when the time of `ending` is over."""
        until = ending.last_moment
        if until == math.inf:
            return
        last = max(until, ending.limit(ShutdownPart.RELEASE)) if ending.is_shortened else until
        self._cancel_release_at(last + _LAST_CALLS_SECONDS)
        self.payments.shorten(until)

    def _cancel_release_at(self, moment: float) -> None:
        self.timer.call_at(moment, lambda: self.release.cancel("no time left"))

    def _end_threads(self) -> None:
        stuck = [
            name
            for pool in (self.counter_workers, self._health_workers, self._payment_workers, self.workers)
            for name in pool.close(_JOIN_SECONDS)
        ]
        if not self.files.close(_JOIN_SECONDS):
            stuck.append("golem-files")
        if not self.timer.close(_JOIN_SECONDS):
            stuck.append("golem-timer")
        if not self.events.close(_JOIN_SECONDS):
            stuck.append("golem-events")
        if stuck:
            logger.warning("threads that did not end in time: %s", ", ".join(stuck))
        self.yagna.close()
        self.books.close()

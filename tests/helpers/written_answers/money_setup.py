"""Everything in a session that has to do with money, put together for a test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import WorkerPool
from simple_golem.background.timer import TimedCall, Timer
from simple_golem.engine.payment.account import Account, ActivityAccount
from simple_golem.engine.payment.budget import Budget
from simple_golem.engine.payment.budget_watch import BudgetWatch
from simple_golem.engine.payment.expected_invoices import ExpectedInvoices
from simple_golem.engine.payment.ledger import Ledger
from simple_golem.engine.payment.payments import Payments
from simple_golem.engine.payment.session_journals import SessionJournals
from simple_golem.errors import Overcharged
from simple_golem.model.events.event import Event
from simple_golem.model.offers.offer import Offer
from simple_golem.model.offers.prices import Prices
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.daemon_events import DaemonEvents
from tests.helpers.written_answers.sample_offers import PLATFORM, offered

# Of an honest offer: 0.0001 a second, 0.0002 a second of processor time, 0.0001 for the start.
PRICES = Prices.of(offered())


class FakeClock(Timer):
    """Keeps what is to be done until a test says that it is time."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], object]]] = []

    def call_in(self, seconds: float, action: Callable[[], object]) -> TimedCall:
        self.waiting.append((seconds, action))
        return TimedCall(seconds, action)

    def tick(self) -> float:
        """Do what is next; returns in how many seconds it was to be done."""
        seconds, action = self.waiting.pop(0)
        action()
        return seconds


class Till:
    """Budget, watch, ledger, payments and their events, and what they have told."""

    def __init__(self, yagna: Yagna, workers: WorkerPool, stop: Scope, unlikely_seconds: float = 5.0) -> None:
        self.events: list[Event] = []
        self.told = threading.Condition()
        self.timer = FakeClock()
        self.used_up = threading.Event()
        self.overcharged: list[tuple[str, Overcharged]] = []
        self.ledger = Ledger(SessionJournals())
        self.budget = Budget(yagna, PLATFORM, self.ledger, self.emit)
        self.watch = BudgetWatch(self.budget, self.ledger, self.timer, self.emit, self.used_up.set)
        self.expected = ExpectedInvoices(self.ledger, unlikely_seconds)
        self.payments = Payments(
            yagna,
            self.budget,
            self.watch,
            self.ledger,
            self.expected,
            workers,
            stop,
            self.emit,
            lambda agreement, error: self.overcharged.append((agreement, error)),
        )
        self.daemon_events = DaemonEvents(
            yagna,
            stop,
            on_agreement=lambda event: None,
            on_debit_note=self.payments.debit_note_event,
            on_invoice=self.payments.invoice_event,
        )

    def wait_for_invoices(self, until: float) -> None:
        self.expected.wait(until, self.payments.look_for_invoices)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def agreement(
        self, name: str, *activities: str, prices: Prices | None = None, ago: float = 0.0
    ) -> Account:
        """An agreement, made `ago` seconds ago with those activities; without prices it may cost anything."""
        agreed = datetime.now(timezone.utc) - timedelta(seconds=ago)
        offer = Offer("0xprov", "prov", prices, {"golem.inf.cpu.threads": 4})
        account = Account.made(name, offer, "Hello", f"Hello-{name}", agreed)
        for activity in activities:
            account.activities[activity] = ActivityAccount(agreed)
        self.ledger.add_agreement(account)
        return account

    def agreements(self, count: int) -> None:
        """Agreements `a0`, `a1`, …, that may cost anything."""
        for number in range(count):
            self.agreement(f"a{number}")

    def spent(self) -> Decimal:
        return self.ledger.cost()

"""The order of locks that the market's docstring promises, watched while everything happens at once."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
import responses

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import EngineThread, WorkerPool
from simple_golem.engine import market as package
from simple_golem.engine.event_dispatcher import EventDispatcher
from simple_golem.engine.market.chooser import Chooser
from simple_golem.engine.market.demand import Demand
from simple_golem.engine.market.listing import Listing
from simple_golem.engine.market.providers import Conduct, Providers
from simple_golem.engine.payment.budget import Budget
from simple_golem.engine.payment.ledger import Ledger
from simple_golem.engine.payment.session_journals import SessionJournals
from simple_golem.errors import OutOfBudget
from simple_golem.model.events.event import Event
from simple_golem.model.events.market import ProposalRejected
from simple_golem.yagna.client import Yagna
from tests.helpers.lock_order import LockOrder
from tests.helpers.written_answers.fake_market import FakeMarket, event
from tests.helpers.written_answers.sample_offers import PLATFORM, demand_of, offered, rated
from tests.unit.conftest import eventually

PROMISED = re.findall(r"^\d+\. `(\w+\.\w+)`", package.__doc__ or "", re.MULTILINE)
CHOOSERS, ROUNDS = 6, 20


@pytest.fixture
def order() -> LockOrder:
    return LockOrder(PROMISED)


class Market:
    """Two clusters with one chooser and one real budget, all locks watched."""

    def __init__(self, order: LockOrder, yagna: Yagna, workers: WorkerPool) -> None:
        self.order = order
        self.providers = Providers()
        self.chooser = Chooser(self.providers)
        self.ledger = Ledger(SessionJournals())
        self.budget = Budget(yagna, PLATFORM, self.ledger, EventDispatcher().emit)
        self.budget.total = Decimal(4)
        self.listings = [Listing(lambda: self._demand(yagna, workers), Demand.publish) for _ in range(2)]
        for one in (self.providers, self.chooser, self.ledger, self.budget, *self.listings):
            order.watch(one)

    def _demand(self, yagna: Yagna, workers: WorkerPool) -> Demand:
        demand = demand_of(yagna, workers, providers=self.providers, purse=self.budget, emit=self._emit)
        order = self.order
        order.watch(demand)
        order.watch(demand.offers)
        return demand

    def _emit(self, event: Event) -> None:
        """A listener that asks, as a user's may: it must not find a lock taken by its own thread."""
        if isinstance(event, ProposalRejected):
            for listing in self.listings:
                listing.demand.offers.summary()

    @property
    def demands(self) -> list[Demand]:
        return [listing.demand for listing in self.listings]


@pytest.fixture
def market(
    daemon: responses.RequestsMock, order: LockOrder, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> Iterator[Market]:
    market = Market(order, yagna, workers)
    yield market
    for demand in market.demands:
        demand.withdraw(scope)
        assert demand.join(20)


def test_the_docstring_names_locks_that_there_are(market: Market, order: LockOrder) -> None:
    assert len(PROMISED) == len(set(PROMISED)) == 7
    owners = (market.providers, market.chooser, market.ledger, market.budget, market.listings[0])
    for owner in (*owners, market.demands[0], market.demands[0].offers):
        (name,) = [one for one in PROMISED if one.startswith(f"{type(owner).__name__}.")]
        assert hasattr(owner, name.partition(".")[2]), name


def test_the_promised_order_is_kept_while_everything_happens_at_once(
    daemon: responses.RequestsMock, market: Market, order: LockOrder
) -> None:
    fake = FakeMarket(daemon)
    market.listings[0].open()
    fake.happens(*(event(f"R-{number}", f"q{number}", "Draft", offered()) for number in range(3)))
    eventually(lambda: len(market.demands[0].offers.drafts()) == 3)

    def choose(demand: Demand) -> None:
        for _ in range(ROUNDS):
            scope = Scope()
            canceller = threading.Timer(0.02, scope.cancel)
            canceller.start()
            try:
                provider = market.chooser.choose(demand, scope).issuer_id
            except (ScopeEnded, OutOfBudget):
                continue
            finally:
                canceller.cancel()
            market.budget.end_reservation(provider)
            market.chooser.release(provider, Conduct.FINE)

    def answer(demand: Demand) -> None:
        for number in range(ROUNDS * 5):
            demand._post_counters([])
            demand.offers.offer_received(f"p{number}")
            demand.offers.add_offer(rated(f"p{number}", needs="9" if number % 3 else "1"))
            demand.offers.add_draft(rated(f"p{number}", needs="9" if number % 4 else "1"))
            demand.offers.countered(f"p{number}", f"R-{number}")
            demand.offers.counter_rejected(f"R-{number}", "busy")
            demand.offers.turned_down(f"p{number}", "no")
            if number % 10 == 0:
                demand.offers.clear()
                market.providers.ban(f"p{number}")
                market.chooser.look_again()

    works: list[tuple[Callable[[Demand], None], Demand]] = [
        *itertools.product([choose] * CHOOSERS, market.demands),
        *itertools.product([answer], market.demands),
    ]
    threads = [EngineThread(f"test-{work.__name__}", work, demand).start() for work, demand in works]
    assert all(thread.join(60) for thread in threads)
    assert [thread.exception for thread in threads] == [None] * len(threads)
    assert order.violations == []
    # It proves nothing about a lock that was not taken, nor where none was taken under another.
    assert order.taken == set(PROMISED)
    assert {
        ("Listing._lock", "Demand._lock"),
        ("OfferBook._lock", "Providers._lock"),
        ("Providers._lock", "Budget._reserving"),
        ("Budget._reserving", "Ledger.lock"),
    } <= order.nested
    assert {pair for pair in order.nested.copy() if "Chooser._lock" in pair} == set()


def test_a_wrong_order_is_noted(market: Market, order: LockOrder) -> None:
    book = market.demands[0].offers
    with market.providers._lock:
        book.look_again()
    assert order.violations == ["OfferBook._lock was taken while Providers._lock was held"]


def test_a_lock_that_one_thread_takes_twice_is_no_violation(market: Market, order: LockOrder) -> None:
    with market.ledger.lock:
        market.ledger.outlook()
    assert (order.violations, order.nested) == ([], set())

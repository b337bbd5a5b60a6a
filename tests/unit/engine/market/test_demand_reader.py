"""A demand's reader: it outlives errors, publishes the demand again, and ends when it is withdrawn."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest
import responses

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import WorkerPool
from simple_golem.engine.market.demand import Demand
from simple_golem.engine.market.listing import Listing
from simple_golem.model.events.event import Event
from simple_golem.model.events.market import DemandPublished, DemandWithdrawn
from simple_golem.yagna.client import Yagna
from tests.helpers.written_answers.fake_market import DEMANDS, FakeMarket, event
from tests.helpers.written_answers.sample_offers import demand_of, offered, rated
from tests.unit.conftest import API, eventually, posted

OFFERED = offered()


@pytest.fixture
def market(daemon: responses.RequestsMock) -> FakeMarket:
    return FakeMarket(daemon)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simple_golem.engine.market.demand._RETRY_SECONDS", 0.02)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def demand(
    market: FakeMarket, yagna: Yagna, workers: WorkerPool, events: list[Event], scope: Scope
) -> Iterator[Demand]:
    demand = demand_of(yagna, workers, emit=events.append)
    demand.publish()
    yield demand
    demand.withdraw(scope)
    assert demand.join(20)


def test_a_demand_that_is_gone_is_published_again(
    market: FakeMarket, demand: Demand, events: list[Event]
) -> None:
    market.happens(event("R-1", "p1", "Draft", OFFERED))
    eventually(demand.offers.drafts)
    market.restart()
    eventually(lambda: market.published == 2)
    assert demand.offers.drafts() == {}
    market.happens(event("R-9", "p9", "Draft", OFFERED))
    eventually(lambda: "p9" in demand.offers.drafts())
    assert demand.offers.drafts()["p9"].demand_id == "d2"
    assert [one for one in events if isinstance(one, DemandPublished)] == [
        DemandPublished("Hello", "d1"),
        DemandPublished("Hello", "d2"),
    ]


def test_what_an_earlier_demand_has_lost_does_not_renew_the_one_that_is_published_now(
    daemon: responses.RequestsMock, market: FakeMarket, demand: Demand
) -> None:
    demand.proposal_lost()
    assert demand._renewal.seconds_left() is not None
    market.restart()
    eventually(lambda: market.published == 2)
    eventually(lambda: demand._renewal.seconds_left() is None)
    # An offer for the first demand is answered too late.
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-p1", status=404, json={"message": "no subscription"})
    demand._send_counter(rated("p1"))
    assert len(posted(daemon, f"{DEMANDS}/d1/proposals/R-p1")) == 1
    assert demand._renewal.seconds_left() is None


def test_publishing_again_is_tried_until_it_succeeds(
    market: FakeMarket, demand: Demand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    market.refusals += [400, 400]
    market.restart()
    eventually(lambda: market.published == 2)
    assert caplog.text.count("the daemon has given no usable answer") == 2


def test_the_reader_outlives_errors(
    market: FakeMarket, demand: Demand, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    market.fails(500, 500)
    eventually(lambda: market.failures == [])
    market.happens(event("R-1", "p1", "Draft", OFFERED))
    eventually(demand.offers.drafts)
    assert caplog.text.count("the daemon has given no usable answer") == 2
    assert market.published == 1


def test_the_reader_makes_a_pause_where_there_is_nothing_to_read(
    daemon: responses.RequestsMock, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    daemon.post(f"{API}{DEMANDS}", json="d1")
    daemon.get(f"{API}{DEMANDS}/d1/events", json=[])
    daemon.delete(f"{API}{DEMANDS}/d1", status=204)
    demand = demand_of(yagna, workers)
    began = time.monotonic()
    demand.publish()
    eventually(lambda: len(daemon.calls) > 4)
    assert time.monotonic() - began > 2 * 0.05
    demand.withdraw(scope)
    assert demand.join(20)


def test_a_withdrawn_demand_ends_its_reader_and_stays_away(
    daemon: responses.RequestsMock, market: FakeMarket, demand: Demand, events: list[Event], scope: Scope
) -> None:
    demand.withdraw(scope)
    demand.withdraw(scope)
    assert demand.join(20)
    assert len(posted(daemon, f"{DEMANDS}/d1", "DELETE")) == 1
    assert (market.alive, market.published) == (None, 1)
    assert events[-1] == DemandWithdrawn("Hello", "d1")
    assert (demand.closed, demand.finished) == (True, True)


def test_a_closed_demand_counters_and_rates_nothing_any_more(
    daemon: responses.RequestsMock, market: FakeMarket, demand: Demand
) -> None:
    with demand.offers.queued():
        demand.close()
        market.happens(event("R-1", "p1", "Initial", OFFERED))
        eventually(lambda: demand.offers.summary().seen == 1)
    assert posted(daemon, f"{DEMANDS}/d1/proposals/R-1") == []
    assert not demand.finished


def test_a_withdrawn_demand_can_not_be_published(
    market: FakeMarket, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    demand = demand_of(yagna, workers)
    demand.withdraw(scope)
    with pytest.raises(ScopeEnded):
        demand.publish()
    assert market.published == 0


def test_withdrawing_that_fails_is_told_of(
    market: FakeMarket, demand: Demand, caplog: pytest.LogCaptureFixture
) -> None:
    ended = Scope()
    ended.cancel("no time left")
    demand.withdraw(ended)
    assert "d1 could not be withdrawn" in caplog.text
    market.restart()


def test_a_listing_publishes_one_demand_at_a_time_and_a_new_one_after_it_was_withdrawn(
    market: FakeMarket, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    listing = Listing(lambda: demand_of(yagna, workers), Demand.publish)
    first = listing.demand
    assert not first.published
    for _ in range(2):
        listing.open()
    assert (listing.demand, market.published) == (first, 1)
    first.withdraw(scope)
    listing.open()
    assert listing.demand is not first
    assert (listing.demand.published, market.published) == (True, 2)
    listing.demand.withdraw(scope)
    assert first.join(20)
    assert listing.demand.join(20)

"""A demand: how offers are answered, and that it is published again until it is withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import responses

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import EngineThread, WorkerPool
from simple_golem.engine.market.chooser import Chooser
from simple_golem.engine.market.demand import Demand
from simple_golem.engine.market.demand_properties import PUBLICATION_MARK
from simple_golem.engine.market.providers import Providers
from simple_golem.errors import OutOfBudget
from simple_golem.model.events.event import Event
from simple_golem.model.events.market import DemandPublished, ProposalReceived, ProposalRejected
from simple_golem.model.offers.prices import COEFFICIENTS
from simple_golem.model.offers.strategy import Strategy
from simple_golem.model.offers.terms import INTERVAL, Terms
from simple_golem.yagna.client import Yagna
from tests.helpers.written_answers.fake_market import DEMANDS, FakeMarket, event, rejection
from tests.helpers.written_answers.sample_offers import ENDS, PLATFORM, Purse, demand_of, offered, rules_of
from tests.unit.conftest import API, eventually, posted

PROPOSALS = f"{DEMANDS}/d1/proposals"
OFFERED = offered()
DEAR, CHEAP = offered({COEFFICIENTS: [0, 0, 0.1]}), offered({COEFFICIENTS: [0, 0, 0.04]})


@pytest.fixture
def market(daemon: responses.RequestsMock) -> FakeMarket:
    return FakeMarket(daemon)


def on_market(demand: Demand, scope: Scope, instances: int = 1) -> Iterator[Demand]:
    """Have a demand on the market, and instances that look for a provider."""
    demand.publish()
    with ExitStack() as queue:
        for _ in range(instances):
            queue.enter_context(demand.offers.queued())
        yield demand
    demand.withdraw(scope)
    assert demand.join(20)
    assert demand.finished


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def demand(
    market: FakeMarket, yagna: Yagna, workers: WorkerPool, events: list[Event], scope: Scope
) -> Iterator[Demand]:
    demand = demand_of(yagna, workers, {"mine": 1, **ENDS}, "(x=1)", emit=events.append)
    yield from on_market(demand, scope)


@pytest.fixture
def dear(market: FakeMarket, yagna: Yagna, workers: WorkerPool, scope: Scope) -> Iterator[Demand]:
    """A demand of a cluster that takes nothing for more than 1 GLM an hour, and asks for terms."""
    rules = rules_of(Strategy(max_price_per_hour=1), Terms(debit_note_interval=60))
    yield from on_market(demand_of(yagna, workers, rules=rules), scope)


def test_a_demand_is_published_as_it_was_given(daemon: responses.RequestsMock, demand: Demand) -> None:
    (body,) = posted(daemon, DEMANDS)
    assert isinstance(body, dict)
    assert body.pop("properties").keys() == {"mine", *ENDS, PUBLICATION_MARK}
    assert body == {"constraints": "(x=1)"}
    assert (demand.published, demand.closed, demand.finished) == (True, False, False)


def test_a_draft_can_become_an_agreement(market: FakeMarket, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", OFFERED))
    eventually(demand.offers.drafts)
    draft = demand.offers.drafts()["p1"]
    assert (draft.proposal.proposal_id, draft.demand_id) == ("R-1", "d1")
    assert demand.offers.summary().seen == 1


def test_the_newest_draft_of_a_provider_counts(market: FakeMarket, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", OFFERED), event("R-2", "p1", "Draft", OFFERED))
    eventually(lambda: [one.proposal.proposal_id for one in demand.offers.drafts().values()] == ["R-2"])


def test_an_offer_is_countered_with_the_platform_that_pays(
    daemon: responses.RequestsMock, market: FakeMarket, demand: Demand
) -> None:
    daemon.post(f"{API}{PROPOSALS}/R-1", json="R-2")
    timeout = {"golem.com.payment.debit-notes.accept-timeout?": 240}
    market.happens(event("R-1", "p1", "Initial", {**OFFERED, **timeout, "other": 2}))
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1"))
    assert posted(daemon, f"{PROPOSALS}/R-1") == [
        {
            "properties": {"mine": 1, **ENDS, "golem.com.payment.chosen-platform": PLATFORM, **timeout},
            "constraints": "(x=1)",
        }
    ]
    assert demand.offers.drafts() == {}
    assert demand.offers.summary().seen == 1


@pytest.mark.parametrize("status", [204, 400])
def test_an_offer_that_can_not_be_paid_is_rejected(
    daemon: responses.RequestsMock, market: FakeMarket, demand: Demand, events: list[Event], status: int
) -> None:
    daemon.post(f"{API}{PROPOSALS}/R-1/reject", status=status, json={"message": "too late"})
    market.happens(
        event("R-1", "p1", "Initial", {"golem.com.payment.platform.erc20-polygon-glm.address": "0x"})
    )
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1/reject"))
    assert posted(daemon, f"{PROPOSALS}/R-1/reject") == [{"message": "No common payment platform"}]
    assert demand.offers.rejections == {"No common payment platform": 1}
    assert events == [
        DemandPublished("Hello", "d1"),
        ProposalReceived("Hello", "p1", "unnamed", False),
        ProposalRejected("Hello", "No common payment platform"),
    ]


def test_an_offer_that_the_strategy_gives_no_score_is_rejected(
    daemon: responses.RequestsMock, market: FakeMarket, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    demand = demand_of(yagna, workers, rules=rules_of(Strategy(score=lambda offer: None)))
    for _ in on_market(demand, scope):
        daemon.post(f"{API}{PROPOSALS}/R-1/reject", status=204)
        market.happens(event("R-1", "p1", "Initial", OFFERED))
        eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1/reject"))
        assert posted(daemon, f"{PROPOSALS}/R-1/reject") == [{"message": "Refused by the strategy"}]


def test_an_offer_that_is_too_expensive_is_rejected_with_its_price(
    daemon: responses.RequestsMock, market: FakeMarket, dear: Demand
) -> None:
    daemon.post(f"{API}{PROPOSALS}/R-1/reject", status=204)
    market.happens(event("R-1", "p1", "Initial", offered(per_second=0.001)))
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1/reject"))
    assert posted(daemon, f"{PROPOSALS}/R-1/reject") == [
        {"message": "A price of 3.6 GLM per hour is above 1"}
    ]
    assert dear.offers.drafts() == {}


def test_terms_are_asked_for(daemon: responses.RequestsMock, market: FakeMarket, dear: Demand) -> None:
    daemon.post(f"{API}{PROPOSALS}/R-1", json="R-2")
    market.happens(event("R-1", "p1", "Initial", OFFERED))
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1"))
    (body,) = posted(daemon, f"{PROPOSALS}/R-1")
    assert isinstance(body, dict)
    assert body["properties"][INTERVAL] == 60


@pytest.mark.parametrize("answer", [{}, {INTERVAL: 120}, {INTERVAL: "60"}])
def test_an_answer_with_other_terms_is_turned_down(
    daemon: responses.RequestsMock, market: FakeMarket, dear: Demand, answer: dict[str, Any]
) -> None:
    daemon.post(f"{API}{PROPOSALS}/R-1/reject", status=204)
    market.happens(event("R-1", "p1", "Draft", {**OFFERED, **answer}))
    market.happens(event("R-2", "p2", "Draft", {**OFFERED, INTERVAL: 60}))
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1/reject") and dear.offers.drafts())
    assert list(dear.offers.drafts()) == ["p2"]
    (reason,) = dear.offers.rejections
    assert reason.startswith(f"{INTERVAL} must be 60")


def test_an_answer_that_asks_for_more_than_the_offer_did_is_turned_down(
    daemon: responses.RequestsMock, market: FakeMarket, dear: Demand
) -> None:
    daemon.post(f"{API}{PROPOSALS}/R-1", json="R-2")
    market.happens(event("R-1", "p1", "Initial", OFFERED))
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1"))
    daemon.post(f"{API}{PROPOSALS}/R-3/reject", status=204)
    market.happens(event("R-3", "p1", "Draft", {**offered(per_second=0.001), INTERVAL: 60}))
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-3/reject"))
    assert dear.offers.drafts() == {}


def test_a_draft_is_kept_with_what_it_is_worth(market: FakeMarket, demand: Demand) -> None:
    for provider, price in (("p1", 0.0001), ("p2", 0.0002)):
        market.happens(event(f"R-{provider}", provider, "Draft", offered(per_second=price)))
    eventually(lambda: len(demand.offers.drafts()) == 2)
    # An hour with one busy thread: 0.0001 + 0.36 + 0.72, and 0.36 more.
    assert demand.offers.drafts()["p1"].worth == pytest.approx(100 / (1.0801 + 1.01))
    assert demand.offers.drafts()["p2"].worth == pytest.approx(100 / (1.4401 + 1.01))


def test_the_best_offers_are_countered_and_others_only_when_they_are_needed(
    daemon: responses.RequestsMock, market: FakeMarket, demand: Demand
) -> None:
    def countered() -> list[int]:
        return [number for number in range(1, 7) if posted(daemon, f"{PROPOSALS}/R-{number}")]

    for number in range(1, 7):
        daemon.post(f"{API}{PROPOSALS}/R-{number}", json=f"R-{number}a")
    market.happens(
        *(
            event(f"R-{number}", f"p{number}", "Initial", offered({COEFFICIENTS: [0, 0, number / 1000]}))
            for number in range(1, 7)
        )
    )
    eventually(lambda: countered() == [1, 2, 3, 4])
    market.happens(rejection("R-2a"))
    eventually(lambda: demand.offers.rejections)
    demand.counter_best_offers()
    eventually(lambda: countered() == [1, 2, 3, 4, 5])
    with demand.offers.queued():
        demand.counter_best_offers()
        eventually(lambda: countered() == [1, 2, 3, 4, 5, 6])


def test_other_providers_replace_those_that_do_not_answer(
    daemon: responses.RequestsMock,
    market: FakeMarket,
    yagna: Yagna,
    workers: WorkerPool,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("awaited_answers", "offer_book"):
        monkeypatch.setattr(f"simple_golem.engine.market.{module}.ANSWER_SECONDS", 0.1)
    providers, numbers = Providers(), range(1, 31)
    chooser = Chooser(providers)
    demand = demand_of(yagna, workers, rules=rules_of(Strategy(collect_seconds=0.2)), providers=providers)
    demand.publish()
    for number in numbers:
        daemon.post(f"{API}{PROPOSALS}/R-{number}", json=f"R-{number}a")
    market.happens(
        *(
            event(f"R-{number}", f"p{number}", "Initial", offered({COEFFICIENTS: [0, 0, number / 1000]}))
            for number in numbers
        ),
        event("R-0", "p0", "Draft", OFFERED),
    )
    assert chooser.choose(demand, scope).issuer_id == "p0"
    thread = choosing(chooser, demand, scope)
    # Nobody answers, and nothing else happens.
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-30"), 30.0)
    market.happens(event("R-30b", "p30", "Draft", OFFERED))
    assert thread.join(20)
    assert thread.result == "p30"
    demand.withdraw(scope)
    assert demand.join(20)


@pytest.fixture
def purse() -> Purse:
    return Purse("0.05")


@pytest.fixture
def poor(
    market: FakeMarket, yagna: Yagna, workers: WorkerPool, purse: Purse, scope: Scope
) -> Iterator[tuple[Demand, Chooser]]:
    """A demand that 0.05 GLM are left for, and the chooser."""
    providers = Providers()
    for demand in on_market(demand_of(yagna, workers, providers=providers, purse=purse), scope, instances=0):
        yield demand, Chooser(providers)


def choosing(chooser: Chooser, demand: Demand, scope: Scope) -> EngineThread:
    return EngineThread("choosing", lambda: chooser.choose(demand, scope).issuer_id).start()


def test_choosing_ends_where_nobody_can_be_paid_from_the_budget(
    market: FakeMarket, poor: tuple[Demand, Chooser], scope: Scope
) -> None:
    demand, chooser = poor
    market.happens(event("R-1", "p1", "Initial", DEAR), event("R-2", "p2", "Initial", DEAR))
    with pytest.raises(OutOfBudget, match=r"0.1 GLM, and 0.05 GLM of the budget are left.* top it up"):
        chooser.choose(demand, scope)
    assert sum(demand.offers.rejections.values()) == 2


def test_choosing_goes_on_where_somebody_can_be_paid(
    daemon: responses.RequestsMock, market: FakeMarket, poor: tuple[Demand, Chooser], scope: Scope
) -> None:
    demand, chooser = poor
    daemon.post(f"{API}{PROPOSALS}/R-2", json="R-2a")
    thread = choosing(chooser, demand, scope)
    market.happens(event("R-1", "p1", "Initial", DEAR), event("R-2", "p2", "Initial", CHEAP))
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-2"))
    market.happens(event("R-2b", "p2", "Draft", CHEAP))
    assert thread.join(20)
    assert thread.result == "p2"
    # What that one needs is not there for a second one.
    market.happens(event("R-3", "p3", "Draft", CHEAP))
    with pytest.raises(OutOfBudget, match=r"0.04 GLM, and 0.01 GLM of the budget are left"):
        chooser.choose(demand, scope)


def test_an_offer_that_was_too_expensive_is_countered_after_a_top_up(
    daemon: responses.RequestsMock,
    market: FakeMarket,
    poor: tuple[Demand, Chooser],
    purse: Purse,
    scope: Scope,
) -> None:
    demand, chooser = poor
    # One whose price is not known keeps the choosing from its end.
    demand.offers.offer_received("p0")
    daemon.post(f"{API}{PROPOSALS}/R-1", json="R-1a")
    thread = choosing(chooser, demand, scope)
    market.happens(event("R-1", "p1", "Initial", DEAR))
    eventually(lambda: demand.offers.rejections)
    assert posted(daemon, f"{PROPOSALS}/R-1") == []
    purse.amount += 1
    chooser.look_again()
    eventually(lambda: posted(daemon, f"{PROPOSALS}/R-1"))
    market.happens(event("R-1b", "p1", "Draft", DEAR))
    assert thread.join(20)
    assert thread.result == "p1"


def test_rejections_are_counted_by_their_reasons(market: FakeMarket, demand: Demand) -> None:
    market.happens(rejection("R-1", "too many"), rejection("R-1", "too many"), rejection("R-1"))
    eventually(lambda: sum(demand.offers.rejections.values()) == 3)
    assert demand.offers.rejections == {"too many": 2, "no reason given": 1}


def test_an_offer_that_can_not_be_answered_is_counted(
    daemon: responses.RequestsMock, market: FakeMarket, demand: Demand
) -> None:
    daemon.post(f"{API}{PROPOSALS}/R-1", status=410, json={"message": "expired"})
    market.happens(event("R-1", "p1", "Initial", OFFERED))
    eventually(lambda: demand.offers.rejections)
    assert "expired" in next(iter(demand.offers.rejections))

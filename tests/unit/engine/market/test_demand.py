"""A demand: what it says, what is answered to offers, and that it comes back until it is withdrawn."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import responses
from requests import PreparedRequest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import WorkerPool
from simple_golem.engine.market.agreement import Chooser
from simple_golem.engine.market.demand import SESSION_MARK, Demand, demand_constraints, demand_properties
from simple_golem.errors import OutOfBudget
from simple_golem.model.offers.prices import COEFFICIENTS
from simple_golem.model.offers.strategy import Strategy
from simple_golem.model.offers.terms import INTERVAL, Terms
from simple_golem.model.payload.payload import Payload
from simple_golem.model.settings import Settings
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Decorations
from tests.helpers.sample_offers import PLATFORM, demand_of, judge, offered
from tests.unit.conftest import API, eventually, posted

DEMANDS = "/market-api/v1/demands"
OFFERED = offered()
AT_ONCE = 0.3
Reply = tuple[int, dict[str, str], str]


def event(proposal: str, provider: str, state: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventType": "ProposalEvent",
        "proposal": {
            "proposalId": proposal,
            "issuerId": provider,
            "state": state,
            "properties": properties,
            "constraints": "()",
            "timestamp": "2026-01-31T12:00:00Z",
        },
    }


class Market:
    """Demands `d1`, `d2`, …: one is alive at a time, and its reader waits until there is something."""

    def __init__(self, daemon: responses.RequestsMock) -> None:
        self.changed = threading.Condition()
        self.alive: str | None = None
        self.published = 0
        self.events: list[dict[str, Any]] = []
        self.failures: list[int] = []
        daemon.add_callback(responses.POST, f"{API}{DEMANDS}", self._publish)
        for number in range(1, 4):
            one = f"{API}{DEMANDS}/d{number}"
            daemon.add_callback(responses.GET, f"{one}/events", self._read)
            daemon.add_callback(responses.DELETE, one, self._delete)

    def happens(self, *events: dict[str, Any]) -> None:
        with self.changed:
            self.events += events
            self.changed.notify_all()

    def restart(self) -> None:
        """Demands live in the daemon's memory."""
        with self.changed:
            self.alive = None
            self.changed.notify_all()

    def _publish(self, request: PreparedRequest) -> Reply:
        with self.changed:
            self.published += 1
            self.alive = f"d{self.published}"
            return 201, {}, json.dumps(self.alive)

    def _read(self, request: PreparedRequest) -> Reply:
        demand = (request.url or "").split("/")[-2]
        with self.changed:
            self.changed.wait_for(lambda: self.alive != demand or self.events or self.failures, 5)
            if self.alive != demand:
                return 404, {}, '{"message": "no subscription"}'
            if self.failures:
                return self.failures.pop(0), {}, '{"message": "out of order"}'
            events, self.events = self.events, []
            return 200, {}, json.dumps(events)

    def _delete(self, request: PreparedRequest) -> Reply:
        self.restart()
        return 204, {}, ""


@pytest.fixture
def market(daemon: responses.RequestsMock) -> Market:
    return Market(daemon)


@pytest.fixture
def demand(market: Market, yagna: Yagna, workers: WorkerPool, scope: Scope) -> Iterator[Demand]:
    demand = demand_of(yagna, workers, threading.Condition(), {"mine": 1}, constraints="(x=1)")
    demand.publish()
    yield demand
    demand.withdraw(scope)
    assert demand.join(5)


def test_a_demand_is_published_as_it_was_given(daemon: responses.RequestsMock, demand: Demand) -> None:
    assert posted(daemon, DEMANDS) == [{"properties": {"mine": 1}, "constraints": "(x=1)"}]


def test_a_draft_can_become_an_agreement(market: Market, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", OFFERED))
    eventually(lambda: demand.drafts)
    assert demand.drafts["p1"].proposal.proposal_id == "R-1"
    assert demand.seen == {"p1"}


def test_the_newest_draft_of_a_provider_counts(market: Market, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", OFFERED), event("R-2", "p1", "Draft", OFFERED))
    eventually(lambda: demand.drafts.get("p1") and demand.drafts["p1"].proposal.proposal_id == "R-2")
    assert len(demand.drafts) == 1


def test_an_offer_is_countered_with_the_platform_that_pays(
    daemon: responses.RequestsMock, market: Market, demand: Demand
) -> None:
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-1", json="R-2")
    timeout = {"golem.com.payment.debit-notes.accept-timeout?": 240}
    market.happens(event("R-1", "p1", "Initial", {**OFFERED, **timeout, "other": 2}))
    eventually(lambda: posted(daemon, f"{DEMANDS}/d1/proposals/R-1"))
    assert posted(daemon, f"{DEMANDS}/d1/proposals/R-1") == [
        {
            "properties": {"mine": 1, "golem.com.payment.chosen-platform": PLATFORM, **timeout},
            "constraints": "(x=1)",
        }
    ]
    assert demand.drafts == {}
    assert demand.seen == {"p1"}


def test_an_offer_that_can_not_be_paid_is_rejected(
    daemon: responses.RequestsMock, market: Market, demand: Demand
) -> None:
    rejected = f"{DEMANDS}/d1/proposals/R-1/reject"
    daemon.post(f"{API}{rejected}", status=204)
    market.happens(
        event("R-1", "p1", "Initial", {"golem.com.payment.platform.erc20-polygon-glm.address": "0x"})
    )
    eventually(lambda: posted(daemon, rejected))
    assert posted(daemon, rejected) == [{"message": "No common payment platform"}]
    assert demand.rejections == {"No common payment platform": 1}


@pytest.fixture
def dear(market: Market, yagna: Yagna, workers: WorkerPool, scope: Scope) -> Iterator[Demand]:
    """A demand of a cluster that takes nothing for more than 1 GLM an hour, and asks for terms."""
    rules = judge(Strategy(max_price_per_hour=1), Terms(debit_note_interval=60))
    demand = demand_of(yagna, workers, threading.Condition(), rules=rules)
    demand.publish()
    yield demand
    demand.withdraw(scope)
    assert demand.join(5)


def test_an_offer_that_is_too_dear_is_rejected_with_its_price(
    daemon: responses.RequestsMock, market: Market, dear: Demand
) -> None:
    rejected = f"{DEMANDS}/d1/proposals/R-1/reject"
    daemon.post(f"{API}{rejected}", status=204)
    market.happens(event("R-1", "p1", "Initial", offered(per_second=0.001)))
    eventually(lambda: posted(daemon, rejected))
    assert posted(daemon, rejected) == [{"message": "A price of 3.6 GLM per hour is above 1"}]
    assert dear.drafts == {}


def test_terms_are_asked_for(daemon: responses.RequestsMock, market: Market, dear: Demand) -> None:
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-1", json="R-2")
    market.happens(event("R-1", "p1", "Initial", offered()))
    eventually(lambda: posted(daemon, f"{DEMANDS}/d1/proposals/R-1"))
    (body,) = posted(daemon, f"{DEMANDS}/d1/proposals/R-1")
    assert isinstance(body, dict)
    assert body["properties"][INTERVAL] == 60


@pytest.mark.parametrize("answer", [{}, {INTERVAL: 120}, {INTERVAL: "60"}])
def test_an_answer_with_other_terms_is_turned_down(
    daemon: responses.RequestsMock, market: Market, dear: Demand, answer: dict[str, Any]
) -> None:
    rejected = f"{DEMANDS}/d1/proposals/R-1/reject"
    daemon.post(f"{API}{rejected}", status=204)
    market.happens(event("R-1", "p1", "Draft", {**offered(), **answer}))
    market.happens(event("R-2", "p2", "Draft", {**offered(), INTERVAL: 60}))
    eventually(lambda: posted(daemon, rejected) and dear.drafts)
    assert list(dear.drafts) == ["p2"]
    (reason,) = dear.rejections
    assert reason.startswith(f"{INTERVAL} was to be 60")


def test_an_answer_that_asks_for_more_than_the_offer_did_is_turned_down(
    daemon: responses.RequestsMock, market: Market, dear: Demand
) -> None:
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-1", json="R-2")
    market.happens(event("R-1", "p1", "Initial", offered()))
    eventually(lambda: posted(daemon, f"{DEMANDS}/d1/proposals/R-1"))
    rejected = f"{DEMANDS}/d1/proposals/R-3/reject"
    daemon.post(f"{API}{rejected}", status=204)
    market.happens(event("R-3", "p1", "Draft", {**offered(per_second=0.001), INTERVAL: 60}))
    eventually(lambda: posted(daemon, rejected))
    assert dear.drafts == {}


def test_a_draft_is_kept_with_what_it_is_worth(market: Market, demand: Demand) -> None:
    for provider, price in (("p1", 0.0001), ("p2", 0.0002)):
        market.happens(event(f"R-{provider}", provider, "Draft", offered(per_second=price)))
    eventually(lambda: len(demand.drafts) == 2)
    # An hour with one busy thread: 0.0001 + 0.36 + 0.72, and 0.36 more.
    assert demand.drafts["p1"].worth == pytest.approx(100 / (1.0801 + 1.01))
    assert demand.drafts["p2"].worth == pytest.approx(100 / (1.4401 + 1.01))


def test_the_first_offers_are_collected_until_all_have_answered(
    daemon: responses.RequestsMock, market: Market, demand: Demand
) -> None:
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-1", json="R-1a")
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-2", json="R-2a")
    market.happens(event("R-1", "p1", "Initial", offered()), event("R-2", "p2", "Initial", offered()))
    eventually(lambda: posted(daemon, f"{DEMANDS}/d1/proposals/R-2"))
    assert demand.collected_in() > 0.3
    market.happens(event("R-1b", "p1", "Draft", offered()))
    eventually(lambda: demand.drafts)
    assert demand.collected_in() > 0.3
    market.happens(
        {"eventType": "ProposalRejectedEvent", "proposalId": "R-2a", "reason": {"message": "busy"}}
    )
    eventually(lambda: demand.rejections)
    eventually(lambda: demand.collected_in() == 0, AT_ONCE)


def test_the_best_offers_are_countered_and_others_only_when_they_are_needed(
    daemon: responses.RequestsMock, market: Market, demand: Demand
) -> None:
    def countered() -> list[int]:
        return [number for number in range(1, 7) if posted(daemon, f"{DEMANDS}/d1/proposals/R-{number}")]

    for number in range(1, 7):
        daemon.post(f"{API}{DEMANDS}/d1/proposals/R-{number}", json=f"R-{number}a")
    market.happens(
        *(
            event(f"R-{number}", f"p{number}", "Initial", offered({COEFFICIENTS: [0, 0, number / 1000]}))
            for number in range(1, 7)
        )
    )
    eventually(lambda: countered() == [1, 2, 3, 4])
    market.happens({"eventType": "ProposalRejectedEvent", "proposalId": "R-2a", "reason": None})
    eventually(lambda: demand.rejections)
    with market.changed:
        demand.counter_as_needed()
    eventually(lambda: countered() == [1, 2, 3, 4, 5])
    with market.changed:
        demand.wanted = 2
        demand.counter_as_needed()
    eventually(lambda: countered() == [1, 2, 3, 4, 5, 6])


def test_in_the_place_of_those_who_do_not_answer_others_are_asked(
    daemon: responses.RequestsMock,
    market: Market,
    yagna: Yagna,
    workers: WorkerPool,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simple_golem.engine.market.demand.ANSWER_SECONDS", 0.1)
    chooser, numbers = Chooser(), range(1, 31)
    demand = demand_of(yagna, workers, chooser.changed, rules=judge(Strategy(collect_seconds=0.2)))
    demand.wanted = 0
    demand.publish()
    for number in numbers:
        daemon.post(f"{API}{DEMANDS}/d1/proposals/R-{number}", json=f"R-{number}a")
    market.happens(
        *(
            event(f"R-{number}", f"p{number}", "Initial", offered({COEFFICIENTS: [0, 0, number / 1000]}))
            for number in numbers
        ),
        event("R-0", "p0", "Draft", offered()),
    )
    assert chooser.choose(demand, scope).issuer_id == "p0"
    chosen: list[str] = []
    thread = threading.Thread(target=lambda: chosen.append(chooser.choose(demand, scope).issuer_id))
    thread.start()
    # Nobody answers, and nothing else happens.
    eventually(lambda: posted(daemon, f"{DEMANDS}/d1/proposals/R-30"), 10.0)
    market.happens(event("R-30b", "p30", "Draft", offered()))
    thread.join(5)
    assert chosen == ["p30"]
    demand.withdraw(scope)
    assert demand.join(5)


@pytest.fixture
def poor(market: Market, yagna: Yagna, workers: WorkerPool, scope: Scope) -> Iterator[tuple[Demand, Chooser]]:
    """A demand that 0.05 GLM are left for, and who chooses for it."""
    chooser = Chooser()
    demand = demand_of(yagna, workers, chooser.changed, rules=judge(funds="0.05"))
    demand.publish()
    yield demand, chooser
    demand.withdraw(scope)
    assert demand.join(5)


DEAR, CHEAP = offered({COEFFICIENTS: [0, 0, 0.1]}), offered({COEFFICIENTS: [0, 0, 0.04]})


def test_choosing_ends_where_nobody_can_be_paid_from_the_budget(
    daemon: responses.RequestsMock, market: Market, poor: tuple[Demand, Chooser], scope: Scope
) -> None:
    demand, chooser = poor
    market.happens(event("R-1", "p1", "Initial", DEAR), event("R-2", "p2", "Initial", DEAR))
    with pytest.raises(OutOfBudget, match=r"0.1 GLM, and 0.05 GLM of the budget are left.* top it up"):
        chooser.choose(demand, scope)
    assert sum(demand.rejections.values()) == 2


def test_choosing_goes_on_where_somebody_can_be_paid(
    daemon: responses.RequestsMock, market: Market, poor: tuple[Demand, Chooser], scope: Scope
) -> None:
    demand, chooser = poor
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-2", json="R-2a")
    market.happens(event("R-1", "p1", "Initial", DEAR), event("R-2", "p2", "Initial", CHEAP))
    eventually(lambda: posted(daemon, f"{DEMANDS}/d1/proposals/R-2"))
    market.happens(event("R-2b", "p2", "Draft", CHEAP))
    assert chooser.choose(demand, scope).issuer_id == "p2"
    # What that one needs is not there for a second one.
    market.happens(event("R-3", "p3", "Draft", CHEAP))
    with pytest.raises(OutOfBudget, match=r"0.04 GLM, and 0.01 GLM of the budget are left"):
        chooser.choose(demand, scope)


def test_who_was_too_dear_is_taken_once_there_is_more(
    daemon: responses.RequestsMock, market: Market, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    chooser, rules = Chooser(), judge(funds="0.05")
    demand = demand_of(yagna, workers, chooser.changed, rules=rules)
    demand.publish()
    # One that nothing is known of yet keeps the choosing from its end.
    demand.seen.add("p0")
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-1", json="R-1a")
    market.happens(event("R-1", "p1", "Initial", DEAR))
    eventually(lambda: demand.rejections)
    assert posted(daemon, f"{DEMANDS}/d1/proposals/R-1") == []
    chosen: list[str] = []
    thread = threading.Thread(target=lambda: chosen.append(chooser.choose(demand, scope).issuer_id))
    thread.start()
    rules.budget.amount = Decimal(1)  # type: ignore[attr-defined]
    chooser.topped_up()
    eventually(lambda: posted(daemon, f"{DEMANDS}/d1/proposals/R-1"))
    market.happens(event("R-1b", "p1", "Draft", DEAR))
    thread.join(5)
    assert chosen == ["p1"]
    demand.withdraw(scope)
    assert demand.join(5)


def test_rejections_are_counted_by_their_reasons(market: Market, demand: Demand) -> None:
    rejection = {"eventType": "ProposalRejectedEvent", "proposalId": "R-1", "reason": {"message": "too many"}}
    market.happens(rejection, rejection, {**rejection, "reason": None})
    eventually(lambda: sum(demand.rejections.values()) == 3)
    assert demand.rejections == {"too many": 2, "no reason given": 1}


def test_an_offer_that_can_not_be_answered_is_counted(
    daemon: responses.RequestsMock, market: Market, demand: Demand
) -> None:
    daemon.post(f"{API}{DEMANDS}/d1/proposals/R-1", status=410, json={"message": "expired"})
    market.happens(event("R-1", "p1", "Initial", OFFERED))
    eventually(lambda: demand.rejections)
    assert "expired" in next(iter(demand.rejections))


def test_a_demand_that_is_gone_is_published_again(market: Market, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", OFFERED))
    eventually(lambda: demand.drafts)
    market.restart()
    eventually(lambda: market.published == 2)
    assert demand.drafts == {}
    market.happens(event("R-9", "p9", "Draft", OFFERED))
    eventually(lambda: "p9" in demand.drafts)


def test_a_withdrawn_demand_ends_its_reader_and_stays_away(
    daemon: responses.RequestsMock, market: Market, demand: Demand, scope: Scope
) -> None:
    demand.withdraw(scope)
    demand.withdraw(scope)
    assert demand.join(5)
    assert len(posted(daemon, f"{DEMANDS}/d1", "DELETE")) == 1
    assert (market.alive, market.published) == (None, 1)


def test_a_withdrawn_demand_can_not_be_published(
    market: Market, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    demand = demand_of(yagna, workers, threading.Condition())
    demand.withdraw(scope)
    with pytest.raises(ScopeEnded):
        demand.publish()
    assert market.published == 0


def test_withdrawing_that_fails_is_told_of(
    market: Market, daemon: responses.RequestsMock, demand: Demand, caplog: pytest.LogCaptureFixture
) -> None:
    ended = Scope()
    ended.cancel("no time left")
    demand.withdraw(ended)
    assert "d1 could not be withdrawn" in caplog.text
    market.restart()


# what a demand says

SETTINGS = Settings.resolve("key", subnet_tag="mine", environ={})
DECORATIONS = Decorations({"golem.com.x": "1"}, ("(a=1)", "(b=2)"))


def test_a_demand_says_when_it_ends_and_where_it_is() -> None:
    noon = datetime(2126, 1, 31, 12, tzinfo=timezone.utc)
    payload = Payload({"golem.srv.x": 5, "golem.node.id.name": "own"})
    assert demand_properties(payload, DECORATIONS, SETTINGS, noon, "s1") == {
        "golem.srv.comp.expiration": 4925534400000,
        SESSION_MARK: "s1",
        "golem.srv.caps.multi-activity": True,
        "golem.node.debug.subnet": "mine",
        "golem.node.id.name": "own",
        "golem.srv.x": 5,
        "golem.com.x": "1",
    }


def test_an_agreement_lasts_longer_than_providers_refuse() -> None:
    now = datetime.now(timezone.utc)
    properties = demand_properties(Payload({}), DECORATIONS, SETTINGS, now + timedelta(seconds=30), "s1")
    ends = datetime.fromtimestamp(properties["golem.srv.comp.expiration"] / 1000, timezone.utc)
    assert timedelta(minutes=5, seconds=30) < ends - now < timedelta(minutes=7)


def test_a_demand_asks_for_all_constraints_together() -> None:
    constraints = demand_constraints(Payload({}, ("(golem.runtime.name=vm)",)), DECORATIONS, SETTINGS)
    assert constraints.startswith("(&(")
    assert constraints.endswith("))")
    assert constraints.count("(") == constraints.count(")") == 6
    for part in (
        "(golem.runtime.name=vm)",
        "(golem.node.debug.subnet=mine)",
        "(golem.com.pricing.model=linear)",
        "(a=1)",
        "(b=2)",
    ):
        assert part in constraints

"""A demand: what it says, what is answered to offers, and that it comes back until it is withdrawn."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import responses
from requests import PreparedRequest

from simple_golem.engine.event_desk import EventDesk
from simple_golem.engine.market import Demand, demand_constraints, demand_properties
from simple_golem.model.payload import Payload
from simple_golem.model.settings import Settings
from simple_golem.scope import Scope, ScopeEnded
from simple_golem.threads import WorkerPool
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Decorations

from .conftest import API, eventually, posted

DEMANDS = "/market-api/v1/demands"
PLATFORM = "erc20-hoodi-tglm"
OFFERED = {f"golem.com.payment.platform.{PLATFORM}.address": "0xprov"}
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
    demand = Demand(
        yagna, workers, threading.Condition(), {"mine": 1}, "(x=1)", PLATFORM, "1", EventDesk().emit
    )
    demand.publish()
    yield demand
    demand.withdraw(scope)
    assert demand.join(5)


def test_a_demand_is_published_as_it_was_given(daemon: responses.RequestsMock, demand: Demand) -> None:
    assert posted(daemon, DEMANDS) == [{"properties": {"mine": 1}, "constraints": "(x=1)"}]


def test_a_draft_can_become_an_agreement(market: Market, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", {}))
    eventually(lambda: demand.drafts)
    assert demand.drafts["p1"].proposal_id == "R-1"
    assert demand.seen == {"p1"}


def test_the_newest_draft_of_a_provider_counts(market: Market, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", {}), event("R-2", "p1", "Draft", {}))
    eventually(lambda: demand.drafts.get("p1") and demand.drafts["p1"].proposal_id == "R-2")
    assert len(demand.drafts) == 1


def test_a_proposal_that_is_forgotten_takes_no_newer_one_along(market: Market, demand: Demand) -> None:
    market.happens(event("R-1", "p1", "Draft", {}))
    eventually(lambda: demand.drafts)
    old = demand.drafts["p1"]
    market.happens(event("R-2", "p1", "Draft", {}))
    eventually(lambda: demand.drafts["p1"].proposal_id == "R-2")
    demand.forget(old)
    assert demand.drafts["p1"].proposal_id == "R-2"
    demand.forget(demand.drafts["p1"])
    assert demand.drafts == {}


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
    market.happens(event("R-1", "p1", "Draft", {}))
    eventually(lambda: demand.drafts)
    market.restart()
    eventually(lambda: market.published == 2)
    assert demand.drafts == {}
    market.happens(event("R-9", "p9", "Draft", {}))
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
    demand = Demand(yagna, workers, threading.Condition(), {}, "()", PLATFORM, "2", EventDesk().emit)
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
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    payload = Payload({"golem.srv.x": 5, "golem.node.id.name": "own"})
    assert demand_properties(payload, DECORATIONS, SETTINGS, noon) == {
        "golem.srv.comp.expiration": 1769860800000,
        "golem.srv.caps.multi-activity": True,
        "golem.node.debug.subnet": "mine",
        "golem.node.id.name": "own",
        "golem.srv.x": 5,
        "golem.com.x": "1",
    }


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

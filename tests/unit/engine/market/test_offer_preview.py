"""Which offers are on the market: read, sorted, and none is answered."""

from __future__ import annotations

import time
from typing import Any

import pytest
import responses

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.market.offer_preview import collect_offers, offers_on_market
from simple_golem.model.offers.prices import COEFFICIENTS
from simple_golem.model.offers.strategy import Strategy
from simple_golem.model.payload.payload import Payload
from simple_golem.model.settings import Settings
from simple_golem.yagna.client import Yagna
from tests.helpers.written_answers.fake_market import DEMANDS, FakeMarket, event, rejection
from tests.helpers.written_answers.sample_offers import PLATFORM, offered
from tests.unit.conftest import API, posted

SETTINGS = Settings.resolve("key", api_url=API, subnet_tag="mine", environ={})
PAYLOAD = Payload({"golem.srv.x": 5}, ("(golem.runtime.name=vm)",))


def priced(per_second: float, name: str) -> dict[str, Any]:
    return offered({COEFFICIENTS: [per_second, 0, 0]}, name=name)


@pytest.fixture
def market(daemon: responses.RequestsMock) -> FakeMarket:
    return FakeMarket(daemon)


def test_offers_come_cheapest_first_and_refused_ones_last(
    daemon: responses.RequestsMock, market: FakeMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_golem.engine.market.offer_preview._QUIET_SECONDS", 0.05)
    market.happens(
        event("R-1", "p1", "Initial", priced(0.01, "blocked")),
        event("R-2", "p2", "Initial", priced(0.3, "dear")),
        event("R-3", "p3", "Initial", priced(0.1, "cheap")),
        event("R-4", "p2", "Initial", priced(0.2, "dear, once more")),
        event("R-5", "p5", "Draft", priced(0.1, "an answer")),
        rejection("R-6"),
    )
    daemon.get(f"{API}/me", json={"identity": "0xreq", "name": "me", "role": "manager"})
    found = offers_on_market(SETTINGS, PAYLOAD, 30, Strategy(block=["blocked"]))
    assert [offer.provider_name for offer in found] == ["cheap", "dear, once more", "blocked"]
    assert market.alive is None
    paths = {(call.request.method, (call.request.url or "").partition("?")[0]) for call in daemon.calls}
    assert paths == {
        ("GET", f"{API}/me"),
        ("POST", f"{API}{DEMANDS}"),
        ("GET", f"{API}{DEMANDS}/d1/events"),
        ("DELETE", f"{API}{DEMANDS}/d1"),
    }


def test_the_demand_asks_for_the_payload_and_for_offers_that_can_be_paid(
    daemon: responses.RequestsMock, market: FakeMarket, yagna: Yagna, scope: Scope
) -> None:
    market.happens(event("R-1", "p1", "Initial", OFFERED := offered()))
    (found,) = collect_offers(yagna, SETTINGS, PAYLOAD, 30, scope)
    assert (found.provider_id, found.properties) == ("p1", OFFERED)
    (body,) = posted(daemon, DEMANDS)
    assert isinstance(body, dict)
    assert body["properties"]["golem.srv.x"] == 5
    assert body["properties"]["golem.node.debug.subnet"] == "mine"
    for part in (
        "(golem.runtime.name=vm)",
        "(golem.node.debug.subnet=mine)",
        f"(golem.com.payment.platform.{PLATFORM}.address=*)",
    ):
        assert part in body["constraints"]


def test_an_empty_market_is_no_offer_in_the_time_given(
    daemon: responses.RequestsMock, yagna: Yagna, scope: Scope
) -> None:
    daemon.post(f"{API}{DEMANDS}", json="d1")
    daemon.get(f"{API}{DEMANDS}/d1/events", json=[])
    daemon.delete(f"{API}{DEMANDS}/d1", status=204)
    began = time.monotonic()
    assert collect_offers(yagna, SETTINGS, PAYLOAD, 0.1, scope) == ()
    assert 0.1 <= time.monotonic() - began < 10.0  # the wrong way has no end


def test_a_poll_that_comes_back_empty_at_once_is_not_repeated_at_once(
    daemon: responses.RequestsMock, yagna: Yagna, scope: Scope
) -> None:
    daemon.post(f"{API}{DEMANDS}", json="d1")
    polls = daemon.get(f"{API}{DEMANDS}/d1/events", json=[])
    daemon.delete(f"{API}{DEMANDS}/d1", status=204)
    assert collect_offers(yagna, SETTINGS, PAYLOAD, 1.5, scope) == ()
    assert 1 <= polls.call_count <= 31


def test_the_demand_is_withdrawn_also_where_the_collecting_is_cancelled(
    daemon: responses.RequestsMock, market: FakeMarket, yagna: Yagna
) -> None:
    scope = Scope()
    scope.cancel()
    with pytest.raises(ScopeEnded):
        collect_offers(yagna, SETTINGS, PAYLOAD, 30, scope)
    assert market.alive is None
    assert len(posted(daemon, f"{DEMANDS}/d1", "DELETE")) == 1

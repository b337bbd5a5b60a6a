"""The client as a whole: identity, bridge, the provider's side, and what is never asked twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal

import pytest
import requests
import responses
from responses import matchers

from simple_golem.errors import YagnaError
from simple_golem.yagna.api.provider import ActivityEvent
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import AgreementProposed, Identity
from tests.unit.yagna.conftest import API

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
LOST = requests.exceptions.ConnectionError("Remote end closed connection without response")


def test_the_identity_behind_the_key_is_read(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{API}/me", json={"identity": "0x1", "name": None, "role": "manager"})
    assert yagna.identity.me() == Identity("0x1", "", "manager")


def test_apis_may_live_elsewhere(daemon: responses.RequestsMock) -> None:
    elsewhere = "http://elsewhere.test:1"
    client = Yagna(
        API,
        "the-key",
        market_url=f"{elsewhere}/m",
        activity_url=f"{elsewhere}/a",
        payment_url=f"{elsewhere}/p",
    )
    daemon.get(f"{elsewhere}/m/demands", json=[])
    daemon.get(f"{elsewhere}/a/activity", json=[])
    daemon.get(f"{elsewhere}/p/allocations", json=[])
    client.market.demands()
    client.activity.of_agreement("a1")
    client.payment.allocations()
    assert {call.request.headers["Authorization"] for call in daemon.calls} == {"Bearer the-key"}
    client.close()


def test_the_bridge_unwraps_what_the_service_answered(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(f"{API}/_gsb/local/identity/List", json={"Ok": [1, 2]})
    assert yagna.bridge.call("local/identity/List", {"a": 1}) == [1, 2]
    assert daemon.calls[0].request.body == '{"a": 1}'


def test_the_bridge_keeps_an_empty_answer(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(f"{API}/_gsb/local/activity/SetActivityUsage", json={"Ok": None})
    assert yagna.bridge.call("local/activity/SetActivityUsage", None) is None
    assert daemon.calls[0].request.body == "null"


def test_an_error_of_a_service_on_the_bus_is_an_error(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(f"{API}/_gsb/local/identity/Get", json={"Err": {"NotFound": "0x9"}})
    with pytest.raises(YagnaError, match="NotFound"):
        yagna.bridge.call("local/identity/Get", {})


# Everything that must not be done twice: a lost answer is final.
DO_ONCE: dict[str, Callable[[Yagna], object]] = {
    "publish_demand": lambda yagna: yagna.market.publish_demand({}, "()"),
    "demand_events": lambda yagna: yagna.market.demand_events("d1", timeout=0),
    "create_agreement": lambda yagna: yagna.market.create_agreement("p1", NOON),
    "confirm": lambda yagna: yagna.market.confirm("a1", "s1"),
    "execute": lambda yagna: yagna.activity.execute("act1", [{"deploy": {}}]),
    "allocate": lambda yagna: yagna.payment.allocate(Decimal(1), "erc20-hoodi-tglm", NOON),
    "bridge": lambda yagna: yagna.bridge.call("local/identity/CreateGenerated", {}),
    "publish_offer": lambda yagna: yagna.provider.publish_offer({}, "()"),
    "offer_events": lambda yagna: yagna.provider.offer_events("o1", timeout=0),
    "approve": lambda yagna: yagna.provider.approve("a1"),
}
# Everything whose repetition changes nothing: a lost answer is asked for again.
DO_AGAIN: dict[str, Callable[[Yagna], object]] = {
    "unsubscribe": lambda yagna: yagna.market.unsubscribe("d1"),
    "wait_for_approval": lambda yagna: yagna.market.wait_for_approval("a1", timeout=0),
    "terminate": lambda yagna: yagna.market.terminate("a1", "Done"),
    "destroy": lambda yagna: yagna.activity.destroy("act1", timeout=5),
    "results": lambda yagna: yagna.activity.results("act1", "b1", timeout=0),
    "invoice_events": lambda yagna: yagna.payment.invoice_events(NOON, timeout=0),
    "release": lambda yagna: yagna.payment.release("al1"),
}


@pytest.mark.parametrize("name", DO_ONCE)
def test_a_lost_answer_is_final_for_what_must_not_be_done_twice(yagna: Yagna, name: str) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as daemon:
        for method in ("GET", "POST"):
            daemon.add(method, matches_all(), body=LOST)
        with pytest.raises(YagnaError) as caught:
            DO_ONCE[name](yagna)
        assert caught.value.status is None
        assert len(daemon.calls) == 1


@pytest.mark.parametrize("name", DO_AGAIN)
def test_a_lost_answer_is_asked_for_again_where_that_changes_nothing(yagna: Yagna, name: str) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as daemon:
        for method in ("GET", "POST", "DELETE"):
            daemon.add(method, matches_all(), body=LOST)
            daemon.add(method, matches_all(), json=[])
        DO_AGAIN[name](yagna)
        assert len(daemon.calls) == 2


def matches_all() -> re.Pattern[str]:
    return re.compile(".*")


def test_an_offer_is_published_read_and_withdrawn(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    market = f"{API}/market-api/v1"
    daemon.post(f"{market}/offers", json="o1", status=201)
    daemon.get(
        f"{market}/offers/o1/events", json=[{"eventType": "AgreementEvent", "agreement": {"id": "a1"}}]
    )
    daemon.delete(f"{market}/offers/o1", status=410)
    assert yagna.provider.publish_offer({"a": 1}, "()") == "o1"
    assert yagna.provider.offer_events("o1", timeout=1.0) == [AgreementProposed({"id": "a1"})]
    yagna.provider.withdraw_offer("o1")


def test_a_provider_counters_approves_and_rejects(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    market = f"{API}/market-api/v1"
    daemon.post(f"{market}/offers/o1/proposals/p1", json="p2")
    daemon.post(f"{market}/offers/o1/proposals/p1/reject", status=204)
    daemon.post(f"{market}/agreements/a1/approve", status=204)
    daemon.post(f"{market}/agreements/a2/reject")
    assert yagna.provider.counter("o1", "p1", {}, "()") == "p2"
    yagna.provider.reject_proposal("o1", "p1", "no")
    yagna.provider.approve("a1", app_session_id="s1")
    yagna.provider.reject_agreement("a2", "busy", is_final=True)
    assert daemon.calls[-1].request.body == json.dumps(
        {"message": "busy", "golem.proposal.rejection.is-final": True}
    )


def test_activity_events_that_do_not_come_are_none(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    events = f"{API}/activity-api/v1/events"
    wire = {
        "eventType": ["CreateActivity"],
        "activityId": "act1",
        "agreementId": "a1",
        "eventDate": "2026-01-31T12:00:00Z",
    }
    daemon.get(events, json=[{**wire, "eventType": {"CreateActivity": {"requestorPubKey": None}}}])
    daemon.get(events, status=408)
    assert yagna.provider.activity_events(NOON, timeout=1.0) == [
        ActivityEvent("CreateActivity", "act1", "a1", NOON)
    ]
    assert yagna.provider.activity_events(NOON, timeout=1.0) == []


def test_a_provider_tells_state_and_asks_to_be_paid(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    payment = f"{API}/payment-api/v1"
    daemon.put(f"{API}/activity-api/v1/activity/act1/state")
    yagna.provider.set_activity_state("act1", ("Ready", None))
    assert json.loads(daemon.calls[-1].request.body or "")["state"] == ["Ready", None]

    soon = [matchers.query_param_matcher({"timeout": "15.0"})]
    daemon.post(f"{payment}/debitNotes", json={"debitNoteId": "n1"}, status=201)
    daemon.post(f"{payment}/debitNotes/n1/send", match=soon)
    assert yagna.provider.send_debit_note("act1", Decimal("1E-3"), [1.0, 2.0]) == "n1"
    daemon.post(f"{payment}/invoices", json={"invoiceId": "i1"}, status=201)
    daemon.post(f"{payment}/invoices/i1/send", match=soon)
    assert yagna.provider.send_invoice("a1", ["act1"], Decimal("0.5"), NOON) == "i1"
    assert json.loads(daemon.calls[-2].request.body or "") == {
        "agreementId": "a1",
        "activityIds": ["act1"],
        "amount": "0.5",
        "paymentDueDate": "2026-01-31T12:00:00Z",
    }

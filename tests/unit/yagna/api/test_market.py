"""The market API: what is asked, and what each status means."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
import responses
from responses import matchers

from simple_golem.errors import YagnaError
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import AgreementState, Approval, Proposal, ProposalRejected, ProposalState
from tests.unit.yagna.conftest import API

MARKET = f"{API}/market-api/v1"
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)

PROPOSAL = {
    "eventType": "ProposalEvent",
    "eventDate": "2026-01-31T12:00:00.123456789Z",
    "proposal": {
        "proposalId": "R-p1",
        "issuerId": "0xprov",
        "state": "Draft",
        "properties": {"golem.node.id.name": "prov-1"},
        "constraints": "()",
        "timestamp": "2026-01-31T12:00:00.123456789Z",
        "prevProposalId": "R-p0",
    },
}


def sent(daemon: responses.RequestsMock) -> Any:
    body = daemon.calls[-1].request.body
    assert body is not None
    return json.loads(body)


def test_a_demand_is_published(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(f"{MARKET}/demands", json="d1", status=201)
    assert yagna.market.publish_demand({"a.b": 1}, "(x=1)") == "d1"
    assert sent(daemon) == {"properties": {"a.b": 1}, "constraints": "(x=1)"}


@pytest.mark.parametrize("status", [204, 404, 410])
def test_a_demand_that_is_gone_is_unsubscribed(
    daemon: responses.RequestsMock, yagna: Yagna, status: int
) -> None:
    daemon.delete(f"{MARKET}/demands/d1", status=status)
    yagna.market.unsubscribe("d1")
    assert len(daemon.calls) == 1


def test_events_are_read_as_values(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    rejected = {"eventType": "ProposalRejectedEvent", "proposalId": "R-p9", "reason": {"message": "no"}}
    daemon.get(
        f"{MARKET}/demands/d1/events",
        json=[PROPOSAL, rejected],
        match=[matchers.query_param_matcher({"timeout": "5.0", "maxEvents": "100"})],
    )
    first, second = yagna.market.demand_events("d1", timeout=5.0)
    assert first == Proposal(
        "R-p1",
        "0xprov",
        ProposalState.DRAFT,
        {"golem.node.id.name": "prov-1"},
        "()",
        datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc),
        "R-p0",
    )
    assert second == ProposalRejected("R-p9", "no")


def test_a_reader_learns_that_its_demand_is_gone(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{MARKET}/demands/d1/events", json={"message": "no subscription"}, status=404)
    with pytest.raises(YagnaError) as caught:
        yagna.market.demand_events("d1", timeout=5.0)
    assert caught.value.status == 404


@pytest.mark.parametrize("reason", [{"message": "too dear", "code": "x"}, "too dear"])
def test_a_reason_is_text_in_either_form(daemon: responses.RequestsMock, yagna: Yagna, reason: Any) -> None:
    event = {"eventType": "ProposalRejectedEvent", "proposalId": "R-p9", "reason": reason}
    daemon.get(f"{MARKET}/demands/d1/events", json=[event])
    assert yagna.market.demand_events("d1", timeout=0) == [ProposalRejected("R-p9", "too dear")]


def test_a_proposal_is_countered(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(f"{MARKET}/demands/d1/proposals/R-p1", json="R-p2")
    assert yagna.market.counter("d1", "R-p1", {"a": 1}, "()") == "R-p2"
    assert sent(daemon) == {"properties": {"a": 1}, "constraints": "()"}


def test_a_proposal_is_rejected_with_the_reason(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(f"{MARKET}/demands/d1/proposals/R-p1/reject", status=204)
    yagna.market.reject("d1", "R-p1", "No common payment platform")
    assert sent(daemon) == {"message": "No common payment platform"}


def test_an_agreement_is_created_and_confirmed_for_a_session(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    daemon.post(f"{MARKET}/agreements", json="a1")
    assert yagna.market.create_agreement("R-p1", NOON) == "a1"
    assert sent(daemon) == {"proposalId": "R-p1", "validTo": "2026-01-31T12:00:00Z"}
    daemon.post(
        f"{MARKET}/agreements/a1/confirm",
        status=204,
        match=[matchers.query_param_matcher({"appSessionId": "s1"})],
    )
    yagna.market.confirm("a1", "s1")


@pytest.mark.parametrize(
    ("status", "words", "approval"),
    [
        (204, "", Approval.APPROVED),
        (410, "Rejected", Approval.REFUSED),
        (408, "Timeout", Approval.UNDECIDED),
    ],
)
def test_waiting_for_approval_has_three_ends(
    daemon: responses.RequestsMock, yagna: Yagna, status: int, words: str, approval: Approval
) -> None:
    body = json.dumps({"message": words}) if words else ""
    daemon.post(f"{MARKET}/agreements/a1/wait", body=body, status=status)
    assert yagna.market.wait_for_approval("a1", timeout=15.0) == (approval, words)
    assert len(daemon.calls) == 1


def test_waiting_for_an_agreement_nobody_knows_is_an_error(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    daemon.post(f"{MARKET}/agreements/a1/wait", status=404)
    with pytest.raises(YagnaError):
        yagna.market.wait_for_approval("a1", timeout=1.0)


@pytest.mark.parametrize(("status", "cancelled"), [(200, True), (410, False)])
def test_cancelling_says_whether_it_came_in_time(
    daemon: responses.RequestsMock, yagna: Yagna, status: int, cancelled: bool
) -> None:
    daemon.post(f"{MARKET}/agreements/a1/cancel", status=status)
    assert yagna.market.cancel("a1", "No answer in time") is cancelled
    assert sent(daemon) == {"message": "No answer in time"}


@pytest.mark.parametrize("status", [200, 404, 410])
def test_an_agreement_that_has_ended_is_terminated(
    daemon: responses.RequestsMock, yagna: Yagna, status: int
) -> None:
    daemon.post(f"{MARKET}/agreements/a1/terminate", status=status)
    yagna.market.terminate("a1", "Done")
    assert sent(daemon) == {"message": "Done", "golem.requestor.code": "Success"}


@pytest.mark.parametrize(
    ("approval", "approved"),
    [({}, None), ({"approvedDate": None}, None), ({"approvedDate": "2026-01-31T12:00:00Z"}, NOON)],
)
def test_an_agreement_is_read(
    daemon: responses.RequestsMock, yagna: Yagna, approval: dict[str, Any], approved: datetime | None
) -> None:
    wire = {
        "agreementId": "a1",
        "state": "Approved",
        "offer": {"providerId": "0xprov", "properties": {"o": 1}},
        "demand": {"requestorId": "0xreq", "properties": {"d": 1}},
        "validTo": "2026-01-31T12:00:00Z",
        "timestamp": "2026-01-31T11:00:00Z",
        "appSessionId": "s1",
        **approval,
    }
    daemon.get(f"{MARKET}/agreements/a1", json=wire)
    agreement = yagna.market.agreement("a1")
    assert (agreement.made, agreement.approved) == (NOON - timedelta(hours=1), approved)
    assert (agreement.state, agreement.provider_id, agreement.requestor_id) == (
        AgreementState.APPROVED,
        "0xprov",
        "0xreq",
    )
    assert (agreement.offer_properties, agreement.demand_properties) == ({"o": 1}, {"d": 1})
    assert (agreement.valid_to, agreement.app_session_id) == (NOON, "s1")


def test_agreement_events_are_those_of_the_session_after_a_time(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    event = {
        "eventType": "AgreementTerminatedEvent",
        "agreementId": "a1",
        "eventDate": "2026-01-31T12:00:01.5Z",
        "terminator": "Provider",
        "reason": {"message": "Expired"},
    }
    query = {
        "afterTimestamp": "2026-01-31T12:00:00Z",
        "timeout": "3.0",
        "maxEvents": "100",
        "appSessionId": "s1",
    }
    daemon.get(
        f"{MARKET}/agreementEvents",
        json=[event],
        match=[matchers.query_param_matcher(query)],
    )
    (read,) = yagna.market.agreement_events(NOON, timeout=3.0, app_session_id="s1")
    assert (read.kind, read.agreement_id, read.reason, read.terminator) == (
        "AgreementTerminatedEvent",
        "a1",
        "Expired",
        "Provider",
    )
    assert (read.date - NOON).total_seconds() == 1.5


def test_the_lists_ask_for_what_was_meant(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{MARKET}/demands", json=[{"demandId": "d1"}])
    assert yagna.market.demands() == [{"demandId": "d1"}]
    daemon.get(
        f"{MARKET}/agreements",
        json=[{"id": "a1"}],
        match=[matchers.query_param_matcher({"state": "Approved"})],
    )
    assert yagna.market.agreements(state="Approved") == [{"id": "a1"}]
    daemon.get(f"{MARKET}/agreements/a1/terminate/reason", json={"reason": {"message": "Expired"}})
    assert yagna.market.terminate_reason("a1") == "Expired"


COUNTERED = f"{API}/market-api/v1/demands/d1/proposals/R-p1"
LOST = requests.exceptions.ConnectionError("reset")


def test_a_counter_proposal_whose_answer_was_lost_is_sent_again(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    daemon.post(COUNTERED, body=LOST)
    daemon.post(COUNTERED, json="R-p2")
    assert yagna.market.counter("d1", "R-p1", {"a": 1}, "()") == "R-p2"


def test_a_counter_proposal_that_had_arrived_all_the_same_needs_no_other(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    daemon.post(COUNTERED, body=LOST)
    daemon.post(COUNTERED, status=410, json={"message": "already has counter proposal"})
    assert yagna.market.counter("d1", "R-p1", {"a": 1}, "()") is None


def test_a_proposal_that_can_not_be_countered_is_an_error(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    daemon.post(COUNTERED, status=410, json={"message": "expired"})
    with pytest.raises(YagnaError, match="expired"):
        yagna.market.counter("d1", "R-p1", {"a": 1}, "()")


def test_an_agreement_that_was_not_confirmed_needs_no_end(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    daemon.post(
        f"{API}/market-api/v1/agreements/a1/cancel",
        status=500,
        json={"message": "Remote failed to approve. Error: Agreement [P-a1] not found."},
    )
    assert yagna.market.cancel("a1", "not needed") is None

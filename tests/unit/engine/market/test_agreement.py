"""Making agreements of proposals: none is left half made."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import requests
import responses

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.event_dispatcher import EventDispatcher
from simple_golem.engine.market.agreement import Agreement, AgreementMaker
from simple_golem.model.events.agreements import AgreementMade, AgreementNotMade
from simple_golem.model.events.event import Event
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Proposal
from tests.helpers.written_answers.sample_offers import proposal_of
from tests.unit.conftest import API, posted

AGREEMENTS = "/market-api/v1/agreements"
LOST = requests.exceptions.ConnectionError("Remote end closed connection without response")


def draft(provider: str) -> Proposal:
    return proposal_of(provider, {"golem.node.id.name": f"the {provider}"})


def ignored(reason: str) -> None:
    pass


@pytest.fixture
def maker(daemon: responses.RequestsMock, yagna: Yagna) -> AgreementMaker:
    daemon.post(f"{API}{AGREEMENTS}", json="a1")
    return AgreementMaker(yagna, "s1", EventDispatcher().emit)


@pytest.fixture
def release() -> Iterator[Scope]:
    scope = Scope()
    yield scope
    scope.cancel()


def said(daemon: responses.RequestsMock, what: str, status: int, message: str | None = None) -> None:
    body = "" if message is None else json.dumps({"message": message})
    daemon.post(f"{API}{AGREEMENTS}/a1/{what}", status=status, body=body)


def state_is(daemon: responses.RequestsMock, state: str) -> None:
    wire = {
        "agreementId": "a1",
        "state": state,
        "offer": {"providerId": "p1", "properties": {}},
        "demand": {"requestorId": "0xreq", "properties": {}},
        "validTo": "2026-01-31T12:00:00Z",
        "timestamp": "2026-01-31T11:00:00Z",
    }
    daemon.get(f"{API}{AGREEMENTS}/a1", json=wire)


def rejected(
    daemon: responses.RequestsMock,
    *reasons: tuple[str, str],
    date: datetime = datetime(2026, 1, 31, 11, tzinfo=timezone.utc),
) -> None:
    """The daemon has these events: ids of agreements, and the reasons for their rejections."""
    wire = [
        {
            "eventType": "AgreementRejectedEvent",
            "agreementId": agreement_id,
            "eventDate": date.isoformat(),
            "reason": {"message": reason},
        }
        for agreement_id, reason in reasons
    ]
    daemon.get(f"{API}/market-api/v1/agreementEvents", json=wire)


def calls(daemon: responses.RequestsMock) -> list[str]:
    urls = [(call.request.url or "").partition("?")[0] for call in daemon.calls]
    return [url.rpartition("/")[2] for url in urls]


def test_an_approved_agreement_says_whom_it_is_with(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 204)
    agreement = maker.make(draft("p1"), "Hello-1", scope, release, ignored)
    assert agreement == Agreement("a1", "p1", "the p1", {"golem.node.id.name": "the p1"})
    assert str(agreement) == "the p1 (p1)"
    assert calls(daemon) == ["agreements", "confirm", "wait"]
    assert "appSessionId=s1" in (daemon.calls[1].request.url or "")
    (body,) = posted(daemon, AGREEMENTS)
    assert isinstance(body, dict)
    assert body["proposalId"] == "R-p1"


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([], "Rejected"),
        ([("a2", "other"), ("a1", "no room left")], "rejected by the provider: no room left"),
        ([("a2", "other")], "Rejected"),
    ],
)
def test_a_rejected_agreement_is_none_and_its_reason_is_told(
    daemon: responses.RequestsMock,
    maker: AgreementMaker,
    scope: Scope,
    release: Scope,
    events: list[tuple[str, str]],
    told: str,
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 410, "Rejected")
    objections: list[str] = []
    rejected(daemon, *events)
    assert maker.make(draft("p1"), "Hello-1", scope, release, objections.append) is None
    assert objections == [told]
    assert calls(daemon) == ["agreements", "confirm", "wait", "agreementEvents"]


def test_the_reason_of_a_rejection_is_found_behind_a_hundred_other_events(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 410, "Rejected")
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    others = [(f"b{number}", "busy") for number in range(100)]
    rejected(daemon, *others, date=later)
    rejected(daemon, ("a1", "no room left"), date=later + timedelta(seconds=1))
    objections: list[str] = []
    assert maker.make(draft("p1"), "Hello-1", scope, release, objections.append) is None
    assert objections == ["rejected by the provider: no room left"]


def test_a_rejection_whose_reason_can_not_be_read_is_a_rejection(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 410, "Rejected")
    daemon.get(f"{API}/market-api/v1/agreementEvents", status=400, json={"message": "no"})
    objections: list[str] = []
    assert maker.make(draft("p1"), "Hello-1", scope, release, objections.append) is None
    assert objections == ["Rejected"]


def test_a_proposal_that_is_no_more_is_none(
    daemon: responses.RequestsMock, yagna: Yagna, scope: Scope, release: Scope
) -> None:
    daemon.post(f"{API}{AGREEMENTS}", status=410, json={"message": "countered"})
    assert (
        AgreementMaker(yagna, "s1", EventDispatcher().emit).make(
            draft("p1"), "Hello-1", scope, release, ignored
        )
        is None
    )


def test_an_agreement_nobody_answers_is_cancelled(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 408, "timeout")
    said(daemon, "cancel", 200)
    assert maker.make(draft("p1"), "Hello-1", scope, release, ignored) is None
    assert calls(daemon) == ["agreements", "confirm", "wait", "cancel"]


def test_an_approval_at_the_last_moment_counts(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 408, "timeout")
    said(daemon, "wait", 204)
    said(daemon, "cancel", 410, "approved")
    agreement = maker.make(draft("p1"), "Hello-1", scope, release, ignored)
    assert agreement is not None
    assert agreement.agreement_id == "a1"
    assert calls(daemon) == ["agreements", "confirm", "wait", "cancel", "wait"]


@pytest.mark.parametrize("state", ["Pending", "Approved"])
def test_a_confirmation_whose_answer_was_lost_is_read_from_the_agreement(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope, state: str
) -> None:
    daemon.post(f"{API}{AGREEMENTS}/a1/confirm", body=LOST)
    state_is(daemon, state)
    said(daemon, "wait", 204)
    assert maker.make(draft("p1"), "Hello-1", scope, release, ignored) is not None
    assert calls(daemon) == ["agreements", "confirm", "a1", "wait"]


def test_an_agreement_that_was_not_confirmed_is_cancelled(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 400, "no")
    state_is(daemon, "Proposal")
    said(daemon, "cancel", 200)
    assert maker.make(draft("p1"), "Hello-1", scope, release, ignored) is None
    assert calls(daemon) == ["agreements", "confirm", "a1", "cancel"]


@pytest.mark.parametrize(("status", "ended"), [(200, ["cancel"]), (410, ["cancel", "terminate"])])
def test_an_agreement_given_up_half_way_is_cancelled_or_terminated(
    daemon: responses.RequestsMock, yagna: Yagna, release: Scope, status: int, ended: list[str]
) -> None:
    stop, events = Scope(), list[Event]()
    daemon.post(f"{API}{AGREEMENTS}", json="a1")

    def stopped(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        stop.cancel("stop")
        raise LOST

    said(daemon, "confirm", 204)
    daemon.add_callback(responses.POST, f"{API}{AGREEMENTS}/a1/wait", stopped)
    said(daemon, "cancel", status)
    said(daemon, "terminate", 200)
    maker = AgreementMaker(yagna, "s1", events.append)
    with pytest.raises(ScopeEnded):
        maker.make(draft("p1"), "Hello-1", stop, release, ignored)
    assert calls(daemon)[3:] == ended
    (event,) = events
    assert isinstance(event, AgreementNotMade)
    assert (event.instance, event.agreement_id, event.provider_id) == ("Hello-1", "a1", "p1")
    assert str(event).endswith("Hello-1: no agreement with the p1: not needed any more")


def test_an_agreement_is_given_up_also_where_the_daemon_fails(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 500, "broken")
    said(daemon, "cancel", 200)
    assert maker.make(draft("p1"), "Hello-1", scope, release, ignored) is None
    assert calls(daemon)[-1] == "cancel"


def test_nothing_is_made_in_a_scope_that_has_ended(
    daemon: responses.RequestsMock, maker: AgreementMaker, release: Scope
) -> None:
    stop = Scope()
    stop.cancel()
    with pytest.raises(ScopeEnded):
        maker.make(draft("p1"), "Hello-1", stop, release, ignored)
    assert calls(daemon) == []


def test_an_agreement_is_terminated_with_reason_and_code(
    daemon: responses.RequestsMock, maker: AgreementMaker, release: Scope
) -> None:
    said(daemon, "terminate", 200)
    maker.terminate(Agreement("a1", "p1", "prov", {}), "Done", "Success", release)
    assert posted(daemon, f"{AGREEMENTS}/a1/terminate") == [
        {"message": "Done", "golem.requestor.code": "Success"}
    ]


def test_an_agreement_that_is_not_terminated_is_told_of(
    daemon: responses.RequestsMock, maker: AgreementMaker, release: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    said(daemon, "terminate", 500, "no way")
    with caplog.at_level(logging.WARNING, "simple_golem"):
        maker.terminate(Agreement("a1", "p1", "prov", {}), "Done", "Success", release)
    for words in ("a1", "prov (p1)", "no way"):
        assert words in caplog.text


def test_an_agreement_that_can_not_be_cancelled_is_told_of(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    no_time = Scope()
    no_time.cancel("no time left")
    said(daemon, "confirm", 204)
    said(daemon, "wait", 500, "broken")
    said(daemon, "cancel", 500, "broken")
    assert maker.make(draft("p1"), "Hello-1", scope, no_time, ignored) is None
    assert "the agreement a1 could not be cancelled: no time left" in caplog.text


def test_why_there_is_no_agreement_is_an_event(
    daemon: responses.RequestsMock, yagna: Yagna, scope: Scope, release: Scope
) -> None:
    events: list[Event] = []
    daemon.post(f"{API}{AGREEMENTS}", json="a1")
    said(daemon, "confirm", 204)
    said(daemon, "wait", 410, "Rejected")
    said(daemon, "wait", 204)
    rejected(daemon)
    maker = AgreementMaker(yagna, "s1", events.append)
    for _ in range(2):
        maker.make(draft("p1"), "Hello-1", scope, release, ignored)
    assert [type(one) for one in events] == [AgreementNotMade, AgreementMade]
    assert "Rejected" in str(events[0])


def unconfirmed(daemon: responses.RequestsMock, provider: str, valid_to: str | None = None) -> None:
    """The daemon lists an agreement that was created; valid until what was asked for, if nothing is said."""
    daemon.get(f"{API}{AGREEMENTS}", json=[{"id": "a1", "role": "Requestor"}])

    def read(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        (body, *_) = posted(daemon, AGREEMENTS)
        assert isinstance(body, dict)
        wire = {
            "agreementId": "a1",
            "state": "Proposal",
            "offer": {"providerId": provider, "properties": {}},
            "demand": {"requestorId": "0xreq", "properties": {}},
            "validTo": valid_to or body["validTo"],
            "timestamp": "2026-01-31T11:00:00Z",
        }
        return 200, {}, json.dumps(wire)

    daemon.add_callback(responses.GET, f"{API}{AGREEMENTS}/a1", read)


def test_an_agreement_whose_answer_was_lost_is_found_by_its_mark(
    daemon: responses.RequestsMock, yagna: Yagna, scope: Scope, release: Scope
) -> None:
    daemon.post(f"{API}{AGREEMENTS}", body=LOST)
    unconfirmed(daemon, "p1")
    said(daemon, "confirm", 204)
    said(daemon, "wait", 204)
    agreement = AgreementMaker(yagna, "s1", EventDispatcher().emit).make(
        draft("p1"), "Hello-1", scope, release, ignored
    )
    assert agreement is not None
    assert agreement.agreement_id == "a1"
    assert calls(daemon) == ["agreements", "agreements", "a1", "confirm", "wait"]


@pytest.mark.parametrize(
    ("provider", "valid_to"), [("p2", None), ("p1", "2026-01-31T12:00:00Z")], ids=["provider", "time"]
)
def test_the_agreement_of_somebody_else_is_not_taken(
    daemon: responses.RequestsMock,
    yagna: Yagna,
    scope: Scope,
    release: Scope,
    provider: str,
    valid_to: str | None,
) -> None:
    daemon.post(f"{API}{AGREEMENTS}", body=LOST)
    daemon.post(f"{API}{AGREEMENTS}", json="a2")
    unconfirmed(daemon, provider, valid_to)
    for step in ("confirm", "wait"):
        daemon.post(f"{API}{AGREEMENTS}/a2/{step}", status=204)
    agreement = AgreementMaker(yagna, "s1", EventDispatcher().emit).make(
        draft("p1"), "Hello-1", scope, release, ignored
    )
    assert agreement is not None
    assert agreement.agreement_id == "a2"


def test_a_confirmation_that_did_not_arrive_is_sent_again(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    daemon.post(f"{API}{AGREEMENTS}/a1/confirm", body=LOST)
    said(daemon, "confirm", 204)
    state_is(daemon, "Proposal")
    said(daemon, "wait", 204)
    assert maker.make(draft("p1"), "Hello-1", scope, release, ignored) is not None
    assert calls(daemon) == ["agreements", "confirm", "a1", "confirm", "wait"]

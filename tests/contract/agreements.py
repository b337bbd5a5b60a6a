"""Agreements: their states, which side may change them, and the events of a change."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from .buyer import (
    HONEST,
    MARKET,
    NEVER_APPROVES,
    NO_AGREEMENT,
    NO_PROPOSAL,
    REASON,
    REJECTS_AGREEMENTS,
    SESSION,
    Buyer,
    date,
)

AGREEMENTS = f"{MARKET}/agreements"
EVENTS = f"{MARKET}/agreementEvents"
OVER = {"message": "over", "golem.requestor.code": "Success"}


def no_step(state: str, wanted: str) -> str:
    return f"Can't update Agreement state from {state} to {wanted}."


def events_of(buyer: Buyer, agreement_id: str, begun: str, session: str = SESSION) -> list[dict[str, Any]]:
    events = buyer.get(EVENTS, timeout=1, afterTimestamp=begun, appSessionId=session, maxEvents=100)
    return [event for event in events if event["agreementId"] == agreement_id]


class AgreementContract:
    def test_an_agreement_from_its_making_to_its_end(self, buyer: Buyer) -> None:
        begun = date()
        demand = buyer.publish()
        agreement_id = buyer.propose_on(demand)
        path = f"{AGREEMENTS}/{agreement_id}"
        made = buyer.get(path)
        parts = {"agreementId", "demand", "offer", "validTo", "state", "timestamp"}
        assert (made["state"], made.keys()) == ("Proposal", parts)
        terms = {"properties", "constraints", "timestamp"}
        assert made["demand"].keys() == terms | {"demandId", "requestorId"}
        assert made["offer"].keys() == terms | {"offerId", "providerId"}
        assert made["demand"]["properties"] == demand.terms["properties"]
        assert made["offer"]["providerId"] == buyer.providers[HONEST]
        self._check_unconfirmed(buyer, agreement_id)

        assert buyer.say("POST", f"{path}/confirm", appSessionId=SESSION) == (204, "")
        assert buyer.say("POST", f"{path}/wait", timeout=10) == (204, "")
        assert buyer.say("POST", f"{path}/wait", timeout=10) == (204, "")
        approved = buyer.get(path)
        signatures = {"proposedSignature", "approvedSignature", "committedSignature"}
        assert approved.keys() == parts | signatures | {"appSessionId", "approvedDate"}
        assert (approved["state"], approved["appSessionId"]) == ("Approved", SESSION)
        assert buyer.say("POST", f"{path}/confirm") == (410, no_step("Approved", "Pending"))
        assert buyer.say("POST", f"{path}/cancel", OVER) == (410, no_step("Approved", "Cancelled"))

        buyer.terminate(agreement_id)
        self._check_terminated(buyer, agreement_id)
        told = events_of(buyer, agreement_id, begun)
        assert [one["eventType"] for one in told] == ["AgreementApprovedEvent", "AgreementTerminatedEvent"]
        assert told[1] == buyer.get(f"{path}/terminate/reason")
        assert (told[1]["reason"], told[1]["signature"]) == (OVER, "")
        assert told[0].keys() == {"eventDate", "agreementId", "eventType"}
        assert events_of(buyer, agreement_id, told[0]["eventDate"]) == told[1:]
        # What was agreed is offered again.
        del demand.offers[HONEST]
        assert buyer.offer(demand)["state"] == "Initial"

    def _check_unconfirmed(self, buyer: Buyer, agreement_id: str) -> None:
        path, name = f"{AGREEMENTS}/{agreement_id}", f"Agreement [R-{agreement_id}]"
        text = f"{name} should be confirmed, before waiting for approval."
        assert buyer.say("POST", f"{path}/wait", timeout=0.1) == (400, text)
        assert buyer.say("POST", f"{path}/terminate", OVER) == (409, no_step("Proposal", "Terminated"))
        assert buyer.say("GET", f"{path}/terminate/reason") == (400, f"{name} not terminated yet.")
        text = (
            "Protocol error while approving: Remote failed to approve. Error: "
            f"Agreement [P-{agreement_id}] not found."
        )
        assert buyer.say("POST", f"{path}/cancel", OVER) == (500, text)

    def _check_terminated(self, buyer: Buyer, agreement_id: str) -> None:
        path, name = f"{AGREEMENTS}/{agreement_id}", f"Agreement [R-{agreement_id}]"
        assert buyer.get(path)["state"] == "Terminated"
        assert buyer.say("POST", f"{path}/terminate", OVER) == (410, no_step("Terminated", "Terminated"))
        assert buyer.say("POST", f"{path}/wait", timeout=1) == (400, f"{name} terminated.")
        assert buyer.say("POST", f"{path}/cancel", OVER) == (410, no_step("Terminated", "Cancelled"))
        assert buyer.say("POST", f"{path}/confirm") == (410, no_step("Terminated", "Pending"))

    def test_a_provider_that_never_approves(self, buyer: Buyer) -> None:
        begun = date()
        agreement_id = buyer.confirm(NEVER_APPROVES)
        path, name = f"{AGREEMENTS}/{agreement_id}", f"Agreement [R-{agreement_id}]"
        late = (408, f"Timeout while waiting for {name} approval.")
        assert buyer.say("POST", f"{path}/wait", timeout=0.2) == late
        assert buyer.get(path)["state"] == "Pending"
        assert buyer.say("POST", f"{path}/confirm") == (410, no_step("Pending", "Pending"))
        assert buyer.say("POST", f"{path}/terminate", OVER) == (410, no_step("Pending", "Terminated"))
        answers: list[Any] = []
        waiter = threading.Thread(
            target=lambda: answers.append(buyer.say("POST", f"{path}/wait", timeout=20))
        )
        waiter.start()
        assert buyer.say("POST", f"{path}/cancel", OVER) == (200, "")
        waiter.join(10)
        assert answers == [(410, "Cancelled")]
        assert buyer.say("POST", f"{path}/cancel", OVER) == (410, no_step("Cancelled", "Cancelled"))
        assert buyer.say("POST", f"{path}/terminate", OVER) == (410, no_step("Cancelled", "Terminated"))
        (event,) = events_of(buyer, agreement_id, begun)
        assert (event["eventType"], event["reason"]) == ("AgreementCancelledEvent", OVER)

    def test_a_provider_that_rejects(self, buyer: Buyer) -> None:
        begun = date()
        agreement_id = buyer.confirm(REJECTS_AGREEMENTS)
        path = f"{AGREEMENTS}/{agreement_id}"
        for _ in range(2):
            assert buyer.say("POST", f"{path}/wait", timeout=10) == (410, "Rejected")
        assert buyer.say("POST", f"{path}/cancel", OVER) == (410, no_step("Rejected", "Cancelled"))
        assert buyer.say("POST", f"{path}/terminate", OVER) == (410, no_step("Rejected", "Terminated"))
        (event,) = events_of(buyer, agreement_id, begun)
        assert event["eventType"] == "AgreementRejectedEvent"
        assert event["reason"] == {"message": REASON, "golem.proposal.rejection.is-final": False}

    def test_an_agreement_whose_time_is_over(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        body = {"proposalId": buyer.draft(demand)["proposalId"], "validTo": date(-10)}
        status, agreement_id = buyer.say("POST", AGREEMENTS, body)
        assert status == 200
        path = f"{AGREEMENTS}/{agreement_id}"
        assert buyer.get(path)["state"] == "Expired"
        assert buyer.say("POST", f"{path}/confirm") == (410, no_step("Expired", "Pending"))
        text = f"Agreement [R-{agreement_id}] expired."
        assert buyer.say("POST", f"{path}/wait", timeout=1) == (410, text)

    def test_an_agreement_is_listed_by_state_and_session(self, buyer: Buyer) -> None:
        agreement_id = buyer.agree()
        for query, found in (
            ({}, True),
            ({"state": "Approved", "appSessionId": SESSION}, True),
            ({"state": "Pending"}, False),
            ({"appSessionId": "another"}, False),
        ):
            rows = [row for row in buyer.get(AGREEMENTS, **query) if row["id"] == agreement_id]
            assert bool(rows) is found
            assert all(row.keys() == {"id", "timestamp", "approvedDate", "role"} for row in rows)
        status, text = buyer.say("GET", AGREEMENTS, state="Nonsense")
        assert status == 400
        assert text.startswith("Query deserialize error: unknown variant `Nonsense`, expected one of")

    def test_proposals_of_which_no_agreement_can_be_made(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        offer = buyer.offer(demand)["proposalId"]
        counter = buyer.counter(demand)
        draft = buyer.next_event(demand)["proposal"]["proposalId"]
        head, only = "Can't create Agreement for", "You can promote only provider's Proposals to Agreement."
        unmet = self._other_offer(buyer)
        for proposal_id, text in (
            (
                unmet,
                f"{head} Proposal [{unmet}]. No negotiation with Provider took place. "
                "(You should counter Proposal at least one time)",
            ),
            (NO_PROPOSAL, f"{head} Proposal [{NO_PROPOSAL}]. Proposal [{NO_PROPOSAL}] not found."),
            (
                counter,
                f"{head} an own Proposal [{counter}]. {only}",
            ),
            ("xyz", "Invalid Agreement id. Id [xyz] has invalid format."),
        ):
            body = {"proposalId": proposal_id, "validTo": date(300)}
            assert buyer.say("POST", AGREEMENTS, body) == (400, text)
        assert buyer.say("POST", AGREEMENTS, {"proposalId": draft, "validTo": date(300)})[0] == 200
        twice = f"Can't create second Agreement for Proposal [{draft}]."
        assert buyer.say("POST", AGREEMENTS, {"proposalId": draft, "validTo": date(300)}) == (409, twice)
        status, text = buyer.say("POST", AGREEMENTS, {"proposalId": offer})
        assert (status, text) == (
            400,
            f"Json deserialize error: missing field `validTo` at line 1 column {18 + len(offer)}",
        )

    def _other_offer(self, buyer: Buyer) -> str:
        return str(buyer.offer(buyer.publish())["proposalId"])

    @pytest.mark.parametrize(
        ("method", "end", "mark"),
        [
            ("GET", "", ""),
            ("POST", "/confirm", "R-"),
            ("POST", "/wait", "R-"),
            ("POST", "/cancel", "R-"),
            ("POST", "/terminate", ""),
            ("GET", "/terminate/reason", ""),
        ],
    )
    def test_one_that_never_was_is_not_found(self, buyer: Buyer, method: str, end: str, mark: str) -> None:
        body = {"body": OVER} if end in ("/cancel", "/terminate") else {}
        answer = buyer.say(method, f"{AGREEMENTS}/{NO_AGREEMENT}{end}", **body)
        assert answer == (404, f"Agreement [{mark}{NO_AGREEMENT}] not found.")
        why = "Id [xyz] contains non hexadecimal characters."
        text = {
            "/wait": f"Invalid agreement id. {why}",
            "/terminate": f"Failed to get Agreement [xyz]. Error: Invalid Agreement id: {why}",
            "/terminate/reason": f"Failed to get Agreement [xyz]. Error: Invalid Agreement id: {why}",
        }.get(end, f"Invalid Agreement id. {why}")
        status = 500 if end.startswith("/terminate") else 400
        assert buyer.say(method, f"{AGREEMENTS}/xyz{end}", **body) == (status, text)

    def test_a_reason_has_a_message(self, buyer: Buyer) -> None:
        path = f"{AGREEMENTS}/{NO_AGREEMENT}/terminate"
        assert buyer.say("POST", path) == (400, "Content type error")
        text = "Json deserialize error: missing field `message` at line 1 column 8"
        assert buyer.say("POST", path, {"x": 1}) == (400, text)

    def test_events_that_do_not_come_are_waited_for(self, buyer: Buyer) -> None:
        assert buyer.get(EVENTS, timeout=0.1, afterTimestamp=date()) == []
        text = "Query deserialize error: input contains invalid characters"
        assert buyer.say("GET", EVENTS, timeout=0.1, afterTimestamp="yesterday") == (400, text)

"""Demands and proposals."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from .buyer import (
    HONEST,
    MARKET,
    NO_DEMAND,
    NO_JSON,
    NO_PROPOSAL,
    REASON,
    REJECTS_PROPOSALS,
    Buyer,
    said,
)

DEMANDS = f"{MARKET}/demands"
PROPOSAL_KEYS = {"properties", "constraints", "proposalId", "issuerId", "state", "timestamp"}


def not_found(demand_id: str) -> tuple[int, str]:
    return 404, f"Subscription [{demand_id}] not found. Could be unsubscribed."


def no_proposal(demand_id: str, proposal_id: str) -> str:
    random_id, _, hash_ = demand_id.partition("-")
    return (
        f"Proposal [{proposal_id}] not found (subscription [Some(SubscriptionId "
        f'{{ random_id: "{random_id}", hash: "{hash_}" }})]).'
    )


class DemandContract:
    def test_each_answer_has_the_date_of_the_daemon_also_a_refusal(self, buyer: Buyer) -> None:
        for path, status in ((DEMANDS, 200), (f"{DEMANDS}/{NO_DEMAND}/events", 404)):
            answer = buyer.ask("GET", path)
            assert answer.status_code == status
            age = datetime.now(timezone.utc) - parsedate_to_datetime(answer.headers["Date"])
            assert timedelta(seconds=-1) < age < timedelta(seconds=5)

    def test_a_demand_from_its_publishing_to_its_end(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        (listed,) = (one for one in buyer.get(DEMANDS) if one["demandId"] == demand.demand_id)
        assert listed["properties"] == demand.terms["properties"]
        assert listed["constraints"] == demand.terms["constraints"]
        assert listed["requestorId"] == buyer.get("/me")["identity"]
        assert listed.keys() == {"properties", "constraints", "demandId", "requestorId", "timestamp"}
        assert buyer.say("DELETE", demand.path) == (204, "")
        gone = f"Demand [{demand.demand_id}] not found."
        assert buyer.say("DELETE", demand.path) == (404, gone)
        assert buyer.say("GET", f"{demand.path}/events", timeout=1) == not_found(demand.demand_id)
        assert demand.demand_id not in [one["demandId"] for one in buyer.get(DEMANDS)]

    def test_a_scan_finds_the_offers_of_all_providers_without_a_demand(self, buyer: Buyer) -> None:
        # A fake provider offers where somebody asks; the offer of a real one is known a moment later.
        buyer.all_offers(buyer.publish())
        keys = {"properties", "constraints", "offerId", "providerId", "timestamp"}
        for constraints, is_found in ((None, True), ("(golem.inf.mem.gib>=100000)", False)):
            wanted = (
                {"type": "offer"} if constraints is None else {"type": "offer", "constraints": constraints}
            )
            status, scan_id = buyer.say("POST", f"{MARKET}/scan", wanted)
            assert (status, type(scan_id)) == (201, str)
            found = buyer.get(f"{MARKET}/scan/{scan_id}/events", timeout=1)
            known = {one["providerId"] for one in found}
            assert (known >= set(buyer.providers.values())) if is_found else not known
            assert all(one.keys() == keys for one in found)
            assert buyer.get(f"{MARKET}/scan/{scan_id}/events", timeout=0.1) == []
            assert buyer.say("DELETE", f"{MARKET}/scan/{scan_id}") == (204, "")

    def test_who_waits_for_events_hears_of_the_end(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        buyer.all_offers(demand)
        while buyer.get(f"{demand.path}/events", timeout=0.3, maxEvents=100):
            pass  # all that is there is read
        answers: list[Any] = []
        waiter = threading.Thread(
            target=lambda: answers.append(buyer.say("GET", f"{demand.path}/events", timeout=20))
        )
        begun = time.monotonic()
        waiter.start()
        while time.monotonic() < begun + 0.2:
            time.sleep(0.02)
        assert buyer.say("DELETE", demand.path) == (204, "")
        waiter.join(10)
        assert answers == [not_found(demand.demand_id)]

    def test_nested_properties_are_flattened(self, buyer: Buyer) -> None:
        body = {"properties": {"golem": {"x": {"y": 1}, "z@f": "2"}, "l": [1, 2]}, "constraints": "()"}
        status, demand_id = buyer.say("POST", DEMANDS, body)
        assert status == 201
        (listed,) = (one for one in buyer.get(DEMANDS) if one["demandId"] == demand_id)
        assert listed["properties"] == {"golem.x.y": 1, "golem.z@f": "2", "l": [1, 2]}
        assert buyer.say("DELETE", f"{DEMANDS}/{demand_id}") == (204, "")

    def test_constraints_that_can_t_be_read_are_met_by_nobody(self, buyer: Buyer) -> None:
        for constraints in ("nonsense", "(golem.runtime.name=vm"):
            properties = {"golem.node.debug.subnet": "local", "golem.srv.comp.expiration": 4e12}
            body = {"properties": properties, "constraints": constraints}
            status, demand_id = buyer.say("POST", DEMANDS, body)
            assert status == 201
            assert buyer.get(f"{DEMANDS}/{demand_id}/events", timeout=0.3) == []
            assert buyer.say("DELETE", f"{DEMANDS}/{demand_id}") == (204, "")

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"properties": {}}, "Json deserialize error: missing field `constraints` at line 1 column 18"),
            (
                {"constraints": "()"},
                "Json deserialize error: missing field `properties` at line 1 column 21",
            ),
            (NO_JSON, "Content type error"),
        ],
    )
    def test_a_body_that_is_incomplete_is_refused(self, buyer: Buyer, body: Any, text: str) -> None:
        answer = buyer.ask("POST", DEMANDS, body)
        assert said(answer) == (400, text)
        assert answer.headers["Content-Type"] == "application/json"

    def test_a_demand_that_never_was_is_not_found(self, buyer: Buyer) -> None:
        gone = f"Demand [{NO_DEMAND}] not found."
        assert buyer.say("DELETE", f"{DEMANDS}/{NO_DEMAND}") == (404, gone)
        assert buyer.say("GET", f"{DEMANDS}/{NO_DEMAND}/events", timeout=-1) == not_found(NO_DEMAND)

    def test_an_id_of_another_form_is_refused(self, buyer: Buyer) -> None:
        text = "Path deserialize error: Subscription id [xyz] has invalid format."
        for method, path in (("GET", f"{DEMANDS}/xyz/events"), ("DELETE", f"{DEMANDS}/xyz")):
            answer = buyer.ask(method, path)
            assert said(answer) == (400, text)
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"

    @pytest.mark.parametrize("most", [0, 101])
    def test_so_many_events_are_not_given(self, buyer: Buyer, most: int) -> None:
        demand = buyer.publish()
        text = f"Invalid maxEvents '{most}', should be between 1 and 100."
        assert buyer.say("GET", f"{demand.path}/events", maxEvents=most, timeout=0) == (400, text)
        text = "Query deserialize error: invalid float literal"
        assert buyer.say("GET", f"{demand.path}/events", timeout="x") == (400, text)


class ProposalContract:
    def test_an_offer_is_told_once_and_kept(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        offer = buyer.offer(demand)
        assert offer.keys() == PROPOSAL_KEYS
        assert (offer["state"], offer["issuerId"]) == ("Initial", buyer.providers[HONEST])
        assert offer["properties"]["golem.runtime.name"] == "vm"
        path = f"{demand.path}/proposals/{offer['proposalId']}"
        assert buyer.get(path) == offer
        told = buyer.get(f"{demand.path}/events", timeout=0.2, maxEvents=100)
        assert offer["proposalId"] not in [event["proposal"]["proposalId"] for event in told]

    def test_events_come_one_at_a_time_where_that_is_asked_for(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        found = {
            event["proposal"]["issuerId"]
            for _ in buyer.providers
            for event in buyer.get(f"{demand.path}/events", timeout=5, maxEvents=1)
        }
        assert found == set(buyer.providers.values())

    def test_a_counter_proposal_is_answered(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        counter_id = buyer.counter(demand)
        event = buyer.next_event(demand)
        assert event.keys() == {"eventType", "eventDate", "proposal"}
        draft = event["proposal"]
        assert draft.keys() == PROPOSAL_KEYS | {"prevProposalId"}
        assert (draft["state"], draft["prevProposalId"]) == ("Draft", counter_id)
        assert draft["issuerId"] == buyer.providers[HONEST]
        own = buyer.get(f"{demand.path}/proposals/{counter_id}")
        assert own["properties"] == demand.terms["properties"]
        assert (own["issuerId"], own["state"]) == (buyer.get("/me")["identity"], "Draft")
        assert own["prevProposalId"] == demand.offers[HONEST]["proposalId"]
        self._check_second_answers(buyer, demand.path, own, demand.terms)

    def _check_second_answers(self, buyer: Buyer, path: str, own: Any, terms: Any) -> None:
        first = own["prevProposalId"]
        twice = f"Proposal [{first}] already has counter proposal. Can't counter for the second time."
        assert buyer.say("POST", f"{path}/proposals/{first}", terms) == (410, twice)
        to_own = f"Can't react to own Proposal [{own['proposalId']}]."
        assert buyer.say("POST", f"{path}/proposals/{own['proposalId']}", terms) == (400, to_own)

    def test_a_provider_turns_a_counter_proposal_down(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        counter_id = buyer.counter(demand, REJECTS_PROPOSALS)
        event = buyer.next_event(demand)
        assert event.keys() == {"eventType", "eventDate", "proposalId", "reason"}
        assert (event["eventType"], event["proposalId"]) == ("ProposalRejectedEvent", counter_id)
        assert event["reason"] == {"message": REASON, "golem.proposal.rejection.is-final": False}

    def test_an_answer_that_does_not_match_is_refused(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        path = f"{demand.path}/proposals/{buyer.offer(demand)['proposalId']}"
        missing = '["golem.srv.comp.expiration", "golem.node.debug.subnet"]'
        for body, end in (
            ({**demand.terms, "properties": {}}, f"Offer: [], Demand: {missing}"),
            ({**demand.terms, "constraints": "(golem.runtime.name=none)"}, "Offer: [], Demand: []"),
        ):
            status, text = buyer.say("POST", path, body)
            assert status == 400
            assert text.startswith("Proposal properties [R-")
            assert text.endswith(f"Mismatched constraints - {end}")

    def test_a_proposal_can_be_turned_down_more_than_once(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        path = f"{demand.path}/proposals/{buyer.offer(demand)['proposalId']}"
        for _ in range(2):
            assert buyer.say("POST", f"{path}/reject", {"message": "no"}) == (204, "")
        assert buyer.get(path)["state"] == "Rejected"
        assert buyer.say("DELETE", demand.path) == (204, "")
        assert buyer.get(path)["state"] == "Rejected"
        text = f"Subscription [{demand.demand_id}] wasn't found."
        assert buyer.say("POST", path, demand.terms) == (400, text)

    def test_a_proposal_that_never_was_is_not_found(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        path = f"{demand.path}/proposals/{NO_PROPOSAL}"
        text = no_proposal(demand.demand_id, NO_PROPOSAL)
        assert buyer.say("GET", path) == (404, text)
        assert buyer.say("POST", path, demand.terms) == (404, text)
        assert buyer.say("POST", f"{path}/reject", {"message": "no"}) == (500, text)
        offer = buyer.offer(demand)["proposalId"]
        other = f"{DEMANDS}/{NO_DEMAND}/proposals/{offer}"
        assert buyer.say("POST", other, demand.terms) == (404, no_proposal(NO_DEMAND, offer))

    def test_a_proposal_s_id_of_another_form_is_refused(self, buyer: Buyer) -> None:
        demand = buyer.publish()
        text = "Path deserialize error: Id [xyz] has invalid format."
        assert buyer.say("GET", f"{demand.path}/proposals/xyz") == (400, text)
        assert buyer.say_alone("POST", f"{demand.path}/proposals/xyz", demand.terms) == (400, text)
        path = f"{demand.path}/proposals/{buyer.offer(demand)['proposalId']}"
        text = "Json deserialize error: missing field `properties` at line 1 column 2"
        assert buyer.say("POST", path, {}) == (400, text)

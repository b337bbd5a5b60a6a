"""The market of a fake daemon: demands, and the proposals that answer them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ....model.payload.matching import matches, undefined
from ...request import Call, FakeAnswer, FakeRequest, Refused
from ..records import Records
from ..wire import date_text, flat, json_body, number_of, reason_body, seconds_of, short_date_text
from ..world import World
from .ids import check_proposal, check_subscription

SUBSCRIPTION_SECONDS = 3600.0
# How long the daemon tries to reach another one.
NETWORK_SECONDS = 60.0
_DEFAULT_EVENTS, _MOST_EVENTS = 20, 100
_DEFAULT_SECONDS = 5.0


@dataclass(eq=False)
class Demand:
    """A demand of the requestor.

    Attributes:
        events: what nobody has read yet.
        expires: when it ends by itself, on the clock.
    """

    demand_id: str
    properties: Mapping[str, Any]
    constraints: str
    published: datetime
    expires: float
    changed: Any = field(repr=False)
    events: deque[Mapping[str, Any]] = field(default_factory=deque, repr=False)
    withdrawn: bool = False


@dataclass(frozen=True, eq=False)
class Offer:
    """What a provider offers.

    Attributes:
        owner: the provider's node id.
    """

    offer_id: str
    owner: str
    properties: Mapping[str, Any]
    constraints: str


@dataclass(eq=False)
class Proposal:
    """A proposal of the provider or of the requestor, between an offer and an agreement."""

    proposal_id: str
    demand: Demand
    offer: Offer
    issuer: str
    properties: Mapping[str, Any]
    constraints: str
    made: datetime
    state: str = "Initial"
    previous: Proposal | None = None
    counter: str | None = None
    agreement: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether the requestor has made it."""
        return self.issuer != self.offer.owner

    def wire(self) -> dict[str, Any]:
        wire = {
            "properties": self.properties,
            "constraints": self.constraints,
            "proposalId": self.proposal_id,
            "issuerId": self.issuer,
            "state": self.state,
            "timestamp": date_text(self.made),
        }
        if self.previous is not None:
            wire["prevProposalId"] = self.previous.proposal_id
        return wire


class Sellers(Protocol):
    """The providers, as the market calls them; each call holds the lock of the world."""

    def published(self, demand: Demand) -> None: ...
    def countered(self, proposal: Proposal) -> None: ...
    def reached(self, provider: str) -> tuple[Any, Callable[[], bool]]: ...


class Market:
    """Answers requests for demands and proposals."""

    def __init__(self, world: World, node_id: str) -> None:
        self._world = world
        self._node_id = node_id
        self.sellers: Sellers
        self.demands: Records[Demand] = Records(lambda one: not self.is_alive(one))
        self._proposals: Records[Proposal] = Records(lambda one: one.demand.withdrawn)

    # --- for the providers ------------------------------------------------------------------------------

    def propose(self, demand: Demand, offer: Offer) -> None:
        """Make the first proposal of an offer for a demand, if they match."""
        if not self.is_alive(demand) or not fits(demand, offer):
            return
        proposal = self._new(demand, offer, offer.owner, offer.properties, offer.constraints)
        self._tell(demand, {"eventType": "ProposalEvent"}, proposal)

    def answer(self, counter: Proposal, properties: Mapping[str, Any]) -> None:
        """The provider answers a counter-proposal with one of its own."""
        if not self.is_alive(counter.demand):
            return
        offer = counter.offer
        proposal = self._new(counter.demand, offer, offer.owner, properties, offer.constraints, counter)
        counter.counter = proposal.proposal_id
        self._tell(counter.demand, {"eventType": "ProposalEvent"}, proposal)

    def reject(self, counter: Proposal, reason: Mapping[str, Any]) -> None:
        """The provider rejects a counter-proposal."""
        counter.state = "Rejected"
        if self.is_alive(counter.demand):
            event = {
                "eventType": "ProposalRejectedEvent",
                "eventDate": short_date_text(self._world.stamp()),
                "proposalId": counter.proposal_id,
                "reason": dict(reason),
            }
            self._put(counter.demand, event)

    def is_alive(self, demand: Demand) -> bool:
        """Whether a demand is on the market."""
        return not demand.withdrawn and self._world.clock.monotonic() < demand.expires

    def alive(self) -> list[Demand]:
        """The demands on the market."""
        return [demand for demand in self.demands.values() if self.is_alive(demand)]

    def find(self, proposal_id: str) -> Proposal | None:
        return self._proposals.get(proposal_id)

    def forget_all(self) -> None:
        """Drop all demands and proposals, as a restart does."""
        for demand in self.demands.values():
            demand.withdrawn = True
            demand.changed.notify_all()
        self.demands.clear()
        self._proposals.clear()

    def _tell(self, demand: Demand, event: dict[str, Any], proposal: Proposal) -> None:
        date = short_date_text(self._world.stamp())
        self._put(demand, {**event, "eventDate": date, "proposal": proposal.wire()})

    def _put(self, demand: Demand, event: Mapping[str, Any]) -> None:
        demand.events.append(event)
        demand.changed.notify_all()

    def _new(
        self,
        demand: Demand,
        offer: Offer,
        issuer: str,
        properties: Mapping[str, Any],
        constraints: str,
        previous: Proposal | None = None,
    ) -> Proposal:
        proposal = Proposal(
            f"R-{self._world.hex_id(64)}",
            demand,
            offer,
            issuer,
            properties,
            constraints,
            self._world.stamp(),
            "Initial" if previous is None else "Draft",
            previous,
        )
        self._proposals.put(proposal.proposal_id, proposal)
        return proposal

    # --- demands, by REST -------------------------------------------------------------------------------

    def post_demand(self, request: FakeRequest, call: Call) -> FakeAnswer:
        body = json_body(request, ("properties", "constraints"), FakeAnswer.of_message)
        world = self._world
        demand = Demand(
            f"{world.hex_id(32)}-{world.hex_id(64)}",
            flat(body["properties"]),
            str(body["constraints"]),
            world.stamp(),
            world.clock.monotonic() + SUBSCRIPTION_SECONDS,
            world.condition(),
        )
        self.demands.put(demand.demand_id, demand)
        self.sellers.published(demand)
        return FakeAnswer.of_json(demand.demand_id, 201)

    def list_demands(self, request: FakeRequest, call: Call) -> FakeAnswer:
        return FakeAnswer.of_json(
            [
                {
                    "properties": demand.properties,
                    "constraints": demand.constraints,
                    "demandId": demand.demand_id,
                    "requestorId": self._node_id,
                    "timestamp": date_text(demand.published),
                }
                for demand in self.alive()
            ]
        )

    def delete_demand(self, request: FakeRequest, call: Call, demand_id: str) -> FakeAnswer:
        check_subscription(demand_id)
        demand = self.demands.pop(demand_id, None)
        if demand is None:
            return FakeAnswer.of_message(f"Demand [{demand_id}] not found.", 404)
        demand.withdrawn = True
        demand.events.clear()
        demand.changed.notify_all()
        return FakeAnswer(204)

    def get_events(self, request: FakeRequest, call: Call, demand_id: str) -> FakeAnswer:
        check_subscription(demand_id)
        timeout = seconds_of(request, _DEFAULT_SECONDS)
        most = most_events(request)
        demand = self.demands.get(demand_id)
        if demand is not None:
            left = demand.expires - self._world.clock.monotonic()
            self._world.wait(
                call, demand.changed, lambda: demand.events or demand.withdrawn, min(timeout, left)
            )
        if demand is None or not self.is_alive(demand):
            text = f"Subscription [{demand_id}] not found. Could be unsubscribed."
            return FakeAnswer.of_message(text, 404)
        events = [demand.events.popleft() for _ in range(min(most, len(demand.events)))]
        return FakeAnswer.of_json(events)

    # --- proposals, by REST -----------------------------------------------------------------------------

    def get_proposal(self, request: FakeRequest, call: Call, demand_id: str, proposal_id: str) -> FakeAnswer:
        return FakeAnswer.of_json(self._known(demand_id, proposal_id).wire())

    def counter(self, request: FakeRequest, call: Call, demand_id: str, proposal_id: str) -> FakeAnswer:
        check_subscription(demand_id)
        check_proposal(proposal_id)
        body = json_body(request, ("properties", "constraints"), FakeAnswer.of_message)
        proposal = self._known(demand_id, proposal_id)
        if not self.is_alive(proposal.demand):
            return FakeAnswer.of_message(f"Subscription [{demand_id}] wasn't found.", 400)
        if proposal.is_own:
            return FakeAnswer.of_message(f"Can't react to own Proposal [{proposal_id}].", 400)
        if proposal.counter is not None:
            text = (
                f"Proposal [{proposal_id}] already has counter proposal. Can't counter for the second time."
            )
            return FakeAnswer.of_message(text, 410)
        changed, is_reached = self.sellers.reached(proposal.offer.owner)
        if not self._world.wait(call, changed, is_reached, NETWORK_SECONDS):
            return FakeAnswer.of_message("Protocol error: Failed to send proposal. Timeout", 500)
        return self._countered(proposal, flat(body["properties"]), str(body["constraints"]))

    def _countered(self, proposal: Proposal, properties: Mapping[str, Any], constraints: str) -> FakeAnswer:
        if not (matches(constraints, proposal.properties) and matches(proposal.constraints, properties)):
            missing = undefined(constraints, proposal.properties), undefined(proposal.constraints, properties)
            offer, demand = ("[" + ", ".join(f'"{name}"' for name in names) + "]" for names in missing)
            text = (
                f"Proposal properties [R-{self._world.hex_id(64)}] doesn't match previous Proposal "
                f"[{proposal.proposal_id}]. Mismatched constraints - Offer: {offer}, Demand: {demand}"
            )
            return FakeAnswer.of_message(text, 400)
        counter = self._new(proposal.demand, proposal.offer, self._node_id, properties, constraints, proposal)
        proposal.counter = counter.proposal_id
        proposal.state = "Draft"
        self.sellers.countered(counter)
        return FakeAnswer.of_json(counter.proposal_id)

    def reject_proposal(
        self, request: FakeRequest, call: Call, demand_id: str, proposal_id: str
    ) -> FakeAnswer:
        check_subscription(demand_id)
        check_proposal(proposal_id)
        reason_body(request)
        try:
            proposal = self._known(demand_id, proposal_id)
        except Refused as refused:
            return FakeAnswer(500, refused.answer.body, refused.answer.content_type)
        proposal.state = "Rejected"
        return FakeAnswer(204)

    def _known(self, demand_id: str, proposal_id: str) -> Proposal:
        check_subscription(demand_id)
        check_proposal(proposal_id)
        proposal = self._proposals.get(proposal_id)
        if proposal is None or proposal.demand.demand_id != demand_id:
            random_id, _, hash_ = demand_id.partition("-")
            text = (
                f"Proposal [{proposal_id}] not found (subscription [Some(SubscriptionId "
                f'{{ random_id: "{random_id}", hash: "{hash_}" }})]).'
            )
            raise Refused(FakeAnswer.of_message(text, 404))
        return proposal


def fits(demand: Demand, offer: Offer) -> bool:
    """Whether each has what the other asks for."""
    return matches(demand.constraints, offer.properties) and matches(offer.constraints, demand.properties)


def most_events(request: FakeRequest) -> int:
    """The `maxEvents` of a request."""
    most = number_of(request, "maxEvents")
    if most is None:
        return _DEFAULT_EVENTS
    if not 1 <= most <= _MOST_EVENTS:
        text = f"Invalid maxEvents '{most}', should be between 1 and {_MOST_EVENTS}."
        raise Refused(FakeAnswer.of_message(text, 400))
    return most

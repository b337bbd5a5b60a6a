"""The agreements of a fake daemon: their states and their events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ...request import Call, FakeAnswer, FakeRequest, Refused
from ..records import EventLog, Records
from ..wire import (
    bad_json,
    bad_query,
    date_of,
    date_text,
    json_body,
    read_date,
    reason_body,
    seconds_of,
)
from ..world import World
from .demands import NETWORK_SECONDS, Market, Proposal, most_events
from .ids import is_proposal, not_hexadecimal

_STATES = ("Proposal", "Pending", "Cancelled", "Rejected", "Approved", "Expired", "Terminated")
_OPEN = ("Proposal", "Pending", "Approved")
# From where to where; nothing else is possible.
_STEPS = {
    ("Proposal", "Pending"),
    ("Proposal", "Cancelled"),
    ("Proposal", "Expired"),
    ("Pending", "Cancelled"),
    ("Pending", "Rejected"),
    ("Pending", "Approved"),
    ("Pending", "Expired"),
    ("Approved", "Terminated"),
}
_DEFAULT_SECONDS = 5.0


@dataclass(eq=False)
class Agreement:
    """An agreement of the requestor with a provider."""

    agreement_id: str
    proposal: Proposal
    requestor: str
    valid_to: datetime
    made: datetime
    changed: Any = field(repr=False)
    state: str = "Proposal"
    approved: datetime | None = None
    session: str | None = None
    termination: Mapping[str, Any] | None = None

    @property
    def provider(self) -> str:
        """The provider's node id."""
        return self.proposal.offer.owner

    @property
    def is_open(self) -> bool:
        """Whether it is in force, or may come into force."""
        return self.state in _OPEN

    @property
    def demand_properties(self) -> Mapping[str, Any]:
        counter = self.proposal.previous
        return counter.properties if counter is not None else {}

    @property
    def offer_properties(self) -> Mapping[str, Any]:
        return self.proposal.properties

    def wire(self) -> dict[str, Any]:
        counter, made = self.proposal.previous, date_text(self.made)
        wire: dict[str, Any] = {
            "agreementId": self.agreement_id,
            "demand": {
                "properties": self.demand_properties,
                "constraints": counter.constraints if counter is not None else "",
                "demandId": self.proposal.demand.demand_id,
                "requestorId": self.requestor,
                "timestamp": made,
            },
            "offer": {
                "properties": self.offer_properties,
                "constraints": self.proposal.constraints,
                "offerId": self.proposal.offer.offer_id,
                "providerId": self.provider,
                "timestamp": made,
            },
            "validTo": date_text(self.valid_to),
            "state": self.state,
            "timestamp": made,
        }
        if self.session is not None:
            wire["appSessionId"] = self.session
        if self.approved is not None:
            wire["approvedDate"] = date_text(self.approved)
            signatures = ("proposedSignature", "approvedSignature", "committedSignature")
            wire |= dict.fromkeys(signatures, "NoSignature")
        return wire


class Partners(Protocol):
    """The providers, as agreements call them; each call holds the lock of the world."""

    def confirmed(self, agreement: Agreement) -> None: ...
    def ended(self, agreement: Agreement) -> None: ...
    def reached(self, provider: str) -> tuple[Any, Callable[[], bool]]: ...


class Agreements:
    """Answers requests for agreements."""

    def __init__(self, world: World, market: Market, node_id: str) -> None:
        self._world = world
        self._market = market
        self._node_id = node_id
        self.partners: Partners
        self._agreements: Records[Agreement] = Records(lambda one: not one.is_open)
        self._events = EventLog()
        self._told = world.condition()

    # --- for the providers ------------------------------------------------------------------------------

    def approve(self, agreement: Agreement) -> bool:
        """The provider approves; False if it is too late."""
        if not self._step(agreement, "Approved"):
            return False
        agreement.approved = self._world.stamp()
        self._tell(agreement, "AgreementApprovedEvent")
        return True

    def reject(self, agreement: Agreement, reason: Mapping[str, Any]) -> None:
        """The provider rejects it."""
        if self._step(agreement, "Rejected"):
            self._tell(agreement, "AgreementRejectedEvent", reason=dict(reason))
            self.partners.ended(agreement)

    def terminate(self, agreement: Agreement, terminator: str, reason: Mapping[str, Any] | None) -> bool:
        """One side ends it; False if it can't be ended."""
        if not self._step(agreement, "Terminated"):
            return False
        more = {"terminator": terminator, "signature": "", **({"reason": dict(reason)} if reason else {})}
        agreement.termination = self._tell(agreement, "AgreementTerminatedEvent", **more)
        self.partners.ended(agreement)
        # Its market makes a new proposal of what was agreed.
        self._market.propose(agreement.proposal.demand, agreement.proposal.offer)
        return True

    def find(self, agreement_id: str) -> Agreement | None:
        """Return the agreement of this id, which may have expired meanwhile."""
        agreement = self._agreements.get(agreement_id)
        if agreement is not None and self._world.clock.now() >= agreement.valid_to:
            self._step(agreement, "Expired")
        return agreement

    def all(self) -> list[Agreement]:
        return [agreement for key in list(self._agreements) if (agreement := self.find(key)) is not None]

    def _step(self, agreement: Agreement, state: str) -> bool:
        if (agreement.state, state) not in _STEPS:
            return False
        agreement.state = state
        agreement.changed.notify_all()
        return True

    def _tell(self, agreement: Agreement, kind: str, **more: Any) -> Mapping[str, Any]:
        date = self._world.stamp()
        event = {
            "eventDate": date_text(date),
            "agreementId": agreement.agreement_id,
            "eventType": kind,
            **more,
        }
        self._events.add(date, agreement.session, event)
        self._told.notify_all()
        return event

    # --- by REST ----------------------------------------------------------------------------------------

    def post(self, request: FakeRequest, call: Call) -> FakeAnswer:
        body = json_body(request, ("proposalId", "validTo"), FakeAnswer.of_message)
        proposal_id = body["proposalId"]
        try:
            valid_to = read_date(body["validTo"])
        except (TypeError, ValueError):
            return bad_json(request, "input contains invalid characters", FakeAnswer.of_message)
        if not is_proposal(proposal_id):
            return FakeAnswer.of_message(f"Invalid Agreement id. Id [{proposal_id}] has invalid format.", 400)
        proposal = self._market.find(proposal_id)
        objection = _objection(proposal_id, proposal)
        if objection is not None or proposal is None:
            return FakeAnswer.of_message(objection, 400)
        if proposal.agreement is not None:
            text = f"Can't create second Agreement for Proposal [{proposal_id}]."
            return FakeAnswer.of_message(text, 409)
        world = self._world
        agreement = Agreement(
            world.hex_id(64), proposal, self._node_id, valid_to, world.stamp(), world.condition()
        )
        proposal.agreement, proposal.state = agreement.agreement_id, "Accepted"
        self._agreements.put(agreement.agreement_id, agreement)
        return FakeAnswer.of_json(agreement.agreement_id)

    def confirm(self, request: FakeRequest, call: Call, agreement_id: str) -> FakeAnswer:
        agreement = self._known(agreement_id, "R-")
        self._reach(agreement, call)
        if not self._step(agreement, "Pending"):
            return _no_step(agreement, "Pending")
        agreement.session = request.query.get("appSessionId")
        self.partners.confirmed(agreement)
        return FakeAnswer(204)

    def wait(self, request: FakeRequest, call: Call, agreement_id: str) -> FakeAnswer:
        timeout = seconds_of(request, _DEFAULT_SECONDS)
        agreement = self._known(agreement_id, "R-", "Invalid agreement id. ")
        left = (agreement.valid_to - self._world.clock.now()).total_seconds()
        is_decided = self._world.wait(
            call, agreement.changed, lambda: agreement.state != "Pending", min(timeout, max(0.0, left))
        )
        self.find(agreement_id)
        name = f"Agreement [R-{agreement_id}]"
        if agreement.state == "Approved":
            return FakeAnswer(204)
        if agreement.state == "Proposal":
            text = f"{name} should be confirmed, before waiting for approval."
            return FakeAnswer.of_message(text, 400)
        if agreement.state == "Expired":
            return FakeAnswer.of_message(f"{name} expired.", 410)
        if agreement.state == "Terminated":
            return FakeAnswer.of_message(f"{name} terminated.", 400)
        if not is_decided and agreement.state == "Pending":
            return FakeAnswer.of_message(f"Timeout while waiting for {name} approval.", 408)
        return FakeAnswer.of_message(agreement.state, 410)

    def cancel(self, request: FakeRequest, call: Call, agreement_id: str) -> FakeAnswer:
        reason = reason_body(request)
        agreement = self._known(agreement_id, "R-")
        if agreement.state == "Proposal":
            text = (
                "Protocol error while approving: Remote failed to approve. Error: "
                f"Agreement [P-{agreement_id}] not found."
            )
            return FakeAnswer.of_message(text, 500)
        self._reach(agreement, call)
        if not self._step(agreement, "Cancelled"):
            return _no_step(agreement, "Cancelled")
        self._tell(agreement, "AgreementCancelledEvent", **({"reason": dict(reason)} if reason else {}))
        self.partners.ended(agreement)
        return FakeAnswer(200)

    def post_terminate(self, request: FakeRequest, call: Call, agreement_id: str) -> FakeAnswer:
        reason = reason_body(request)
        agreement = self._known_by_either(agreement_id)
        if agreement.state == "Approved":
            self._reach(agreement, call)
        if not self.terminate(agreement, "Requestor", reason):
            return _no_step(agreement, "Terminated")
        return FakeAnswer(200)

    def get_reason(self, request: FakeRequest, call: Call, agreement_id: str) -> FakeAnswer:
        agreement = self._known_by_either(agreement_id)
        if agreement.termination is None:
            return FakeAnswer.of_message(f"Agreement [R-{agreement_id}] not terminated yet.", 400)
        return FakeAnswer.of_json(agreement.termination)

    def get(self, request: FakeRequest, call: Call, agreement_id: str) -> FakeAnswer:
        return FakeAnswer.of_json(self._known(agreement_id).wire())

    def list_all(self, request: FakeRequest, call: Call) -> FakeAnswer:
        state, session = request.query.get("state"), request.query.get("appSessionId")
        if state is not None and state not in _STATES:
            expected = ", ".join(f"`{one}`" for one in _STATES)
            return bad_query(f"unknown variant `{state}`, expected one of {expected}")
        return FakeAnswer.of_json(
            [
                {
                    "id": one.agreement_id,
                    "timestamp": date_text(one.made),
                    "approvedDate": None if one.approved is None else date_text(one.approved),
                    "role": "Requestor",
                }
                for one in self.all()
                if state in (None, one.state) and session in (None, one.session)
            ]
        )

    def get_events(self, request: FakeRequest, call: Call) -> FakeAnswer:
        timeout, most = seconds_of(request, _DEFAULT_SECONDS), most_events(request)
        after, session = date_of(request), request.query.get("appSessionId")
        found: list[Mapping[str, Any]] = []

        def look() -> bool:
            found[:] = self._events.after(after, session, most)
            return bool(found)

        self._world.wait(call, self._told, look, timeout)
        return FakeAnswer.of_json(found)

    def _reach(self, agreement: Agreement, call: Call) -> None:
        """Block until the provider can be reached; raises `Refused` after a minute."""
        changed, is_reached = self.partners.reached(agreement.provider)
        if not self._world.wait(call, changed, is_reached, NETWORK_SECONDS):
            text = f"Protocol error: Timeout while sending Agreement [R-{agreement.agreement_id}]"
            raise Refused(FakeAnswer.of_message(text, 500))

    def _known(self, agreement_id: str, mark: str = "", says: str = "Invalid Agreement id. ") -> Agreement:
        objection = not_hexadecimal(agreement_id)
        if objection is not None:
            raise Refused(FakeAnswer.of_message(says + objection, 400))
        agreement = self.find(agreement_id)
        if agreement is None:
            raise Refused(FakeAnswer.of_message(f"Agreement [{mark}{agreement_id}] not found.", 404))
        return agreement

    def _known_by_either(self, agreement_id: str) -> Agreement:
        objection = not_hexadecimal(agreement_id)
        if objection is not None:
            text = f"Failed to get Agreement [{agreement_id}]. Error: Invalid Agreement id: {objection}"
            raise Refused(FakeAnswer.of_message(text, 500))
        return self._known(agreement_id)


def _no_step(agreement: Agreement, state: str) -> FakeAnswer:
    text = f"Can't update Agreement state from {agreement.state} to {state}."
    is_too_early = (agreement.state, state) == ("Proposal", "Terminated")
    return FakeAnswer.of_message(text, 409 if is_too_early else 410)


def _objection(proposal_id: str, proposal: Proposal | None) -> str | None:
    """Return why an agreement for this proposal is impossible; None if it is possible."""
    head = f"Can't create Agreement for Proposal [{proposal_id}]. "
    if proposal is None:
        return f"{head}Proposal [{proposal_id}] not found."
    if proposal.is_own:
        return (
            f"Can't create Agreement for an own Proposal [{proposal_id}]. "
            "You can promote only provider's Proposals to Agreement."
        )
    if proposal.state == "Initial":
        return (
            f"{head}No negotiation with Provider took place. (You should counter Proposal at least one time)"
        )
    if proposal.agreement is None and proposal.counter is not None:
        return f"{head}Proposal [{proposal_id}] was already countered."
    return None

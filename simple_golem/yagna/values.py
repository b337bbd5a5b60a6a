"""The daemon's answers as typed values; the names are those of Golem's own client model.

They are named tuples, since each script waits for this module: a frozen dataclass takes five times as long to
make.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from ..errors import YagnaError
from ..model.base.printable import printable
from ..model.base.wire_time import parse_time

Properties = Mapping[str, Any]
V = TypeVar("V")
_LONGEST_ERROR = 2000
# Powers of ten. No amount of money is beyond them.
_LARGEST, _SMALLEST = 30, -60


def made_id(answer: object, what: str) -> str:
    """Return the id of something that the daemon was asked to make.

    Raises:
        YagnaError: the answer is none, so that nobody knows what was made.
    """
    if isinstance(answer, str):
        return answer
    raise YagnaError("POST", what, None, f"this is no id: {printable(answer, 200)}")


def _checked(read: Callable[[type[V], Mapping[str, Any]], V]) -> Callable[[type[V], Mapping[str, Any]], V]:
    """Have an answer that makes no sense raise a `YagnaError`: nobody knows what the daemon has done."""

    @functools.wraps(read)
    def checked(cls: type[V], wire: Mapping[str, Any]) -> V:
        try:
            return read(cls, wire)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            what = f"this is no {cls.__name__}: {printable(wire, 200)}"
            raise YagnaError("", cls.__name__, None, what) from error

    return checked


class Identity(NamedTuple):
    """The identity that an app key belongs to."""

    node_id: str
    name: str
    role: str

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Identity:
        if not isinstance(wire, Mapping) or "identity" not in wire:
            raise YagnaError("GET", "/me", 200, f"this is no identity: {wire!r}")
        return cls(wire["identity"], wire.get("name") or "", wire.get("role") or "")


class DaemonVersion(NamedTuple):
    """The version of the daemon, such as `0.17.6`, and a newer one if the daemon knows of it."""

    current: str
    newer: str | None

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> DaemonVersion:
        pending = wire.get("pending")
        return cls(str(wire["current"]["version"]), str(pending["version"]) if pending else None)


class Funds(NamedTuple):
    """What an identity has on a payment network.

    Attributes:
        amount: all its GLM.
        reserved: GLM of them that are in allocations.
        token: `GLM` or `tGLM`.
        gas: what pays for transactions; None if the daemon does not say.
        gas_token: its name, such as `ETH`.
    """

    amount: Decimal
    reserved: Decimal
    token: str
    gas: Decimal | None
    gas_token: str

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Funds:
        gas = wire.get("gas")
        return cls(
            amount=_glm(wire["amount"]),
            reserved=_glm(wire["reserved"]),
            token=str(wire["token"]),
            gas=_glm(gas["balance"]) if gas else None,
            gas_token=str(gas["currency_short_name"]) if gas else "",
        )


class PrivateNetworkInfo(NamedTuple):
    """A private network of the daemon.

    Attributes:
        network_id: its id.
        ip: its range of addresses, such as `192.168.0.0/24`.
        gateway: the address that its maker has named as gateway.
    """

    network_id: str
    ip: str
    gateway: str

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> PrivateNetworkInfo:
        return cls(wire["id"], wire["ip"], wire.get("gateway") or "")


class ScannedOffer(NamedTuple):
    """An offer that the daemon knows, whether it matches a demand or not."""

    provider_id: str
    properties: Properties
    constraints: str

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> ScannedOffer:
        return cls(str(wire["providerId"]), dict(wire["properties"]), str(wire["constraints"]))


class ProposalState(str, Enum):
    INITIAL = "Initial"
    DRAFT = "Draft"
    REJECTED = "Rejected"
    ACCEPTED = "Accepted"
    EXPIRED = "Expired"


class Proposal(NamedTuple):
    """One step of a negotiation: an offer, or the answer to a demand or a proposal."""

    proposal_id: str
    issuer_id: str
    state: ProposalState
    properties: Properties
    constraints: str
    timestamp: datetime
    previous_id: str | None = None

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Proposal:
        return cls(
            proposal_id=wire["proposalId"],
            issuer_id=wire["issuerId"],
            state=ProposalState(wire["state"]),
            properties=wire["properties"],
            constraints=wire["constraints"],
            timestamp=parse_time(wire["timestamp"]),
            previous_id=wire.get("prevProposalId"),
        )


class ProposalRejected(NamedTuple):
    """The other side rejected a proposal."""

    proposal_id: str
    reason: str


class AgreementProposed(NamedTuple):
    """Provider's side: a requestor wants this agreement."""

    agreement: Mapping[str, Any]


MarketEvent = Proposal | ProposalRejected | AgreementProposed


def market_event(wire: Mapping[str, Any]) -> MarketEvent:
    """One entry of a demand's or an offer's events."""
    if wire["eventType"] == "ProposalEvent":
        return Proposal.from_wire(wire["proposal"])
    if wire["eventType"] == "AgreementEvent":
        return AgreementProposed(wire["agreement"])
    return ProposalRejected(wire["proposalId"], reason_message(wire.get("reason")))


def reason_message(reason: Any) -> str:
    """The text of a Reason, which is `{"message": …}`, a bare string, or nothing."""
    if isinstance(reason, Mapping):
        reason = reason.get("message")
    return printable(reason or "")


class AgreementState(str, Enum):
    PROPOSAL = "Proposal"
    PENDING = "Pending"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"
    APPROVED = "Approved"
    EXPIRED = "Expired"
    TERMINATED = "Terminated"


class Agreement(NamedTuple):
    """An agreement, as the daemon stores it."""

    agreement_id: str
    state: AgreementState
    provider_id: str
    requestor_id: str
    offer_properties: Properties
    demand_properties: Properties
    valid_to: datetime
    made: datetime
    approved: datetime | None
    app_session_id: str | None

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Agreement:
        approved = wire.get("approvedDate")
        return cls(
            agreement_id=wire["agreementId"],
            state=AgreementState(wire["state"]),
            provider_id=wire["offer"]["providerId"],
            requestor_id=wire["demand"]["requestorId"],
            offer_properties=wire["offer"]["properties"],
            demand_properties=wire["demand"]["properties"],
            valid_to=parse_time(wire["validTo"]),
            made=parse_time(wire["timestamp"]),
            approved=parse_time(approved) if approved else None,
            app_session_id=wire.get("appSessionId"),
        )


class Approval(Enum):
    """The result of waiting for a provider's approval of an agreement."""

    APPROVED = "approved"
    REFUSED = "refused"
    UNDECIDED = "undecided"


class AgreementEvent(NamedTuple):
    """Something that happened to an agreement; `kind` is, for example, `AgreementTerminatedEvent`."""

    kind: str
    agreement_id: str
    date: datetime
    reason: str
    terminator: str | None

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> AgreementEvent:
        return cls(
            kind=wire["eventType"],
            agreement_id=wire["agreementId"],
            date=parse_time(wire["eventDate"]),
            reason=reason_message(wire.get("reason")),
            terminator=wire.get("terminator"),
        )


class ActivityStatus(NamedTuple):
    """The state of an activity: the present one, and the next one while it changes (else None)."""

    state: str
    pending: str | None
    reason: str = ""
    error_message: str = ""

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> ActivityStatus:
        state, pending = wire["state"]
        told = [printable(wire.get(key) or "", _LONGEST_ERROR) for key in ("reason", "errorMessage")]
        return cls(state, pending, *told)

    @property
    def alive(self) -> bool:
        return "Terminated" not in (self.state, self.pending)


class Allocation(NamedTuple):
    """Funds reserved for one session; all amounts are GLM."""

    allocation_id: str
    payment_platform: str
    address: str
    total_amount: Decimal
    spent_amount: Decimal
    remaining_amount: Decimal
    timestamp: datetime
    timeout: datetime | None

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Allocation:
        return cls(
            allocation_id=wire["allocationId"],
            payment_platform=wire["paymentPlatform"],
            address=wire["address"],
            total_amount=_glm(wire["totalAmount"]),
            spent_amount=_glm(wire["spentAmount"]),
            remaining_amount=_glm(wire["remainingAmount"]),
            timestamp=parse_time(wire["timestamp"]),
            timeout=parse_time(wire["timeout"]) if wire.get("timeout") else None,
        )


class Decorations(NamedTuple):
    """The properties and constraints that a demand needs to be paid from an allocation."""

    properties: Properties
    constraints: tuple[str, ...]

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Decorations:
        return cls({entry["key"]: entry["value"] for entry in wire["properties"]}, tuple(wire["constraints"]))


class PaymentEvent(NamedTuple):
    """Something that happened to the debit note or invoice `document_id`."""

    kind: str
    document_id: str
    date: datetime

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> PaymentEvent:
        document_id = wire.get("invoiceId") or wire.get("debitNoteId")
        return cls(wire["eventType"], str(document_id), parse_time(wire["eventDate"]))


_ACCEPTED = ("ACCEPTED", "SETTLED")


class DebitNote(NamedTuple):
    """The amount that a provider has earned with one activity so far."""

    debit_note_id: str
    agreement_id: str
    activity_id: str
    issuer_id: str
    amount: Decimal
    status: str
    timestamp: datetime
    payment_due: datetime | None = None
    usage: tuple[object, ...] | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status in _ACCEPTED

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> DebitNote:
        due = wire.get("paymentDueDate")
        usage = wire.get("usageCounterVector")
        return cls(
            debit_note_id=wire["debitNoteId"],
            agreement_id=wire["agreementId"],
            activity_id=wire["activityId"],
            issuer_id=wire["issuerId"],
            amount=_glm(wire["totalAmountDue"]),
            status=wire["status"],
            timestamp=parse_time(wire["timestamp"]),
            payment_due=parse_time(due) if due else None,
            usage=tuple(usage) if isinstance(usage, list) else None,
        )


class Invoice(NamedTuple):
    """The amount that a provider asks for one agreement."""

    invoice_id: str
    agreement_id: str
    issuer_id: str
    amount: Decimal
    status: str
    timestamp: datetime
    payment_platform: str
    activity_ids: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        return self.status in _ACCEPTED

    @property
    def answer(self) -> Decimal | None:
        """The GLM that were accepted; 0 if it was rejected, or cancelled; None if it is not answered."""
        if self.is_accepted:
            return self.amount
        return Decimal(0) if self.status in ("REJECTED", "CANCELLED") else None

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Invoice:
        return cls(
            invoice_id=wire["invoiceId"],
            agreement_id=wire["agreementId"],
            issuer_id=wire["issuerId"],
            amount=_glm(wire["amount"]),
            status=wire["status"],
            timestamp=parse_time(wire["timestamp"]),
            payment_platform=wire["paymentPlatform"],
            activity_ids=tuple(wire.get("activityIds") or ()),
        )


class Payment(NamedTuple):
    """One transfer on the chain, for any number of agreements and activities.

    Attributes:
        amount: of the transfer, in GLM.
        transaction: the hash of the transaction on the chain.
        agreements: GLM by the id of the agreement.
        activities: GLM by the id of the activity, for its debit notes; no GLM is in both mappings.
    """

    payment_id: str
    payer_id: str
    payee_id: str
    payment_platform: str
    amount: Decimal
    timestamp: datetime
    transaction: str
    agreements: Mapping[str, Decimal]
    activities: Mapping[str, Decimal]

    @classmethod
    @_checked
    def from_wire(cls, wire: Mapping[str, Any]) -> Payment:
        return cls(
            payment_id=wire["paymentId"],
            payer_id=wire["payerId"],
            payee_id=wire["payeeId"],
            payment_platform=wire["paymentPlatform"],
            amount=_glm(wire["amount"]),
            timestamp=parse_time(wire["timestamp"]),
            # The erc20 driver's confirmation is the bare hash.
            transaction="0x" + base64.b64decode(wire["details"]).hex(),
            agreements=_parts(wire["agreementPayments"], "agreementId"),
            activities=_parts(wire["activityPayments"], "activityId"),
        )


def _parts(wire: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Decimal]:
    """One document may be paid in several parts of one payment."""
    parts: dict[str, Decimal] = {}
    for part in wire:
        parts[part[key]] = parts.get(part[key], Decimal(0)) + _glm(part["amount"])
    return parts


def _glm(value: object) -> Decimal:
    """Return an amount of money.

    Raises:
        YagnaError: it is none, or has so many digits that nobody can calculate with it.
    """
    try:
        amount = Decimal(str(value)[:_LONGEST_ERROR])
    except InvalidOperation:
        amount = Decimal("NaN")
    exponent = amount.as_tuple().exponent
    is_sane = isinstance(exponent, int) and exponent >= _SMALLEST and amount.adjusted() <= _LARGEST
    if not is_sane:
        raise YagnaError("GET", "/payment-api/v1", 200, f"this is no amount of GLM: {printable(value, 60)!r}")
    return amount

"""Debit notes, invoices and payments of a fake daemon, from the requestor's side."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ...request import Call, FakeAnswer, FakeRequest, Refused
from ..activity.activities import Activity
from ..market.agreements import Agreement
from ..records import MOST_RECORDS, EventLog, Records
from ..wire import (
    amount_of,
    bad_json,
    date_of,
    date_text,
    json_body,
    number_of,
    seconds_of,
    short_date_text,
)
from ..world import World
from .allocations import Allocation, Allocations

_DEFAULT_SECONDS = 5.0
_DEFAULT_EVENTS = ("RECEIVED", "CANCELLED")
_REASONS = ("UNSOLICITED_SERVICE", "BAD_SERVICE", "INCORRECT_AMOUNT")
_CHOSEN_PLATFORM = "golem.com.payment.chosen-platform"
_ACCEPTED = ("ACCEPTED", "SETTLED")
_SHORTEST_CYCLE_SECONDS = 5


@dataclass(eq=False)
class Document:
    """A debit note of one activity, or an invoice of an agreement.

    Attributes:
        kind: "DebitNote" or "Invoice".
    """

    kind: str
    document_id: str
    agreement: Agreement
    activities: Sequence[str]
    amount: Decimal
    made: datetime
    due: datetime | None
    usage: Sequence[float] | None = None
    status: str = "RECEIVED"

    @property
    def platform(self) -> str:
        return str(self.agreement.demand_properties.get(_CHOSEN_PLATFORM, ""))

    def wire(self) -> dict[str, Any]:
        issuer, recipient = self.agreement.provider, self.agreement.requestor
        is_note = self.kind == "DebitNote"
        wire: dict[str, Any] = {
            "debitNoteId" if is_note else "invoiceId": self.document_id,
            "issuerId": issuer,
            "recipientId": recipient,
            "payeeAddr": issuer,
            "payerAddr": recipient,
            "paymentPlatform": self.platform,
            "timestamp": short_date_text(self.made),
            "agreementId": self.agreement.agreement_id,
        }
        if is_note:
            wire["activityId"] = self.activities[0]
            wire["totalAmountDue"] = f"{self.amount:f}"
            wire["usageCounterVector"] = None if self.usage is None else list(self.usage)
        else:
            wire["activityIds"] = list(self.activities)
            wire["amount"] = f"{self.amount:f}"
        if self.due is not None:
            wire["paymentDueDate"] = date_text(self.due)
        wire["status"] = self.status
        return wire


@dataclass(eq=False)
class _Debt:
    """An accepted amount that is not paid yet, of an activity or of an agreement's invoice."""

    agreement: Agreement
    activity: str | None
    amount: Decimal
    allocation: str


@dataclass(eq=False)
class Documents:
    """Answers requests for debit notes, or for invoices."""

    kind: str
    world: World
    allocations: Allocations
    accepted: Accepted
    all: Records[Document] = field(default_factory=lambda: Records(lambda one: one.status != "RECEIVED"))
    events: EventLog = field(default_factory=EventLog)

    def __post_init__(self) -> None:
        self._told = self.world.condition()
        self._key = "debitNoteId" if self.kind == "DebitNote" else "invoiceId"

    def receive(self, document: Document) -> None:
        """Take a document that a provider has sent."""
        self.all.put(document.document_id, document)
        self._tell(document, "ReceivedEvent")

    def settle(self, document: Document) -> None:
        """Mark a document as paid."""
        document.status = "SETTLED"
        self._tell(document, "SettledEvent")

    def unanswered(self) -> list[Document]:
        return [one for one in self.all.values() if one.status == "RECEIVED"]

    def _tell(self, document: Document, event: str) -> None:
        date = self.world.stamp()
        wire = {
            self._key: document.document_id,
            "eventDate": date_text(date),
            "eventType": f"{self.kind}{event}",
        }
        self.events.add(date, document.agreement.session, wire)
        self._told.notify_all()

    # --- by REST ----------------------------------------------------------------------------------------

    def list_all(self, request: FakeRequest, call: Call) -> FakeAnswer:
        after, most = date_of(request), number_of(request, "maxItems")
        found = [one.wire() for one in self.all.values() if after is None or one.made > after]
        return FakeAnswer.of_json(found[:most])

    def get(self, request: FakeRequest, call: Call, document_id: str) -> FakeAnswer:
        return FakeAnswer.of_json(self._known(document_id).wire())

    def get_events(self, request: FakeRequest, call: Call) -> FakeAnswer:
        after, timeout = date_of(request), seconds_of(request, _DEFAULT_SECONDS)
        session, most = request.query.get("appSessionId"), number_of(request, "maxEvents")
        asked = request.headers.get("x-requestor-events")
        kinds = [name.strip() for name in asked.split(",")] if asked else _DEFAULT_EVENTS
        endings = [f"{name.capitalize()}Event" for name in kinds]
        found: list[Mapping[str, Any]] = []

        def look() -> bool:
            found[:] = self.events.after(after, session, most, endings)
            return bool(found)

        self.world.wait(call, self._told, look, timeout)
        return FakeAnswer.of_json(found)

    def accept(self, request: FakeRequest, call: Call, document_id: str) -> FakeAnswer:
        body = json_body(request, ("totalAmountAccepted", "allocationId"))
        try:
            amount = amount_of(body["totalAmountAccepted"])
        except ValueError as error:
            return bad_json(request, str(error))
        document = self._known(document_id)
        if amount != document.amount:
            return FakeAnswer.of_message("Invalid amount accepted", 400)
        if document.status in _ACCEPTED:
            return FakeAnswer.of_json(None)
        allocation = self.allocations.find(body["allocationId"])
        if allocation is None:
            return FakeAnswer.of_message(f"Allocation {body['allocationId']} not found", 400)
        refusal = self.accepted.add(document, allocation)
        if refusal is not None:
            return FakeAnswer.of_message(refusal, 400)
        document.status = "ACCEPTED"
        self._tell(document, "AcceptedEvent")
        return FakeAnswer.of_json(None)

    def reject(self, request: FakeRequest, call: Call, document_id: str) -> FakeAnswer:
        if self.kind == "DebitNote":
            return FakeAnswer.of_message(None, 501)
        body = json_body(request, ("rejectionReason",))
        if body["rejectionReason"] not in _REASONS:
            expected = ", ".join(f"`{one}`" for one in _REASONS)
            return bad_json(
                request, f"unknown variant `{body['rejectionReason']}`, expected one of {expected}"
            )
        document = self._known(document_id)
        if document.status == "REJECTED":
            return FakeAnswer.of_json(None)
        if document.status != "RECEIVED":
            return FakeAnswer.of_message(f"Invoice {document.status.lower()}", 400)
        document.status = "REJECTED"
        self._tell(document, "RejectedEvent")
        return FakeAnswer.of_json(None)

    def _known(self, document_id: str) -> Document:
        document = self.all.get(document_id)
        if document is None:
            raise Refused(FakeAnswer.of_message(None, 404))
        return document


class Accepted:
    """The accepted amounts of agreements and activities, and their payments.

    Attributes:
        payments: as the daemon tells them.
    """

    def __init__(self, world: World) -> None:
        self.payments: list[dict[str, Any]] = []
        self._world = world
        # Of activities, and of whole agreements: a note contains those before it, an invoice all notes.
        self._amounts: Records[Decimal] = Records(lambda amount: True)
        self._debts: list[_Debt] = []

    def add(self, document: Document, allocation: Allocation) -> str | None:
        """Take the amount of a document from an allocation; returns the refusal if that is too small."""
        agreement_id = document.agreement.agreement_id
        subject = document.activities[0] if document.kind == "DebitNote" else agreement_id
        before = self._amounts.get(subject, Decimal(0))
        more = max(Decimal(0), document.amount - before)
        if more > allocation.remaining:
            return f"Not enough funds. Allocated: {allocation.remaining:f} Needed: {more:f}"
        allocation.total = allocation.spent + allocation.remaining
        allocation.spent += more
        self._amounts.put(subject, before + more)
        if document.kind == "DebitNote":
            self._amounts.put(agreement_id, self._amounts.get(agreement_id, Decimal(0)) + more)
        activity = document.activities[0] if document.kind == "DebitNote" else None
        if more:
            self._debts.append(_Debt(document.agreement, activity, more, allocation.allocation_id))
            del self._debts[:-MOST_RECORDS]
        return None

    def pay(self) -> None:
        """Pay all accepted amounts: one payment for each provider."""
        debts, self._debts = self._debts, []
        payees = dict.fromkeys(debt.agreement.provider for debt in debts)
        for payee in payees:
            self._pay(payee, [debt for debt in debts if debt.agreement.provider == payee])
        del self.payments[:-MOST_RECORDS]

    def _pay(self, payee: str, debts: Sequence[_Debt]) -> None:
        agreement = debts[0].agreement
        platform = str(agreement.demand_properties.get(_CHOSEN_PLATFORM, ""))
        payment_id = self._world.uuid()
        self.payments.append(
            {
                "paymentId": payment_id,
                "payerId": agreement.requestor,
                "payeeId": payee,
                "payerAddr": agreement.requestor,
                "payeeAddr": payee,
                "paymentPlatform": platform,
                "amount": f"{sum((debt.amount for debt in debts), Decimal(0)):f}",
                "timestamp": date_text(self._world.stamp()),
                "agreementPayments": [_part(one) for one in debts if one.activity is None],
                "activityPayments": [_part(one) for one in debts if one.activity is not None],
                "details": base64.b64encode(hashlib.sha3_256(payment_id.encode()).digest()).decode(),
            }
        )


def _part(debt: _Debt) -> dict[str, str]:
    key, value = (
        ("agreementId", debt.agreement.agreement_id)
        if debt.activity is None
        else ("activityId", debt.activity)
    )
    return {key: value, "amount": f"{debt.amount:f}", "allocationId": debt.allocation}


class Payments:
    """Answers requests for payments.

    Attributes:
        notes, invoices: the documents.
        pays: whether what was accepted is paid when the requestor asks for it.
    """

    def __init__(self, world: World, allocations: Allocations, *, pays: bool) -> None:
        self.pays = pays
        self._world = world
        self._accepted = Accepted(world)
        self.notes = Documents("DebitNote", world, allocations, self._accepted)
        self.invoices = Documents("Invoice", world, allocations, self._accepted)
        self._paid = world.condition()

    # --- for the providers ------------------------------------------------------------------------------

    def send_note(
        self, activity: Activity, amount: Decimal, usage: Sequence[float], due: datetime | None
    ) -> None:
        """Take a debit note of a provider."""
        ids, world = (activity.activity_id,), self._world
        note = Document("DebitNote", world.uuid(), activity.agreement, ids, amount, world.stamp(), due, usage)
        self.notes.receive(note)

    def send_invoice(self, agreement: Agreement, activities: Sequence[str], amount: Decimal) -> None:
        """Take an invoice of a provider."""
        world = self._world
        due = world.clock.now() + timedelta(days=1)
        made = world.stamp()
        self.invoices.receive(Document("Invoice", world.uuid(), agreement, activities, amount, made, due))

    def settle(self) -> None:
        """Pay all accepted amounts."""
        self._accepted.pay()
        for documents in (self.notes, self.invoices):
            for document in [one for one in documents.all.values() if one.status == "ACCEPTED"]:
                documents.settle(document)
        self._paid.notify_all()

    # --- by REST ----------------------------------------------------------------------------------------

    def get_payments(self, request: FakeRequest, call: Call) -> FakeAnswer:
        after, timeout = date_of(request), seconds_of(request, 0.0)
        found: list[dict[str, Any]] = []

        def look() -> bool:
            limit = "" if after is None else date_text(after)
            found[:] = [one for one in self._accepted.payments if one["timestamp"] > limit]
            return bool(found)

        self._world.wait(call, self._paid, look, timeout)
        return FakeAnswer.of_json(found)

    def get_invoice_payments(self, request: FakeRequest, call: Call, invoice_id: str) -> FakeAnswer:
        invoice = self.invoices.all.get(invoice_id)
        if invoice is None:
            return FakeAnswer.of_message(None, 404)
        wanted = {invoice.agreement.agreement_id, *invoice.activities}
        return FakeAnswer.of_json(
            [
                one
                for one in self._accepted.payments
                if any(part.get("agreementId") in wanted for part in one["agreementPayments"])
                or any(part.get("activityId") in wanted for part in one["activityPayments"])
            ]
        )

    def list_accounts(self, request: FakeRequest, call: Call) -> FakeAnswer:
        return FakeAnswer.of_json([])

    def post_cycle(self, request: FakeRequest, call: Call) -> FakeAnswer:
        body = json_body(request, ("platform",))
        interval = body.get("intervalSec") or 0
        if interval <= _SHORTEST_CYCLE_SECONDS:
            text = (
                "create or update error: Query error: Error creating batch cycle based on interval "
                "Interval must be greater than 5 seconds (at least 5 minutes suggested)"
            )
            return FakeAnswer.of_json({"Err": {"ProcessBatchCycleError": text}})
        now = self._world.clock.now()
        wire = {
            "platform": body["platform"],
            "interval": {"secs": interval, "nanos": 0},
            "cron": None,
            "nextProcess": date_text(now + timedelta(seconds=interval))[:-1],
            "lastProcess": date_text(now)[:-1],
        }
        return FakeAnswer.of_json({"Ok": wire})

    def post_pay_now(self, request: FakeRequest, call: Call, platform: str) -> FakeAnswer:
        if self.pays:
            self.settle()
        return FakeAnswer.of_json({"resolve_time_ms": 0.0, "send_time_ms": 0.0})

"""The payment API, requestor's side: allocations, debit notes, invoices, payments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from ...background.cancellation import Scope
from ...errors import YagnaError
from ...model.base.wire_time import format_time
from ..transport.http import NO_BODY, Http
from ..transport.retry import Repeat
from ..values import Allocation, DebitNote, Decorations, Invoice, Payment, PaymentEvent

logger = logging.getLogger(__name__)

T = TypeVar("T")


class PaymentApi:
    def __init__(self, http: Http, url: str = "/payment-api/v1") -> None:
        self._http = http
        self._url = url

    # allocations

    def allocate(
        self, amount: Decimal, platform: str, timeout: datetime, *, scope: Scope | None = None
    ) -> Allocation:
        """`POST /allocations`: reserve `amount` GLM on `platform` until `timeout`; blocks up to a minute."""
        body = {
            "totalAmount": f"{amount:f}",
            "paymentPlatform": platform,
            "timeout": format_time(timeout),
            "makeDeposit": False,
        }
        # The payment driver may ask a chain about the funds first.
        answer = self._call(
            "POST", "/allocations", body=body, timeout=60.0, scope=scope, repeat=Repeat.UNSENT
        )
        return Allocation.from_wire(answer)

    def allocations(self, *, scope: Scope | None = None) -> list[Allocation]:
        """`GET /allocations`: all that are not released."""
        return [Allocation.from_wire(wire) for wire in self._call("GET", "/allocations", scope=scope)]

    def allocation(self, allocation_id: str, *, scope: Scope | None = None) -> Allocation:
        """`GET /allocations/{id}`; a `YagnaError` of status 404 after its release."""
        return Allocation.from_wire(self._call("GET", f"/allocations/{allocation_id}", scope=scope))

    def amend(
        self,
        allocation_id: str,
        amount: Decimal,
        timeout: datetime | None = None,
        *,
        scope: Scope | None = None,
    ) -> Allocation:
        """`PUT /allocations/{id}`: change its amount, and its end where given."""
        body: dict[str, Any] = {"totalAmount": f"{amount:f}"}
        if timeout is not None:
            body["timeout"] = format_time(timeout)
        answer = self._call("PUT", f"/allocations/{allocation_id}", body=body, timeout=60.0, scope=scope)
        return Allocation.from_wire(answer)

    def release(self, allocation_id: str, *, scope: Scope | None = None) -> None:
        """`DELETE /allocations/{id}`; an allocation that does not exist is no error."""
        self._call("DELETE", f"/allocations/{allocation_id}", scope=scope, done=(404, 410))

    def decorations(self, allocation_id: str, *, scope: Scope | None = None) -> Decorations:
        """`GET /demandDecorations`: what a demand needs to be paid from this allocation."""
        # One id at a time: a comma between two would have to be sent unescaped.
        answer = self._call("GET", "/demandDecorations", params={"allocationIds": allocation_id}, scope=scope)
        return Decorations.from_wire(answer)

    # debit notes

    def debit_note_events(
        self,
        after: datetime,
        *,
        timeout: float,
        app_session_id: str | None = None,
        scope: Scope | None = None,
    ) -> list[PaymentEvent]:
        """`GET /debitNoteEvents`: those after `after`; blocks up to `timeout` seconds for one."""
        return self._events("/debitNoteEvents", after, timeout, app_session_id, scope)

    def debit_note(self, debit_note_id: str, *, scope: Scope | None = None) -> DebitNote:
        """`GET /debitNotes/{id}`."""
        return DebitNote.from_wire(self._call("GET", f"/debitNotes/{debit_note_id}", scope=scope))

    def debit_notes(self, after: datetime | None = None, *, scope: Scope | None = None) -> list[DebitNote]:
        """`GET /debitNotes`: all of them, or those after `after`."""
        answer = self._call("GET", "/debitNotes", params=_after(after), scope=scope)
        return _readable(DebitNote.from_wire, answer)

    def accept_debit_note(self, note: DebitNote, allocation_id: str, *, scope: Scope | None = None) -> None:
        """`POST /debitNotes/{id}/accept`, for its exact amount; accepting twice is no error."""
        self._accept(f"/debitNotes/{note.debit_note_id}/accept", note.amount, allocation_id, scope)

    # invoices

    def invoice_events(
        self,
        after: datetime,
        *,
        timeout: float,
        app_session_id: str | None = None,
        scope: Scope | None = None,
    ) -> list[PaymentEvent]:
        """`GET /invoiceEvents`: those after `after`; blocks up to `timeout` seconds for one."""
        return self._events("/invoiceEvents", after, timeout, app_session_id, scope)

    def invoice(self, invoice_id: str, *, scope: Scope | None = None) -> Invoice:
        """`GET /invoices/{id}`."""
        return Invoice.from_wire(self._call("GET", f"/invoices/{invoice_id}", scope=scope))

    def invoices(
        self,
        after: datetime | None = None,
        *,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.SAFE,
    ) -> list[Invoice]:
        """`GET /invoices`: all of them, or those after `after`."""
        answer = self._call("GET", "/invoices", params=_after(after), scope=scope, repeat=repeat)
        return _readable(Invoice.from_wire, answer)

    def accept_invoice(self, invoice: Invoice, allocation_id: str, *, scope: Scope | None = None) -> None:
        """`POST /invoices/{id}/accept`, for its exact amount; accepting twice is no error."""
        self._accept(f"/invoices/{invoice.invoice_id}/accept", invoice.amount, allocation_id, scope)

    def reject_invoice(self, invoice: Invoice, reason: str, *, scope: Scope | None = None) -> None:
        """`POST /invoices/{id}/reject`, for an amount that is not owed; the provider gets the `reason`."""
        body = {"rejectionReason": "INCORRECT_AMOUNT", "totalAmountAccepted": "0", "message": reason}
        path = f"/invoices/{invoice.invoice_id}/reject"
        self._call("POST", path, body=body, params={"timeout": 15.0}, timeout=15.0, scope=scope)

    # payments

    def payments(
        self,
        after: datetime | None = None,
        *,
        timeout: float = 0.0,
        scope: Scope | None = None,
    ) -> list[Payment]:
        """`GET /payments`: all of them, or those after `after`; blocks up to `timeout` seconds for one."""
        params = {**_after(after), "timeout": timeout}
        answer = self._call("GET", "/payments", params=params, timeout=timeout, scope=scope)
        return [Payment.from_wire(wire) for wire in answer]

    def invoice_payments(self, invoice_id: str, *, scope: Scope | None = None) -> list[Payment]:
        """`GET /invoices/{id}/payments`: the payments for it and for its debit notes."""
        answer = self._call("GET", f"/invoices/{invoice_id}/payments", scope=scope)
        return [Payment.from_wire(wire) for wire in answer]

    def pay_now(self, platform: str, *, scope: Scope | None = None) -> None:
        """`POST /batchCycle/{platform}/now`: pay what was accepted now, before the cycle ends."""
        path = f"/batchCycle/{platform}/now"
        _check(path, self._call("POST", path, body={}, scope=scope))

    def _accept(self, path: str, amount: Decimal, allocation_id: str, scope: Scope | None) -> None:
        body = {"totalAmountAccepted": f"{amount:f}", "allocationId": allocation_id}
        self._call("POST", path, body=body, params={"timeout": 15.0}, timeout=15.0, scope=scope)

    def _events(
        self, path: str, after: datetime, timeout: float, app_session_id: str | None, scope: Scope | None
    ) -> list[PaymentEvent]:
        # No maxEvents: the daemon applies it before it filters by type, and the cursor could stall.
        params = {
            "afterTimestamp": format_time(after),
            "timeout": timeout,
            "appSessionId": app_session_id,
        }
        answer = self._call("GET", path, params=params, timeout=timeout, scope=scope)
        return [PaymentEvent.from_wire(wire) for wire in answer]

    def _call(self, method: str, path: str, *, body: Any = NO_BODY, **options: Any) -> Any:
        return self._http.request(method, self._url + path, body=body, **options)


def _readable(read: Callable[[Mapping[str, Any]], T], answer: Sequence[Mapping[str, Any]]) -> list[T]:
    """Read the documents of a list. One that a provider has spoilt must not hide the others."""
    documents = []
    for wire in answer:
        try:
            documents.append(read(wire))
        except YagnaError as error:
            logger.warning("a document is passed over: %s", error)
    return documents


def _check(path: str, answer: Any) -> None:
    """Raise a `YagnaError` for an error in the answer, which has the status 200 all the same."""
    if isinstance(answer, Mapping) and "Err" in answer:
        raise YagnaError("POST", path, 200, str(answer["Err"]))


def _after(moment: datetime | None) -> Mapping[str, object]:
    return {} if moment is None else {"afterTimestamp": format_time(moment)}

"""The payment API: amounts stay exact, and each document is answered at its place."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
import responses
from responses import matchers

from simple_golem.errors import YagnaError
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import PaymentEvent
from tests.unit.yagna.conftest import API

PAYMENT = f"{API}/payment-api/v1"
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
ALLOCATION = {
    "allocationId": "al1",
    "paymentPlatform": "erc20-hoodi-tglm",
    "address": "0xreq",
    "totalAmount": "0.3",
    "spentAmount": "0.1",
    "remainingAmount": "0.2000",
    "timestamp": "2026-11-25T00:00:00Z",
    "timeout": "2026-01-31T12:00:00Z",
}
NOTE = {
    "debitNoteId": "n1",
    "agreementId": "a1",
    "activityId": "act1",
    "issuerId": "0xprov",
    "totalAmountDue": "0.000000000000000001",
    "status": "RECEIVED",
    "timestamp": "2026-01-31T12:00:00Z",
    "paymentDueDate": None,
}
INVOICE = {
    "invoiceId": "i1",
    "agreementId": "a1",
    "issuerId": "0xprov",
    "activityIds": ["act1"],
    "amount": "0.25",
    "status": "RECEIVED",
    "timestamp": "2026-01-31T12:00:00Z",
    "paymentPlatform": "erc20-hoodi-tglm",
}


def sent(daemon: responses.RequestsMock) -> Any:
    body = daemon.calls[-1].request.body
    assert body is not None
    return json.loads(body)


@pytest.mark.parametrize(
    ("amount", "text"), [("0.1", "0.1"), ("1E-18", "0.000000000000000001"), ("1E+2", "100")]
)
def test_an_allocation_is_asked_for_exactly(
    daemon: responses.RequestsMock, yagna: Yagna, amount: str, text: str
) -> None:
    daemon.post(f"{PAYMENT}/allocations", json=ALLOCATION, status=201)
    allocation = yagna.payment.allocate(Decimal(amount), "erc20-hoodi-tglm", NOON)
    assert sent(daemon) == {
        "totalAmount": text,
        "paymentPlatform": "erc20-hoodi-tglm",
        "timeout": "2026-01-31T12:00:00Z",
        "makeDeposit": False,
    }
    assert (allocation.total_amount, allocation.spent_amount, allocation.remaining_amount) == (
        Decimal("0.3"),
        Decimal("0.1"),
        Decimal("0.2"),
    )
    assert allocation.timeout == NOON


def test_an_allocation_without_an_end_is_read(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{PAYMENT}/allocations/al1", json={**ALLOCATION, "timeout": None})
    daemon.get(f"{PAYMENT}/allocations", json=[ALLOCATION])
    assert yagna.payment.allocation("al1").timeout is None
    assert [allocation.allocation_id for allocation in yagna.payment.allocations()] == ["al1"]


def test_an_allocation_is_amended(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.put(f"{PAYMENT}/allocations/al1", json=ALLOCATION)
    yagna.payment.amend("al1", Decimal(3), NOON)
    assert sent(daemon) == {"totalAmount": "3", "timeout": "2026-01-31T12:00:00Z"}
    yagna.payment.amend("al1", Decimal(3))
    assert sent(daemon) == {"totalAmount": "3"}


@pytest.mark.parametrize("status", [204, 404, 410])
def test_an_allocation_that_is_gone_is_released(
    daemon: responses.RequestsMock, yagna: Yagna, status: int
) -> None:
    daemon.delete(f"{PAYMENT}/allocations/al1", status=status)
    yagna.payment.release("al1")
    assert len(daemon.calls) == 1


def test_decorations_are_read(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(
        f"{PAYMENT}/demandDecorations",
        json={"properties": [{"key": "a.b", "value": "1"}], "constraints": ["(x=*)"]},
        match=[matchers.query_param_matcher({"allocationIds": "al1"})],
    )
    decorations = yagna.payment.decorations("al1")
    assert (decorations.properties, decorations.constraints) == ({"a.b": "1"}, ("(x=*)",))


def test_a_debit_note_is_accepted_for_its_exact_amount(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{PAYMENT}/debitNotes/n1", json=NOTE)
    daemon.post(f"{PAYMENT}/debitNotes/n1/accept")
    note = yagna.payment.debit_note("n1")
    assert (note.activity_id, note.payment_due) == ("act1", None)
    yagna.payment.accept_debit_note(note, "al1")
    assert sent(daemon) == {"totalAmountAccepted": "0.000000000000000001", "allocationId": "al1"}


def test_an_invoice_is_accepted_for_its_exact_amount(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{PAYMENT}/invoices/i1", json=INVOICE)
    daemon.post(f"{PAYMENT}/invoices/i1/accept")
    invoice = yagna.payment.invoice("i1")
    assert invoice.activity_ids == ("act1",)
    yagna.payment.accept_invoice(invoice, "al1")
    assert sent(daemon) == {"totalAmountAccepted": "0.25", "allocationId": "al1"}


def test_accepting_is_repeated_since_twice_is_no_error(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{PAYMENT}/invoices/i1", json=INVOICE)
    locked = daemon.post(f"{PAYMENT}/invoices/i1/accept", body="database is locked", status=500)
    done = daemon.post(f"{PAYMENT}/invoices/i1/accept")
    yagna.payment.accept_invoice(yagna.payment.invoice("i1"), "al1")
    assert (locked.call_count, done.call_count) == (1, 1)


@pytest.mark.parametrize(
    ("path", "key"), [("invoiceEvents", "invoiceId"), ("debitNoteEvents", "debitNoteId")]
)
def test_events_are_those_of_the_session_after_a_time(
    daemon: responses.RequestsMock, yagna: Yagna, path: str, key: str
) -> None:
    kind = "InvoiceReceivedEvent"
    query = {"afterTimestamp": "2026-01-31T12:00:00Z", "timeout": "3.0", "appSessionId": "s1"}
    daemon.get(
        f"{PAYMENT}/{path}",
        json=[{"eventType": kind, key: "x1", "eventDate": "2026-01-31T12:00:00Z"}],
        match=[matchers.query_param_matcher(query)],
    )
    read = yagna.payment.invoice_events if key == "invoiceId" else yagna.payment.debit_note_events
    assert read(NOON, timeout=3.0, app_session_id="s1") == [PaymentEvent(kind, "x1", NOON)]


def test_documents_are_listed_after_a_time_or_all(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    after = [matchers.query_param_matcher({"afterTimestamp": "2026-01-31T12:00:00Z"})]
    daemon.get(f"{PAYMENT}/invoices", json=[INVOICE], match=after)
    daemon.get(f"{PAYMENT}/debitNotes", json=[NOTE], match=[matchers.query_param_matcher({})])
    assert [invoice.amount for invoice in yagna.payment.invoices(NOON)] == [Decimal("0.25")]
    assert [note.amount for note in yagna.payment.debit_notes()] == [Decimal("1E-18")]


# --- payments ------------------------------------------------------------------------------------

HASH = "0x6e20173a2a4c0c16e50349c4ef603b1441e6853c8b432d6de77836c0f4fd6464"
PAID = {
    "paymentId": "p1",
    "payerId": "0xreq",
    "payeeId": "0xprov",
    "payerAddr": "0xreq",
    "payeeAddr": "0xprov",
    "paymentPlatform": "erc20-hoodi-tglm",
    "amount": "0.000252000000000003",
    "timestamp": "2026-01-31T12:00:00.301Z",
    "agreementPayments": [
        {"agreementId": "a1", "amount": "0.000250000000000001"},
        {"agreementId": "a1", "amount": "0.000000000000000001"},
        {"agreementId": "a2", "amount": "0.000001"},
    ],
    "activityPayments": [{"activityId": "act1", "amount": "0.000001000000000001"}],
    "details": "biAXOipMDBblA0nE72A7FEHmhTyLQy1t53g2wPT9ZGQ=",
    "signature": [0, 1],
    "signedBytes": [123],
}


def test_a_payment_is_read_with_its_parts_and_its_transaction(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    daemon.get(f"{PAYMENT}/payments", json=[PAID])
    (payment,) = yagna.payment.payments()
    assert payment.transaction == HASH
    assert payment.amount == Decimal("0.000252000000000003")
    assert payment.agreements == {"a1": Decimal("0.000250000000000002"), "a2": Decimal("0.000001")}
    assert payment.activities == {"act1": Decimal("0.000001000000000001")}
    assert sum(payment.agreements.values()) + sum(payment.activities.values()) == payment.amount
    assert (payment.payer_id, payment.payee_id) == ("0xreq", "0xprov")
    assert payment.timestamp == NOON.replace(microsecond=301_000)


def test_payments_are_those_after_a_time_and_nobody_waits_for_one_unasked(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    after = {"afterTimestamp": "2026-01-31T12:00:00Z", "timeout": "5.0"}
    daemon.get(f"{PAYMENT}/payments", json=[PAID], match=[matchers.query_param_matcher(after)])
    daemon.get(f"{PAYMENT}/payments", json=[], match=[matchers.query_param_matcher({"timeout": "0.0"})])
    assert [payment.payment_id for payment in yagna.payment.payments(NOON, timeout=5.0)] == ["p1"]
    assert yagna.payment.payments() == []


def test_the_payments_of_an_invoice_are_read(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{PAYMENT}/invoices/i1/payments", json=[PAID, {**PAID, "paymentId": "p2"}])
    assert [payment.payment_id for payment in yagna.payment.invoice_payments("i1")] == ["p1", "p2"]


def test_the_daemon_is_told_when_to_pay(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    now = daemon.post(f"{PAYMENT}/batchCycle/erc20-hoodi-tglm/now", json={"send_time_ms": 2})
    yagna.payment.pay_now("erc20-hoodi-tglm")
    assert now.call_count == 1


def test_a_cycle_that_the_daemon_does_not_take_is_an_error_whatever_the_status(
    daemon: responses.RequestsMock, yagna: Yagna
) -> None:
    refusal = {"Err": {"ProcessBatchCycleError": "there is no such platform"}}
    daemon.post(f"{PAYMENT}/batchCycle/nonsense/now", json=refusal)
    with pytest.raises(YagnaError, match=r"batchCycle/nonsense/now.*no such platform"):
        yagna.payment.pay_now("nonsense")


def test_a_refused_allocation_says_how_much_there_is(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    problem = {
        "type": "/payment-api/v1/allocations/validation-error",
        "detail": "Insufficient funds to create the allocation.",
        "availableFunds": "3",
        "requestedFunds": "4",
        "reservedFunds": "2",
    }
    daemon.post(f"{PAYMENT}/allocations", json=problem, status=400)
    with pytest.raises(YagnaError) as raised:
        yagna.payment.allocate(Decimal(4), "erc20-hoodi-tglm", NOON)
    assert raised.value.detail == (
        "Insufficient funds to create the allocation. (requested: 4, available: 3, in other allocations: 2)"
    )

"""The session's money: every note and invoice answered once, and the sums right."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import responses
from requests import PreparedRequest

from simple_golem.engine.event_desk import EventDesk
from simple_golem.engine.payment import Payments
from simple_golem.errors import AllocationRefused
from simple_golem.scope import Scope
from simple_golem.threads import EngineThread, WorkerPool
from simple_golem.yagna.client import Yagna

from .conftest import API, eventually, posted

PAYMENT = "/payment-api/v1"
PLATFORM = "erc20-hoodi-tglm"
AT_ONCE = 0.3
Reply = tuple[int, dict[str, str], str]

ALLOCATION = {
    "allocationId": "al1",
    "paymentPlatform": PLATFORM,
    "address": "0xreq",
    "totalAmount": "1",
    "spentAmount": "0",
    "remainingAmount": "1",
    "timestamp": "2026-11-25T00:00:00Z",
    "timeout": None,
}


class Desk:
    """The daemon's payment desk: documents are announced, in as many pages as a test says."""

    def __init__(self, daemon: responses.RequestsMock) -> None:
        self.daemon = daemon
        self.changed = threading.Condition()
        self.asked: dict[str, list[str]] = {"debitNoteEvents": [], "invoiceEvents": []}
        self.at_once = 0
        self.most_at_once = 0
        self.out_of_order = False
        self.accepting: Callable[[], object] = lambda: None
        self._events: dict[str, list[dict[str, Any]]] = {"debitNoteEvents": [], "invoiceEvents": []}
        self._closed = False
        daemon.post(f"{API}{PAYMENT}/allocations", json=ALLOCATION, status=201)
        for kind in self._events:
            daemon.add_callback(responses.GET, f"{API}{PAYMENT}/{kind}", self._read)

    def close(self) -> None:
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def invoice(self, name: str, agreement: str, amount: str) -> None:
        wire = {
            "invoiceId": name,
            "agreementId": agreement,
            "issuerId": "0xprov",
            "activityIds": [],
            "amount": amount,
            "status": "RECEIVED",
            "timestamp": "2026-01-31T12:00:00Z",
            "paymentPlatform": PLATFORM,
        }
        self._keep("invoices", name, wire)

    def note(self, name: str, agreement: str, activity: str, amount: str) -> None:
        wire = {
            "debitNoteId": name,
            "agreementId": agreement,
            "activityId": activity,
            "issuerId": "0xprov",
            "totalAmountDue": amount,
            "status": "RECEIVED",
            "timestamp": "2026-01-31T12:00:00Z",
        }
        self._keep("debitNotes", name, wire)

    def announce(self, *names: str, at: str = "2026-01-31T12:00:00Z", event: str = "Received") -> None:
        with self.changed:
            for name in names:
                invoice = name.startswith("i")
                kind, key = ("Invoice", "invoiceId") if invoice else ("DebitNote", "debitNoteId")
                wire = {"eventType": f"{kind}{event}Event", key: name, "eventDate": at}
                self._events["invoiceEvents" if invoice else "debitNoteEvents"].append(wire)
            self.changed.notify_all()

    def accepted(self, name: str) -> list[object]:
        folder = "invoices" if name.startswith("i") else "debitNotes"
        return posted(self.daemon, f"{PAYMENT}/{folder}/{name}/accept")

    def _keep(self, folder: str, name: str, wire: dict[str, Any]) -> None:
        self.daemon.get(f"{API}{PAYMENT}/{folder}/{name}", json=wire)
        self.daemon.add_callback(responses.POST, f"{API}{PAYMENT}/{folder}/{name}/accept", self._accept)

    def _read(self, request: PreparedRequest) -> Reply:
        url = request.url or ""
        kind = url.partition("?")[0].rpartition("/")[2]
        with self.changed:
            self.asked[kind].append(url)
            if self.out_of_order:
                return 400, {}, '{"message": "out of order"}'
            self.changed.wait_for(lambda: self._closed or self._events[kind], 5)
            events, self._events[kind] = self._events[kind], []
            return 200, {}, json.dumps(events)

    def _accept(self, request: PreparedRequest) -> Reply:
        with self.changed:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.accepting()
        with self.changed:
            self.at_once -= 1
        return 200, {}, ""


@pytest.fixture
def desk(daemon: responses.RequestsMock) -> Desk:
    return Desk(daemon)


@pytest.fixture
def payments(desk: Desk, yagna: Yagna, workers: WorkerPool, scope: Scope) -> Iterator[Payments]:
    payments = Payments(yagna, "s1", PLATFORM, workers, scope, EventDesk().emit)
    payments.allocate(Decimal(1))
    payments.start()
    yield payments
    scope.cancel("the test is over")
    desk.close()
    assert payments.join(5) == []


# invoices and debit notes


def test_an_invoice_is_accepted_from_the_sessions_allocation(desk: Desk, payments: Payments) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(payments.spent)
    assert desk.accepted("i1") == [{"totalAmountAccepted": "0.25", "allocationId": "al1"}]
    assert payments.spent() == Decimal("0.25")


def test_an_invoice_announced_twice_is_accepted_once(desk: Desk, payments: Payments) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.invoice("i2", "a2", "0.5")
    desk.announce("i1", "i1", "i1")
    eventually(payments.spent)
    desk.announce("i1", "i2", at="2026-01-31T12:00:01Z")
    eventually(lambda: payments.spent() == Decimal("0.75"))
    assert len(desk.accepted("i1")) == 1


def test_what_is_not_received_is_not_answered(desk: Desk, payments: Payments) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.invoice("i2", "a2", "0.5")
    desk.announce("i1", event="Cancelled")
    desk.announce("i2")
    eventually(payments.spent)
    assert desk.accepted("i1") == []


def test_a_debit_note_is_accepted_and_counts_until_the_invoice(desk: Desk, payments: Payments) -> None:
    desk.note("n1", "a1", "act1", "0.1")
    desk.announce("n1")
    eventually(lambda: payments.spent() == Decimal("0.1"))
    assert desk.accepted("n1") == [{"totalAmountAccepted": "0.1", "allocationId": "al1"}]
    desk.invoice("i1", "a1", "0.15")
    desk.announce("i1")
    eventually(lambda: payments.spent() == Decimal("0.15"))


def test_a_debit_note_after_the_invoice_is_ignored(desk: Desk, payments: Payments) -> None:
    desk.invoice("i1", "a1", "0.15")
    desk.announce("i1")
    eventually(payments.spent)
    desk.note("n1", "a1", "act1", "0.1")
    desk.note("n2", "a2", "act2", "0.2")
    desk.announce("n1", "n2")
    eventually(lambda: payments.spent() == Decimal("0.35"))
    assert desk.accepted("n1") == []


def test_debit_notes_of_one_activity_are_sums_so_far(desk: Desk, payments: Payments) -> None:
    for name, activity, amount in (("n1", "act1", "0.1"), ("n2", "act1", "0.3"), ("n3", "act2", "0.02")):
        desk.note(name, "a1", activity, amount)
        desk.announce(name)
        eventually(partial(desk.accepted, name))
    eventually(lambda: payments.spent() == Decimal("0.32"))


def test_a_debit_note_that_was_overtaken_does_not_lower_the_sum(desk: Desk, payments: Payments) -> None:
    for name, amount in (("n2", "0.3"), ("n1", "0.1")):
        desk.note(name, "a1", "act1", amount)
        desk.announce(name)
        eventually(partial(desk.accepted, name))
    desk.note("n3", "a3", "act3", "1")
    desk.announce("n3")
    eventually(lambda: payments.spent() > 1)
    assert payments.spent() == Decimal("1.3")


def test_nothing_is_spent_in_the_beginning(payments: Payments) -> None:
    assert payments.spent() == Decimal(0)


def test_amounts_are_added_exactly(desk: Desk, payments: Payments) -> None:
    for number in range(10):
        desk.invoice(f"i{number}", f"a{number}", "0.1")
    desk.announce(*(f"i{number}" for number in range(10)))
    eventually(lambda: payments.spent() >= Decimal(1))
    assert payments.spent() == Decimal(1)


def test_what_one_agreement_asks_for_is_accepted_one_after_the_other(desk: Desk, payments: Payments) -> None:
    desk.accepting = lambda: time.sleep(0.02)
    names = [f"n{number}" for number in range(4)]
    for name in names:
        desk.note(name, "a1", f"act-{name}", "0.1")
    desk.announce(*names)
    eventually(lambda: payments.spent() == Decimal("0.4"))
    assert desk.most_at_once == 1


def test_what_different_agreements_ask_for_is_accepted_side_by_side(desk: Desk, payments: Payments) -> None:
    both = threading.Barrier(2)
    desk.accepting = partial(both.wait, 5)
    for number in (1, 2):
        desk.note(f"n{number}", f"a{number}", f"act{number}", "0.1")
    desk.announce("n1", "n2")
    eventually(lambda: payments.spent() == Decimal("0.2"))
    assert desk.most_at_once == 2


def test_what_can_not_be_accepted_is_told_of_and_not_counted(
    daemon: responses.RequestsMock, desk: Desk, payments: Payments, caplog: pytest.LogCaptureFixture
) -> None:
    desk.invoice("i1", "a1", "0.25")
    daemon.replace(
        responses.POST, f"{API}{PAYMENT}/invoices/i1/accept", status=400, json={"message": "no funds"}
    )
    with caplog.at_level(logging.WARNING, "simple_golem"):
        desk.announce("i1")
        eventually(lambda: "no funds" in caplog.text)
    assert "i1" in caplog.text
    assert payments.spent() == Decimal(0)


def test_the_readers_ask_for_what_came_after_the_last(desk: Desk, payments: Payments) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1", at="2026-01-31T12:00:00.5Z")
    eventually(lambda: len(desk.asked["invoiceEvents"]) == 2)
    first, second = desk.asked["invoiceEvents"]
    assert "afterTimestamp=1970-01-01T00%3A00%3A00Z" in first
    assert "afterTimestamp=2026-01-31T12%3A00%3A00.500000Z" in second
    assert "appSessionId=s1" in second


def test_the_same_page_again_and_again_is_no_reason_to_hurry(
    daemon: responses.RequestsMock, desk: Desk, payments: Payments
) -> None:
    """A time finer than the cursor's makes the daemon tell the same event once more."""
    desk.invoice("i1", "a1", "0.25")
    wire = {
        "eventType": "InvoiceReceivedEvent",
        "invoiceId": "i1",
        "eventDate": "2026-01-31T12:00:00.123456789Z",
    }
    daemon.replace(responses.GET, f"{API}{PAYMENT}/invoiceEvents", json=[wire])
    desk.announce("i1")
    eventually(payments.spent)
    before = len(daemon.calls)
    time.sleep(0.25)
    assert len(daemon.calls) - before <= 14
    assert len(desk.accepted("i1")) == 1


def test_reading_goes_on_after_a_failure(desk: Desk, yagna: Yagna, workers: WorkerPool) -> None:
    pauses: list[float | None] = []

    class Impatient(Scope):
        def wait(self, seconds: float | None = None) -> bool:
            pauses.append(seconds)
            return self.cancelled

    stop = Impatient()
    payments = Payments(yagna, "s1", PLATFORM, workers, stop, EventDesk().emit)
    payments.allocate(Decimal(1))
    desk.invoice("i1", "a1", "0.25")
    desk.out_of_order = True
    payments.start()
    eventually(lambda: pauses.count(1.0) > 2)
    desk.out_of_order = False
    desk.announce("i1")
    eventually(payments.spent)
    stop.cancel()
    desk.close()
    assert payments.join(5) == []


# waiting for invoices


def test_waiting_ends_when_the_last_invoice_is_accepted(desk: Desk, payments: Payments) -> None:
    payments.expect_invoice("a1", "prov-1")
    payments.expect_invoice("a2", "prov-2")
    waiting = EngineThread("waiting", payments.wait_for_invoices, time.monotonic() + 30).start()
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(payments.spent)
    assert not waiting.join(0.03)
    desk.invoice("i2", "a2", "0.25")
    desk.announce("i2")
    assert waiting.join(5)


def test_waiting_names_what_is_missing(
    desk: Desk, payments: Payments, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        payments.expect_invoice(f"a{number}", f"prov-{number}")
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(payments.spent)
    began = time.monotonic()
    payments.wait_for_invoices(began + 0.05)
    assert 0.05 <= time.monotonic() - began < 0.05 + AT_ONCE
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "a2 with prov-2, a3 with prov-3" in record.getMessage()
    assert "a1" not in record.getMessage()


def test_an_invoice_that_came_before_it_was_expected_is_not_waited_for(
    desk: Desk, payments: Payments, caplog: pytest.LogCaptureFixture
) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(payments.spent)
    payments.expect_invoice("a1", "prov-1")
    began = time.monotonic()
    payments.wait_for_invoices(began + 30)
    assert time.monotonic() - began < AT_ONCE
    assert caplog.records == []


def test_waiting_can_be_hurried(payments: Payments, caplog: pytest.LogCaptureFixture) -> None:
    payments.expect_invoice("a1", "prov-1")
    waiting = EngineThread("waiting", payments.wait_for_invoices, time.monotonic() + 30).start()
    assert not waiting.join(0.03)
    payments.hurry(time.monotonic())
    assert waiting.join(AT_ONCE)
    assert "prov-1" in caplog.text


# the allocation


def test_an_allocation_that_is_refused_says_what_to_do(
    daemon: responses.RequestsMock, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    daemon.post(f"{API}{PAYMENT}/allocations", status=400, json={"detail": "Insufficient funds"})
    with pytest.raises(AllocationRefused, match="Insufficient funds") as caught:
        Payments(yagna, "s1", PLATFORM, workers, scope, EventDesk().emit).allocate(Decimal(7))
    for words in ("7 GLM", PLATFORM, "yagna payment fund"):
        assert words in str(caught.value)


def test_without_an_allocation_there_are_no_decorations(
    yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    with pytest.raises(AllocationRefused):
        Payments(yagna, "s1", PLATFORM, workers, scope, EventDesk().emit).decorations()


def test_the_allocation_lasts_longer_than_what_it_pays(
    daemon: responses.RequestsMock, payments: Payments
) -> None:
    daemon.put(f"{API}{PAYMENT}/allocations/al1", json=ALLOCATION)
    now = datetime.now(timezone.utc)
    payments.cover(now + timedelta(minutes=60))
    assert posted(daemon, f"{PAYMENT}/allocations/al1", "PUT") == []
    payments.cover(now + timedelta(days=1))
    payments.cover(now + timedelta(days=1))
    (body,) = posted(daemon, f"{PAYMENT}/allocations/al1", "PUT")
    assert isinstance(body, dict)
    assert body["totalAmount"] == "1"
    until = datetime.fromisoformat(body["timeout"].replace("Z", "+00:00"))
    assert until > now + timedelta(days=1, minutes=20)


def test_the_allocation_is_released_once(daemon: responses.RequestsMock, payments: Payments) -> None:
    daemon.delete(f"{API}{PAYMENT}/allocations/al1", status=204)
    payments.release(Scope())
    payments.release(Scope())
    assert len(posted(daemon, f"{PAYMENT}/allocations/al1", "DELETE")) == 1


def test_an_allocation_that_is_not_released_is_told_of(
    daemon: responses.RequestsMock, payments: Payments, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.delete(f"{API}{PAYMENT}/allocations/al1", status=400, json={"message": "no way"})
    payments.release(Scope())
    assert "al1" in caplog.text
    assert "no way" in caplog.text

"""Payments: every note and invoice answered once, what asks for too much refused, and the sums right."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import responses

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import EngineThread, WorkerPool
from simple_golem.engine.payment.journal import FOLDER_VARIABLE, Journal
from simple_golem.engine.payment.journal_record import JournalOwner
from simple_golem.model.events.budget import BudgetUsedUp
from simple_golem.model.events.documents import (
    DebitNoteAccepted,
    DebitNoteRefused,
    InvoiceAccepted,
    InvoiceRefused,
)
from simple_golem.model.events.event import Event
from simple_golem.model.service.suspended import SuspendedInstance
from simple_golem.yagna.client import Yagna
from tests.helpers.guarded_dict import GuardedDict
from tests.helpers.written_answers.fake_payments import PAYMENT, Desk
from tests.helpers.written_answers.money_setup import PRICES, Till
from tests.unit.conftest import API, eventually

# The wrong ways take thirty seconds.
AT_ONCE = 10.0


@pytest.fixture
def desk(daemon: responses.RequestsMock) -> Desk:
    return Desk(daemon)


@pytest.fixture
def till(desk: Desk, yagna: Yagna, workers: WorkerPool, scope: Scope) -> Iterator[Till]:
    till = Till(yagna, workers, scope)
    till.budget.allocate(Decimal(1))
    # Agreements `a0` to `a9`, without prices that could be checked.
    for number in range(10):
        till.agreement(f"a{number}")
    till.daemon_events.follow("s1")
    yield till
    scope.cancel("the test is over")
    desk.close()
    assert till.daemon_events.join(20) == []


def of(till: Till, *kinds: type[Event]) -> list[Event]:
    return [event for event in till.events if isinstance(event, kinds)]


# invoices and debit notes


def test_an_invoice_is_accepted_from_the_sessions_allocation(desk: Desk, till: Till) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(till.spent)
    assert desk.accepted("i1") == [{"totalAmountAccepted": "0.25", "allocationId": "al1"}]
    assert till.spent() == Decimal("0.25")


def test_an_invoice_announced_twice_is_accepted_once(desk: Desk, till: Till) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.invoice("i2", "a2", "0.5")
    desk.announce("i1", "i1", "i1")
    eventually(till.spent)
    desk.announce("i1", "i2", at="2026-01-31T12:00:01Z")
    eventually(lambda: till.spent() == Decimal("0.75"))
    assert len(desk.accepted("i1")) == 1


def test_the_reader_of_invoices_looks_at_an_account_only_with_the_lock_of_the_ledger(
    desk: Desk, till: Till
) -> None:
    # The life of the agreement and other documents change it at the same time.
    account = till.ledger.find("a1")
    assert account is not None
    account.activities = guarded = GuardedDict(till.ledger.lock, account.activities)
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(till.spent)
    assert guarded.looks > 0
    assert guarded.unguarded == 0


def test_a_note_announced_twice_is_accepted_once(desk: Desk, till: Till) -> None:
    desk.note("n1", "a1", "act1", "0.1")
    desk.announce("n1", "n1", "n1")
    eventually(till.spent)
    desk.note("n2", "a2", "act2", "0.2")
    desk.announce("n1", "n2", at="2026-01-31T12:00:01Z")
    eventually(lambda: len(of(till, DebitNoteAccepted)) == 2)
    assert till.spent() == Decimal("0.3")
    assert len(desk.accepted("n1")) == 1


def test_only_received_documents_are_answered(desk: Desk, till: Till) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.invoice("i2", "a2", "0.5")
    desk.announce("i1", event="Cancelled")
    desk.announce("i2")
    eventually(till.spent)
    assert desk.accepted("i1") == []


def test_a_debit_note_is_accepted_and_counts_until_the_invoice(desk: Desk, till: Till) -> None:
    desk.note("n1", "a1", "act1", "0.1")
    desk.announce("n1")
    eventually(lambda: till.spent() == Decimal("0.1"))
    assert desk.accepted("n1") == [{"totalAmountAccepted": "0.1", "allocationId": "al1"}]
    desk.invoice("i1", "a1", "0.15")
    desk.announce("i1")
    eventually(lambda: till.spent() == Decimal("0.15"))


def test_a_debit_note_after_the_invoice_is_ignored(desk: Desk, till: Till) -> None:
    desk.invoice("i1", "a1", "0.15")
    desk.announce("i1")
    eventually(till.spent)
    desk.note("n1", "a1", "act1", "0.1")
    desk.note("n2", "a2", "act2", "0.2")
    desk.announce("n1", "n2")
    eventually(lambda: till.spent() == Decimal("0.35"))
    assert desk.accepted("n1") == []


def test_debit_notes_of_one_activity_are_sums_so_far(desk: Desk, till: Till) -> None:
    for name, activity, amount in (("n1", "act1", "0.1"), ("n2", "act1", "0.3"), ("n3", "act2", "0.02")):
        desk.note(name, "a1", activity, amount)
        desk.announce(name)
        eventually(partial(desk.accepted, name))
    eventually(lambda: till.spent() == Decimal("0.32"))


def test_a_debit_note_that_was_overtaken_does_not_lower_the_sum(desk: Desk, till: Till) -> None:
    for name, amount in (("n2", "0.3"), ("n1", "0.1")):
        desk.note(name, "a1", "act1", amount)
        desk.announce(name)
        eventually(partial(desk.accepted, name))
    desk.note("n3", "a3", "act3", "1")
    desk.announce("n3")
    eventually(lambda: till.spent() > 1)
    assert till.spent() == Decimal("1.3")


def test_nothing_is_spent_in_the_beginning(till: Till) -> None:
    assert till.spent() == Decimal(0)


def test_amounts_are_added_exactly(desk: Desk, till: Till) -> None:
    for number in range(10):
        desk.invoice(f"i{number}", f"a{number}", "0.1")
    desk.announce(*(f"i{number}" for number in range(10)))
    eventually(lambda: till.spent() >= Decimal(1))
    assert till.spent() == Decimal(1)


def test_documents_of_one_agreement_are_accepted_one_after_the_other(desk: Desk, till: Till) -> None:
    desk.accepting = lambda name: time.sleep(0.02)
    names = [f"n{number}" for number in range(4)]
    for name in names:
        desk.note(name, "a1", f"act-{name}", "0.1")
    desk.announce(*names)
    eventually(lambda: till.spent() == Decimal("0.4"))
    assert desk.most_at_once == 1


def test_documents_of_different_agreements_are_accepted_at_the_same_time(desk: Desk, till: Till) -> None:
    both = threading.Barrier(2)

    def accept(name: str) -> None:
        both.wait(20)

    desk.accepting = accept
    for number in (1, 2):
        desk.note(f"n{number}", f"a{number}", f"act{number}", "0.1")
    desk.announce("n1", "n2")
    eventually(lambda: till.spent() == Decimal("0.2"))
    assert desk.most_at_once == 2


def test_a_document_that_can_not_be_accepted_is_logged_and_not_counted(
    daemon: responses.RequestsMock, desk: Desk, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    desk.invoice("i1", "a1", "0.25")
    daemon.replace(
        responses.POST, f"{API}{PAYMENT}/invoices/i1/accept", status=400, json={"message": "no funds"}
    )
    with caplog.at_level(logging.WARNING, "simple_golem"):
        desk.announce("i1")
        eventually(lambda: "no funds" in caplog.text)
    assert "i1" in caplog.text
    assert till.spent() == Decimal(0)


def test_the_readers_ask_for_what_came_after_the_last(desk: Desk, till: Till) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1", at="2026-01-31T12:00:00.5Z")
    eventually(lambda: len(desk.asked["invoiceEvents"]) == 2)
    first, second = desk.asked["invoiceEvents"]
    assert "afterTimestamp=1970-01-01T00%3A00%3A00Z" in first
    assert "afterTimestamp=2026-01-31T12%3A00%3A00.500000Z" in second
    assert "appSessionId=s1" in second


def test_the_same_page_again_and_again_is_no_reason_to_hurry(
    daemon: responses.RequestsMock, desk: Desk, till: Till
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
    eventually(till.spent)
    began = time.monotonic()
    before = len(daemon.calls)
    time.sleep(0.25)
    # Each of the two readers asks 20 times a second at most.
    assert len(daemon.calls) - before <= 2 * (20 * (time.monotonic() - began) + 2)
    assert len(desk.accepted("i1")) == 1


def test_reading_goes_on_after_a_failure(desk: Desk, yagna: Yagna, workers: WorkerPool) -> None:
    pauses: list[float | None] = []

    class Impatient(Scope):
        def wait(self, seconds: float | None = None) -> bool:
            pauses.append(seconds)
            return self.cancelled

    stop = Impatient()
    till = Till(yagna, workers, stop)
    till.budget.allocate(Decimal(1))
    till.agreement("a1")
    desk.invoice("i1", "a1", "0.25")
    desk.out_of_order = True
    till.daemon_events.follow("s1")
    eventually(lambda: pauses.count(1.0) > 2)
    desk.out_of_order = False
    desk.announce("i1")
    eventually(till.spent)
    stop.cancel()
    desk.close()
    assert till.daemon_events.join(20) == []


# waiting for invoices


def test_waiting_ends_when_the_last_invoice_is_accepted(desk: Desk, till: Till) -> None:
    till.expected.expect("a1", "prov-1")
    till.expected.expect("a2", "prov-2")
    waiting = EngineThread("waiting", till.wait_for_invoices, time.monotonic() + 30).start()
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(till.spent)
    assert not waiting.join(0.03)
    desk.invoice("i2", "a2", "0.25")
    desk.announce("i2")
    assert waiting.join(20)


def test_an_invoice_that_is_hardly_expected_is_not_waited_for_as_others_are(
    desk: Desk, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    till = Till(yagna, workers, scope, unlikely_seconds=0.05)
    till.budget.allocate(Decimal(1))
    till.expected.expect("a1", "prov-1")
    till.expected.mark_unlikely("a1")
    began = time.monotonic()
    till.wait_for_invoices(began + 30)
    assert 0.05 <= time.monotonic() - began < 0.05 + AT_ONCE
    till.expected.expect("a2", "prov-2")
    till.wait_for_invoices(time.monotonic() + 0.3)
    assert time.monotonic() - began > 0.3, "others are waited for as long as there is time"


def test_waiting_names_what_is_missing(desk: Desk, till: Till, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3):
        till.expected.expect(f"a{number}", f"prov-{number}")
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(till.spent)
    began = time.monotonic()
    till.wait_for_invoices(began + 0.05)
    assert 0.05 <= time.monotonic() - began < 0.05 + AT_ONCE
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "a2 with prov-2, a3 with prov-3" in record.getMessage()
    assert "a1" not in record.getMessage()


def test_an_invoice_that_came_before_it_was_expected_is_not_waited_for(
    desk: Desk, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(till.spent)
    till.expected.expect("a1", "prov-1")
    began = time.monotonic()
    till.wait_for_invoices(began + 30)
    assert time.monotonic() - began < AT_ONCE
    assert caplog.records == []


@pytest.mark.parametrize("made", [1800, 7200], ids=["before the session", "by a clock that is slow"])
def test_an_invoice_whose_event_never_comes_is_found_whatever_time_it_has(
    desk: Desk, till: Till, made: float
) -> None:
    def ago(seconds: float) -> datetime:
        return datetime.now(timezone.utc) - timedelta(days=400, seconds=seconds)

    agreed = (datetime.now(timezone.utc) - ago(3600)).total_seconds()
    till.agreement("resumed", ago=agreed)
    till.expected.expect("resumed", "prov-1")
    desk.invoice("i1", "resumed", "0.25", made=ago(made))
    # Many others came since then, for other sessions.
    for number in range(200):
        desk.invoice(f"i1{number:03}", f"of another session {number}", "0.1")
    began = time.monotonic()
    till.wait_for_invoices(began + 30)
    assert till.spent() == Decimal("0.25")
    assert time.monotonic() - began < 30


def test_the_debit_notes_before_an_invoice_are_those_of_its_providers_time(desk: Desk, till: Till) -> None:
    past = datetime.now(timezone.utc) - timedelta(hours=2)
    till.agreement("slow", "act1", ago=3600)
    desk.note("n1", "slow", "act1", "0.1", made=past)
    desk.note("n2", "slow", "act1", "0.2", made=past - timedelta(hours=1))
    desk.invoice("i1", "slow", "0.25", made=past + timedelta(seconds=1))
    desk.announce("i1")
    eventually(lambda: till.spent() == Decimal("0.25"))
    assert len(desk.accepted("n1")) == 1
    assert desk.accepted("n2") == []


def test_waiting_can_be_hurried(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    till.expected.expect("a1", "prov-1")
    waiting = EngineThread("waiting", till.wait_for_invoices, time.monotonic() + 30).start()
    assert not waiting.join(0.03)
    till.expected.shorten(time.monotonic())
    assert waiting.join(AT_ONCE)
    assert "prov-1" in caplog.text


# what is not owed


def priced(till: Till, name: str = "a1", ago: float = 10.0) -> None:
    """An agreement on prices, whose activity `act1` lives since `ago` seconds."""
    till.agreement(name, "act1", prices=PRICES, ago=ago)


def test_a_note_for_what_was_agreed_is_accepted(desk: Desk, till: Till) -> None:
    priced(till)
    desk.note("n1", "a1", "act1", "0.0015", [10.0, 2.0])
    desk.announce("n1")
    eventually(lambda: of(till, DebitNoteAccepted))
    assert till.spent() == Decimal("0.0015")
    assert of(till, DebitNoteAccepted) == [
        DebitNoteAccepted("a1", "act1", "0xprov", "prov", Decimal("0.0015"), "tGLM")
    ]
    assert till.overcharged == []


def test_a_note_for_more_than_was_agreed_is_refused(
    desk: Desk, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    priced(till)
    desk.note("n1", "a1", "act1", "0.0016", [10.0, 2.0])
    desk.announce("n1")
    eventually(lambda: till.overcharged)
    ((agreement, error),) = till.overcharged
    assert agreement == "a1"
    assert "prov (0xprov)" in str(error)
    assert "0.0016 GLM" in str(error)
    assert "0.0015" in str(error)
    assert str(error) in caplog.text
    assert desk.accepted("n1") == []
    assert till.spent() == 0
    assert [type(event) for event in till.events[1:]] == [DebitNoteRefused]


def test_an_invoice_for_more_than_was_agreed_is_rejected_and_costs_nothing(
    desk: Desk, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    priced(till)
    till.expected.expect("a1", "prov")
    desk.invoice("i1", "a1", "1.5")
    desk.announce("i1")
    eventually(lambda: of(till, InvoiceRefused))
    assert desk.accepted("i1") == []
    (body,) = desk.rejected("i1")
    assert isinstance(body, dict)
    assert body["rejectionReason"] == "INCORRECT_AMOUNT"
    assert "1.5 GLM" in body["message"]
    assert "1.5 GLM" in caplog.text
    assert till.spent() == 0
    began = time.monotonic()
    till.wait_for_invoices(began + 30)
    assert time.monotonic() - began < AT_ONCE
    (entry,) = [account.entry() for account in till.ledger.accounts() if account.refused]
    assert entry.amount == 0
    assert str(entry.refused).startswith("it asks for 1.5 GLM")


def test_a_rejected_invoice_is_rejected_once(desk: Desk, till: Till) -> None:
    priced(till)
    desk.invoice("i1", "a1", "1.5")
    desk.invoice("i2", "a2", "0.1")
    desk.announce("i1", "i1")
    eventually(lambda: of(till, InvoiceRefused))
    desk.announce("i1", "i2", at="2026-01-31T12:00:01Z")
    eventually(till.spent)
    assert len(desk.rejected("i1")) == 1


def test_after_a_refused_note_the_invoice_may_ask_for_no_more_than_its_usage_is_worth(
    desk: Desk, till: Till
) -> None:
    priced(till, ago=100)
    desk.note("n1", "a1", "act1", "0.9", [10.0, 2.0])
    desk.announce("n1")
    eventually(lambda: till.overcharged)
    desk.invoice("i1", "a1", "0.0016")
    desk.announce("i1")
    eventually(lambda: of(till, InvoiceRefused))
    assert desk.accepted("i1") == []


def test_an_invoice_of_the_sum_of_its_notes_is_accepted(desk: Desk, till: Till) -> None:
    priced(till, ago=1)
    desk.note("n1", "a1", "act1", "0.0003", [1.0, 0.5])
    desk.announce("n1")
    eventually(till.spent)
    desk.invoice("i1", "a1", "0.0003")
    desk.announce("i1")
    eventually(lambda: of(till, InvoiceAccepted))
    assert till.spent() == Decimal("0.0003")


def test_notes_that_an_invoice_overtakes_are_read_before_it_is_judged(desk: Desk, till: Till) -> None:
    """The daemon tells of notes and invoices on two ways: the invoice may be heard of first."""
    priced(till, ago=0)
    desk.note("n1", "a1", "act1", "0.9", [10.0, 2.0])
    desk.invoice("i1", "a1", "0.9")
    desk.announce("i1")
    eventually(lambda: of(till, InvoiceRefused))
    assert len(till.overcharged) == 1


# what is another session's


def test_documents_of_another_sessions_agreements_are_ignored(desk: Desk, till: Till) -> None:
    desk.invoice("i1", "foreign", "0.25")
    desk.note("n1", "foreign", "act1", "0.1")
    desk.invoice("i2", "a2", "0.5")
    desk.announce("n1")
    desk.announce("i1", "i2")
    eventually(till.spent)
    till.expected.expect("a3", "prov-3")
    till.wait_for_invoices(time.monotonic() + 0.3)
    for name in ("i1", "n1"):
        assert desk.accepted(name) == desk.rejected(name) == []
    assert till.spent() == Decimal("0.5")


@pytest.mark.parametrize(("status", "paid"), [("SETTLED", "0.25"), ("ACCEPTED", "0.25"), ("REJECTED", "0")])
def test_invoices_that_an_earlier_session_answered_are_not_answered_again(
    desk: Desk,
    till: Till,
    scope: Scope,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    paid: str,
) -> None:
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(
        till.ledger.journals, "write", lambda kind, **what: lines.append((kind, what.get("paid", "")))
    )
    till.expected.expect("a1", "prov-1")
    desk.invoice("i1", "a1", "0.25", status=status)
    desk.announce("i1")
    till.wait_for_invoices(time.monotonic() + 30)
    till.payments.look_for_earlier_answer("a1", scope)
    assert desk.accepted("i1") == []
    assert desk.rejected("i1") == []
    assert till.spent() == 0
    assert "prov-1" not in caplog.text
    assert lines == [("invoice answered", paid)]  # no later session asks for it


@pytest.mark.parametrize("resumed", [False, True])
def test_what_another_session_has_resumed_is_paid_by_that_one(
    desk: Desk, till: Till, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, resumed: bool
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    owner = JournalOwner(API, "0xreq", "erc20-hoodi-tglm")
    till.ledger.journals.create(owner, "s1")
    account = till.agreement("suspended", "act1")
    suspended = SuspendedInstance("Hello-1", "suspended", "act1", "s1", "al1")
    till.ledger.journals.write("suspended", about="suspended", **asdict(suspended))
    if resumed:
        other = Journal.create(owner, "s2")
        assert other is not None
        other.write("agreement", **account.to_json())
        other.write("agreement ended", id="suspended")
    desk.note("n1", "suspended", "act1", "0.1")
    desk.announce("n1")
    desk.invoice("i1", "suspended", "0.25")
    desk.announce("i1")
    desk.invoice("i2", "a2", "0.5")
    desk.announce("i2")
    paid = Decimal("0.5") if resumed else Decimal("0.75")
    eventually(lambda: till.spent() == paid)
    if resumed:
        # It stays with the other session when that has ended, and its journal is gone. The documents above
        # may not have been looked at before that.
        assert till.ledger.is_with_another("suspended")
        other.write("invoice answered", agreement="suspended", paid="0.25")
        other.close()
        desk.announce("i1", at="2026-01-31T12:00:01Z")
    desk.invoice("i3", "a3", "1")
    desk.announce("i3", at="2026-01-31T12:00:02Z")
    eventually(lambda: till.spent() == paid + 1)
    assert (desk.accepted("i1") == []) is resumed
    assert (desk.accepted("n1") == []) is resumed


# the budget runs out


def empty(desk: Desk, till: Till, name: str) -> None:
    """The daemon says of a document that there is nothing to pay it from, from now on."""
    desk.accepting = lambda asked: 400 if asked == name else None


def test_an_invoice_for_which_the_budget_is_too_small_is_paid_after_a_top_up(
    desk: Desk, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    empty(desk, till, "i1")
    till.expected.expect("a1", "prov-1")
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(lambda: of(till, BudgetUsedUp))
    assert "not paid" in caplog.text
    assert till.watch.is_used_up
    assert till.spent() == 0
    desk.accepting = lambda name: None
    till.budget.top_up(Decimal(1))
    till.watch.topped_up()
    till.payments.topped_up()
    eventually(lambda: till.spent() == Decimal("0.25"))
    assert not till.watch.is_used_up
    till.payments.topped_up()
    till.wait_for_invoices(time.monotonic() + 30)
    assert len(desk.accepted("i1")) == 2


def test_a_top_up_that_comes_with_the_refusal_of_an_invoice_pays_it(desk: Desk, till: Till) -> None:
    def refuse_once(asked: str) -> int | None:
        if till.budget.total > 1:
            return None
        # The daemon has refused it, and its worker does not know yet.
        till.budget.total = Decimal(2)
        till.payments.topped_up()
        return 400

    desk.accepting = refuse_once
    till.expected.expect("a1", "prov-1")
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    till.wait_for_invoices(time.monotonic() + 30)
    assert till.spent() == Decimal("0.25")
    assert of(till, BudgetUsedUp) == []


def test_a_note_for_which_the_budget_is_too_small_ends_it(desk: Desk, till: Till) -> None:
    empty(desk, till, "n1")
    desk.note("n1", "a1", "act1", "0.25")
    desk.announce("n1")
    assert till.used_up.wait(20)
    assert till.spent() == 0


def test_another_refusal_does_not_mean_missing_funds(
    desk: Desk, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    empty(desk, till, "i1")
    desk.refusal = "the provider's node is away"
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(lambda: "is not paid" in caplog.text)
    assert not till.watch.is_used_up


def test_documents_that_were_not_accepted_are_tried_again_while_closing(
    desk: Desk, till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    till.agreement("a1", "act1")
    till.expected.expect("a1", "prov")
    desk.refusal = "disk I/O error"
    desk.accepting = lambda name: 400
    desk.invoice("i1", "a1", "0.25")
    desk.announce("i1")
    eventually(lambda: "is not paid" in caplog.text)
    till.wait_for_invoices(time.monotonic() + 0.5)
    assert caplog.text.count("over 0.25 tGLM is not paid: ") == 1
    assert "no invoice could be accepted by the end for the agreement a1 with prov" in caplog.text
    desk.accepting = lambda name: None
    began = time.monotonic()
    till.wait_for_invoices(began + 30)
    assert time.monotonic() - began < AT_ONCE
    assert till.spent() == Decimal("0.25")


def test_an_agreement_whose_accept_is_slow_holds_up_no_other(desk: Desk, till: Till) -> None:
    """The daemon waits 15 seconds for a provider that is away."""
    slow = threading.Event()

    def accept(name: str) -> None:
        if name == "n1":
            assert slow.wait(30)

    desk.accepting = accept
    for number in (1, 2, 3):
        desk.note(f"n{number}", f"a{number}", f"act{number}", "0.1")
        desk.invoice(f"i{number}", f"a{number}", "0.2")
    desk.announce("n1")
    eventually(lambda: desk.at_once)
    desk.announce("n2", "n3")
    desk.announce("i1", "i2", "i3")
    eventually(lambda: till.spent() == Decimal("0.4"))
    assert desk.accepted("i1") == []
    slow.set()
    eventually(lambda: till.spent() == Decimal("0.6"))

"""The ledger: who is owed what, and that it is written down in the journal that has the agreement."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.engine.payment.account import Account
from simple_golem.engine.payment.journal import FOLDER_VARIABLE, Journal, journal_path, read_journal
from simple_golem.engine.payment.journal_record import JournalOwner
from simple_golem.engine.payment.ledger import Ledger
from simple_golem.engine.payment.session_journals import SessionJournals
from simple_golem.errors import NotRunning
from simple_golem.model.offers.offer import Offer
from simple_golem.model.service.suspended import SuspendedInstance
from simple_golem.yagna.transport.daemon_clock import DaemonClock
from simple_golem.yagna.values import Agreement, AgreementState, DebitNote
from tests.helpers.written_answers.sample_offers import NOON, offered

WHOSE = JournalOwner("http://127.0.0.1:7465", "0xreq", "erc20-hoodi-tglm")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture
def books() -> Iterator[SessionJournals]:
    books = SessionJournals()
    books.create(WHOSE, "now")
    yield books
    books.close()


@pytest.fixture
def ledger(books: SessionJournals) -> Ledger:
    return Ledger(books)


def account(name: str) -> Account:
    return Account.made(name, Offer.of("0xp", offered()), "Hello", "Hello-1", NOON)


def note(agreement: str, activity: str, amount: str) -> DebitNote:
    return DebitNote(f"n-{amount}", agreement, activity, "0xp", Decimal(amount), "RECEIVED", NOON)


def written(session: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal_path(session).read_text().splitlines() if line]


def kinds(session: str) -> list[str]:
    return [line["is"] for line in written(session)]


def test_an_agreement_is_written_down_from_its_making_to_its_invoice(ledger: Ledger) -> None:
    one = account("a1")
    ledger.add_agreement(one)
    asked_at = time.monotonic() - 3
    ledger.activity_created("a1", "act1", asked_at)
    assert (found := read_journal(journal_path("now"))) is not None
    assert (found.open, found.owed) == ({"a1"}, {"a1"})
    assert 3 <= found.accounts["a1"].activities["act1"].seconds() < time.monotonic() - asked_at + 0.5
    ledger.agreement_ended("a1", certain=True)
    ledger.invoice_accepted(one, Decimal("0.25"))
    assert kinds("now") == [
        "session",
        "agreement",
        "activity",
        "activity ended",
        "agreement ended",
        "invoice answered",
    ]
    assert (found := read_journal(journal_path("now"))) is not None
    assert found.is_settled
    assert found.paid == Decimal("0.25")


def test_an_end_that_is_not_certain_is_left_to_a_later_session(ledger: Ledger) -> None:
    ledger.add_agreement(account("a1"))
    ledger.activity_created("a1", "act1", time.monotonic())
    ledger.agreement_ended("a1", certain=False)
    assert (found := read_journal(journal_path("now"))) is not None
    assert found.open == {"a1"}
    assert found.accounts["a1"].activities["act1"].ended is not None


def test_an_agreement_ends_once(ledger: Ledger) -> None:
    ledger.add_agreement(account("a1"))
    ledger.activity_created("a1", "act1", time.monotonic())
    ledger.agreement_ended("a1", certain=True)
    first = ledger.accounts()[0].activities["act1"].ended
    ledger.agreement_ended("a1", certain=True)
    assert ledger.accounts()[0].activities["act1"].ended == first
    assert kinds("now").count("activity ended") == 1
    ledger.agreement_ended("unknown", certain=True)


def test_a_refused_invoice_is_answered_and_costs_nothing(ledger: Ledger) -> None:
    one = account("a1")
    ledger.add_agreement(one)
    ledger.activity_created("a1", "act1", time.monotonic())
    ledger.invoice_refused(one, "it asks for too much")
    assert (ledger.cost(), one.refused) == (Decimal(0), "it asks for too much")
    assert (found := read_journal(journal_path("now"))) is not None
    assert (found.owed, found.paid) == (set(), Decimal(0))


def test_a_note_that_is_quicker_than_the_answer_of_its_activity_is_not_forgotten(ledger: Ledger) -> None:
    ledger.add_agreement(account("a1"))
    one = ledger.find("a1")
    assert one is not None
    one.accept_note("act1", Decimal("0.0001"), None)
    ledger.activity_created("a1", "act1", time.monotonic())
    assert ledger.cost() == Decimal("0.0001")


def test_costs_are_added_up_for_all_or_for_some(ledger: Ledger) -> None:
    for name, amount in (("a1", "0.1"), ("a2", "0.2"), ("a3", "0.000000000000000001")):
        one = account(name)
        ledger.add_agreement(one)
        ledger.debit_note_accepted(one, note(name, "act", amount))
    assert ledger.cost() == Decimal("0.300000000000000001")
    assert ledger.cost(["a1", "a3"]) == Decimal("0.100000000000000001")
    assert ledger.cost(["unknown"]) == ledger.cost(()) == Decimal(0)


def test_what_has_come_up_is_added_up_for_all_or_for_some(ledger: Ledger) -> None:
    began = time.monotonic()
    for name, ago in (("a1", 100.0), ("a2", 10.0)):
        ledger.add_agreement(account(name))
        ledger.activity_created(name, "act", began - ago)
    assert ledger.cost_and_accrued(())[1] == 0
    amount, accrued = ledger.cost_and_accrued()
    assert amount == 0
    is_after(began, accrued, 0.0332, per_second=0.0006)
    is_after(began, ledger.cost_and_accrued(["a2"])[1], 0.0031, per_second=0.0003)


def is_after(began: float, amount: Decimal, at_first: float, per_second: float) -> None:
    """Compare an amount that grows with what it was at a moment of the monotonic clock."""
    grown = per_second * (time.monotonic() - began)
    assert at_first - 0.0001 <= float(amount) <= at_first + grown + 0.0001


def test_a_refused_note_counts_for_nothing_but_is_remembered(ledger: Ledger) -> None:
    one = account("a1")
    ledger.add_agreement(one)
    ledger.debit_note_refused(one, note("a1", "act1", "5"))
    assert ledger.cost() == 0
    assert one.activities["act1"].asked_too_much


def test_the_outlook_is_that_of_all_agreements(ledger: Ledger) -> None:
    began = time.monotonic()
    for name in ("a1", "a2"):
        ledger.add_agreement(account(name))
        ledger.activity_created(name, "act", began - 100)
    now, per_second = ledger.outlook()
    assert per_second == Decimal("0.0006")
    is_after(began, now, 0.0602, per_second=0.0006)


def test_a_session_without_a_journal_keeps_its_accounts(folder: Path) -> None:
    ledger = Ledger(SessionJournals())
    ledger.add_agreement(account("a1"))
    ledger.activity_created("a1", "act1", time.monotonic())
    ledger.agreement_ended("a1", certain=True)
    assert ledger.find("a1") is not None
    assert list(folder.iterdir()) == []


# what was suspended


def suspend(*agreements: str) -> None:
    """An earlier session that left some agreements alive, one if none is named."""
    books = SessionJournals()
    books.create(WHOSE, "before")
    ledger = Ledger(books)
    books.write("allocation", id="al-before")
    for agreement in agreements or ("a1",):
        ledger.add_agreement(account(agreement))
        ledger.activity_created(agreement, "act1", time.monotonic())
        kept = SuspendedInstance("Hello-1", agreement, "act1", "before", "al-before")
        books.write("suspended", about=agreement, **asdict(kept))
    books.close()


def test_a_resumed_agreement_stays_in_its_journal(ledger: Ledger) -> None:
    suspend()
    found = ledger.journals.take_over("before", "a1", Scope())
    assert found is not None
    assert found.prices == account("a1").prices
    ledger.journals.resumed("before", "a1")
    ledger.add_resumed(found)
    ledger.agreement_ended("a1", certain=True)
    ledger.invoice_accepted(found, Decimal("0.1"))
    ledger.add_agreement(account("own"))
    assert kinds("before")[-4:] == ["resumed", "activity ended", "agreement ended", "invoice answered"]
    assert kinds("now") == ["session", "agreement"]
    assert ledger.journals.has_taken_over("before")
    ledger.journals.write_of_session("before", "allocation released", id="al-before")
    ledger.journals.close()
    assert not journal_path("before").exists()
    assert journal_path("now").exists()


def test_the_journal_of_a_session_that_lives_is_not_taken_over() -> None:
    ledger = Ledger(SessionJournals(take_over_seconds=0.1))
    suspend()
    other = Journal.open_dead(journal_path("before"))
    assert other is not None
    assert ledger.journals.take_over("before", "a1", Scope()) is None
    assert not ledger.journals.has_taken_over("before")
    assert not ledger.journals.is_over("before")
    other.close()


def test_a_journal_that_somebody_looks_into_is_taken_over_as_soon_as_it_is_let_go(ledger: Ledger) -> None:
    suspend()
    other = Journal.open_dead(journal_path("before"))
    assert other is not None
    timer = threading.Timer(0.2, other.close)
    timer.start()
    assert ledger.journals.take_over("before", "a1", Scope()) is not None
    timer.join()


def test_a_resumed_agreement_can_not_be_resumed_again(ledger: Ledger) -> None:
    suspend()
    assert ledger.journals.take_over("before", "a1", Scope()) is not None
    ledger.journals.resumed("before", "a1")
    with pytest.raises(NotRunning, match="resumed before"):
        ledger.journals.take_over("before", "a1", Scope())
    # Nor by another session at the same time.
    with pytest.raises(NotRunning, match="resumed before"):
        SessionJournals().take_over("before", "a1", Scope())


def test_a_session_of_which_something_is_suspended_still_is_not_over(ledger: Ledger) -> None:
    suspend("a1", "a2")
    for agreement, is_over in (("a1", False), ("a2", True)):
        assert ledger.journals.take_over("before", agreement, Scope()) is not None
        ledger.journals.resumed("before", agreement)
        assert ledger.journals.is_over("before") is is_over


def test_a_session_without_a_journal_can_not_be_taken_over(ledger: Ledger, folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert ledger.journals.take_over("unknown", "a1", Scope()) is None
    assert ledger.journals.is_over("unknown")
    assert sorted(folder.iterdir()) == before


def test_an_activity_that_was_suspended_without_a_journal_may_cost_something(ledger: Ledger) -> None:
    ledger.add_agreement(account("a1"))
    ledger.activity_found("a1", "act1")
    one = ledger.find("a1")
    assert one is not None
    assert one.objection_to_invoice(Decimal("0.0001")) is None
    found = read_journal(journal_path("now"))
    assert found is not None
    assert found.owed == {"a1"}


def test_an_account_is_made_of_what_the_daemon_knows_where_there_is_no_journal() -> None:
    wire = Agreement("a1", AgreementState.APPROVED, "0xp", "0xreq", offered(), {}, NOON, NOON, None, "before")
    assert Account.of_wire(wire, "Hello", "Hello-1", DaemonClock()) == account("a1")


class Name(str):
    """An id that tells when nobody has it any more."""


def test_a_note_is_answered_once_and_the_ids_of_a_long_life_do_not_pile_up(ledger: Ledger) -> None:
    alive: weakref.WeakSet[Name] = weakref.WeakSet()

    def is_first(number: int) -> bool:
        name = Name(f"note-{number}")
        alive.add(name)
        return ledger.is_first_receipt(note("a1", "act1", "0.1")._replace(debit_note_id=name))

    assert all(is_first(number) for number in range(1000))
    assert not any(is_first(number) for number in range(980, 1000))
    gc.collect()
    assert len(alive) < 100
    # Another agreement with as many notes has ids of its own.
    assert ledger.is_first_receipt(note("a2", "act2", "0.1")._replace(debit_note_id="note-999"))
    assert not is_first(999)

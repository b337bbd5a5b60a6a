"""Random histories of debit notes, invoices and top-ups; and that their check notices a mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest

from simple_golem.engine.payment.account import Account
from simple_golem.engine.payment.ledger import Ledger
from tests.soak.money.history import Broken, replay
from tests.soak.money.runs import replay_at_random
from tests.soak.money.steps import Agree, Create, EndAgreement, SendInvoice, SendNote, Step, Wait

A_SESSION = (Agree(0, 4), Create(0, 0.0), Wait(600.0))


def test_no_history_costs_more_than_was_agreed_or_given_and_no_report_is_wrong() -> None:
    replay_at_random(500, of_seed=20)


def test_an_honest_provider_is_paid_in_full() -> None:
    history = replay(Decimal(10), [*A_SESSION, SendNote(0, load=1.0), EndAgreement(0), SendInvoice(0)])
    assert history.ledger.cost() == history.bank.spent == Decimal("0.6601")


@pytest.mark.parametrize(
    "steps",
    [
        [SendNote(0, load=1.0), SendNote(0, invented=0, load=1.0)],
        [SendNote(0, invented=0, load=1.0), SendInvoice(0, is_greedy=True)],
        [SendNote(0, load=1.0, claim=(0.001, 1.0)), SendInvoice(0, is_greedy=True)],
    ],
    ids=["notes for two activities", "an invoice for two activities", "a full load in a moment"],
)
def test_a_provider_that_invents_usage_gets_no_more_than_for_the_whole_time(steps: Sequence[Step]) -> None:
    replay(Decimal(10), [*A_SESSION, *steps])


def test_a_note_that_was_accepted_after_a_lower_invoice_was_written_is_in_the_report() -> None:
    steps = [SendInvoice(0, factor=0.5, arrives=0), SendNote(0)]
    history = replay(Decimal(10), [*A_SESSION, *steps])
    assert history.bank.accepts == {"note-2": 1, "invoice-1": 1}
    assert history.ledger.cost() == Decimal("0.3601")


@pytest.mark.parametrize(
    ("of_class", "method", "instead"),
    [
        (Account, "objection_to_note", lambda *_: None),
        (Account, "objection_to_invoice", lambda *_: None),
        (Account, "cost", lambda account: Decimal(0)),
        (Ledger, "is_first_receipt", lambda *_: True),
        (Account, "objection_to_note", lambda *_: "it is not wanted"),
    ],
    ids=["no objection to notes", "none to invoices", "no cost", "notes counted twice", "all refused"],
)
def test_random_histories_notice_a_mistake(
    monkeypatch: pytest.MonkeyPatch, of_class: type, method: str, instead: Callable[..., object]
) -> None:
    monkeypatch.setattr(of_class, method, instead)
    with pytest.raises(Broken):
        replay_at_random(500, of_seed=20)

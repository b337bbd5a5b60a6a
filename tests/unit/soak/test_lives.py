"""Runs with faults notice a life that has two agreements, and one that nobody has asked for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, cast

from simple_golem.events import AgreementMade, AgreementNotMade
from simple_golem.testing.daemon.market.agreements import Agreement
from tests.soak.fault_runs.lives import AskedAgreements

BEGIN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def agreement(agreement_id: str, approved: float, ended: float | None = None) -> Agreement:
    """One that was approved and has ended so many seconds after `BEGIN`."""
    no_proposal, no_condition = cast(Any, None), None
    one = Agreement(agreement_id, no_proposal, "0xreq", BEGIN + timedelta(hours=1), BEGIN, no_condition)
    one.approved = BEGIN + timedelta(seconds=approved)
    if ended is not None:
        one.termination = {"eventDate": (BEGIN + timedelta(seconds=ended)).isoformat(timespec="milliseconds")}
    return one


def judged(asked: AskedAgreements, *approved: Agreement) -> list[str]:
    return asked.what_must_not_be({one.agreement_id: one for one in approved})


def made(instance: str, agreement_id: str) -> AgreementMade:
    return AgreementMade(instance, agreement_id, "0xprov", "prov")


def not_made(instance: str, agreement_id: str) -> AgreementNotMade:
    return AgreementNotMade(instance, agreement_id, "0xprov", "prov", "not needed any more")


def test_lives_that_have_one_agreement_after_the_other_are_right() -> None:
    asked = AskedAgreements()
    for event in (made("one", "a1"), made("one", "a3"), made("two", "a2")):
        asked.note(0, event)
    asked.note(1, made("one", "a4"))
    lives = agreement("a1", 0, 5), agreement("a3", 5.5), agreement("a2", 1), agreement("a4", 1)
    assert judged(asked, *lives) == []


def test_an_agreement_that_is_approved_too_late_is_right_if_it_ends_before_the_next() -> None:
    asked = AskedAgreements()
    asked.note(0, not_made("one", "a1"))
    asked.note(0, made("one", "a2"))
    assert judged(asked, agreement("a2", 7)) == []
    assert judged(asked, agreement("a1", 5, 6), agreement("a2", 7)) == []


def test_two_agreements_of_one_life_are_noticed() -> None:
    asked = AskedAgreements()
    asked.note(0, not_made("one", "a1"))
    asked.note(0, made("one", "a2"))
    for ended in (None, 8):
        (told,) = judged(asked, agreement("a1", 5, ended), agreement("a2", 7))
        assert told == "one had two agreements at the same time: a1, a2"


def test_an_agreement_that_no_life_has_asked_for_is_noticed() -> None:
    asked = AskedAgreements()
    asked.note(0, made("one", "a1"))
    (told,) = judged(asked, agreement("a1", 0), agreement("a2", 1, 2))
    assert told == "agreements that no life has asked for: ['a2']"

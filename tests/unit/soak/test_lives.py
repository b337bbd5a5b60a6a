"""Runs with faults notice a life that has two agreements, and one that nobody has asked for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from simple_golem.events import AgreementMade, AgreementNotMade
from tests.soak.fault_runs.lives import AskedAgreements, InForce

BEGIN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def in_force(approved: float, ended: float | None = None) -> InForce:
    """So many seconds after `BEGIN`."""
    return InForce(
        BEGIN + timedelta(seconds=approved), None if ended is None else BEGIN + timedelta(seconds=ended)
    )


def made(instance: str, agreement_id: str) -> AgreementMade:
    return AgreementMade(instance, agreement_id, "0xprov", "prov")


def not_made(instance: str, agreement_id: str) -> AgreementNotMade:
    return AgreementNotMade(instance, agreement_id, "0xprov", "prov", "not needed any more")


def test_lives_that_have_one_agreement_after_the_other_are_right() -> None:
    asked = AskedAgreements()
    for event in (made("one", "a1"), made("one", "a3"), made("two", "a2")):
        asked.note(0, event)
    asked.note(1, made("one", "a4"))
    lives = {"a1": in_force(0, 5), "a3": in_force(5.5), "a2": in_force(1), "a4": in_force(1)}
    assert asked.what_must_not_be(lives) == []


def test_an_agreement_that_is_approved_too_late_is_right_if_it_ends_before_the_next() -> None:
    asked = AskedAgreements()
    asked.note(0, not_made("one", "a1"))
    asked.note(0, made("one", "a2"))
    assert asked.what_must_not_be({"a2": in_force(7)}) == []
    assert asked.what_must_not_be({"a1": in_force(5, 6), "a2": in_force(7)}) == []


def test_two_agreements_of_one_life_are_noticed() -> None:
    asked = AskedAgreements()
    asked.note(0, not_made("one", "a1"))
    asked.note(0, made("one", "a2"))
    for ended in (None, 8):
        (told,) = asked.what_must_not_be({"a1": in_force(5, ended), "a2": in_force(7)})
        assert told == "one had two agreements at the same time: a1, a2"


def test_an_agreement_that_no_life_has_asked_for_is_noticed() -> None:
    asked = AskedAgreements()
    asked.note(0, made("one", "a1"))
    (told,) = asked.what_must_not_be({"a1": in_force(0), "a2": in_force(1, 2)})
    assert told == "agreements that no life has asked for: ['a2']"

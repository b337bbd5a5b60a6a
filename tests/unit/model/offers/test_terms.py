"""Terms: what is asked of providers, what of theirs is agreed to, and what is not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from simple_golem.errors import BadTerms
from simple_golem.model.offers.terms import ACCEPT_TIMEOUT, INTERVAL, PAYMENT_TIMEOUT, Terms, require_terms

OFFER = {ACCEPT_TIMEOUT: 240, INTERVAL: 120, PAYMENT_TIMEOUT: 120, "other": 1}
ALL = Terms(debit_note_interval=60, debit_note_accept_timeout=30, payment_timeout=1800)


def test_what_is_left_out_is_left_to_the_provider() -> None:
    assert Terms().properties({}) == {}
    assert Terms().objection({}, final=True) is None
    assert Terms().objection(OFFER, final=True) is None


def test_the_providers_own_time_for_accepting_is_agreed_to() -> None:
    assert Terms().properties(OFFER) == {ACCEPT_TIMEOUT: 240}


def test_what_is_asked_for_is_said() -> None:
    assert ALL.properties(OFFER) == {INTERVAL: 60, ACCEPT_TIMEOUT: 30, PAYMENT_TIMEOUT: 1800}
    assert Terms(debit_note_interval=2).properties(OFFER) == {INTERVAL: 2, ACCEPT_TIMEOUT: 240}


def test_whole_seconds_are_said_as_providers_write_them() -> None:
    said = Terms(debit_note_interval=60.0, payment_timeout=1.5).properties({})
    assert repr(said) == repr({INTERVAL: 60, PAYMENT_TIMEOUT: 1.5})


def test_an_answer_as_it_was_asked_for_is_agreed_to() -> None:
    assert ALL.objection(ALL.properties(OFFER), final=True) is None
    assert ALL.objection({INTERVAL: 60.0, ACCEPT_TIMEOUT: 30.0, PAYMENT_TIMEOUT: 1800.0}, final=True) is None


@pytest.mark.parametrize("name", [INTERVAL, ACCEPT_TIMEOUT, PAYMENT_TIMEOUT])
@pytest.mark.parametrize("value", [61, "60", None, 6.5])
def test_an_answer_with_another_value_is_not_agreed_to(name: str, value: object) -> None:
    said = ALL.objection({**ALL.properties({}), name: value}, final=True)
    assert said is not None
    assert said.startswith(f"{name} was to be")
    assert repr(value) in said


def test_an_answer_that_leaves_out_what_was_asked_for_is_not_agreed_to() -> None:
    said = ALL.objection({}, final=True)
    assert said == f"{INTERVAL} was to be 60, not None"


def test_an_offer_may_say_something_else_at_first() -> None:
    assert ALL.objection(OFFER, final=False) is None


@pytest.mark.parametrize("final", [False, True])
def test_notes_can_not_be_accepted_at_once(final: bool) -> None:
    assert Terms().objection({ACCEPT_TIMEOUT: 5}, final=final) is None
    assert (
        Terms().objection({ACCEPT_TIMEOUT: 4.5}, final=final) == "Debit notes can't be accepted within 4.5 s"
    )


@pytest.mark.parametrize(
    ("name", "least"), [("debit_note_interval", 1), ("debit_note_accept_timeout", 5), ("payment_timeout", 1)]
)
def test_a_time_that_can_not_be_is_refused_by_name(name: str, least: float) -> None:
    assert Terms(**{name: least}) == Terms(**{name: float(least)})
    for value in (least - 0.5, 0, -1, True, "60", math.nan, math.inf, 10**12, [60]):
        with pytest.raises(BadTerms, match=name) as caught:
            Terms(**{name: value})  # type: ignore[arg-type]
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [None, 60, {"debit_note_interval": 60}, Terms])
def test_what_are_no_terms_is_refused(value: Any) -> None:
    with pytest.raises(BadTerms, match="give Terms"):
        require_terms(value)
    assert require_terms(ALL) is ALL

"""Terms: what is asked of providers, what of theirs is agreed to, and what is not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from simple_golem.errors import BadTerms
from simple_golem.model.offers.terms import (
    ACCEPT_TIMEOUT,
    INTERVAL,
    PAYMENT_TIMEOUT,
    Terms,
    require_terms,
    seconds_without_answers,
)

OFFER = {ACCEPT_TIMEOUT: 240, INTERVAL: 120, PAYMENT_TIMEOUT: 120, "other": 1}
HOUR = 3600.0
ALL = Terms(debit_note_interval=60, debit_note_accept_timeout=30, payment_timeout=1800)


def test_terms_that_are_left_out_are_those_of_the_provider() -> None:
    assert Terms().properties({}, HOUR) == {}
    assert Terms().objection({}, final=True) is None
    assert Terms().objection(OFFER, final=True) is None


def test_the_providers_own_time_for_accepting_is_agreed_to() -> None:
    assert Terms().properties(OFFER, HOUR) == {ACCEPT_TIMEOUT: 240}


def test_the_terms_that_were_given_are_sent() -> None:
    assert ALL.properties(OFFER, HOUR) == {INTERVAL: 60, ACCEPT_TIMEOUT: 30, PAYMENT_TIMEOUT: 1800}
    assert Terms(debit_note_interval=2).properties(OFFER, HOUR) == {INTERVAL: 2, ACCEPT_TIMEOUT: 240}


def test_whole_seconds_are_sent_as_integers() -> None:
    said = Terms(debit_note_interval=60.0, payment_timeout=2).properties({}, HOUR)
    assert repr(said) == repr({INTERVAL: 60, PAYMENT_TIMEOUT: 2})


@pytest.mark.parametrize("hours", [10, 12, 24 * 365])
def test_an_agreement_of_ten_hours_and_more_has_a_payment_timeout(hours: float) -> None:
    assert Terms().properties({}, hours * HOUR) == {PAYMENT_TIMEOUT: 86400}
    assert Terms(payment_timeout=600).properties({}, hours * HOUR) == {PAYMENT_TIMEOUT: 600}


def test_a_shorter_agreement_has_none() -> None:
    assert Terms().properties({}, 9.9 * HOUR) == {}


def test_a_provider_that_must_be_answered_sooner_is_not_asked() -> None:
    slow = Terms(debit_note_accept_timeout=600)
    assert (
        slow.objection(OFFER, final=False) == "Debit notes would have to be accepted within 240 s, not 600 s"
    )
    assert slow.objection({**OFFER, ACCEPT_TIMEOUT: 600}, final=False) is None


def test_an_answer_as_it_was_asked_for_is_agreed_to() -> None:
    assert ALL.objection(ALL.properties(OFFER, HOUR), final=True) is None
    assert ALL.objection({INTERVAL: 60.0, ACCEPT_TIMEOUT: 30.0, PAYMENT_TIMEOUT: 1800.0}, final=True) is None


@pytest.mark.parametrize("name", [INTERVAL, ACCEPT_TIMEOUT, PAYMENT_TIMEOUT])
@pytest.mark.parametrize("value", [61, "60", None, 6.5])
def test_an_answer_with_another_value_is_not_agreed_to(name: str, value: object) -> None:
    said = ALL.objection({**ALL.properties({}, HOUR), name: value}, final=True)
    assert said is not None
    assert said.startswith(f"{name} must be")
    assert repr(value) in said


def test_an_answer_that_leaves_out_what_was_asked_for_is_not_agreed_to() -> None:
    said = ALL.objection({}, final=True)
    assert said == f"{INTERVAL} must be 60, not None"


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
def test_a_time_that_is_not_possible_is_refused_by_name(name: str, least: float) -> None:
    assert getattr(Terms(**{name: 86400}), name) == 86400
    assert Terms(**{name: least}) == Terms(**{name: float(least)})
    for value in (least - 0.5, least + 0.5, 86401, 0, -1, True, "60", math.nan, math.inf, 10**12, [60]):
        with pytest.raises(BadTerms, match=name) as caught:
            Terms(**{name: value})  # type: ignore[arg-type]
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [None, 60, {"debit_note_interval": 60}, Terms])
def test_a_value_that_is_not_terms_is_refused(value: Any) -> None:
    with pytest.raises(BadTerms, match="give Terms"):
        require_terms(value)
    assert require_terms(ALL) is ALL


@pytest.mark.parametrize(
    ("agreed", "seconds"),
    [
        ({ACCEPT_TIMEOUT: 240, INTERVAL: 60}, (240, 300)),
        ({ACCEPT_TIMEOUT: 240}, (240, 360)),
        ({INTERVAL: 60}, None),
        ({ACCEPT_TIMEOUT: "soon"}, None),
    ],
)
def test_how_long_an_agreement_lasts_whose_notes_nobody_accepts(
    agreed: dict[str, Any], seconds: tuple[float, float] | None
) -> None:
    assert seconds_without_answers(agreed) == seconds

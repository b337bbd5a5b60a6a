"""Which offers and answers are accepted, why others are not, and how they are rated."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simple_golem.errors import BadStrategy
from simple_golem.model.offers.offer import Offer
from simple_golem.model.offers.prices import COEFFICIENTS
from simple_golem.model.offers.strategy import Strategy
from simple_golem.model.offers.terms import ACCEPT_TIMEOUT, INTERVAL, Terms
from tests.helpers.written_answers.sample_offers import offered, proposal_of, rules_of


def broken(offer: Offer) -> bool:
    raise ZeroDivisionError(f"no idea of {offer.provider_name}")


def test_an_ordinary_offer_is_taken() -> None:
    proposal = proposal_of("p1", offered())
    assert rules_of().objection(proposal, final=False) is None
    assert rules_of().objection(proposal, final=True) is None
    assert rules_of().worth(proposal) == pytest.approx(100 / (1.0801 + 1.01))


def test_an_offer_that_can_not_be_paid_is_not_taken() -> None:
    properties = {name: value for name, value in offered().items() if ".platform." not in name}
    said = rules_of().objection(proposal_of("p1", properties), final=False)
    assert said == "No common payment platform"


def test_a_banned_provider_is_not_taken() -> None:
    rules = rules_of(banned=("p1",))
    said = rules.objection(proposal_of("p1", offered()), final=False)
    assert said == "It has asked for more than was agreed"
    assert rules.objection(proposal_of("p2", offered()), final=False) is None


def test_the_objection_of_the_strategy_counts() -> None:
    rules = rules_of(Strategy(block=["prov"]))
    said = rules.objection(proposal_of("p1", offered()), final=False)
    assert said == "On the list of blocked providers"


def test_an_offer_without_a_linear_price_is_not_taken_and_worth_nothing() -> None:
    proposal = proposal_of("p1", offered({COEFFICIENTS: [1]}))
    assert rules_of().objection(proposal, final=False) == "No linear price model"
    assert rules_of().worth(proposal) is None


def test_a_filter_that_fails_is_the_error() -> None:
    rules = rules_of(Strategy(accept=broken))
    with pytest.raises(
        BadStrategy, match=r"`accept` failed for the offer of prov: .*no idea of prov"
    ) as caught:
        rules.objection(proposal_of("p1", offered()), final=False)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("score", "what"),
    [
        (broken, "no idea of prov"),
        (lambda offer: "high", "score returned 'high'"),
        (lambda offer: True, "score returned True"),
        (lambda offer: float("nan"), "score returned nan"),
    ],
)
def test_a_score_that_fails_is_the_error(score: object, what: str) -> None:
    rules = rules_of(Strategy(score=score))  # type: ignore[arg-type]
    with pytest.raises(BadStrategy, match=f"`score` failed for the offer of prov: .*{what}"):
        rules.worth(proposal_of("p1", offered()))


def test_an_offer_needs_its_start_price_and_what_ends_it_in_good_order() -> None:
    proposal = proposal_of("p1", offered({COEFFICIENTS: [0.01, 0.1, 0.5]}))
    assert rules_of(Strategy(expected_load=0)).needs(proposal) == Decimal("0.65")
    assert rules_of(Strategy(expected_load=2)).needs(proposal) == Decimal("3.65")


def test_an_offer_without_prices_needs_nothing() -> None:
    properties = offered()
    del properties[COEFFICIENTS]
    assert rules_of().needs(proposal_of("p1", properties)) == 0


def test_terms_are_checked_in_what_could_become_an_agreement() -> None:
    rules = rules_of(terms=Terms(debit_note_interval=60))
    proposal = proposal_of("p1", offered({INTERVAL: 120}))
    assert rules.objection(proposal, final=False) is None
    said = rules.objection(proposal, final=True)
    assert said == f"{INTERVAL} must be 60, not 120"


def test_a_provider_that_wants_its_notes_accepted_at_once_is_not_taken() -> None:
    said = rules_of().objection(proposal_of("p1", offered({ACCEPT_TIMEOUT: 1})), final=False)
    assert said == "Debit notes can't be accepted within 1 s"

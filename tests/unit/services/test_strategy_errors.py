"""Mistakes in the user's own functions, which choose the providers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from simple_golem import Golem, Offer, Strategy
from simple_golem.errors import BadStrategy, GolemError
from simple_golem.testing import FakeYagna
from tests.helpers.recorded_services import SECONDS
from tests.unit.conftest import eventually


def typo(offer: Any) -> float:
    return float(offer.prise)


@pytest.mark.parametrize(
    ("strategy", "what"),
    [
        (typo, "`score` failed for the offer of .*AttributeError: .*prise"),
        (Strategy(accept=typo), "`accept` failed for the offer of .*AttributeError: .*prise"),
        (lambda offer: "high", "score returned 'high'"),
    ],
)
def test_a_strategy_that_fails_for_all_offers_ends_the_search(
    fake: FakeYagna, strategy: Any, what: str
) -> None:
    began = time.monotonic()
    with Golem(1) as golem:
        with pytest.raises(GolemError, match=what) as caught:
            golem.rent(strategy=strategy, timeout=SECONDS)
        assert time.monotonic() - began < SECONDS / 2
        causes = chain_of(caught.value)
        assert any(isinstance(one, BadStrategy) for one in causes)
    assert fake.leftovers() == []


def test_a_strategy_that_fails_for_one_offer_takes_another(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = fake.providers[1].name

    def score(offer: Offer) -> float:
        return {chosen: 1.0}[offer.provider_name]

    with Golem(1, strategy=score) as golem:
        machine = golem.rent(timeout=SECONDS)
        assert machine.provider_name == chosen
        # The other offers may be rated later.
        eventually(lambda: "`score` failed" in caplog.text)
    warnings = [one.getMessage() for one in caplog.records if "`score` failed" in one.getMessage()]
    assert len(warnings) == 1
    assert "KeyError" in warnings[0]


def chain_of(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain

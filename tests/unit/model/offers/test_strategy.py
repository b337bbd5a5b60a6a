"""Strategies: whom they take, in what order, and what they refuse to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from simple_golem.errors import BadStrategy
from simple_golem.model.offers.offer import Offer
from simple_golem.model.offers.prices import COEFFICIENTS, CPU, DURATION, USAGE_VECTOR
from simple_golem.model.offers.strategy import Strategy, require_strategy

ID = "0xABCDEF0000000000000000000000000000000001"


def offer(
    per_second: float | str = 0.0001,
    per_cpu_second: float | str = 0.0002,
    start: float | str = 0.25,
    name: str = "prov-1",
    provider_id: str = ID,
    more: Mapping[str, Any] | None = None,
) -> Offer:
    properties = {
        "golem.node.id.name": name,
        USAGE_VECTOR: [DURATION, CPU],
        COEFFICIENTS: [per_second, per_cpu_second, start],
        **(more or {}),
    }
    return Offer.of(provider_id, properties)


# scores


@pytest.mark.parametrize(
    ("strategy", "price"),
    [
        (Strategy(), 0.25 + 3600 * 0.0001 + 3600 * 0.0002),
        (Strategy(expected_seconds=600, expected_load=0.5), 0.25 + 600 * 0.0001 + 300 * 0.0002),
        (Strategy(expected_seconds=0), 0.25),
        (Strategy(expected_load=0), 0.25 + 3600 * 0.0001),
    ],
    ids=["an hour, busy", "ten minutes, half busy", "no time", "idle"],
)
def test_the_score_is_yapapis_for_the_expected_time_and_load(strategy: Strategy, price: float) -> None:
    assert strategy.worth(offer()) == pytest.approx(100 / (price + 1.01), rel=1e-12)


def test_the_score_of_an_offer_that_costs_nothing_stays_below_100() -> None:
    worth = Strategy().worth(offer(0, 0, 0))
    assert worth == pytest.approx(100 / 1.01)


def test_the_cheapest_for_the_expected_time_is_worth_most() -> None:
    quick, slow = offer(0.001, 0, 0), offer(0.0001, 0, 0.5)
    for seconds, best in ((60, quick), (6000, slow)):
        strategy = Strategy(expected_seconds=seconds)
        assert max((quick, slow), key=lambda one: strategy.worth(one) or 0) is best


def test_an_offer_without_prices_is_worth_nothing() -> None:
    assert Strategy().worth(Offer.of(ID, {})) is None


@pytest.mark.parametrize("score", [0, -1.5, 10**6, Decimal("2.5"), math.inf])
def test_any_number_is_a_score(score: Any) -> None:
    assert Strategy(score=lambda _: score).worth(offer()) == float(score)


def test_a_function_that_scores_is_called_with_the_offer_and_none_refuses() -> None:
    seen: list[Offer] = []
    strategy = Strategy(score=seen.append)
    one = offer()
    assert strategy.worth(one) is None
    assert seen == [one]


@pytest.mark.parametrize("answer", ["high", True, False, math.nan, Decimal("NaN"), [1], 1j], ids=str)
def test_a_score_that_is_no_number_is_an_error(answer: Any) -> None:
    with pytest.raises(BadStrategy, match="score returned"):
        Strategy(score=lambda _: answer).worth(offer())


# ceilings


@pytest.mark.parametrize(
    ("ceiling", "most", "dear", "words"),
    [
        ("max_price_per_hour", "0.36", offer(0.00011), "A price of 0.396 GLM per hour is above 0.36"),
        (
            "max_price_per_cpu_hour",
            "0.72",
            offer(per_cpu_second=0.0003),
            "A price of 1.08 GLM per hour of processor time is above 0.72",
        ),
        ("max_start_price", "0.25", offer(start="0.251"), "A start price of 0.251 GLM is above 0.25"),
        ("max_total_price", "1.33", offer(start="0.26"), "An estimated total of 1.34 GLM is above 1.33"),
    ],
)
def test_a_price_at_the_limit_is_accepted_and_one_above_it_is_not(
    ceiling: str, most: str, dear: Offer, words: str
) -> None:
    strategy = Strategy(**{ceiling: most})  # type: ignore[arg-type]
    assert strategy.objection(offer()) is None
    assert strategy.objection(dear) == words


def test_a_price_limit_is_exact() -> None:
    strategy = Strategy(max_start_price="0.250000000000000001")
    assert strategy.objection(offer(start="0.250000000000000001")) is None
    assert strategy.objection(offer(start="0.250000000000000002")) is not None


def test_a_limit_of_zero_accepts_only_free_offers() -> None:
    strategy = Strategy(max_total_price=0)
    assert strategy.objection(offer(0, 0, 0)) is None
    assert strategy.objection(offer(0, 0, "0.000000000000000001")) is not None


def test_with_a_limit_only_prices_for_time_are_accepted() -> None:
    traffic = {
        USAGE_VECTOR: [DURATION, CPU, "golem.usage.gib"],
        COEFFICIENTS: [0.0001, 0.0002, 5, 0.25],
    }
    one = offer(more=traffic)
    assert Strategy().objection(one) is None
    assert Strategy(max_start_price=1).objection(one) == "Prices for more than time and processor time"


def test_without_a_limit_any_price_is_accepted() -> None:
    assert Strategy().objection(offer(10**6, 10**6, 10**6)) is None


def test_an_offer_without_a_linear_price_is_not_taken() -> None:
    assert Strategy().objection(Offer.of(ID, {})) == "No linear price model"


# lists


@pytest.mark.parametrize("who", [ID, ID.lower(), ID.upper(), "prov-1", "PROV-1", "  prov-1 "])
def test_a_list_holds_by_id_and_by_name_in_any_case(who: str) -> None:
    assert Strategy(block=[who]).objection(offer()) == "On the list of blocked providers"
    assert Strategy(allow=[who]).objection(offer()) is None
    other = offer(name="prov-2", provider_id="0x2")
    assert Strategy(block=[who]).objection(other) is None
    assert Strategy(allow=[who]).objection(other) == "Not on the list of allowed providers"


def test_a_part_of_a_name_is_not_the_name() -> None:
    assert Strategy(block=["prov"]).objection(offer()) is None
    assert Strategy(allow=["prov"]).objection(offer()) is not None


def test_a_provider_on_both_lists_is_blocked() -> None:
    assert Strategy(allow=["prov-1"], block=[ID]).objection(offer()) is not None


def test_an_empty_list_of_allowed_providers_allows_nobody() -> None:
    assert Strategy(allow=[]).objection(offer()) is not None


@pytest.mark.parametrize("make", [list, tuple, set, frozenset, lambda names: dict.fromkeys(names)])
def test_a_list_may_be_any_collection_and_is_copied(make: Callable[[list[str]], Any]) -> None:
    names = make(["prov-1"])
    strategy = Strategy(block=names)
    if isinstance(names, list):
        names.clear()
    assert strategy.objection(offer()) is not None


# filters


def test_a_filter_is_called_with_the_offer_and_its_no_refuses() -> None:
    strategy = Strategy(accept=lambda one: one.cpu_threads >= 4)
    assert strategy.objection(offer(more={"golem.inf.cpu.threads": 4})) is None
    assert strategy.objection(offer()) == "Not accepted by the requestor's filter"


def test_a_filter_is_not_asked_about_what_is_not_taken_anyway() -> None:
    asked: list[Offer] = []
    Strategy(accept=asked.append, block=["prov-1"]).objection(offer())  # type: ignore[arg-type]
    Strategy(accept=asked.append, max_start_price=0).objection(offer())  # type: ignore[arg-type]
    assert asked == []


# bad ones


@pytest.mark.parametrize(
    "ceiling", ["max_price_per_hour", "max_price_per_cpu_hour", "max_start_price", "max_total_price"]
)
@pytest.mark.parametrize(
    "value",
    [-1, "-0.1", True, "much", "", math.nan, math.inf, "NaN", [1], 10**7, "1e30", "0.0000000000000000001"],
    ids=str,
)
def test_a_price_that_is_negative_far_too_high_or_not_a_number_is_refused_by_name(
    ceiling: str, value: Any
) -> None:
    with pytest.raises(BadStrategy, match=ceiling) as caught:
        Strategy(**{ceiling: value})
    assert repr(value) in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["expected_seconds", "expected_load", "collect_seconds"])
@pytest.mark.parametrize(
    "value", [-1, True, "1", None, math.nan, math.inf, 10**400], ids=lambda one: str(one)[:9]
)
def test_a_number_that_is_none_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadStrategy, match=name):
        Strategy(**{name: value})


@pytest.mark.parametrize("name", ["allow", "block"])
@pytest.mark.parametrize("value", ["prov-1", b"prov-1", 7, [7], [None], [""], ["  "], iter(["prov-1"])])
def test_a_list_of_providers_that_is_none_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadStrategy, match=name):
        Strategy(**{name: value})


def test_nobody_blocked_is_an_empty_list() -> None:
    with pytest.raises(BadStrategy, match="block"):
        Strategy(block=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["score", "accept"])
@pytest.mark.parametrize("value", [7, "cheapest", [len]])
def test_a_value_that_is_not_callable_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(BadStrategy, match=name):
        Strategy(**{name: value})


def test_a_function_is_a_strategy_that_scores() -> None:
    strategy = require_strategy(lambda one: float(one.cpu_threads))
    assert strategy.worth(offer(more={"golem.inf.cpu.threads": 4})) == 4.0
    own = Strategy(block=["x"])
    assert require_strategy(own) is own


@pytest.mark.parametrize("value", [None, 7, "cheapest", Strategy, {"block": []}])
def test_a_value_that_is_not_a_strategy_is_refused(value: object) -> None:
    with pytest.raises(BadStrategy, match="give a Strategy"):
        require_strategy(value)


def test_a_strategy_is_a_value() -> None:
    assert Strategy(max_start_price=0.5, block=["B", "a"]) == Strategy(
        max_start_price="0.50", block=("a", "b")
    )
    assert hash(Strategy(block=["a"])) == hash(Strategy(block=("a",)))

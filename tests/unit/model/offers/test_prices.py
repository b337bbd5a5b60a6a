"""Prices: read from offers, and counted exactly."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import pytest

from simple_golem.model.cost import plain
from simple_golem.model.offers.prices import COEFFICIENTS, CPU, DURATION, MODEL, SCHEME, USAGE_VECTOR, Prices

PROPERTIES: dict[str, Any] = {
    MODEL: "linear",
    SCHEME: "payu",
    USAGE_VECTOR: [DURATION, CPU],
    COEFFICIENTS: [0.0001, 0.0002, 0.25],
}


def prices(**more: Any) -> Prices:
    read = Prices.of({**PROPERTIES, **more})
    assert read is not None
    return read


def test_prices_are_read_in_the_order_of_the_usage_vector_with_the_start_last() -> None:
    one = prices()
    assert one == Prices(Decimal("0.25"), ((DURATION, Decimal("0.0001")), (CPU, Decimal("0.0002"))))
    turned = prices(**{USAGE_VECTOR: [CPU, DURATION]})
    assert (turned.per_second, turned.per_cpu_second) == (Decimal("0.0002"), Decimal("0.0001"))


def test_prices_by_the_hour_are_exact() -> None:
    assert prices().per_hour == Decimal("0.36")
    assert prices().per_cpu_hour == Decimal("0.72")


def test_usage_outside_the_usage_vector_costs_nothing() -> None:
    one = prices(**{USAGE_VECTOR: [CPU], COEFFICIENTS: [1, 0]})
    assert one.per_second == one.per_hour == one.start == 0
    assert one.rate("golem.usage.gib") == 0


def test_scheme_and_model_may_be_left_out() -> None:
    short = {name: value for name, value in PROPERTIES.items() if name not in (MODEL, SCHEME)}
    assert Prices.of(short) == prices()


@pytest.mark.parametrize(
    "more",
    [
        {MODEL: "auction"},
        {SCHEME: "flat"},
        {COEFFICIENTS: None},
        {COEFFICIENTS: "123"},
        {COEFFICIENTS: [1, 2]},
        {COEFFICIENTS: [1, 2, 3, 4]},
        {COEFFICIENTS: [1, -0.1, 0]},
        {COEFFICIENTS: [1, True, 0]},
        {COEFFICIENTS: [1, "much", 0]},
        {COEFFICIENTS: [1, None, 0]},
        {COEFFICIENTS: [float("nan"), 0, 0]},
        {COEFFICIENTS: [float("inf"), 0, 0]},
        {USAGE_VECTOR: None},
        {USAGE_VECTOR: DURATION},
        {USAGE_VECTOR: []},
    ],
    ids=str,
)
def test_a_model_that_makes_no_sense_is_none(more: dict[str, Any]) -> None:
    assert Prices.of({**PROPERTIES, **more}) is None


def test_an_amount_of_a_million_digits_is_none() -> None:
    for absurd in ("1e999999", "1e-999999", 1e300):
        assert Prices.of({COEFFICIENTS: [absurd, 0, 0], USAGE_VECTOR: [DURATION, CPU]}) is None
    zero = Prices.of({COEFFICIENTS: ["0e-999999", 0, 0], USAGE_VECTOR: [DURATION, CPU]})
    assert zero is not None
    assert plain(zero.per_hour) == "0"


def test_an_offer_without_prices_has_none() -> None:
    assert Prices.of({}) is None


def test_the_linear_model_is_a_sum() -> None:
    # 0.25 + 3600 * 0.0001 + 3600 * 2 * 0.0002
    assert prices().estimate(3600, 2) == Decimal("2.05")
    assert prices().estimate(0, 0) == Decimal("0.25")
    assert prices().of_usage([3600, 7200]) == Decimal("2.05")


def test_amounts_are_exact_in_any_context_and_for_any_fraction() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        one = prices(**{COEFFICIENTS: ["0.123456789012345678", 0.1, 0]})
        assert one.estimate(0.1, 0) == Decimal("0.0123456789012345678")
        assert one.of_usage([10, 3]) == Decimal("1.53456789012345678")
        assert one.per_hour == Decimal("444.4444404444444408")


def test_a_counter_named_twice_makes_no_sense() -> None:
    """Only one of the two could be held against the clock."""
    assert Prices.of({**PROPERTIES, USAGE_VECTOR: [DURATION, DURATION]}) is None


@pytest.mark.parametrize(
    "usage", [[], [1], [1, 2, 3], [1, -1], [1, None], [1, "x"], [1, True], [1, float("nan")]]
)
def test_a_usage_of_another_form_has_no_price(usage: list[object]) -> None:
    assert prices().of_usage(usage) is None


def test_a_usage_is_read_by_the_counters_name() -> None:
    assert prices().usage_of(CPU, [1, 2.5]) == Decimal("2.5")
    assert prices().usage_of(CPU, [1]) == 0
    assert prices().usage_of("other", [1, 2]) == 0


@pytest.mark.parametrize(
    ("coefficients", "only"), [([1, 1, 1, 1], False), ([1, 1, 0, 1], True), ([0, 0, 0, 0], True)]
)
def test_only_prices_for_time_can_be_estimated(coefficients: list[int], only: bool) -> None:
    one = prices(**{USAGE_VECTOR: [DURATION, CPU, "golem.usage.gib"], COEFFICIENTS: coefficients})
    assert one.only_time is only


def test_prices_go_through_json_to_the_last_digit() -> None:
    one = prices(**{COEFFICIENTS: ["0.000000000000000001", 0.0002, "1E-18"]})
    assert Prices.from_json(one.to_json()) == one

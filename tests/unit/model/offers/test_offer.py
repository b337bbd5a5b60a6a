"""Offers, as a user looks at them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from simple_golem.model.offers.offer import Offer
from simple_golem.model.offers.prices import COEFFICIENTS, CPU, DURATION, USAGE_VECTOR

PROPERTIES: dict[str, Any] = {
    "golem.node.id.name": "prov-1",
    "golem.runtime.name": "vm",
    "golem.inf.cpu.threads": 8,
    "golem.inf.mem.gib": 16,
    "golem.inf.storage.gib": 64.5,
    USAGE_VECTOR: [DURATION, CPU],
    COEFFICIENTS: [0.0001, 0.0002, 0.25],
}


def test_an_offer_says_what_a_provider_has() -> None:
    offer = Offer.of("0xp", PROPERTIES)
    assert (offer.provider_id, offer.provider_name, offer.runtime) == ("0xp", "prov-1", "vm")
    assert (offer.cpu_threads, offer.mem_gib, offer.storage_gib) == (8, 16.0, 64.5)
    assert offer.prices is not None
    assert offer.prices.per_hour == Decimal("0.36")


def test_an_offer_that_says_nothing_is_read_all_the_same() -> None:
    offer = Offer.of("0xp", {})
    assert (offer.provider_name, offer.runtime, offer.prices) == ("unnamed", "", None)
    assert (offer.cpu_threads, offer.mem_gib, offer.storage_gib) == (1, 0.0, 0.0)


@pytest.mark.parametrize("threads", [0, -1, "8", None, 2.5])
def test_threads_that_make_no_sense_are_one(threads: object) -> None:
    assert Offer.of("0xp", {"golem.inf.cpu.threads": threads}).cpu_threads == 1


def test_numbers_of_any_form_are_read_except_extreme_ones() -> None:
    said = {"golem.inf.cpu.threads": 8.0, "golem.inf.mem.gib": float("inf"), "golem.inf.storage.gib": True}
    offer = Offer.of("0x", said)
    assert (offer.cpu_threads, offer.mem_gib, offer.storage_gib) == (8, 0.0, 0.0)


def test_an_offer_is_json_with_exact_amounts() -> None:
    wire = json.loads(json.dumps(Offer.of("0xp", PROPERTIES).to_json()))
    assert (wire["start_price"], wire["price_per_hour"], wire["price_per_cpu_hour"]) == (
        "0.25",
        "0.36",
        "0.72",
    )
    assert wire["properties"] == PROPERTIES
    assert (wire["provider_name"], wire["cpu_threads"], wire["mem_gib"]) == ("prov-1", 8, 16.0)
    assert Offer.of("0xp", {}).to_json()["price_per_hour"] is None


def test_an_offer_is_a_value_that_can_be_kept_in_a_set() -> None:
    one, other = Offer.of("0xp", PROPERTIES), Offer.of("0xp", dict(PROPERTIES))
    assert one == other
    assert len({one, other}) == 1
    assert "golem.inf" not in repr(one)


@pytest.mark.parametrize(
    ("said", "capabilities"),
    [(["vpn", "inet"], ("inet", "vpn")), ([], ()), (None, ()), ("vpn", ()), ({"a": 1}, ())],
)
def test_capabilities_are_a_tuple_of_names(said, capabilities):
    assert Offer.of("0x1", {"golem.runtime.capabilities": said}).capabilities == capabilities

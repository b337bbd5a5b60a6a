"""Properties have the types that Golem gives them; those it does not name are free."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from simple_golem.errors import BadPayload
from simple_golem.model.payload.payload import Payload
from simple_golem.model.payload.properties import _ELSEWHERE, _KINDS, checked_properties, kind_of


@pytest.mark.parametrize(
    "properties",
    [
        {"golem.inf.mem.gib": 2},
        {"golem.inf.mem.gib": 0.5},
        {"golem.inf.cpu.threads": 4},
        {"golem.srv.caps.multi-activity": False},
        {"golem.runtime.capabilities": ["vpn", "inet"]},
        {"golem.com.pricing.model.linear.coeffs": [0.1, 2, 0]},
        {"golem.!exp.gap-35.v1.inf.gpu.d0.model": "NVIDIA"},
        {"golem": {"inf": {"mem": {"gib": 2}}}},
        {"of.my.own": {"deep": [1, None, {"x": True}]}, "another?": "x"},
        {},
    ],
)
def test_values_of_the_right_type_are_kept(properties: dict[str, object]) -> None:
    kept = checked_properties(properties)
    assert json.loads(json.dumps(kept)) == properties
    assert hash(kept) == hash(checked_properties(properties))


@pytest.mark.parametrize(
    ("properties", "name", "expected"),
    [
        ({"golem.inf.mem.gib": "much"}, "golem.inf.mem.gib", "a number"),
        ({"golem.inf.mem.gib": True}, "golem.inf.mem.gib", "a number"),
        ({"golem.inf.mem.gib": {1}}, "golem.inf.mem.gib", "a number"),
        ({"golem.inf.mem.gib": float("nan")}, "golem.inf.mem.gib", "a number"),
        ({"golem.inf.cpu.threads": 1.5}, "golem.inf.cpu.threads", "a whole number"),
        ({"golem.srv.caps.multi-activity": 1}, "golem.srv.caps.multi-activity", "True or False"),
        ({"golem.runtime.name": 5}, "golem.runtime.name", "text"),
        ({"golem.runtime.capabilities": "vpn"}, "golem.runtime.capabilities", "a list of texts"),
        ({"golem.runtime.capabilities": ["vpn", 1]}, "golem.runtime.capabilities", "a list of texts"),
        (
            {"golem.com.pricing.model.linear.coeffs": ["1"]},
            "golem.com.pricing.model.linear.coeffs",
            "a list of numbers",
        ),
        ({"golem": {"inf": {"mem.gib": "much"}}}, "golem.inf.mem.gib", "a number"),
        (
            {"golem.!exp.gap-35.v1.inf.gpu.memory.total.gib": "8"},
            "golem.!exp.gap-35.v1.inf.gpu.memory.total.gib",
            "a number",
        ),
        ({"golem.srv.comp.payload": b"e30="}, "golem.srv.comp.payload", "text"),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_is_named_with_the_type_that_is_expected(
    properties: dict[str, object], name: str, expected: str
) -> None:
    with pytest.raises(BadPayload) as error:
        Payload(properties)
    assert f"the property {name}" in str(error.value)
    assert f"{expected} is expected, e.g. " in str(error.value)


@pytest.mark.parametrize("value", [{1, 2}, object(), float("inf"), b"x", {5: 1}, [object()]])
def test_a_value_that_json_can_not_carry_is_refused_for_any_name(value: object) -> None:
    with pytest.raises(BadPayload, match=r"the property of\.my\.own"):
        Payload({"of.my.own": value})


@pytest.mark.parametrize("name", ["", "a b", "a=b", "(a", 5, None])
def test_a_name_that_no_constraint_could_ask_for_is_refused(name: object) -> None:
    with pytest.raises(BadPayload, match="is not a name such as"):
        Payload({name: 1})  # type: ignore[dict-item]


def test_a_moment_is_sent_as_milliseconds_since_1970_in_whatever_zone_it_was_given() -> None:
    moment = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert Payload({"my.deadline": moment}).properties == {"my.deadline": 1767225600000}
    with pytest.raises(BadPayload, match="which has no time zone"):
        Payload({"my.deadline": datetime(2026, 1, 1)})


def test_a_decimal_is_answered_with_how_to_write_it() -> None:
    with pytest.raises(BadPayload, match=r"give float\('1.5'\)"):
        Payload({"golem.inf.mem.gib": Decimal("1.5")})


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("golem.srv.comp.expiration", "run_service"),
        ("golem.node.debug.subnet", "subnet_tag"),
        ("golem.com.payment.chosen-platform", "payment_network"),
        ("golem.com.scheme.payu.debit-note.interval-sec?", "Terms"),
    ],
)
def test_a_property_with_an_argument_of_its_own_is_refused(name: str, place: str) -> None:
    with pytest.raises(BadPayload, match=place):
        Payload({name: 1})


def test_every_example_is_of_its_own_type() -> None:
    for name in _KINDS:
        concrete = name.replace("gpu.*", "gpu.d3").replace("*", "erc20-hoodi-tglm")
        kind = kind_of(concrete)
        assert kind is _KINDS[name]
        if name not in _ELSEWHERE:
            assert len(checked_properties({concrete: kind.example})) == 1

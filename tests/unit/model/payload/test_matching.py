"""Constraints of providers, which may be hostile, are judged in little time."""

from __future__ import annotations

from typing import Any

import pytest

from simple_golem.model.payload.constraints import checked_constraint
from simple_golem.model.payload.matching import matches, undefined

PROPERTIES = {
    "golem.inf.mem.gib": 4.5,
    "golem.runtime.capabilities": ["vpn", "inet"],
    "golem.srv.comp.task_package": "hash:sha3:" + "a" * 56 + ":http://example.com/" + "a" * 60,
    "golem.!exp.gap-35.v1.inf.gpu.model": "NVIDIA 4090",
    "large": 10**400,
}


@pytest.mark.parametrize(
    ("constraints", "fulfilled"),
    [
        ("(golem.inf.mem.gib>=4)", True),
        (" ( golem.inf.mem.gib@d >= 5 ) ", False),
        ("(golem.runtime.capabilities=inet)", True),
        ("(golem.runtime.capabilities!=inet)", True),  # one of the values is another one
        ("(& (a=*) (golem.inf.mem.gib=4.5))", False),
        ("(| (a=*)\n  (golem.inf.mem.gib=4.5))", True),
        ("(!(a=*))", True),
        ("()", True),
        ("(golem.srv.comp.task_package=hash:*)", True),
        ("(golem.srv.comp.task_package=*example.com*)", True),
        ("(golem.srv.comp.task_package=hash:*:http://*.com/*a)", True),
        ("(golem.srv.comp.task_package=*example.com)", False),
        ("(golem.srv.comp.task_package=*a*b*)", False),
        ("(golem.runtime.capabilities=vp*pn)", False),  # the p is in both parts
        ("(large>=4)", False),
        ("(golem.!exp.gap-35.v1.inf.gpu.model=NVIDIA*)", True),
        ("(golem.!exp.gap-35.v1.inf.gpu.model!=NVIDIA*)", False),
        ("(golem.inf.mem.gib>=4) and more", False),
        ("(golem.inf.mem.gib)", False),
        ("", False),
    ],
)
def test_constraints_are_compared_with_properties(constraints: str, fulfilled: bool) -> None:
    assert matches(constraints, PROPERTIES) == fulfilled


@pytest.mark.parametrize(
    "hostile",
    [
        "(&" * 3000,
        "(!" * 3000 + "(a=*)" + ")" * 3000,
        "(&" + "(a=*)" * 100_000,
        "(&" + " (a=*)" * 100_000 + ")",
        "(" + " " * 100_000 + "a",
        "(" + "a " * 100_000 + ")",
        "(a=" + " " * 100_000,
        "(golem.srv.comp.task_package=" + "*a" * 40 + "*!)",
    ],
)
def test_hostile_constraints_are_judged_in_no_time(hostile: str) -> None:
    # Times aren't measured: with an algorithm that isn't linear, most of them take hours.
    assert not matches(hostile, PROPERTIES)
    assert set(undefined(hostile, PROPERTIES)) <= {"a"}


def test_constraints_may_be_as_deep_as_anybody_writes_them() -> None:
    properties: dict[str, Any] = {"a": 1}
    deepest = "(&(!" * 50 + "(a=1)" + "))" * 50
    assert checked_constraint(deepest)
    assert matches(f"(&{deepest})", properties)
    assert not matches("(!" * 200 + "(a=1)" + ")" * 200, properties)

"""Constraints are read where they are written: the daemon itself takes any text, and finds nothing by it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simple_golem.errors import BadPayload
from simple_golem.model.payload.constraints import checked_constraint, checked_constraints, constraint


@pytest.mark.parametrize(
    "text",
    [
        "(golem.runtime.name=vm)",
        "(&(a=b)(|(c>=1)(!(d=x))))",
        "(&(a=b))",
        "( & (a=b)\n  (c<=2) )",
        "(a<5)",
        "(a>5)",
        "(golem.inf.mem.gib=*)",
        "(golem.inf.mem.gib>=1.5)",
        "(golem.srv.caps.multi-activity=true)",
        "(golem.runtime.capabilities=!exp:gpu)",
        "(golem.!exp.gap-35.v1.inf.gpu.model=NVIDIA GeForce RTX 40*)",
        "(golem.com.payment.debit-notes.accept-timeout?>=120)",
        "(name=ä)",
        "(a=b=c)",
        "(!" * 100 + "(a=b)" + ")" * 100,
    ],
)
def test_a_valid_constraint_stays_unchanged(text: str) -> None:
    assert checked_constraint(text) == text


def test_blanks_around_it_are_left_out() -> None:
    assert checked_constraints(["  (a=b)\n"]) == ("(a=b)",)


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", 0, "the constraint is empty"),
        ("   ", 3, "the constraint is empty"),
        ("a=b", 0, "an opening bracket is missing"),
        ("(&a=b)", 2, "an opening bracket is missing"),
        ("(a=b", 4, "a closing bracket is missing, for the one at position 1"),
        ("(", 1, "a closing bracket is missing, for the one at position 1"),
        ("(&(a=b)", 7, "a closing bracket is missing, for the one at position 1"),
        ("(&(a=b(c=d))", 6, "a value can't contain brackets; is a closing bracket missing"),
        ("(!(a=b)", 7, "a closing bracket is missing, for the one at position 1"),
        ("(a=b))", 5, "one bracket too many"),
        ("(a=b)(c=d)", 5, "the constraint should end here"),
        ("(a=b) and more", 6, "the constraint should end here"),
        ("(!(a=b)(c=d))", 7, "takes one expression"),
        ("()", 1, "the name of a property is missing"),
        ("(&)", 2, "an expression is missing"),
        ("(|)", 2, "an expression is missing"),
        ("(!)", 2, "an expression is missing"),
        ("(=b)", 1, "the name of a property is missing"),
        ("(a)", 2, "an operator is missing"),
        ("(a b=c)", 2, "an operator is missing"),
        ("(a = b)", 2, "an operator is missing"),
        ("(a~=5)", 2, "there is no operator ~="),
        ("(a==5)", 2, "there is no operator =="),
        ("(a=<5)", 2, "there is no operator =<"),
        ("(a<>5)", 2, "there is no operator <>"),
        ("(a!=5)", 2, "there is no operator !="),
        ("(a=)", 3, "a value is missing"),
        ("(a= b)", 3, "a value is missing"),
        ("(a=(b))", 3, "a value is missing"),
        ("(a=*b)", 3, "can be within a value or at its end"),
        ("(a>=*)", 4, "can be within a value or at its end"),
        ("(golem.inf.mem.gib>=much)", 20, "golem.inf.mem.gib is compared with numbers only"),
        ("(golem.inf.cpu.threads>=nan)", 24, "golem.inf.cpu.threads is compared with numbers only"),
        ("(golem.srv.caps.multi-activity=yes)", 31, "is true or false"),
        ("(!" * 200 + "(a=b)" + ")" * 200, 202, "more than 100 nested brackets"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_error_points_at_the_place_that_can_not_be_read(text: str, place: int, problem: str) -> None:
    with pytest.raises(BadPayload) as error:
        checked_constraints([text])
    message, shown, pointer = str(error.value).split("\n")
    assert problem in message
    assert pointer.endswith("^")
    # What stands above the arrow is what stands at that place, or the end.
    assert shown[2:].ljust(len(pointer))[len(pointer) - 3 :][:5].strip() == text[place : place + 5].strip()


@pytest.mark.parametrize("value", ["(a=b)", b"(a=b)", None, 5, [5], [None], [["(a=b)"]]])
def test_a_value_that_is_not_a_list_of_constraints_is_refused(value: object) -> None:
    with pytest.raises(BadPayload, match="constraints"):
        checked_constraints(value)


@pytest.mark.parametrize(
    ("name", "operator", "value", "text"),
    [
        ("golem.inf.mem.gib", ">=", 2, "(golem.inf.mem.gib>=2)"),
        ("golem.inf.mem.gib", "<", 1e-7, "(golem.inf.mem.gib<0.0000001)"),
        ("golem.inf.mem.gib", "=", Decimal("1.50"), "(golem.inf.mem.gib=1.5)"),
        ("golem.runtime.name", "=", "vm", "(golem.runtime.name=vm)"),
        ("golem.srv.caps.multi-activity", "=", True, "(golem.srv.caps.multi-activity=true)"),
        ("golem.inf.mem.gib", "=", "*", "(golem.inf.mem.gib=*)"),
    ],
)
def test_a_constraint_can_be_made_of_its_parts(
    name: str, operator: str, value: str | float | Decimal, text: str
) -> None:
    assert constraint(name, operator, value) == text


@pytest.mark.parametrize(
    ("name", "operator", "value", "problem"),
    [
        ("a", "==", 1, "'==' is not an operator"),
        ("a", "", 1, "'' is not an operator"),
        ("a", "=", float("nan"), "finite number"),
        ("a", "=", Decimal("inf"), "finite number"),
        ("a", "=", None, "a can't be compared with None"),
        ("a", "=", ["b"], "a can't be compared with"),
        ("a", "=", "b)(c", "can't contain brackets"),
        ("a", "=", "", "a value is missing"),
        ("a)", "=", "b", "an operator is missing"),
        ("golem.inf.mem.gib", ">=", "much", "numbers only"),
    ],
)
def test_parts_that_make_no_constraint_are_refused(
    name: str, operator: str, value: object, problem: str
) -> None:
    with pytest.raises(BadPayload, match=problem):
        constraint(name, operator, value)  # type: ignore[arg-type]

"""What an offer must fulfil, in Golem's filter language: `(&(golem.inf.mem.gib>=2)(!(a=b)))`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import NoReturn

from ...errors import BadPayload
from ..cost import plain
from .properties import FLAG, NAME, NUMBER, NUMBERS, WHOLE, kind_of

OPERATORS = ("<=", ">=", "=", "<", ">")

_SIGNS = re.compile(r"[<>=~]*")
_VALUE = re.compile(r"[^()]*")
# Deeper than that no daemon follows.
_DEEPEST = 100
_SHOWN = 60


def constraint(name: str, operator: str, value: str | int | float | Decimal | bool) -> str:
    """Return the constraint that an offer's property compares like this with a value.

    Args:
        name: the property, e.g. `golem.inf.mem.gib`.
        operator: `=`, `>=`, `<=`, `>` or `<`; for a list, `=` asks whether it holds the value.
        value: a number, text or bool. In text, `*` stands for anything, though not at its beginning; alone it
            asks whether the property is there. What an offer lacks is never equal, and never unequal.

    Raises:
        BadPayload: there is no such operator, or the value can't be compared with.
    """
    if operator not in OPERATORS:
        raise BadPayload(f"{operator!r} is no operator: one of {' '.join(OPERATORS)} is needed")
    return checked_constraint(f"({name}{operator}{_written(name, value)})")


def _written(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        number = Decimal(str(value))
        if number.is_finite():
            return plain(number)
    if isinstance(value, str):
        if "(" in value or ")" in value:
            raise BadPayload(
                f"{name} can't be compared with {value!r}: Golem's filters have no way to write brackets"
            )
        return value
    raise BadPayload(f"{name} can't be compared with {value!r}: give a finite number, text or a bool")


def checked_constraints(value: object) -> tuple[str, ...]:
    """Return a list of constraints, each of them parsed; offers must fulfil all.

    Raises:
        BadPayload: it is no list, or one of them can't be read; the message points at the place.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise BadPayload(f"constraints are {value!r}: give a list, e.g. ['(golem.runtime.name=vm)']")
    return tuple(map(checked_constraint, value))


def checked_constraint(text: object) -> str:
    """Return a constraint that can be read, without the blanks around it.

    The daemon takes any text and finds no offers by one that it can't read, so it is parsed here.

    Raises:
        BadPayload: it can't be read; the message points at the place.
    """
    if not isinstance(text, str):
        raise BadPayload(f"constraints: {text!r} is no text such as '(golem.runtime.name=vm)'")
    _Reader(text).read()
    return text.strip()


class _Reader:
    """Reads one constraint from left to right, and says where it can't."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> None:
        self._skip_blanks()
        if self._at == len(self._text):
            self._fail("the constraint is empty; one is e.g. (golem.inf.mem.gib>=2)")
        self._expression(0)
        if self._at < len(self._text):
            if self._text[self._at] == ")":
                self._fail("one bracket too many")
            self._fail("here it should end; several are joined by (&(…)(…)), or are several in the list")

    def _expression(self, depth: int) -> None:
        if depth > _DEEPEST:
            self._fail(f"more than {_DEEPEST} brackets inside each other")
        opened = self._at
        if not self._take("("):
            self._fail("an expression is missing" if self._peek() == ")" else "an opening bracket is missing")
        self._skip_blanks()
        if self._take("&") or self._take("|"):
            self._several(opened, depth)
        elif self._take("!"):
            self._skip_blanks()
            self._expression(depth + 1)
            self._close(opened, "(!…) takes one expression; here its closing bracket is missing")
        else:
            self._comparison(opened)
        self._skip_blanks()

    def _several(self, opened: int, depth: int) -> None:
        self._skip_blanks()
        if self._peek() in (")", ""):
            self._fail("an expression is missing")
        while self._peek() not in (")", ""):
            self._expression(depth + 1)
        self._close(opened, "")

    def _comparison(self, opened: int) -> None:
        if self._peek() == "":
            self._fail(self._unclosed(opened))
        found = NAME.match(self._text, self._at)
        if found is None:
            self._fail("the name of a property is missing, e.g. golem.inf.mem.gib")
        name = found[0]
        self._at = found.end()
        if name.endswith("!"):  # which is in names, such as golem.!exp.gap-35, but not at their end
            self._at -= 1
            self._fail("there is no operator !=; write (!(a=b))")
        operator = self._operator()
        begins = self._at
        value = self._match(_VALUE)
        if not value or value != value.strip():
            self._fail("a value is missing, or * for any", begins)
        self._check_value(name, operator, value, begins)
        if self._peek() == "(":
            self._fail("a value can't have brackets; is a closing one missing before it?")
        self._close(opened, "")

    def _operator(self) -> str:
        signs = self._match(_SIGNS)
        if signs not in OPERATORS:
            what = f"there is no operator {signs}" if signs else "an operator is missing"
            self._at -= len(signs)
            self._fail(f"{what}: one of {' '.join(OPERATORS)} is needed, without blanks")
        return signs

    def _check_value(self, name: str, operator: str, value: str, begins: int) -> None:
        kind = kind_of(name)
        if value == "*" and operator == "=":
            return
        if value.startswith("*"):  # seen on the daemon: it takes that, and finds nothing
            self._fail("* can be within a value or at its end, or alone after =", begins)
        if kind in (NUMBER, WHOLE, NUMBERS) and not _is_number(value):
            self._fail(f"{name} is compared with numbers only, e.g. {name}>=2", begins)
        if kind is FLAG and value not in ("true", "false"):
            self._fail(f"{name} is true or false", begins)

    # --- the pieces --------------------------------------------------------------------------------

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, sign: str) -> bool:
        if self._peek() != sign:
            return False
        self._at += 1
        return True

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return found[0]

    def _skip_blanks(self) -> None:
        while self._peek().isspace():
            self._at += 1

    def _close(self, opened: int, otherwise: str) -> None:
        self._skip_blanks()
        if self._take(")"):
            return
        self._fail(otherwise if otherwise and self._peek() else self._unclosed(opened))

    def _unclosed(self, opened: int) -> str:
        return f"a closing bracket is missing, for the one at position {opened + 1}"

    def _fail(self, problem: str, at: int | None = None) -> NoReturn:
        at = self._at if at is None else at
        begin = max(0, at - _SHOWN)
        shown = re.sub(r"\s", " ", self._text[begin : at + _SHOWN])
        lead = "…" if begin else ""
        pointer = " " * (len(lead) + at - begin) + "^"
        raise BadPayload(f"constraints: {problem}\n  {lead}{shown}\n  {pointer}")


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False

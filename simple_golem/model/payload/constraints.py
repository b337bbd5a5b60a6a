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
# The daemon does not read more nested brackets.
_DEEPEST = 100
_SHOWN = 60


def constraint(name: str, operator: str, value: str | int | float | Decimal | bool) -> str:
    """Return a constraint on one property of an offer.

    Args:
        name: the property, e.g. `golem.inf.mem.gib`.
        operator: `=`, `>=`, `<=`, `>` or `<`; for a list, `=` means that it contains the value.
        value: a number, a string or a bool. In a string, `*` stands for any text, but not at the beginning.
            `*` alone means that the property exists. A property that an offer does not have is neither equal
            nor unequal to anything.

    Raises:
        BadPayload: there is no such operator, or such values can't be compared.
    """
    if operator not in OPERATORS:
        raise BadPayload(f"{operator!r} is not an operator: use one of {' '.join(OPERATORS)}")
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
                f"{name} can't be compared with {value!r}: a value in Golem's filters can't contain brackets"
            )
        return value
    raise BadPayload(f"{name} can't be compared with {value!r}: give a finite number, a string or a bool")


def checked_constraints(value: object) -> tuple[str, ...]:
    """Check a list of constraints, and return them; an offer must fulfil all.

    Raises:
        BadPayload: it is not a list, or a constraint can't be read; the message shows where.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise BadPayload(f"constraints are {value!r}: give a list, e.g. ['(golem.runtime.name=vm)']")
    return tuple(map(checked_constraint, value))


def checked_constraint(text: object) -> str:
    """Check a constraint, and return it without the spaces around it.

    The daemon accepts any text, and finds no offers if it can't read it. So the text is parsed here.

    Raises:
        BadPayload: it can't be read; the message shows where.
    """
    if not isinstance(text, str):
        raise BadPayload(f"constraints: {text!r} is not a string such as '(golem.runtime.name=vm)'")
    _Reader(text).read()
    return text.strip()


class _Reader:
    """Reads one constraint from left to right; an error shows the position."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> None:
        self._skip_blanks()
        if self._at == len(self._text):
            self._fail("the constraint is empty; write e.g. (golem.inf.mem.gib>=2)")
        self._expression(0)
        if self._at < len(self._text):
            if self._text[self._at] == ")":
                self._fail("there is one bracket too many")
            self._fail("the constraint should end here; join two by (&(…)(…)), or give two in the list")

    def _expression(self, depth: int) -> None:
        if depth > _DEEPEST:
            self._fail(f"there are more than {_DEEPEST} nested brackets")
        opened = self._at
        if not self._take("("):
            self._fail("an expression is missing" if self._peek() == ")" else "an opening bracket is missing")
        self._skip_blanks()
        if self._take("&") or self._take("|"):
            self._several(opened, depth)
        elif self._take("!"):
            self._skip_blanks()
            self._expression(depth + 1)
            self._close(opened, "(!…) takes one expression; its closing bracket is missing here")
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
        if name.endswith("!"):  # a name may contain it, such as golem.!exp.gap-35, but can't end with it
            self._at -= 1
            self._fail("there is no operator !=; write (!(a=b))")
        operator = self._operator()
        begins = self._at
        value = self._match(_VALUE)
        if not value or value != value.strip():
            self._fail("a value is missing; * stands for any value", begins)
        self._check_value(name, operator, value, begins)
        if self._peek() == "(":
            self._fail("a value can't contain brackets; is a closing bracket missing before it?")
        self._close(opened, "")

    def _operator(self) -> str:
        signs = self._match(_SIGNS)
        if signs not in OPERATORS:
            what = f"there is no operator {signs}" if signs else "an operator is missing"
            self._at -= len(signs)
            self._fail(f"{what}: use one of {' '.join(OPERATORS)}, without spaces")
        return signs

    def _check_value(self, name: str, operator: str, value: str, begins: int) -> None:
        kind = kind_of(name)
        if value == "*" and operator == "=":
            return
        if value.startswith("*"):  # the daemon accepts it, and finds nothing (tried)
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

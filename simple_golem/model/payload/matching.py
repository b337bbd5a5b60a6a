"""Constraints of demands and offers, written like LDAP filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# None of these takes longer than the text is, whatever a provider writes.
_SPACE = re.compile(r"\s*")
# A name may have a ! in it, such as golem.!exp.gap-35.v1.inf.gpu.model.
_PART = re.compile(r"(?P<name>[^()=<>]+?)(?P<sign><=|>=|!=|=|<|>)(?P<value>[^()]*)\)")
# The type that a name may carry, such as `golem.inf.mem.gib@d`.
_TYPE = re.compile(r"@[dvtb]$")
# Deeper than the constraints of any payload. Each level takes up to four of Python's 1000 frames.
_DEEPEST = 110

Test = Callable[[Mapping[str, Any]], bool]


class _Parser:
    """Reads one expression, and collects the names in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.names: list[str] = []

    def whole(self) -> Test:
        test = self._expression(1)
        if self._look() != "end":
            raise ValueError("something comes after the expression")
        return test

    def _expression(self, depth: int) -> Test:
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} nested brackets")
        self._skip("(")
        sign = self._look()
        if sign in "&|":
            self._at += 1
            parts = []
            while self._look() == "(":
                parts.append(self._expression(depth + 1))
            self._skip(")")
            every = sign == "&"
            return lambda properties: (all if every else any)(part(properties) for part in parts)
        if sign == "!":
            self._at += 1
            part = self._expression(depth + 1)
            self._skip(")")
            return lambda properties: not part(properties)
        if sign == ")":
            self._at += 1
            return lambda properties: True
        return self._comparison()

    def _comparison(self) -> Test:
        found = _PART.match(self._text, self._at)
        if found is None:
            raise ValueError(f"no comparison at {self._at}")
        self._at = found.end()
        name, sign, value = _TYPE.sub("", found["name"].strip()), found["sign"], found["value"].strip()
        self.names.append(name)
        return lambda properties: name in properties and _compare(properties[name], sign, value)

    def _look(self) -> str:
        found = _SPACE.match(self._text, self._at)
        self._at = self._at if found is None else found.end()
        return self._text[self._at : self._at + 1] or "end"

    def _skip(self, sign: str) -> None:
        if self._look() != sign:
            raise ValueError(f"{sign} is missing at {self._at}")
        self._at += 1


def _compare(have: Any, sign: str, wanted: str) -> bool:
    several = have if isinstance(have, (list, tuple)) else (have,)
    return any(_compare_one(one, sign, wanted) for one in several)


def _compare_one(have: Any, sign: str, wanted: str) -> bool:
    if sign == "!=":
        return not _equals(have, wanted)
    if sign == "=":
        return _equals(have, wanted)
    left, right = _number(have), _number(wanted)
    if left is None or right is None:
        left, right = str(have), wanted  # type: ignore[assignment]
    return _ORDERS[sign](left, right)


_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
}


def _equals(have: Any, wanted: str) -> bool:
    if isinstance(have, bool):
        return wanted.lower() == str(have).lower() or wanted == "*"
    number = _number(wanted)
    if isinstance(have, (int, float)) and number is not None:
        return have == number
    return _is_like(str(have), wanted)


def _is_like(text: str, pattern: str) -> bool:
    """Whether a text is like a pattern in which each `*` stands for any text."""
    # A regular expression with many `.*` would take for ever.
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    *middle, last = rest
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.startswith(first) and text.endswith(last) and at + len(last) <= len(text)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def matches(constraints: str, properties: Mapping[str, Any]) -> bool:
    """Whether properties fulfil an expression; nothing fulfils an unreadable one."""
    try:
        return _Parser(constraints).whole()(properties)
    except ValueError:
        return False


def undefined(constraints: str, properties: Mapping[str, Any]) -> list[str]:
    """The names in an expression that the properties do not have."""
    parser = _Parser(constraints)
    try:
        parser.whole()
    except ValueError:
        return []
    return [name for name in parser.names if name not in properties]

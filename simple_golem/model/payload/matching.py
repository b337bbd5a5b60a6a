"""Constraints of demands and offers, written like LDAP filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_PART = re.compile(r"\s*(?P<name>[^()=<>!]+?)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>[^()]*?)\s*\)")
# The type that a name may carry, such as `golem.inf.mem.gib@d`.
_TYPE = re.compile(r"@[dvtb]$")

Test = Callable[[Mapping[str, Any]], bool]


class _Parser:
    """Reads one expression, and collects the names in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.names: list[str] = []

    def whole(self) -> Test:
        test = self._expression()
        if self._text[self._at :].strip():
            raise ValueError("something comes after the expression")
        return test

    def _expression(self) -> Test:
        self._skip("(")
        sign = self._look()
        if sign in "&|":
            self._at += 1
            parts = []
            while self._look() == "(":
                parts.append(self._expression())
            self._skip(")")
            every = sign == "&"
            return lambda properties: (all if every else any)(part(properties) for part in parts)
        if sign == "!":
            self._at += 1
            part = self._expression()
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
        name, sign, value = _TYPE.sub("", found["name"]), found["sign"], found["value"]
        self.names.append(name)
        return lambda properties: name in properties and _compare(properties[name], sign, value)

    def _look(self) -> str:
        rest = self._text[self._at :]
        self._at += len(rest) - len(rest.lstrip())
        return self._text[self._at : self._at + 1] or "end"

    def _skip(self, sign: str) -> None:
        if self._look() != sign:
            raise ValueError(f"{sign} is missing at {self._at}")
        self._at += 1


def _compare(have: Any, sign: str, wanted: str) -> bool:
    if isinstance(have, (list, tuple)):
        return any(_compare(one, sign, wanted) for one in have)
    if sign == "!=":
        return not _compare(have, "=", wanted)
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
    pattern = ".*".join(re.escape(part) for part in wanted.split("*"))
    return re.fullmatch(pattern, str(have), re.DOTALL) is not None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
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

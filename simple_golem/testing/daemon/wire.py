"""Bodies, queries and dates as the daemon reads and writes them, and its errors for unreadable ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from ..request import FakeAnswer, FakeRequest, Refused

# How an API says that it can't read something: the market in JSON, the others in plain text.
Refuse = Callable[[str, int], FakeAnswer]


def date_text(moment: datetime) -> str:
    """A date with microseconds."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short_date_text(moment: datetime) -> str:
    """A date with milliseconds."""
    return date_text(moment)[:-4] + "Z"


def read_date(text: str) -> datetime:
    """Read a date with its zone; raises ValueError for anything else."""
    head, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction = (rest[:digits] + "000000")[:6] if dot else "000000"
    zone = rest[digits:] if dot else ""
    if not dot:
        head, zone = head[:19], head[19:]
    moment = datetime.fromisoformat(f"{head}.{fraction}{zone.replace('Z', '+00:00')}")
    if moment.tzinfo is None:
        raise ValueError("a date without a zone")
    return moment.astimezone(timezone.utc)


def json_body(request: FakeRequest, wanted: Iterable[str] = (), refuse: Refuse = FakeAnswer.of_text) -> Any:
    """The JSON that a request carries.

    Args:
        wanted: the names that an object must have.
        refuse: makes the answer to what can't be read.

    Raises:
        Refused: it carries none, or one without these names.
    """
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(refuse("Content type error", 400))
    try:
        value = json.loads(request.body)
    except ValueError as error:
        raise Refused(refuse(f"Json deserialize error: {_parser_text(request.body, error)}", 400)) from None
    for name in wanted:
        if not isinstance(value, dict) or name not in value:
            raise Refused(bad_json(request, f"missing field `{name}`", refuse))
    return value


def bad_json(request: FakeRequest, what: str, refuse: Refuse = FakeAnswer.of_text) -> FakeAnswer:
    """Make the error for unfit JSON."""
    return refuse(f"Json deserialize error: {what} at line 1 column {len(request.body)}", 400)


def _parser_text(body: bytes, error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError) and error.pos >= len(body):
        return f"EOF while parsing an object at line 1 column {len(body)}"
    position = error.pos if isinstance(error, json.JSONDecodeError) else 0
    return f"expected value at line 1 column {position + 1}"


def reason_body(request: FakeRequest) -> Mapping[str, Any] | None:
    """The reason that a request of the market gives, None if it gives none."""
    value = json_body(request, refuse=FakeAnswer.of_message)
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        raise Refused(bad_json(request, "missing field `message`", FakeAnswer.of_message))
    return value


def seconds_of(request: FakeRequest, default: float, name: str = "timeout") -> float:
    """The `timeout` of a request, in seconds, never negative."""
    if name not in request.query:
        return default
    try:
        return max(0.0, float(request.query[name]))
    except ValueError:
        raise Refused(bad_query("invalid float literal")) from None


def number_of(request: FakeRequest, name: str) -> int | None:
    """A whole number in the query."""
    if name not in request.query:
        return None
    try:
        return int(request.query[name])
    except ValueError:
        raise Refused(bad_query("invalid digit found in string")) from None


def date_of(request: FakeRequest, name: str = "afterTimestamp") -> datetime | None:
    """A date in the query."""
    if name not in request.query:
        return None
    try:
        return read_date(request.query[name])
    except ValueError:
        raise Refused(bad_query("input contains invalid characters")) from None


def needed(request: FakeRequest, name: str) -> str:
    """A required text in the query."""
    if name not in request.query:
        raise Refused(bad_query(f"missing field `{name}`"))
    return request.query[name]


def bad_query(what: str) -> FakeAnswer:
    """Make the error for an unfit query."""
    return FakeAnswer.of_text(f"Query deserialize error: {what}", 400)


def amount_of(value: object) -> Decimal:
    """An amount of GLM, which comes as text or as a number; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("an amount is text or a number")
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError("invalid digit found in string") from error
    if not amount.is_finite():
        raise ValueError("invalid digit found in string")
    return amount


def flat(properties: object) -> dict[str, Any]:
    """Properties as the daemon keeps them: nested ones become dotted names; `@` ends a name's dots."""
    if not isinstance(properties, dict) or not properties:
        return {"": properties}
    result: dict[str, Any] = {}
    for name, value in properties.items():
        if isinstance(value, dict):
            for inner, inner_value in flat(value).items():
                result[f"{name}.{inner}" if inner else name] = inner_value
        else:
            result[name] = value
    return dict(sorted(result.items()))

"""Which demands a provider refuses, or does not answer: the limits of the real provider's negotiators.

The facts are those of ya-provider 0.17.6 with its default configuration, as seen on real providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ..control import rules
from ..control.rules import Rule
from .offer import ACCEPT_TIMEOUT, DEBIT_NOTE_INTERVAL, EXPIRATION, PAYMENT_TIMEOUT

CHOSEN_PLATFORM = "golem.com.payment.chosen-platform"

_DAY = 86400
_YEAR = 31_557_600
_SHORTEST_AGREEMENT = 5 * 60
_LONGEST_AGREEMENT = 100 * _YEAR
_LONGEST_WITHOUT_ACCEPTANCE = 30 * 60
_PAYMENTS_REQUIRED_FROM = 10 * 3600
_SHORTEST_ACCEPT_TIMEOUT = 5
_SHORTEST_TIME, _LONGEST_TIME = 1, _DAY


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a provider refuses a demand.

    Attributes:
        rule: the rule; None: the provider has the habit to refuse.
        message: the provider's reason; None: it does not answer at all.
        is_final: whether it would refuse the same demand later, too.
    """

    rule: Rule | None
    message: str | None
    is_final: bool


def refusal_of(demand: Mapping[str, Any], offer: Mapping[str, Any], now: datetime) -> Refusal | None:
    """Return by which rule a provider refuses a demand; None if it accepts.

    Args:
        demand: the properties of a counter-proposal or of an agreement's demand.
        offer: the properties of the provider's offer.
        now: an aware datetime.
    """
    if any(not _is_whole(demand[name]) for name in _TIMES if name in demand) or not _is_whole(
        demand.get(EXPIRATION)
    ):
        return Refusal(rules.WHOLE_NUMBERS, None, is_final=False)
    return (
        _wrong_expiration(demand, now)
        or _wrong_accept_timeout(demand, offer)
        or _wrong_time(demand, DEBIT_NOTE_INTERVAL, rules.DEBIT_NOTE_INTERVAL, "interval")
        or _wrong_time(demand, PAYMENT_TIMEOUT, rules.PAYMENT_TIMEOUT, "payment timeout")
        or _missing_payment_timeout(demand, now)
        or _missing_platform(demand)
    )


_TIMES = (ACCEPT_TIMEOUT, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT)


def _wrong_expiration(demand: Mapping[str, Any], now: datetime) -> Refusal | None:
    left = demand[EXPIRATION] / 1000 - now.timestamp()
    accepts_notes = ACCEPT_TIMEOUT in demand
    longest = _LONGEST_AGREEMENT if accepts_notes else _LONGEST_WITHOUT_ACCEPTANCE
    if _SHORTEST_AGREEMENT <= left <= longest:
        return None
    is_short = left < _SHORTEST_AGREEMENT
    return Refusal(
        rules.AGREEMENT_LENGTH if accepts_notes or is_short else rules.LENGTH_WITHOUT_ACCEPTANCE,
        f"Proposal expires at: {_moment(demand[EXPIRATION], ' ')} UTC which is less than "
        f"{duration_text(_SHORTEST_AGREEMENT)} or more than {duration_text(longest)} from now",
        is_final=is_short,
    )


def _wrong_accept_timeout(demand: Mapping[str, Any], offer: Mapping[str, Any]) -> Refusal | None:
    asked, offered = demand.get(ACCEPT_TIMEOUT), offer[ACCEPT_TIMEOUT]
    if asked is not None and asked > offered:
        message = f"DebitNote acceptance deadline should be less than {duration_text(offered)}."
        return Refusal(rules.ACCEPT_TIMEOUT, message, is_final=True)
    if asked is not None and asked < _SHORTEST_ACCEPT_TIMEOUT:
        message = f"To low DebitNotes timeout: {duration_text(asked)}"
        return Refusal(rules.ACCEPT_TIMEOUT, message, is_final=True)
    return None


def _wrong_time(demand: Mapping[str, Any], name: str, rule: Rule, what: str) -> Refusal | None:
    seconds = demand.get(name)
    if seconds is None or _SHORTEST_TIME <= seconds <= _LONGEST_TIME:
        return None
    return Refusal(
        rule,
        f"Demand DebitNote {what} {duration_text(seconds)} not in acceptable range of "
        f"[{duration_text(_SHORTEST_TIME)}; {duration_text(_LONGEST_TIME)}]",
        is_final=True,
    )


def _missing_payment_timeout(demand: Mapping[str, Any], now: datetime) -> Refusal | None:
    left = demand[EXPIRATION] / 1000 - now.timestamp()
    if PAYMENT_TIMEOUT in demand or left < _PAYMENTS_REQUIRED_FROM:
        return None
    return Refusal(
        rules.PAYMENTS_REQUIRED,
        f"Expiration time {_moment(demand[EXPIRATION], 'T')}+00:00 exceeds the "
        f"{duration_text(_PAYMENTS_REQUIRED_FROM)} threshold of enforcing mid-agreement payments but the "
        f"required property '{PAYMENT_TIMEOUT}' was not present in the Demand",
        is_final=True,
    )


def _missing_platform(demand: Mapping[str, Any]) -> Refusal | None:
    if CHOSEN_PLATFORM in demand:
        return None
    message = f"Missing fields: /{CHOSEN_PLATFORM.replace('.', '/')}"
    return Refusal(rules.CHOSEN_PLATFORM, message, is_final=False)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _moment(milliseconds: int, between: str) -> str:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=milliseconds)
    text = moment.strftime(f"%Y-%m-%d{between}%H:%M:%S")
    return f"{text}.{milliseconds % 1000:03}" if milliseconds % 1000 else text


def duration_text(seconds: int) -> str:
    """A duration as the real provider writes it, such as `2days 30m`."""
    units = (("year", _YEAR), ("month", 2_630_016), ("day", _DAY), ("h", 3600), ("m", 60), ("s", 1))
    parts = []
    for unit, length in units:
        number, seconds = divmod(seconds, length)
        if number:
            plural = "s" if number > 1 and len(unit) > 1 else ""
            parts.append(f"{number}{unit}{plural}")
    return " ".join(parts) or "0s"

"""What requestor and provider agree on about debit notes and payments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BadTerms

INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
ACCEPT_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"
PAYMENT_TIMEOUT = "golem.com.scheme.payu.payment-timeout-sec?"

# A provider that wants its notes accepted within less may end an agreement for a busy daemon's sake.
_SHORTEST_ACCEPT_SECONDS = 5.0
_LONGEST_SECONDS = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is asked of providers; what is None is left to them.

    Args:
        debit_note_interval: seconds between two debit notes of an activity.
        debit_note_accept_timeout: seconds within which this side has to accept one; 5 at least. Left out,
            the provider's own time is agreed to.
        payment_timeout: seconds after a debit note within which it has to be paid, where payments are made
            while the agreement lasts.

    Raises:
        BadTerms: one of them can't be.
    """

    debit_note_interval: float | None = None
    debit_note_accept_timeout: float | None = None
    payment_timeout: float | None = None

    def __post_init__(self) -> None:
        _check("debit_note_interval", self.debit_note_interval, 1)
        _check("debit_note_accept_timeout", self.debit_note_accept_timeout, _SHORTEST_ACCEPT_SECONDS)
        _check("payment_timeout", self.payment_timeout, 1)

    def properties(self, offer: Mapping[str, Any]) -> dict[str, Any]:
        """What the answer to an offer says of them."""
        said = {name: value for name, value in self._asked().items() if value is not None}
        # Whatever it is, this library answers sooner.
        if ACCEPT_TIMEOUT in offer:
            said.setdefault(ACCEPT_TIMEOUT, offer[ACCEPT_TIMEOUT])
        return said

    def objection(self, offer: Mapping[str, Any], *, final: bool) -> str | None:
        """Why an offer, or a provider's answer if it is `final`, can't be agreed to; None if it can."""
        wanted = offer.get(ACCEPT_TIMEOUT)
        if isinstance(wanted, (int, float)) and wanted < _SHORTEST_ACCEPT_SECONDS:
            return f"Debit notes can't be accepted within {wanted:g} s"
        if not final:
            return None
        for name, value in self._asked().items():
            if value is not None and offer.get(name) != value:
                return f"{name} was to be {value:g}, not {offer.get(name)!r}"
        return None

    def _asked(self) -> Mapping[str, float | None]:
        return {
            INTERVAL: _whole(self.debit_note_interval),
            ACCEPT_TIMEOUT: _whole(self.debit_note_accept_timeout),
            PAYMENT_TIMEOUT: _whole(self.payment_timeout),
        }


def require_terms(value: object) -> Terms:
    """Return `value` if it is terms; `BadTerms` if not."""
    if isinstance(value, Terms):
        return value
    raise BadTerms(f"terms is {value!r}: give Terms, e.g. Terms(debit_note_interval=60)")


def _check(name: str, value: object, least: float) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= _LONGEST_SECONDS:  # type: ignore[operator]
        raise BadTerms(f"{name} is {value!r}: give a number of seconds, {least:g} or more, or leave it out")


def _whole(value: float | None) -> float | None:
    """As providers write it: without a fraction where there is none."""
    return int(value) if value is not None and value == int(value) else value

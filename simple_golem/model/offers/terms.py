"""What requestor and provider agree on about debit notes and payments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BadTerms

INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
ACCEPT_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"
PAYMENT_TIMEOUT = "golem.com.scheme.payu.payment-timeout-sec?"

# Providers allow no shorter one, and with a shorter one a busy daemon could lose an agreement.
_SHORTEST_ACCEPT_SECONDS = 5
# Providers accept nothing longer.
_LONGEST_SECONDS = 86400
# Providers send a debit note this often if nothing else was agreed.
_USUAL_INTERVAL_SECONDS = 120
# From ten hours on, providers want to be paid while the agreement lasts. Their clock may differ a little.
_LONG_AGREEMENT_SECONDS = 10 * 3600.0 - 300
_LONG_AGREEMENT_PAYMENT_SECONDS = _LONGEST_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of an agreement; None leaves a term to the provider.

    All are whole numbers of seconds, 86400 at most: a provider refuses, or does not answer, anything else.

    Args:
        debit_note_interval: seconds between two debit notes of an activity; 1 at least.
        debit_note_accept_timeout: seconds within which this side has to accept one; 5 at least, and no more
            than the provider offers, mostly 240. None: the provider's own time.
        payment_timeout: seconds after a debit note within which it has to be paid, where payments are made
            while the agreement lasts; 1 at least. None: there are no such payments, except for agreements
            of ten hours and more: providers demand it there, and 86400 is agreed on.

    Raises:
        BadTerms: one of them is not a possible number.
    """

    debit_note_interval: float | None = None
    debit_note_accept_timeout: float | None = None
    payment_timeout: float | None = None

    def __post_init__(self) -> None:
        _check("debit_note_interval", self.debit_note_interval, 1)
        _check("debit_note_accept_timeout", self.debit_note_accept_timeout, _SHORTEST_ACCEPT_SECONDS)
        _check("payment_timeout", self.payment_timeout, 1)

    def properties(self, offer: Mapping[str, Any], seconds_left: float) -> dict[str, Any]:
        """Return the terms in the answer to an offer, for an agreement that ends in `seconds_left`."""
        said = {name: value for name, value in self._asked().items() if value is not None}
        if seconds_left >= _LONG_AGREEMENT_SECONDS:
            said.setdefault(PAYMENT_TIMEOUT, _LONG_AGREEMENT_PAYMENT_SECONDS)
        # This library answers sooner in any case.
        if ACCEPT_TIMEOUT in offer:
            said.setdefault(ACCEPT_TIMEOUT, offer[ACCEPT_TIMEOUT])
        return said

    def objection(self, offer: Mapping[str, Any], *, final: bool) -> str | None:
        """Return why an offer, or a provider's last answer (`final`), is refused; None if it is accepted."""
        wanted = offer.get(ACCEPT_TIMEOUT)
        if isinstance(wanted, (int, float)) and wanted < _SHORTEST_ACCEPT_SECONDS:
            return f"Debit notes can't be accepted within {wanted:g} s"
        if not final:
            asked = self.debit_note_accept_timeout
            if asked is not None and isinstance(wanted, (int, float)) and asked > wanted:
                return f"Debit notes would have to be accepted within {wanted:g} s, not {asked:g} s"
            return None
        for name, value in self._asked().items():
            if value is not None and offer.get(name) != value:
                return f"{name} must be {value:g}, not {offer.get(name)!r}"
        return None

    def _asked(self) -> Mapping[str, int | None]:
        asked = {
            INTERVAL: self.debit_note_interval,
            ACCEPT_TIMEOUT: self.debit_note_accept_timeout,
            PAYMENT_TIMEOUT: self.payment_timeout,
        }
        return {name: None if value is None else int(value) for name, value in asked.items()}


def seconds_without_answers(agreed: Mapping[str, Any]) -> tuple[float, float] | None:
    """How long a provider keeps an agreement whose debit notes nobody accepts, at least and at most.

    Args:
        agreed: the properties of its offer, as they were agreed.

    Returns:
        Seconds since the last debit note that was accepted; None if the provider sets no time.
    """
    accept, interval = agreed.get(ACCEPT_TIMEOUT), agreed.get(INTERVAL, _USUAL_INTERVAL_SECONDS)
    if not isinstance(accept, (int, float)) or not isinstance(interval, (int, float)):
        return None
    return accept, accept + interval


def require_terms(value: object) -> Terms:
    """Return `value` if it is terms; `BadTerms` if not."""
    if isinstance(value, Terms):
        return value
    raise BadTerms(f"terms is {value!r}: give Terms, e.g. Terms(debit_note_interval=60)")


def _check(name: str, value: object, least: int) -> None:
    if value is None:
        return
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= _LONGEST_SECONDS or value != int(value):  # type: ignore[operator, call-overload]
        raise BadTerms(
            f"{name} is {value!r}: give a whole number of seconds from {least} to {_LONGEST_SECONDS}, "
            "or leave it out"
        )

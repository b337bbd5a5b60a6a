"""What something cost, with its unit, and whether it is test money."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Context, Decimal

# The user may have changed the decimal context of the thread. GLM must be added exactly all the same.
_EXACT = Context(prec=80)
_LEAST_SHOWN = Decimal("1E-9")


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money on a payment network.

    Attributes:
        amount: GLM or tGLM that were accepted: invoices, and debit notes of what has no invoice yet.
        currency: `GLM`, or `tGLM` which is test money.
        network: the payment network, e.g. `hoodi`.
        is_test_money: whether it is test money, which is worth nothing.
        accrued: what has come up since then, by the agreed prices, and was not asked for yet. The time is
            exact. Processor time is estimated: as in the last debit note, or one thread before the first.
    """

    amount: Decimal
    currency: str
    network: str
    is_test_money: bool
    accrued: Decimal = Decimal(0)

    def add(self, amount: Decimal) -> Cost:
        """Return the sum of this cost and `amount`."""
        return replace(self, amount=_EXACT.add(self.amount, amount))

    def __str__(self) -> str:
        kind = " (test money)" if self.is_test_money else ""
        amount = f"{plain(self.amount)} {self.currency}"
        if since := come_up_since(self):
            # The amount comes first, so that it can follow words such as "it cost".
            amount = f"{amount} accepted, and {since} come up since"
        return f"{amount}{kind} on {self.network}"


def come_up_since(cost: Cost) -> str:
    """Return what has accrued as text with its unit; empty if it is nothing."""
    text = rounded(cost.accrued)
    return "" if text == "0" else f"{text} {cost.currency}"


def plain(amount: Decimal) -> str:
    """Return an amount as text: exact, without exponent and without zeros at its end, e.g. `0.0042`."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def rounded(amount: Decimal) -> str:
    """Return an estimated amount as text, with at most 9 decimals."""
    return plain(_EXACT.quantize(amount, _LEAST_SHOWN))

"""What a provider charges: Golem's linear pay-as-you-use model, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Any

MODEL = "golem.com.pricing.model"
SCHEME = "golem.com.scheme"
COEFFICIENTS = "golem.com.pricing.model.linear.coeffs"
USAGE_VECTOR = "golem.com.usage.vector"

DURATION = "golem.usage.duration_sec"
CPU = "golem.usage.cpu_sec"

# Powers of ten beyond which nothing is meant: an amount of a million digits would stop whoever reads it.
_LARGEST, _SMALLEST = 30, -60

# Whatever context the user has set for a thread, GLM is counted exactly.
EXACT = Context(prec=80)


@dataclass(frozen=True, slots=True)
class Prices:
    """The linear price model of an offer, in GLM.

    Attributes:
        start: paid once for each activity.
        rates: what a unit of each usage counter costs, in the order of the offer's usage vector, e.g.
            `(("golem.usage.duration_sec", Decimal("0.0001")), ("golem.usage.cpu_sec", Decimal("0.0002")))`.
    """

    start: Decimal
    rates: tuple[tuple[str, Decimal], ...]

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> Prices | None:
        """Read them from an offer's properties; None if it has no linear model that makes sense."""
        coefficients, counters = properties.get(COEFFICIENTS), properties.get(USAGE_VECTOR)
        if properties.get(MODEL, "linear") != "linear" or properties.get(SCHEME, "payu") != "payu":
            return None
        if not isinstance(coefficients, (list, tuple)) or not isinstance(counters, (list, tuple)):
            return None
        # A counter that is named twice would be charged for twice, and looked at once.
        if len(coefficients) != len(counters) + 1 or len(set(map(str, counters))) != len(counters):
            return None
        amounts = [_amount(value) for value in coefficients]
        if any(amount is None or amount < 0 for amount in amounts):
            return None
        exact = [amount for amount in amounts if amount is not None]
        return cls(exact[-1], tuple(zip(map(str, counters), exact[:-1], strict=True)))

    @property
    def per_second(self) -> Decimal:
        """For each second that an activity exists."""
        return self.rate(DURATION)

    @property
    def per_cpu_second(self) -> Decimal:
        """For each second of processor time that its commands take."""
        return self.rate(CPU)

    @property
    def per_hour(self) -> Decimal:
        """For each hour that an activity exists, whatever it does."""
        return EXACT.multiply(self.per_second, Decimal(3600))

    @property
    def per_cpu_hour(self) -> Decimal:
        """For each hour of processor time that its commands take."""
        return EXACT.multiply(self.per_cpu_second, Decimal(3600))

    @property
    def only_time(self) -> bool:
        """Whether nothing is charged for but time and processor time, so that a price can be foretold."""
        return all(counter in (DURATION, CPU) or not rate for counter, rate in self.rates)

    def rate(self, counter: str) -> Decimal:
        """What a unit of `counter` costs; 0 for one that is not charged for."""
        total = Decimal(0)
        for name, rate in self.rates:
            if name == counter:
                total = EXACT.add(total, rate)
        return total

    def estimate(self, seconds: float, load: float) -> Decimal:
        """What an activity of `seconds` costs that keeps `load` processor threads busy."""
        time = exact(seconds)
        busy = EXACT.multiply(time, exact(load))
        timed = EXACT.add(EXACT.multiply(time, self.per_second), EXACT.multiply(busy, self.per_cpu_second))
        return EXACT.add(self.start, timed)

    def of_usage(self, usage: Sequence[object]) -> Decimal | None:
        """The price of a usage vector; None if it is not one of this model's."""
        counters = [_amount(value) for value in usage]
        if len(counters) != len(self.rates) or any(value is None or value < 0 for value in counters):
            return None
        total = self.start
        for (_, rate), value in zip(self.rates, counters, strict=True):
            total = EXACT.add(total, EXACT.multiply(rate, value or Decimal(0)))
        return total

    def usage_of(self, counter: str, usage: Sequence[object]) -> Decimal:
        """What a usage vector says of one counter; 0 if nothing."""
        named = zip((name for name, _ in self.rates), usage, strict=False)
        return next((_amount(value) or Decimal(0) for name, value in named if name == counter), Decimal(0))

    def of_other_usage(self, usage: Sequence[object]) -> Decimal:
        """The price of what a usage vector counts beside time and processor time."""
        total = Decimal(0)
        for (counter, rate), value in zip(self.rates, usage, strict=False):
            if counter not in (DURATION, CPU):
                total = EXACT.add(total, EXACT.multiply(rate, _amount(value) or Decimal(0)))
        return total

    def to_json(self) -> Mapping[str, Any]:
        return {"start": str(self.start), "rates": [[name, str(rate)] for name, rate in self.rates]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Prices:
        return cls(Decimal(value["start"]), tuple((name, Decimal(rate)) for name, rate in value["rates"]))


def exact(number: float) -> Decimal:
    """A number as it prints, so that 0.1 is a tenth."""
    return Decimal(str(number))


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    if not amount.is_finite():
        return None
    if amount.is_zero():
        return Decimal(0)
    exponent = amount.as_tuple().exponent
    is_sane = amount.adjusted() <= _LARGEST and isinstance(exponent, int) and exponent >= _SMALLEST
    return amount if is_sane else None

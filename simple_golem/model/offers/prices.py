"""The prices of a provider, in Golem's linear model; all amounts are exact."""

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

# Powers of ten. Amounts beyond them are not valid: reading one with a million digits would take too long.
_LARGEST, _SMALLEST = 30, -60

# GLM is counted exactly, whatever decimal context the user has set for a thread.
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
        """Read them from an offer's properties; None if they are not valid, or not in the linear model."""
        coefficients, counters = properties.get(COEFFICIENTS), properties.get(USAGE_VECTOR)
        if properties.get(MODEL, "linear") != "linear" or properties.get(SCHEME, "payu") != "payu":
            return None
        if not isinstance(coefficients, (list, tuple)) or not isinstance(counters, (list, tuple)):
            return None
        # A counter that is listed twice would be charged twice, but compared once.
        if len(coefficients) != len(counters) + 1 or len(set(map(str, counters))) != len(counters):
            return None
        amounts = [_amount(value) for value in coefficients]
        if any(amount is None or amount < 0 for amount in amounts):
            return None
        exact = [amount for amount in amounts if amount is not None]
        return cls(exact[-1], tuple(zip(map(str, counters), exact[:-1], strict=True)))

    @property
    def per_second(self) -> Decimal:
        """GLM for each second that an activity exists."""
        return self.rate(DURATION)

    @property
    def per_cpu_second(self) -> Decimal:
        """GLM for each second of processor time that its commands take."""
        return self.rate(CPU)

    @property
    def per_hour(self) -> Decimal:
        """GLM for each hour that an activity exists, without processor time."""
        return EXACT.multiply(self.per_second, Decimal(3600))

    @property
    def per_cpu_hour(self) -> Decimal:
        """GLM for each hour of processor time that its commands take."""
        return EXACT.multiply(self.per_cpu_second, Decimal(3600))

    @property
    def only_time(self) -> bool:
        """Whether only time and processor time cost something, so that the price can be estimated."""
        return all(counter in (DURATION, CPU) or not rate for counter, rate in self.rates)

    def rate(self, counter: str) -> Decimal:
        """Return the GLM for a unit of `counter`; 0 if it costs nothing."""
        total = Decimal(0)
        for name, rate in self.rates:
            if name == counter:
                total = EXACT.add(total, rate)
        return total

    def estimate(self, seconds: float, load: float) -> Decimal:
        """Return the GLM for an activity of `seconds` that keeps `load` processor threads busy."""
        time = exact(seconds)
        busy = EXACT.multiply(time, exact(load))
        timed = EXACT.add(EXACT.multiply(time, self.per_second), EXACT.multiply(busy, self.per_cpu_second))
        return EXACT.add(self.start, timed)

    def of_usage(self, usage: Sequence[object]) -> Decimal | None:
        """Return the GLM for a usage vector; None if it does not fit these prices."""
        counters = [_amount(value) for value in usage]
        if len(counters) != len(self.rates) or any(value is None or value < 0 for value in counters):
            return None
        total = self.start
        for (_, rate), value in zip(self.rates, counters, strict=True):
            total = EXACT.add(total, EXACT.multiply(rate, value or Decimal(0)))
        return total

    def usage_of(self, counter: str, usage: Sequence[object]) -> Decimal:
        """Return the value of one counter in a usage vector; 0 if it is missing."""
        named = zip((name for name, _ in self.rates), usage, strict=False)
        return next((_amount(value) or Decimal(0) for name, value in named if name == counter), Decimal(0))

    def of_other_usage(self, usage: Sequence[object]) -> Decimal:
        """Return the GLM for all usage in a usage vector except time and processor time."""
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
    """Return a number as Python prints it, so that 0.1 is a tenth."""
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

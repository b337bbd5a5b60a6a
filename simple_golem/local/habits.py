"""How a local provider behaves: what it charges, and how much it takes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from ..errors import LocalNetworkError


@dataclass(frozen=True)
class Price:
    """What a provider charges, in GLM.

    Attributes:
        per_second: for each second that an activity exists.
        per_cpu_second: for each second of processor time that its commands take.
        start: once for each activity.
    """

    per_second: Decimal = Decimal("0.0001")
    per_cpu_second: Decimal = Decimal("0.0002")
    start: Decimal = Decimal("0.0001")

    @property
    def coefficients(self) -> list[float]:
        """As an offer has them: in the order of the usage vector, the fixed price last."""
        return [float(self.per_second), float(self.per_cpu_second), float(self.start)]

    def of(self, usage: Sequence[float]) -> Decimal:
        """The price of `usage`: seconds, and seconds of processor time, both to the millisecond."""
        seconds, cpu_seconds = (Decimal(round(counter * 1000)) / 1000 for counter in usage)
        return self.start + seconds * self.per_second + cpu_seconds * self.per_cpu_second


@dataclass(frozen=True)
class ProviderHabits:
    """One provider's way of doing business; the defaults are those of an honest, friendly one.

    Attributes:
        price: what it charges.
        most_agreements: how many it has at a time; more are turned down.
        cpu_threads, mem_gib, storage_gib: what its offer says it has.
    """

    price: Price = Price()
    most_agreements: int = 1
    cpu_threads: int = 4
    mem_gib: float = 8.0
    storage_gib: float = 64.0

    def to_wire(self) -> Mapping[str, Any]:
        """As JSON can carry it to another process."""
        return {**asdict(self), "price": {name: str(value) for name, value in asdict(self.price).items()}}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ProviderHabits:
        price = Price(**{name: Decimal(value) for name, value in wire["price"].items()})
        return cls(**{**wire, "price": price})


def habits_of(providers: int | Sequence[ProviderHabits], most: int) -> list[ProviderHabits]:
    """One entry for each provider of a network that was asked for as a number, or as their habits.

    Raises:
        LocalNetworkError: there are none, or more than `most`.
    """
    nonsense = LocalNetworkError(f"providers is how many, or a list of ProviderHabits, not {providers!r}")
    if isinstance(providers, bool) or not isinstance(providers, (int, Sequence)):
        raise nonsense
    habits = [ProviderHabits()] * providers if isinstance(providers, int) else list(providers)
    if not all(isinstance(entry, ProviderHabits) for entry in habits):
        raise nonsense
    if not 1 <= len(habits) <= most:
        count = providers if isinstance(providers, int) else len(habits)
        raise LocalNetworkError(f"a local network has 1 to {most} providers, not {count}")
    return habits

"""What an activity has used, by the counters of its provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .base.frozen import FrozenDict
from .offers.prices import CPU, DURATION


@dataclass(frozen=True, slots=True)
class Usage:
    """What an activity has used so far; its provider counts, and reports about once a second.

    Attributes:
        counters: the value of each counter, by its name in the offer, e.g. `golem.usage.cpu_sec`.
    """

    counters: Mapping[str, float]

    @classmethod
    def of(cls, names: Sequence[str], values: Sequence[float]) -> Usage:
        """Return the usage of a provider that offers these counters, and has reported these values."""
        return cls(FrozenDict(zip(names, values, strict=False)))

    @property
    def seconds(self) -> float:
        """How long the activity has existed."""
        return self.counters.get(DURATION, 0.0)

    @property
    def cpu_seconds(self) -> float:
        """The processor time of all its commands, in seconds."""
        return self.counters.get(CPU, 0.0)

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.cpu_seconds:.1f} s of processor time"

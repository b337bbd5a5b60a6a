"""How far the work of a pool is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolStats:
    """The numbers of a pool at one moment; `str` of them is a line for a log.

    Attributes:
        waiting: items that no machine works on.
        under_way: items that a machine works on.
        done: items that have a result.
        failed: items that have an exception.
        repeated: how often an item was begun once more.
        machines: machines that are running.
        seconds: how long items have been waiting or under way, in all.
        expected: items that are known to come, beyond those above.
    """

    waiting: int = 0
    under_way: int = 0
    done: int = 0
    failed: int = 0
    repeated: int = 0
    machines: int = 0
    seconds: float = 0.0
    expected: int = 0

    @property
    def answered(self) -> int:
        """Items that have a result or an exception."""
        return self.done + self.failed

    @property
    def total(self) -> int:
        """All items, as far as they are known."""
        return self.answered + self.under_way + self.waiting + self.expected

    @property
    def items_per_second(self) -> float:
        """How many items were answered in each second of work; 0 before the first."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the known rest takes at this rate; None before the first item is answered."""
        rate = self.items_per_second
        return (self.total - self.answered) / rate if rate > 0 else None

    def __str__(self) -> str:
        failed = f" ({self.failed} failed)" if self.failed else ""
        repeated = f", {self.repeated} repeated" if self.repeated else ""
        return (
            f"{self.answered} of {self.total} items done{failed}, {self.under_way} under way, "
            f"{self.waiting} waiting{repeated}; {self.machines} machines"
        )

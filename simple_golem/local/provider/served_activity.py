"""One activity as its provider sees it: what runs its commands, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

from .package import Package

StateReport = Callable[[tuple[str, "str | None"]], None]
Charge = Callable[[Sequence[float]], Decimal]


class ExeUnitLike(Protocol):
    """What runs the commands of one activity."""

    def usage(self) -> Sequence[float]: ...

    def close(self) -> None: ...


class MakeExeUnit(Protocol):
    """Makes what runs the commands of an activity.

    It gives its states to `on_state`: `("Initialized", None)` first, `("Terminated", None)` when closed; not
    those that it only passes through.
    """

    def __call__(self, activity_id: str, package: Package, on_state: StateReport) -> ExeUnitLike: ...


class ServedActivity:
    """One activity of an agreement, and what it costs."""

    def __init__(self, activity_id: str, charge: Charge, exe_unit: ExeUnitLike, next_note: float) -> None:
        """Args:
        charge: what is charged for a usage.
        exe_unit: closed with it.
        next_note: when a debit note falls due, by the monotonic clock.
        """
        self.activity_id = activity_id
        self.next_note = next_note
        self._charge = charge
        self._exe_unit: ExeUnitLike | None = exe_unit
        self._last_usage: Sequence[float] = (0.0, 0.0)

    @property
    def open(self) -> bool:
        return self._exe_unit is not None

    def usage(self) -> Sequence[float]:
        if self._exe_unit is not None:
            # What is charged for and what a debit note states are the same, to the millisecond.
            self._last_usage = [round(counter, 3) for counter in self._exe_unit.usage()]
        return self._last_usage

    @property
    def last_usage(self) -> Sequence[float]:
        """The usage last asked for."""
        return self._last_usage

    @property
    def amount(self) -> Decimal:
        """What is owed for it, with the usage last asked for."""
        return self._charge(self._last_usage)

    def close(self) -> None:
        """End its processes; from here on its usage does not grow."""
        if self._exe_unit is not None:
            self.usage()
            exe_unit, self._exe_unit = self._exe_unit, None
            exe_unit.close()

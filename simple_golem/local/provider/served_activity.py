"""One activity of a provider: its exe-unit, its usage and its price."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

from .package import Package

StateReport = Callable[[tuple[str, "str | None"]], None]
Charge = Callable[[Sequence[float]], Decimal]


class ExeUnitLike(Protocol):
    """The exe-unit of one activity, as its provider uses it."""

    def usage(self) -> Sequence[float]: ...

    def close(self, *, report: bool = True) -> None: ...

    def shut_down(self) -> None: ...


class MakeExeUnit(Protocol):
    """Makes the exe-unit of an activity.

    The exe-unit calls `on_state` with its states: first `("Initialized", None)`, and `("Terminated", None)`
    when it is closed, but not with states that last only a moment.
    """

    def __call__(self, activity_id: str, package: Package, on_state: StateReport) -> ExeUnitLike: ...


class ServedActivity:
    """One activity of an agreement, with its usage and its price; used by any thread."""

    def __init__(self, activity_id: str, charge: Charge, exe_unit: ExeUnitLike, next_note: float) -> None:
        """Args:
        activity_id: the activity's id.
        charge: returns the price of a usage in GLM.
        exe_unit: the exe-unit; `close` closes it.
        next_note: when the next debit note is due, on the monotonic clock.
        """
        self.activity_id = activity_id
        self.next_note = next_note
        self._charge = charge
        # Held while the usage is counted: after the last count, no earlier one replaces it.
        self._counting = threading.Lock()
        self._exe_unit: ExeUnitLike | None = exe_unit
        self._last_usage: Sequence[float] = (0.0, 0.0)

    @property
    def open(self) -> bool:
        return self._exe_unit is not None

    def usage(self) -> Sequence[float]:
        with self._counting:
            self._count_locked()
            return self._last_usage

    def _count_locked(self) -> None:
        if self._exe_unit is not None:
            # Rounded, so that the price and the usage in a debit note match exactly.
            self._last_usage = [round(counter, 3) for counter in self._exe_unit.usage()]

    @property
    def bill(self) -> tuple[Decimal, Sequence[float]]:
        """The price of the latest usage in GLM, and that usage."""
        usage = self._last_usage
        return self._charge(usage), usage

    @property
    def amount(self) -> Decimal:
        """The price of the latest usage in GLM."""
        return self.bill[0]

    def close(self, *, report: bool = True) -> None:
        """Close the exe-unit; the usage does not grow any more.

        Args:
            report: False: it does not report its last state, as if it was killed.
        """
        exe_unit = self._take_exe_unit()
        if exe_unit is not None:
            exe_unit.close(report=report)

    def shut_down(self) -> None:
        """Have the exe-unit end in good order; blocks for 10 seconds at most."""
        exe_unit = self._take_exe_unit()
        if exe_unit is not None:
            exe_unit.shut_down()

    def _take_exe_unit(self) -> ExeUnitLike | None:
        """Count the usage for the last time; returns the exe-unit to the one thread that is to end it."""
        with self._counting:
            self._count_locked()
            exe_unit, self._exe_unit = self._exe_unit, None
            return exe_unit

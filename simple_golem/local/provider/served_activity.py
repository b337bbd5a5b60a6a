"""One activity of a provider: its exe-unit, its usage and its price."""

from __future__ import annotations

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
    """One activity of an agreement, with its usage and its price."""

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
        self._exe_unit: ExeUnitLike | None = exe_unit
        self._last_usage: Sequence[float] = (0.0, 0.0)

    @property
    def open(self) -> bool:
        return self._exe_unit is not None

    def usage(self) -> Sequence[float]:
        if self._exe_unit is not None:
            # Rounded, so that the price and the usage in a debit note match exactly.
            self._last_usage = [round(counter, 3) for counter in self._exe_unit.usage()]
        return self._last_usage

    @property
    def last_usage(self) -> Sequence[float]:
        """The result of the latest call of `usage`."""
        return self._last_usage

    @property
    def amount(self) -> Decimal:
        """The price of the latest usage in GLM."""
        return self._charge(self._last_usage)

    def close(self, *, report: bool = True) -> None:
        """Close the exe-unit; the usage does not grow any more.

        Args:
            report: False: it does not report its last state, as if it was killed.
        """
        if self._exe_unit is not None:
            self.usage()
            exe_unit, self._exe_unit = self._exe_unit, None
            exe_unit.close(report=report)

    def shut_down(self) -> None:
        """Have the exe-unit end in good order; blocks for 10 seconds at most."""
        if self._exe_unit is not None:
            self.usage()
            exe_unit, self._exe_unit = self._exe_unit, None
            exe_unit.shut_down()

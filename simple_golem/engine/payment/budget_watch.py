"""Finds out in time that the budget is used up."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial

from ...background.timer import Timer
from ...model.cost import plain, rounded
from ...model.events.budget import BudgetUsedUp
from ..event_dispatcher import Emit
from .budget import RESERVE_SECONDS, Budget
from .ledger import Ledger

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0


class BudgetWatch:
    """Reports once that what is left of the budget is needed to stop everything; again after a top-up.

    Args:
        budget, ledger: what may be spent, and what is spent.
        timer: calls the checks.
        emit: gets the event.
        on_used_up: called when the budget is used up, on the timer's thread or on a payment worker's; it must
            not block.

    Attributes:
        is_used_up: whether it was reported.
    """

    def __init__(
        self,
        budget: Budget,
        ledger: Ledger,
        timer: Timer,
        emit: Emit,
        on_used_up: Callable[[], object],
    ) -> None:
        self._budget = budget
        self._ledger = ledger
        self._timer = timer
        self._emit = emit
        self._on_used_up = on_used_up
        self._lock = threading.Lock()
        self._next_check = math.inf
        self.is_used_up = False

    def check_soon(self) -> None:
        """Check in half a second: something costs money from now on, or costs more than was expected."""
        self._check_in(_SHORTEST_PAUSE_SECONDS)

    def topped_up(self) -> None:
        """Start again with a larger budget."""
        self.is_used_up = False
        self.check_soon()

    def report_used_up(self, total: Decimal) -> None:
        """Report that the budget is used up, unless it was reported before; from any thread.

        Args:
            total: the budget that was found to be used up; nothing is reported if it is larger now.
        """
        with self._lock:
            if self.is_used_up or self._budget.total > total:
                return
            self.is_used_up = True
        self._emit(BudgetUsedUp(self._budget.total, self._ledger.cost(), self._budget.currency))
        logger.error(
            "the budget of %s %s is used up, and all clusters are stopped: %s",
            plain(self._budget.total),
            self._budget.currency,
            self.describe(),
        )
        self._on_used_up()

    def describe(self) -> str:
        """Return what is spent and what is needed, in words, and what to do."""
        cost, per_second = self._ledger.outlook()
        reserve, unit = per_second * RESERVE_SECONDS, self._budget.currency
        return (
            f"about {rounded(cost)} {unit} are spent, {rounded(reserve)} {unit} are needed to stop what "
            f"runs, and each further second costs {rounded(per_second)} {unit}; give Golem a larger "
            "`budget`, or call golem.top_up(amount) in time"
        )

    def _check_in(self, seconds: float) -> None:
        at = time.monotonic() + seconds
        with self._lock:
            if self._next_check <= at:
                return
            self._next_check = at
        self._timer.call_in(seconds, partial(self._check_unless_replaced, at))

    def _check_unless_replaced(self, at: float) -> None:
        with self._lock:
            if at != self._next_check:
                return
            self._next_check = math.inf
        self._check()

    def _check(self) -> None:
        total = self._budget.total
        cost, per_second = self._ledger.outlook()
        left = total - cost - per_second * RESERVE_SECONDS
        if left <= 0:
            self.report_used_up(total)
        elif per_second > 0:
            half = float(left / per_second) / 2
            self._check_in(max(_SHORTEST_PAUSE_SECONDS, min(_LONGEST_PAUSE_SECONDS, half)))

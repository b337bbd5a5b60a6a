"""The session's budget: one allocation, covered, topped up and released; and the look-out for its end."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial

from ...background.cancellation import Scope, ScopeEnded
from ...background.timer import Timer
from ...errors import AllocationRefused, GolemError, YagnaError
from ...model.cost import plain, rounded
from ...model.events import BudgetAllocated, BudgetChanged, BudgetReleased, BudgetUsedUp
from ...model.offers.prices import EXACT
from ...yagna.client import Yagna
from ...yagna.values import Allocation, Decorations
from ..event_dispatcher import Emit
from .ledger import Ledger

logger = logging.getLogger(__name__)

# The allocation outlives what it pays for, so that a late invoice can still be accepted.
_MARGIN = timedelta(minutes=30)
# Some more, so that a first cluster of 180 minutes needs no other one.
COVERED = timedelta(minutes=181)
_FIRST = COVERED + _MARGIN
# What it takes to stop everything in good order must still be paid.
RESERVE_SECONDS = Decimal(15)
_SOONEST_LOOK_SECONDS = 0.5
# Many who choose at once ask for the same.
_SAME_OUTLOOK_SECONDS = 0.05
# What the daemon says of an allocation whose time is over, or that was released.
_GONE = (404, 410)
_LATEST_LOOK_SECONDS = 60.0


class Budget:
    """GLM set aside for one session."""

    def __init__(self, yagna: Yagna, platform: str, ledger: Ledger, emit: Emit) -> None:
        self._yagna = yagna
        self._platform = platform
        self._ledger = ledger
        self._emit = emit
        self._amending = threading.Lock()
        self._allocation: Allocation | None = None
        self._until: datetime | None = None
        self._kept_for: set[str] = set()
        self._reserving = threading.Lock()
        self._reserved: dict[str, Decimal] = {}
        self._outlook: tuple[float, Decimal] | None = None
        self.total = Decimal(0)
        self.opened: datetime | None = None

    def allocate(self, amount: Decimal) -> None:
        """Set `amount` GLM aside.

        Raises:
            AllocationRefused: the daemon won't, mostly for want of funds.
        """
        self._until = datetime.now(timezone.utc) + _FIRST
        self._ledger.books.write("budget", amount=str(amount))
        self._ledger.books.write("allocation planned", until=self._until.isoformat())
        try:
            allocation = self._yagna.payment.allocate(amount, self._platform, self._until)
        except YagnaError as error:
            if error.status is not None:
                self._ledger.books.write("allocation not made")
            raise AllocationRefused(
                f"the daemon did not set {plain(amount)} GLM aside on {self._platform}: {error.detail}; see "
                "`yagna payment status`, `yagna payment fund` for test money, and `simple-golem cleanup`, "
                "which releases what scripts that were killed still hold"
            ) from error
        self._ledger.books.write("allocation", id=allocation.allocation_id)
        self._allocation = allocation
        self.total = amount
        self.opened = allocation.timestamp
        self._emit(BudgetAllocated(allocation.allocation_id, amount, self._platform))

    def top_up(self, amount: Decimal) -> Decimal:
        """Set `amount` GLM more aside; returns the new total.

        Raises:
            AllocationRefused: the daemon won't; the budget stays as it is.
        """
        with self._amending:
            total = EXACT.add(self.total, amount)
            try:
                self._yagna.payment.amend(self.allocation_id, total, self._until)
            except YagnaError as error:
                raise AllocationRefused(
                    f"the daemon did not set {plain(amount)} GLM more aside on {self._platform}: "
                    f"{error.detail}; the budget stays at {plain(self.total)} GLM"
                ) from error
            self.total = total
        self._ledger.books.write("budget", amount=str(total))
        self._emit(BudgetChanged(self.allocation_id, total))
        return total

    def cover(self, expiration: datetime) -> None:
        """Have the allocation last until what ends at `expiration` is paid.

        Raises:
            AllocationRefused: there is none any more.
        """
        wanted = expiration + _MARGIN
        with self._amending:
            if self._until is None or wanted <= self._until:
                return
            try:
                self._yagna.payment.amend(self.allocation_id, self.total, wanted)
            except YagnaError as error:
                if error.status not in _GONE:
                    raise
                raise AllocationRefused(
                    f"what was set aside for this Golem, until {self._until:%Y-%m-%d %H:%M} UTC, is not "
                    "there any more: close it and open a new one"
                ) from error
            self._until = wanted

    def decorations(self) -> Decorations:
        return self._yagna.payment.decorations(self.allocation_id)

    @property
    def allocation_id(self) -> str:
        if self._allocation is None:
            raise AllocationRefused("no budget is set aside: the Golem is not open")
        return self._allocation.allocation_id

    def left(self) -> Decimal:
        """GLM that are neither spent, nor foreseen to be, nor needed to end what runs."""
        with self._reserving:
            return self._left_locked()

    def _left_locked(self) -> Decimal:
        now = time.monotonic()
        if self._outlook is None or now - self._outlook[0] > _SAME_OUTLOOK_SECONDS:
            self._outlook = now, self._needed()
        needed = self._outlook[1]
        for amount in self._reserved.values():
            needed = EXACT.add(needed, amount)
        return max(Decimal(0), EXACT.subtract(self.total, needed))

    def _needed(self) -> Decimal:
        cost, per_second = self._ledger.outlook()
        return EXACT.add(cost, EXACT.multiply(per_second, RESERVE_SECONDS))

    def reserve(self, provider_id: str, amount: Decimal) -> bool:
        """Reserve GLM for an agreement that is being made, which the ledger does not know yet.

        Returns:
            False if less than `amount` is left; nothing is reserved then.
        """
        with self._reserving:
            if amount > self._left_locked():
                return False
            self._reserved[provider_id] = amount
            return True

    def let_go(self, provider_id: str) -> None:
        """It was made, and the ledger knows of it, or it was not."""
        with self._reserving:
            self._reserved.pop(provider_id, None)
            self._outlook = None

    def keep(self, agreement_id: str) -> str:
        """An agreement goes on without this session: don't release the allocation; returns its id."""
        self._kept_for.add(agreement_id)
        self._ledger.books.keep_allocation(self.allocation_id, agreement_id)
        return self.allocation_id

    def take_back(self, agreement_id: str) -> None:
        """It goes on with this session again."""
        self._kept_for.discard(agreement_id)

    def release(self, scope: Scope) -> None:
        """Give back what was not spent, unless it is kept for what was suspended."""
        allocation, self._allocation = self._allocation, None
        if allocation is None:
            return
        if self._kept_for:
            self._ledger.books.leave_allocation(allocation.allocation_id)
            return
        try:
            self._yagna.payment.release(allocation.allocation_id, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning(
                "the allocation %s could not be released (%s): `simple-golem cleanup` does it later",
                allocation.allocation_id,
                error or "no time left",
            )
            return
        self._ledger.books.write("allocation released", id=allocation.allocation_id)
        self._emit(BudgetReleased(allocation.allocation_id))


class BudgetWatch:
    """Tells, once for each budget, when what is left of it is needed to end what runs."""

    def __init__(self, budget: Budget, ledger: Ledger, timer: Timer, emit: Emit) -> None:
        self._budget = budget
        self._ledger = ledger
        self._timer = timer
        self._emit = emit
        self._lock = threading.Lock()
        self._next_look = math.inf
        self.is_used_up = False
        self.on_end: Callable[[], object] = lambda: None

    def begin(self) -> None:
        """Something begins to cost money: look at it soon, and from now on."""
        self._look_in(_SOONEST_LOOK_SECONDS)

    def _look_in(self, seconds: float) -> None:
        at = time.monotonic() + seconds
        with self._lock:
            if self._next_look <= at:
                return
            self._next_look = at
        self._timer.call_in(seconds, partial(self._look_unless_sooner, at))

    def _look_unless_sooner(self, at: float) -> None:
        with self._lock:
            if at != self._next_look:
                return
            self._next_look = math.inf
        self._look()

    def topped_up(self) -> None:
        """There is more of it."""
        self.is_used_up = False
        self.begin()

    def used_up(self) -> None:
        """The daemon says that nothing is left, or it was foreseen."""
        with self._lock:
            if self.is_used_up:
                return
            self.is_used_up = True
        self._emit(BudgetUsedUp(self._budget.total, self._ledger.cost()))
        logger.error(
            "the budget of %s GLM is used up, and all clusters are stopped: %s",
            plain(self._budget.total),
            self.told(),
        )
        self.on_end()

    def told(self) -> str:
        """How things stand, in words and figures, and what to do."""
        cost, per_second = self._ledger.outlook()
        reserve = per_second * RESERVE_SECONDS
        return (
            f"some {rounded(cost)} GLM are spent by now, {rounded(reserve)} GLM are kept to end what runs, "
            f"and each further second costs {rounded(per_second)} GLM; give Golem a larger `budget`, or "
            "call golem.top_up(amount) in time"
        )

    def _look(self) -> None:
        """On the timer's thread: ask the ledger how things stand, and come back in time."""
        cost, per_second = self._ledger.outlook()
        left = self._budget.total - cost - per_second * RESERVE_SECONDS
        if left <= 0:
            self.used_up()
        elif per_second > 0:
            pause = min(_LATEST_LOOK_SECONDS, float(left / per_second) / 2)
            self._look_in(max(_SOONEST_LOOK_SECONDS, pause))

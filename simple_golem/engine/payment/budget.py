"""The budget of a session: one allocation, which is prolonged, topped up, and released in the end."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from decimal import Decimal

from ...background.cancellation import Scope, ScopeEnded
from ...errors import AllocationRefused, GolemError, YagnaError
from ...model.cost import plain
from ...model.events.budget import BudgetAllocated, BudgetChanged, BudgetReleased
from ...model.offers.prices import EXACT
from ...model.service.suspended import SuspendedInstance
from ...model.settings import currency_of, network_of
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat, is_unsure
from ...yagna.values import AgreementState, Allocation, Decorations
from ..event_dispatcher import Emit
from .allocation import allocate, allocations_until
from .documents import earlier_answer
from .ledger import Ledger

logger = logging.getLogger(__name__)

# The allocation lasts longer than the agreements, so that a late invoice can still be accepted.
_LATE_INVOICES = timedelta(minutes=30)
# A little more than the default expiration of a cluster: the first one then needs no second request.
COVERED = timedelta(minutes=181)
_FIRST_ALLOCATION = COVERED + _LATE_INVOICES
# The budget must also pay for the seconds that a proper stop takes.
RESERVE_SECONDS = Decimal(15)
# The daemon's answers for an allocation that has expired or was released.
_GONE_STATUSES = (404, 410)


class Budget:
    """GLM that the daemon keeps for one session; used by any thread.

    Args:
        yagna: the daemon.
        platform: the payment platform.
        ledger: knows what is owed.
        emit: gets the events.
        asking: cancelling it abandons the requests for the allocation: the calls then raise `ScopeEnded`.

    Attributes:
        total: GLM that may be spent.
        currency: `GLM`, or `tGLM` which is test money.
    """

    def __init__(
        self, yagna: Yagna, platform: str, ledger: Ledger, emit: Emit, asking: Scope | None = None
    ) -> None:
        self._yagna = yagna
        self._asking = asking
        self._platform = platform
        self.currency = currency_of(network_of(platform))
        self._ledger = ledger
        self._emit = emit
        # By the daemon's clock, as all that is sent.
        self._until: datetime | None = None
        # Held during a request, so that amounts and ends of the allocation change one after the other.
        self._amending = threading.Lock()
        self._allocation: Allocation | None = None
        # The end of one that the daemon may have made, although the request was abandoned.
        self._abandoned: datetime | None = None
        self._kept_for: set[str] = set()
        # Guards the two fields after it.
        self._reserving = threading.Lock()
        self._reserved: dict[str, Decimal] = {}
        self._reserved_sum = Decimal(0)
        self.total = Decimal(0)

    # --- the allocation -------------------------------------------------------------------------------

    def allocate(self, amount: Decimal) -> None:
        """Have the daemon keep `amount` GLM; blocks for one request.

        Raises:
            AllocationRefused: the daemon does not do it; mostly there are not enough funds.
        """
        self._until = self._yagna.clock.now() + _FIRST_ALLOCATION
        journals = self._ledger.journals
        journals.write("budget", amount=str(amount))
        journals.write("allocation planned", until=self._until.isoformat())
        try:
            allocation = allocate(self._yagna, amount, self._platform, self._until, self._asking)
        except ScopeEnded:
            self._abandoned = self._until
            raise
        except YagnaError as error:
            if is_unsure(error):
                raise AllocationRefused(
                    f"whether the daemon has allocated {plain(amount)} {self.currency} on {self._platform} "
                    f"is not known, since it gave no answer ({error.detail}): run the script again; "
                    "`simple-golem cleanup` releases what was allocated"
                ) from error
            journals.write("allocation not made")
            raise AllocationRefused(
                f"the daemon did not allocate {plain(amount)} {self.currency} on {self._platform}: "
                f"{error.detail}; see `yagna payment status`; `yagna payment fund` gets test money, and "
                "`simple-golem cleanup` releases what killed scripts still hold"
            ) from error
        journals.write("allocation", id=allocation.allocation_id)
        self._allocation = allocation
        self.total = amount
        self._emit(BudgetAllocated(allocation.allocation_id, amount, self._platform))

    def top_up(self, amount: Decimal) -> Decimal:
        """Have the daemon keep `amount` GLM more; returns the new total. Blocks for one request.

        Raises:
            AllocationRefused: the daemon does not do it; the budget stays as it is.
        """
        with self._amending:
            total = EXACT.add(self.total, amount)
            try:
                self._yagna.payment.amend(self.allocation_id, total, self._until, scope=self._asking)
            except YagnaError as error:
                raise AllocationRefused(
                    f"the daemon did not allocate {plain(amount)} {self.currency} more on {self._platform}: "
                    f"{error.detail}; the budget stays at {plain(self.total)} {self.currency}"
                ) from error
            self.total = total
        self._ledger.journals.write("budget", amount=str(total))
        self._emit(BudgetChanged(self.allocation_id, total, self.currency))
        return total

    def cover(self, expiration: datetime) -> None:
        """Prolong the allocation, if need be, until what ends at `expiration` is paid.

        Args:
            expiration: by the clock of this machine.

        Raises:
            AllocationRefused: the allocation does not exist any more.
        """
        wanted = self._yagna.clock.to_daemon(expiration) + _LATE_INVOICES
        with self._amending:
            if self._until is None or wanted <= self._until:
                return
            try:
                self._yagna.payment.amend(self.allocation_id, self.total, wanted, scope=self._asking)
            except YagnaError as error:
                if error.status not in _GONE_STATUSES:
                    raise
                raise AllocationRefused(
                    f"the budget of this Golem was allocated until {self._until:%Y-%m-%d %H:%M} UTC, and "
                    "does not exist any more: close it and open a new one"
                ) from error
            self._until = wanted

    def decorations(self) -> Decorations:
        """Return what a demand that is paid from this allocation must say; blocks for one request."""
        return self._yagna.payment.decorations(self.allocation_id, scope=self._asking)

    @property
    def allocation_id(self) -> str:
        """The id of the allocation; raises `AllocationRefused` before it is made and after its release."""
        allocation = self._allocation
        if allocation is None:
            raise AllocationRefused("no budget is allocated: the Golem is not open")
        return allocation.allocation_id

    def release(self, scope: Scope) -> None:
        """Release what was not spent, unless suspended instances need it; a second call does nothing."""
        allocation, self._allocation = self._allocation, None
        if allocation is None:
            self._release_abandoned(scope)
            return
        if [one for one in self._kept_for if self._is_suspended(one, scope)]:
            self._ledger.journals.leave_allocation(allocation.allocation_id)
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
        self._ledger.journals.write("allocation released", id=allocation.allocation_id)
        self._emit(BudgetReleased(allocation.allocation_id))

    def _release_abandoned(self, scope: Scope) -> None:
        """Release what the daemon has allocated although the request was abandoned.

        The journal keeps it in any case: the daemon may still be about to do it.
        """
        until, self._abandoned = self._abandoned, None
        if until is None:
            return
        try:
            for one in allocations_until(self._yagna, until, scope):
                self._yagna.payment.release(one.allocation_id, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning(
                "the daemon has not answered the request for an allocation, and may still make it (%s): "
                "`simple-golem cleanup` releases it later",
                error or "no time left",
            )

    # --- what is left ---------------------------------------------------------------------------------

    def left(self) -> Decimal:
        """Return the GLM that nothing needs: not what runs, not its end, and no agreement in the making."""
        with self._reserving:
            return self._left_locked()

    def reserve(self, provider_id: str, amount: Decimal) -> bool:
        """Reserve GLM for an agreement that is being made, which the ledger does not know yet.

        Returns:
            False if less than `amount` is left; nothing is reserved then.
        """
        with self._reserving:
            if amount > self._left_locked():
                return False
            self._free_locked(provider_id)
            self._reserved[provider_id] = amount
            self._reserved_sum = EXACT.add(self._reserved_sum, amount)
            return True

    def end_reservation(self, provider_id: str) -> None:
        """Free what was reserved: the ledger knows of the agreement now, or it was not made."""
        with self._reserving:
            self._free_locked(provider_id)

    def _free_locked(self, provider_id: str) -> None:
        amount = self._reserved.pop(provider_id, Decimal(0))
        self._reserved_sum = EXACT.subtract(self._reserved_sum, amount)

    def _left_locked(self) -> Decimal:
        cost, per_second = self._ledger.recent_outlook()
        for_the_end = EXACT.multiply(per_second, RESERVE_SECONDS)
        needed = EXACT.add(EXACT.add(cost, for_the_end), self._reserved_sum)
        return max(Decimal(0), EXACT.subtract(self.total, needed))

    # --- suspended instances --------------------------------------------------------------------------

    def keep_for(self, agreement_id: str) -> str:
        """Keep the allocation after this session, for a suspended agreement; returns the allocation's id."""
        self._kept_for.add(agreement_id)
        self._ledger.journals.keep_allocation(self.allocation_id, agreement_id)
        return self.allocation_id

    def _is_suspended(self, agreement_id: str, scope: Scope) -> bool:
        """Whether an agreement is still suspended: another session may have resumed it, or it has ended."""
        journals = self._ledger.journals
        if self._ledger.is_with_another(agreement_id):
            journals.leave_to_another(agreement_id)
            return False
        try:
            state = self._yagna.market.agreement(agreement_id, scope=scope).state
        except (GolemError, ScopeEnded) as error:
            logger.debug("no state of the suspended agreement %s: %s", agreement_id, error)
            return True
        if state in (AgreementState.PENDING, AgreementState.APPROVED):
            return True
        journals.write("agreement ended", about=agreement_id, id=agreement_id)
        self._note_accepted_invoice(agreement_id, scope)
        return False

    def _note_accepted_invoice(self, agreement_id: str, scope: Scope) -> None:
        """Note that the session that has ended an agreement has accepted its invoice, if so.

        The reader of this session may not have seen it yet. Without this the next session would ask for it.
        """
        account = self._ledger.find(agreement_id)
        if account is None:
            return
        try:
            accepted = earlier_answer(self._yagna, account, scope, Repeat.NEVER)
        except ScopeEnded:
            return
        if accepted is not None:
            self._ledger.invoice_was_answered(account, accepted)

    def replace_allocation_of(self, suspended: SuspendedInstance) -> None:
        """Pay for a resumed agreement from now on, and release the allocation of the earlier session."""
        self._kept_for.discard(suspended.agreement_id)
        if suspended.allocation_id == self.allocation_id:
            return
        journals = self._ledger.journals
        if not journals.is_over(suspended.app_session_id):
            return  # the earlier session is alive, or more of it is suspended
        try:
            self._yagna.payment.release(suspended.allocation_id)
        except GolemError as error:
            logger.warning(
                "the allocation %s of an earlier session could not be released: %s",
                suspended.allocation_id,
                error,
            )
            return
        if journals.has_taken_over(suspended.app_session_id):
            journals.write_of_session(
                suspended.app_session_id, "allocation released", id=suspended.allocation_id
            )

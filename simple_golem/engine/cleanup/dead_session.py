"""Ends what one dead session has left open, and pays what it owes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from ...background.cancellation import Scope
from ...errors import GolemError, OutOfBudget, YagnaError
from ...model.cost import plain
from ...model.events.cleanup import CleanedUp
from ...model.offers.prices import EXACT
from ...model.settings import currency_of, network_of
from ...yagna.api.market import is_refused_by_provider
from ...yagna.client import Yagna
from ...yagna.transport.retry import is_unsure
from ...yagna.values import AgreementState, Invoice
from ..event_dispatcher import Emit
from ..payment.account import Account
from ..payment.allocation import allocate, allocations_until
from ..payment.documents import invoices_of
from ..payment.journal import Journal
from ..published_demands import withdraw_demands_of

logger = logging.getLogger(__name__)

# No provider sends an invoice later than that.
_LATEST_INVOICE = timedelta(days=30)
_ALLOCATION_TIMEOUT = timedelta(minutes=10)
_REASON = "The requestor is gone"


class DeadSession:
    """One dead session, whose journal this process holds.

    Args:
        yagna: the daemon.
        journal: of the session.
        platform: the payment platform.
        scope: cancelling it ends all requests.
        emit: gets an event for each thing that was done.
        above_budget: whether to pay invoices that exceed the budget of the session.

    Attributes:
        creditors: the providers whose invoice has not come yet.
        terminated: how many agreements were terminated.
        paid: how many GLM were paid.
    """

    def __init__(
        self,
        yagna: Yagna,
        journal: Journal,
        platform: str,
        scope: Scope,
        emit: Emit,
        *,
        above_budget: bool = False,
    ) -> None:
        self._yagna = yagna
        self._journal = journal
        self._record = journal.record
        self._session_id = journal.record.session_id
        self._platform = platform
        self._currency = currency_of(network_of(platform))
        self._scope = scope
        self._emit = emit
        self._above_budget = above_budget
        self.creditors: list[str] = []
        self.terminated = 0
        self.paid = Decimal(0)

    def end(self) -> list[str]:
        """End its demands, agreements and allocations, but nothing that is suspended; blocks for requests.

        Returns:
            What could not be done, in words. All the rest is done.
        """
        problems = _tried(self._withdraw_demands)
        for agreement_id in list(self._record.suspended):
            problems += _tried(self._forget_if_ended, agreement_id)
        try:
            unended = self._unended()
        except GolemError as error:
            return [*problems, str(error)]
        for agreement_id in unended:
            problems += _tried(self._end_agreement, agreement_id)
        if not self._record.suspended:
            problems += _tried(self._release_allocations)
            for network_id in list(self._record.networks):
                problems += _tried(self._end_network, network_id)
            for mark in list(self._record.planned_networks):
                problems += _tried(self._end_marked_networks, mark)
        return problems

    @property
    def is_ended(self) -> bool:
        """Whether nothing is open any more, by its journal, except what is suspended."""
        record = self._record
        if record.suspended:
            return not record.open - record.suspended.keys()
        is_open = record.open or record.allocations or record.planned
        return not (is_open or record.demands_left or record.networks or record.planned_networks)

    def end_suspended(self) -> None:
        """Have `end` end the suspended instances, too."""
        for agreement_id in list(self._record.suspended):
            self._journal.write("resumed", id=agreement_id)

    @property
    def suspended(self) -> list[str]:
        """The names of the suspended instances."""
        return sorted(one.name for one in self._record.suspended.values())

    @property
    def owes(self) -> bool:
        """Whether an invoice has not come yet, or could not be paid."""
        return bool(self._record.owed - self._record.suspended.keys())

    def pay(self) -> list[str]:
        """Answer the invoices that have come; returns what could not be done. Blocks for requests."""
        owed = self._record.owed - self._record.suspended.keys()
        if not owed:
            return []
        try:
            invoices = invoices_of(self._yagna, [self._record.accounts[one] for one in owed], self._scope)
        except GolemError as error:
            return [str(error)]
        problems: list[str] = []
        for invoice in invoices:
            owed.discard(invoice.agreement_id)
            problems += _tried(self._answer, self._record.accounts[invoice.agreement_id], invoice)
        self.creditors = sorted(self._record.accounts[one].provider for one in owed)
        for agreement_id in self._record.owed - self._record.suspended.keys():
            problems += _tried(self._forget_if_old, agreement_id, agreement_id in owed)
        return problems

    def close(self) -> None:
        """Close the journal, which is deleted if nothing is left to do."""
        self._journal.close()

    def _emit_done(self, what: str) -> None:
        self._emit(CleanedUp(self._session_id, what))

    def _withdraw_demands(self) -> None:
        def log_withdrawal(demand_id: str) -> None:
            self._emit_done(f"demand {demand_id} withdrawn")

        withdraw_demands_of(self._yagna, self._session_id, self._scope, log_withdrawal)
        if self._record.demands_left:
            self._journal.write("demands withdrawn")

    def _end_network(self, network_id: str) -> None:
        self._yagna.network.delete(network_id, scope=self._scope)
        self._journal.write("network ended", id=network_id)
        self._emit_done(f"network {network_id} ended")

    def _end_marked_networks(self, mark: str) -> None:
        for one in self._yagna.network.networks(scope=self._scope):
            if one.gateway == mark:
                self._end_network(one.network_id)
        self._journal.write("network not made", mark=mark)

    def _unended(self) -> list[str]:
        listed = self._yagna.market.agreements(app_session_id=self._session_id, scope=self._scope)
        unknown = {
            row["id"] for row in listed if row.get("role") == "Requestor"
        } - self._record.accounts.keys()
        return sorted((unknown | self._record.open) - self._record.suspended.keys())

    def _end_agreement(self, agreement_id: str) -> None:
        market = self._yagna.market
        try:
            agreement = market.agreement(agreement_id, scope=self._scope)
        except YagnaError as error:
            if error.status != 404:
                raise
            self._forget(agreement_id)  # the daemon has lost its database
            return
        if agreement_id not in self._record.accounts:
            account = Account.of_wire(agreement, "", "a session that was killed", self._yagna.clock)
            self._journal.write("agreement", **account.to_json())
        for activity_id in self._yagna.activity.of_agreement(agreement_id, scope=self._scope):
            began = self._yagna.clock.to_local(agreement.approved or agreement.made)
            self._write_activity(agreement_id, activity_id, began)
        if agreement.state is AgreementState.PENDING:
            market.cancel(agreement_id, _REASON, scope=self._scope)
        if agreement.state in (AgreementState.PENDING, AgreementState.APPROVED):
            self._terminate(agreement_id)
        for activity_id, activity in self._record.accounts[agreement_id].activities.items():
            if activity.ended is not None:
                continue
            self._journal.write(
                "activity ended",
                agreement=agreement_id,
                id=activity_id,
                at=datetime.now(timezone.utc).isoformat(),
            )
        self._journal.write("agreement ended", id=agreement_id)

    def _terminate(self, agreement_id: str) -> None:
        try:
            self._yagna.market.terminate(agreement_id, _REASON, "Cancelled", scope=self._scope)
        except YagnaError as error:
            if not is_refused_by_provider(error) or self._has_activity(agreement_id):
                raise
            logger.info("the provider had ended the agreement %s before: %s", agreement_id, error)
            return
        account = self._record.accounts[agreement_id]
        whose = f"of {account.instance} with {account.provider_name}"
        self.terminated += 1
        self._emit_done(f"the agreement {whose} terminated ({agreement_id})")

    def _has_activity(self, agreement_id: str) -> bool:
        """Whether something runs in an agreement, and costs."""
        activities = self._yagna.activity
        return any(
            activities.state(one, scope=self._scope).alive
            for one in activities.of_agreement(agreement_id, scope=self._scope)
        )

    def _write_activity(self, agreement_id: str, activity_id: str, began: datetime) -> None:
        if activity_id not in self._record.accounts[agreement_id].activities:
            self._journal.write("activity", agreement=agreement_id, id=activity_id, began=began.isoformat())

    def _release_allocations(self) -> None:
        payment = self._yagna.payment
        for allocation_id in list(self._record.allocations):
            payment.release(allocation_id, scope=self._scope)
            self._journal.write("allocation released", id=allocation_id)
            self._emit_done(f"allocation {allocation_id} released")
        for until in list(self._record.planned):
            for allocation in allocations_until(self._yagna, until, self._scope):
                payment.release(allocation.allocation_id, scope=self._scope)
                self._emit_done(f"allocation {allocation.allocation_id} released")
        if self._record.planned:
            self._journal.write("allocation not made")

    def _forget(self, agreement_id: str) -> None:
        """Give up an agreement: nothing can be ended, and no invoice will come."""
        self._journal.write("agreement ended", id=agreement_id)
        self._journal.write("invoice answered", agreement=agreement_id, paid="0")

    def _forget_if_ended(self, agreement_id: str) -> None:
        """A suspended agreement may have ended: its provider or another session has ended it."""
        try:
            state = self._yagna.market.agreement(agreement_id, scope=self._scope).state
        except YagnaError as error:
            if error.status != 404:
                raise
            self._forget(agreement_id)
            return
        if state not in (AgreementState.PENDING, AgreementState.APPROVED):
            self._end_agreement(agreement_id)

    def _forget_if_old(self, agreement_id: str, has_no_invoice: bool) -> None:
        account = self._record.accounts[agreement_id]
        if datetime.now(timezone.utc) - account.agreed > _LATEST_INVOICE:
            self._forget(agreement_id)
            return
        if not has_no_invoice:
            return
        try:
            self._yagna.market.agreement(agreement_id, scope=self._scope)
        except YagnaError as error:
            if error.status != 404:
                raise
            self._forget(agreement_id)

    def _answer(self, account: Account, invoice: Invoice) -> None:
        if invoice.answer is not None:
            paid = str(invoice.answer)
            self._journal.write("invoice answered", agreement=account.agreement_id, paid=paid)
            return
        objection = account.objection_to_invoice(invoice.amount)
        if objection is not None:
            self._yagna.payment.reject_invoice(invoice, objection, scope=self._scope)
            self._journal.write("invoice answered", agreement=account.agreement_id, paid="0")
            self._emit_done(f"invoice of {account.provider} refused: {objection}")
            return
        is_above = EXACT.add(self._record.paid, invoice.amount) > self._record.budget
        if is_above and not self._above_budget:
            unit = self._currency
            raise OutOfBudget(
                f"the invoice of {account.provider} over {plain(invoice.amount)} {unit} is not paid: its "
                f"session had a budget of {plain(self._record.budget)} {unit} and has spent "
                f"{plain(self._record.paid)} {unit}; `simple-golem cleanup --above-budget` pays it all the "
                "same"
            )
        self._pay(account, invoice)

    def _pay(self, account: Account, invoice: Invoice) -> None:
        """Pay from a new allocation of exactly this amount, so that no session's budget becomes smaller."""
        payment = self._yagna.payment
        until = self._yagna.clock.now() + _ALLOCATION_TIMEOUT
        self._journal.write("allocation planned", until=until.isoformat())
        try:
            allocation = allocate(self._yagna, invoice.amount, self._platform, until, self._scope)
        except YagnaError as error:
            if not is_unsure(error):
                self._journal.write("allocation not made")
            raise
        self._journal.write("allocation", id=allocation.allocation_id)
        payment.accept_invoice(invoice, allocation.allocation_id, scope=self._scope)
        self._journal.write("invoice answered", agreement=account.agreement_id, paid=str(invoice.amount))
        self.paid = EXACT.add(self.paid, invoice.amount)
        payment.release(allocation.allocation_id, scope=self._scope)
        self._journal.write("allocation released", id=allocation.allocation_id)
        amount = f"{plain(invoice.amount)} {self._currency}"
        self._emit_done(f"invoice of {account.provider} for {account.instance} over {amount} paid")


def _tried(work: Callable[..., None], *args: object) -> list[str]:
    """Do some work; returns what went wrong, in words."""
    try:
        work(*args)
    except GolemError as error:
        return [str(error)]
    return []

"""Cleans up after sessions that are no more: what they left open is ended, what they still owe is paid."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ..background.cancellation import Deadline, Scope, ScopeEnded
from ..errors import GolemError, OutOfBudget, YagnaError
from ..model.cost import plain
from ..model.events import CleanedUp
from ..model.offers.prices import EXACT
from ..yagna.client import Yagna
from ..yagna.values import AgreementState, Invoice
from .event_dispatcher import Emit
from .market.demand_properties import SESSION_MARK
from .payment.account import Account
from .payment.journal import Journal, JournalOwner, dead_journals
from .payment.ledger import account_of

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_LONGEST_LOOK_SECONDS = 20.0
_PAID = ("ACCEPTED", "SETTLED")
_ANSWERED = (*_PAID, "REJECTED", "CANCELLED")
# Nobody sends an invoice after that.
_GIVE_UP = timedelta(days=30)
# An invoice has the time of its provider's clock.
_CLOCKS_APART = timedelta(days=1)
_ALLOCATION_FOR = timedelta(minutes=10)
# The daemon keeps times to the microsecond.
_SAME_MOMENT = timedelta(milliseconds=1)


class DeadSession:
    """One session that is no more, whose journal was taken over."""

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
        self._session_id = journal.record.sessions[0]
        self._platform = platform
        self._scope = scope
        self._emit = emit
        self._above_budget = above_budget

    def end(self) -> list[str]:
        """End what it left open: demands, agreements, allocations; what was suspended is left alone.

        Returns:
            What could not be done; it keeps nothing else from being done.
        """
        troubles = _tried(self._withdraw_demands)
        for agreement_id in list(self._record.suspended):
            troubles += _tried(self._forget_if_ended, agreement_id)
        try:
            unended = self._unended()
        except GolemError as error:
            return [*troubles, str(error)]
        for agreement_id in unended:
            troubles += _tried(self._end_agreement, agreement_id)
        if not self._record.suspended:
            troubles += _tried(self._release_allocations)
        return troubles

    @property
    def is_ended(self) -> bool:
        """Whether, by its journal, nothing is open but what was suspended."""
        record = self._record
        if record.suspended:
            return not record.open - record.suspended.keys()
        return not (record.open or record.allocations or record.planned)

    def end_suspended(self) -> None:
        """Don't leave alone what was suspended."""
        for agreement_id in list(self._record.suspended):
            self._journal.write("resumed", id=agreement_id)

    @property
    def suspended(self) -> list[str]:
        """Names of the instances that are kept for a later `resume_service`."""
        return sorted(one.name for one in self._record.suspended.values())

    @property
    def owes(self) -> bool:
        """Whether an invoice is still to come, or could not be paid."""
        return bool(self._record.owed - self._record.suspended.keys())

    def pay(self) -> list[str]:
        """Answer the invoices that have come; returns what could not be done."""
        owed = self._record.owed - self._record.suspended.keys()
        if not owed:
            return []
        # All that the identity ever got would be too many.
        since = min(self._record.accounts[one].agreed for one in owed) - _CLOCKS_APART
        try:
            invoices = self._yagna.payment.invoices(since, scope=self._scope)
        except GolemError as error:
            return [str(error)]
        troubles: list[str] = []
        for invoice in invoices:
            if invoice.agreement_id in owed:
                owed.discard(invoice.agreement_id)
                troubles += _tried(self._answer, self._record.accounts[invoice.agreement_id], invoice)
        for agreement_id in self._record.owed - self._record.suspended.keys():
            troubles += _tried(self._forget_if_old, agreement_id, agreement_id in owed)
        return troubles

    def close(self) -> None:
        self._journal.close()

    def _tell(self, what: str) -> None:
        self._emit(CleanedUp(self._session_id, what))

    def _withdraw_demands(self) -> None:
        for demand in self._yagna.market.demands(scope=self._scope):
            if demand["properties"].get(SESSION_MARK) == self._session_id:
                self._yagna.market.unsubscribe(demand["demandId"], scope=self._scope)
                self._tell(f"demand {demand['demandId']} withdrawn")

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
            self._forget(agreement_id)  # of a daemon that was set up anew
            return
        if agreement_id not in self._record.accounts:
            self._journal.write(
                "agreement", **account_of(agreement, "", "a session that was killed").to_json()
            )
        for activity_id in self._yagna.activity.of_agreement(agreement_id, scope=self._scope):
            self._know_activity(agreement_id, activity_id, agreement.approved or agreement.made)
        if agreement.state is AgreementState.PENDING:
            market.cancel(agreement_id, "The requestor is gone", scope=self._scope)
        if agreement.state in (AgreementState.PENDING, AgreementState.APPROVED):
            market.terminate(agreement_id, "The requestor is gone", "Cancelled", scope=self._scope)
            self._tell(f"agreement {agreement_id} terminated")
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

    def _know_activity(self, agreement_id: str, activity_id: str, began: datetime) -> None:
        if activity_id not in self._record.accounts[agreement_id].activities:
            self._journal.write("activity", agreement=agreement_id, id=activity_id, began=began.isoformat())

    def _release_allocations(self) -> None:
        payment = self._yagna.payment
        for allocation_id in list(self._record.allocations):
            payment.release(allocation_id, scope=self._scope)
            self._journal.write("allocation released", id=allocation_id)
            self._tell(f"allocation {allocation_id} released")
        for until in list(self._record.planned):
            for allocation in payment.allocations(scope=self._scope):
                if allocation.timeout is not None and abs(allocation.timeout - until) < _SAME_MOMENT:
                    payment.release(allocation.allocation_id, scope=self._scope)
                    self._tell(f"allocation {allocation.allocation_id} released")
        if self._record.planned:
            self._journal.write("allocation not made")

    def _forget(self, agreement_id: str) -> None:
        self._journal.write("agreement ended", id=agreement_id)
        self._journal.write("invoice answered", agreement=agreement_id, paid="0")

    def _forget_if_ended(self, agreement_id: str) -> None:
        """What was suspended may have ended since: by its provider, or in a session without this journal."""
        try:
            state = self._yagna.market.agreement(agreement_id, scope=self._scope).state
        except YagnaError as error:
            if error.status != 404:
                raise
            self._forget(agreement_id)
            return
        if state not in (AgreementState.PENDING, AgreementState.APPROVED):
            self._journal.write("resumed", id=agreement_id)

    def _forget_if_old(self, agreement_id: str, has_no_invoice: bool) -> None:
        account = self._record.accounts[agreement_id]
        if datetime.now(timezone.utc) - account.agreed > _GIVE_UP:
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
        if invoice.status in _ANSWERED:
            paid = str(invoice.amount) if invoice.status in _PAID else "0"
            self._journal.write("invoice answered", agreement=account.agreement_id, paid=paid)
            return
        objection = account.objection_to_invoice(invoice.amount)
        if objection is not None:
            self._yagna.payment.reject_invoice(invoice, objection, scope=self._scope)
            self._journal.write("invoice answered", agreement=account.agreement_id, paid="0")
            self._tell(f"invoice of {account.provider} refused: {objection}")
            return
        is_above = EXACT.add(self._record.paid, invoice.amount) > self._record.budget
        if is_above and not self._above_budget:
            raise OutOfBudget(
                f"the invoice of {account.provider} over {plain(invoice.amount)} GLM is not paid: the "
                f"session it belongs to had a budget of {plain(self._record.budget)} GLM, and has spent "
                f"{plain(self._record.paid)}; `simple-golem cleanup --above-budget` pays it all the same"
            )
        self._pay(account, invoice)

    def _pay(self, account: Account, invoice: Invoice) -> None:
        """From an allocation of exactly its amount, so that no other session's budget is touched."""
        payment = self._yagna.payment
        until = datetime.now(timezone.utc) + _ALLOCATION_FOR
        self._journal.write("allocation planned", until=until.isoformat())
        try:
            allocation = payment.allocate(invoice.amount, self._platform, until, scope=self._scope)
        except YagnaError as error:
            if error.status is not None:
                self._journal.write("allocation not made")
            raise
        self._journal.write("allocation", id=allocation.allocation_id)
        payment.accept_invoice(invoice, allocation.allocation_id, scope=self._scope)
        self._journal.write("invoice answered", agreement=account.agreement_id, paid=str(invoice.amount))
        payment.release(allocation.allocation_id, scope=self._scope)
        self._journal.write("allocation released", id=allocation.allocation_id)
        self._tell(f"invoice of {account.provider} over {plain(invoice.amount)} GLM paid")


def clean_up(
    yagna: Yagna,
    whose: JournalOwner,
    scope: Scope,
    emit: Emit,
    *,
    wait: float | None,
    end_suspended: bool = False,
    above_budget: bool = False,
) -> tuple[list[str], list[str]]:
    """End what dead sessions left open, and pay what they owe, as it comes.

    Between two looks no journal is held, so that what was suspended can be resumed.

    Args:
        yagna, whose: the daemon, and whose sessions.
        scope: cancelling it ends the whole.
        emit: is told of each thing that was done.
        wait: seconds to wait for invoices at most; None waits until `scope` is cancelled.
        end_suspended: whether to end what was suspended, too.
        above_budget: whether to pay invoices that are more than what their session had to spend.

    Returns:
        The names of the instances that stay suspended, and what could not be done.
    """
    left, pause, told = Deadline(wait), _LOOK_SECONDS, set[str]()
    ended: set[Path] = set()
    while True:
        suspended: list[str] = []
        troubles: list[str] = []
        owes = False
        for path in dead_journals(whose):
            journal = Journal.take_over(path)
            if journal is None:
                continue
            session = DeadSession(yagna, journal, whose.platform, scope, emit, above_budget=above_budget)
            try:
                troubles += _clean_up_after(session, path, ended, end_suspended)
            except ScopeEnded:
                return [*suspended, *session.suspended], troubles
            finally:
                session.close()
            suspended += session.suspended
            owes = owes or session.owes
        _tell_once(troubles, told)
        if left.passed or not owes or scope.cancelled:
            return suspended, troubles
        scope.wait(min(left.remaining(), pause))
        pause = min(2 * pause, _LONGEST_LOOK_SECONDS)


def _clean_up_after(session: DeadSession, path: Path, ended: set[Path], end_suspended: bool) -> list[str]:
    if end_suspended:
        session.end_suspended()
    troubles: list[str] = []
    if path not in ended or not session.is_ended:
        troubles += session.end()
    if not troubles:
        ended.add(path)
    return troubles + session.pay()


def _tell_once(troubles: list[str], told: set[str]) -> None:
    """It is tried again and again, and by the next session."""
    for trouble in troubles:
        if trouble not in told:
            told.add(trouble)
            logger.warning("cleaning up after an earlier session: %s", trouble)


def _tried(work: Callable[..., None], *args: object) -> list[str]:
    """What went wrong."""
    try:
        work(*args)
    except GolemError as error:
        return [str(error)]
    return []

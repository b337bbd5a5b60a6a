"""Cleans up after sessions that are no more: what they left open is ended, what they still owe is paid."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

from ..errors import GolemError, YagnaError
from ..model.cost import plain
from ..model.events import CleanedUp
from ..model.prices import EXACT
from ..scope import Deadline, Scope, ScopeEnded
from ..yagna.client import Yagna
from ..yagna.values import AgreementState, Invoice
from .account import Account
from .event_desk import Emit
from .journal import Journal, Whose, dead_journals
from .ledger import account_of
from .market import SESSION_MARK

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_LONGEST_LOOK_SECONDS = 20.0
_PAID = ("ACCEPTED", "SETTLED")
_ANSWERED = (*_PAID, "REJECTED", "CANCELLED")
# Nobody sends an invoice after that.
_GIVE_UP = timedelta(days=30)
_ALLOCATION_FOR = timedelta(minutes=10)
# The daemon keeps times to the microsecond.
_SAME_MOMENT = timedelta(milliseconds=1)


class DeadSession:
    """One session that is no more, whose journal was taken over."""

    def __init__(self, yagna: Yagna, journal: Journal, platform: str, scope: Scope, emit: Emit) -> None:
        self._yagna = yagna
        self._journal = journal
        self._record = journal.record
        self._session_id = journal.record.sessions[0]
        self._platform = platform
        self._scope = scope
        self._emit = emit

    def end(self) -> None:
        """End what it left open: demands, agreements, allocations; what was suspended is left alone."""
        self._withdraw_demands()
        for agreement_id in self._unended():
            self._end_agreement(agreement_id)
        if not self._record.suspended:
            self._release_allocations()

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

    def pay(self) -> None:
        """Answer the invoices that have come."""
        owed = self._record.owed - self._record.suspended.keys()
        if not owed:
            return
        for invoice in self._yagna.payment.invoices(scope=self._scope):
            if invoice.agreement_id in owed:
                owed.discard(invoice.agreement_id)
                self._answer(self._record.accounts[invoice.agreement_id], invoice)
        for agreement_id in owed:
            self._forget_if_old(agreement_id)

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

    def _forget_if_old(self, agreement_id: str) -> None:
        account = self._record.accounts[agreement_id]
        if datetime.now(timezone.utc) - account.agreed > _GIVE_UP:
            self._forget(agreement_id)
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
        if EXACT.add(self._record.paid, invoice.amount) > self._record.budget:
            logger.warning(
                "the invoice of %s over %s GLM is not paid: the session it belongs to had a budget of %s "
                "GLM, and has spent %s",
                account.provider,
                plain(invoice.amount),
                plain(self._record.budget),
                plain(self._record.paid),
            )
            return
        self._pay(account, invoice)

    def _pay(self, account: Account, invoice: Invoice) -> None:
        """From an allocation of exactly its amount, so that no other session's budget is touched."""
        payment = self._yagna.payment
        until = datetime.now(timezone.utc) + _ALLOCATION_FOR
        self._journal.write("allocation planned", until=until.isoformat())
        allocation = payment.allocate(invoice.amount, self._platform, until, scope=self._scope)
        self._journal.write("allocation", id=allocation.allocation_id)
        payment.accept_invoice(invoice, allocation.allocation_id, scope=self._scope)
        self._journal.write("invoice answered", agreement=account.agreement_id, paid=str(invoice.amount))
        payment.release(allocation.allocation_id, scope=self._scope)
        self._journal.write("allocation released", id=allocation.allocation_id)
        self._tell(f"invoice of {account.provider} over {plain(invoice.amount)} GLM paid")


def dead_sessions(yagna: Yagna, whose: Whose, scope: Scope, emit: Emit) -> Iterator[DeadSession]:
    """The sessions of this daemon and identity that are no more; each has to be closed."""
    for path in dead_journals(whose):
        journal = Journal.take_over(path)
        if journal is not None:
            yield DeadSession(yagna, journal, whose.platform, scope, emit)


def clean_up(
    yagna: Yagna, whose: Whose, scope: Scope, emit: Emit, *, wait: float | None, end_suspended: bool = False
) -> tuple[list[str], list[str]]:
    """End what dead sessions left open, and pay what they owe, as it comes.

    Args:
        yagna, whose: the daemon, and whose sessions.
        scope: cancelling it ends the whole.
        emit: is told of each thing that was done.
        wait: seconds to wait for invoices at most; None waits until `scope` is cancelled.
        end_suspended: whether to end what was suspended, too.

    Returns:
        The names of the instances that stay suspended, and what could not be done.
    """
    sessions, troubles = list(dead_sessions(yagna, whose, scope, emit)), []
    try:
        for session in sessions:
            if end_suspended:
                session.end_suspended()
            troubles += _tried(session.end)
        left, pause = Deadline(wait), _LOOK_SECONDS
        while not scope.cancelled:
            failed = [trouble for session in sessions for trouble in _tried(session.pay)]
            if left.passed or not any(session.owes for session in sessions):
                troubles += failed
                break
            scope.wait(min(left.remaining(), pause))
            pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
        return [name for session in sessions for name in session.suspended], troubles
    except ScopeEnded:
        return [name for session in sessions for name in session.suspended], troubles
    finally:
        for session in sessions:
            session.close()


def _tried(work: Callable[[], None]) -> list[str]:
    """What went wrong: it is tried again by the next session."""
    try:
        work()
    except GolemError as error:
        logger.warning("cleaning up after an earlier session: %s", error)
        return [str(error)]
    return []

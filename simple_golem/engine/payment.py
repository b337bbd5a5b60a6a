"""The session's money: its allocation, and every debit note and invoice answered."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Protocol

from ..errors import AllocationRefused, GolemError, YagnaError
from ..model.events import BudgetAllocated, BudgetReleased, DebitNoteAccepted, InvoiceAccepted
from ..model.suspended import SuspendedInstance
from ..scope import Scope, ScopeEnded
from ..threads import EngineThread, WorkerPool
from ..yagna.client import Yagna
from ..yagna.retry import Repeat
from ..yagna.values import Allocation, DebitNote, Decorations, Invoice, PaymentEvent
from .event_desk import Emit
from .event_reader import POLL_SECONDS, follow

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_LONGEST_LOOK_SECONDS = 1.0
_ANSWERED = ("ACCEPTED", "SETTLED")
# The allocation outlives what it pays for, so that a late invoice can still be accepted.
_ALLOCATION_MARGIN = timedelta(minutes=30)
_FIRST_ALLOCATION = timedelta(minutes=180) + _ALLOCATION_MARGIN


class _Reader(Protocol):
    """The two event endpoints have one form."""

    def __call__(
        self, after: datetime, *, timeout: float, app_session_id: str | None, scope: Scope | None
    ) -> list[PaymentEvent]: ...


class Payments:
    """Sets the budget aside, accepts what providers ask for, and knows what was spent."""

    def __init__(
        self,
        yagna: Yagna,
        app_session_id: str,
        platform: str,
        workers: WorkerPool,
        stop: Scope,
        emit: Emit,
    ) -> None:
        self._emit = emit
        self._yagna = yagna
        self._app_session_id = app_session_id
        self._platform = platform
        self._workers = workers
        self._stop = stop
        self._changed = threading.Condition()
        self._allocation: Allocation | None = None
        self._until: datetime | None = None
        self._awaited: dict[str, str] = {}
        self._accepted: dict[str, Decimal] = {}
        self._noted: dict[str, dict[str, Decimal]] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._hurried = math.inf
        self._kept: set[str] = set()
        self._sessions = {app_session_id}
        self._readers: list[EngineThread] = []

    # the allocation

    def allocate(self, budget: Decimal) -> None:
        """Set `budget` GLM aside.

        Raises:
            AllocationRefused: the daemon won't, mostly for want of funds.
        """
        self._until = datetime.now(timezone.utc) + _FIRST_ALLOCATION
        try:
            self._allocation = self._yagna.payment.allocate(budget, self._platform, self._until)
        except YagnaError as error:
            raise AllocationRefused(
                f"the daemon did not set {budget} GLM aside on {self._platform}: {error.detail}; see "
                "`yagna payment status`, and `yagna payment fund` for test money"
            ) from error
        self._emit(BudgetAllocated(self._allocation.allocation_id, budget, self._platform))

    def cover(self, expiration: datetime) -> None:
        """Have the allocation last until what ends at `expiration` is paid."""
        allocation, until = self._allocation, self._until
        wanted = expiration + _ALLOCATION_MARGIN
        if allocation is None or until is None or wanted <= until:
            return
        self._yagna.payment.amend(allocation.allocation_id, allocation.total_amount, wanted)
        self._until = wanted

    def decorations(self) -> Decorations:
        return self._yagna.payment.decorations(self._allocation_id())

    def _allocation_id(self) -> str:
        if self._allocation is None:
            raise AllocationRefused("no budget is set aside: the Golem is not open")
        return self._allocation.allocation_id

    def keep_for(self, agreement_id: str) -> str:
        """The agreement goes on without this session: keep the allocation for it; returns its id."""
        with self._changed:
            self._awaited.pop(agreement_id, None)
            self._kept.add(agreement_id)
            self._changed.notify_all()
        return self._allocation_id()

    def adopt(self, suspended: SuspendedInstance) -> None:
        """Answer what comes for an earlier session, and release its allocation: this one pays from now on."""
        with self._changed:
            self._kept.discard(suspended.agreement_id)
        if suspended.app_session_id not in self._sessions:
            self._sessions.add(suspended.app_session_id)
            self._start_readers(suspended.app_session_id)
        if suspended.allocation_id == self._allocation_id():
            return
        try:
            self._yagna.payment.release(suspended.allocation_id)
        except GolemError as error:
            logger.warning("the allocation %s is not released: %s", suspended.allocation_id, error)

    def release(self, scope: Scope) -> None:
        """Give back what was not spent, unless it is kept for what was suspended."""
        allocation, self._allocation = self._allocation, None
        if allocation is None or self._kept:
            return
        try:
            self._yagna.payment.release(allocation.allocation_id, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning("the allocation %s could not be released: %s", allocation.allocation_id, error)
            return
        self._emit(BudgetReleased(allocation.allocation_id))

    # what is owed

    def expect_invoice(self, agreement_id: str, provider: str) -> None:
        """An activity ran under this agreement, so an invoice will come once it has ended."""
        with self._changed:
            if agreement_id not in self._accepted:
                self._awaited[agreement_id] = provider

    def wait_for_invoices(self, until: float) -> None:
        """Block until all invoices are accepted, or their time is over; names what is missing.

        Args:
            until: when that is, on the monotonic clock; `hurry` can bring it forward.
        """
        pause = _LOOK_SECONDS
        while True:
            with self._changed:
                left = min(until, self._hurried) - time.monotonic()
                if not self._awaited or left <= 0:
                    break
                self._changed.wait(min(left, pause))
            self._workers.post(self._look_for_invoices)
            pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
        with self._changed:
            missing = dict(self._awaited)
        if missing:
            names = ", ".join(f"{agreement} with {provider}" for agreement, provider in missing.items())
            logger.warning(
                "no invoice had come by the end for the agreement%s %s: what it asks for is not paid",
                "s" if len(missing) > 1 else "",
                names,
            )

    def _look_for_invoices(self) -> None:
        """Once a second the daemon tells of new invoices: too rarely for whoever waits for nothing else."""
        allocation = self._allocation
        try:
            invoices = self._yagna.payment.invoices(
                allocation.timestamp if allocation is not None else None,
                scope=self._stop,
                repeat=Repeat.NEVER,
            )
        except (GolemError, ScopeEnded) as error:
            logger.debug("the invoices could not be listed: %s", error)
            return
        with self._changed:
            new = [one for one in invoices if one.agreement_id in self._awaited]
        for invoice in new:
            self._workers.post(self._answer_invoice, invoice)

    def hurry(self, until: float) -> None:
        """Don't wait for invoices longer than until the monotonic clock shows `until`."""
        with self._changed:
            self._hurried = min(self._hurried, until)
            self._changed.notify_all()

    def spent(self) -> Decimal:
        """The sum of all invoices accepted, and of the debit notes of agreements that have none yet."""
        with self._changed:
            invoices = sum(self._accepted.values(), Decimal(0))
            notes = [
                amount
                for agreement, activities in self._noted.items()
                if agreement not in self._accepted
                for amount in activities.values()
            ]
        return invoices + sum(notes, Decimal(0))

    # the readers

    def start(self) -> None:
        """Begin to read and answer what providers send."""
        self._start_readers(self._app_session_id)

    def _start_readers(self, app_session_id: str) -> None:
        payment = self._yagna.payment
        for name, read, take in (
            ("golem-debit-notes", payment.debit_note_events, self._take_debit_note),
            ("golem-invoices", payment.invoice_events, self._take_invoice),
        ):
            self._readers.append(EngineThread(name, self._read, read, take, app_session_id).start())

    def join(self, timeout: float) -> list[str]:
        return [reader.name for reader in self._readers if not reader.join(timeout)]

    def _read(self, read: _Reader, take: Callable[[str], None], app_session_id: str) -> None:
        def read_after(after: datetime) -> list[PaymentEvent]:
            return read(after, timeout=POLL_SECONDS, app_session_id=app_session_id, scope=self._stop)

        def handle(event: PaymentEvent) -> None:
            if event.kind.endswith("ReceivedEvent"):
                self._workers.post(take, event.document_id)

        follow("payment", read_after, handle, self._stop)

    # answering, on the workers

    def _take_debit_note(self, debit_note_id: str) -> None:
        try:
            note = self._yagna.payment.debit_note(debit_note_id, scope=self._stop)
            with self._lock_of(note.agreement_id):
                self._accept_debit_note(note)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning(
                "the debit note %s could not be accepted: %s%s", debit_note_id, error, _advice(error)
            )

    def _accept_debit_note(self, note: DebitNote) -> None:
        if note.agreement_id in self._accepted or note.status in _ANSWERED:
            return  # the invoice, which contains it, was quicker; or an earlier session has answered it
        self._yagna.payment.accept_debit_note(note, self._allocation_id(), scope=self._stop)
        with self._changed:
            noted = self._noted.setdefault(note.agreement_id, {})
            # Each contains those before it, and the workers may have taken them in any order.
            noted[note.activity_id] = max(note.amount, noted.get(note.activity_id, Decimal(0)))
        self._emit(DebitNoteAccepted(note.agreement_id, note.activity_id, note.issuer_id, note.amount))

    def _take_invoice(self, invoice_id: str) -> None:
        try:
            invoice = self._yagna.payment.invoice(invoice_id, scope=self._stop)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning("the invoice %s could not be accepted: %s", invoice_id, error)
            return
        self._answer_invoice(invoice)

    def _answer_invoice(self, invoice: Invoice) -> None:
        try:
            with self._lock_of(invoice.agreement_id):
                self._accept_invoice(invoice)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning("the invoice %s could not be accepted: %s", invoice.invoice_id, error)

    def _accept_invoice(self, invoice: Invoice) -> None:
        if invoice.agreement_id in self._accepted:
            return
        if invoice.status in _ANSWERED:  # by an earlier session, whose cost it is
            self._no_longer_awaited(invoice.agreement_id)
            return
        try:
            self._yagna.payment.accept_invoice(invoice, self._allocation_id(), scope=self._stop)
        except YagnaError as error:
            # It has come, so nobody needs to wait for it any more.
            self._no_longer_awaited(invoice.agreement_id)
            logger.error(
                "the invoice %s of %s over %s GLM is not paid: %s%s",
                invoice.invoice_id,
                invoice.issuer_id,
                invoice.amount,
                error.detail,
                _advice(error),
            )
            return
        with self._changed:
            self._accepted[invoice.agreement_id] = invoice.amount
        self._no_longer_awaited(invoice.agreement_id)
        self._emit(
            InvoiceAccepted(invoice.agreement_id, invoice.invoice_id, invoice.issuer_id, invoice.amount)
        )

    def _no_longer_awaited(self, agreement_id: str) -> None:
        with self._changed:
            self._awaited.pop(agreement_id, None)
            self._changed.notify_all()

    def _lock_of(self, agreement_id: str) -> threading.Lock:
        """The daemon's own lock for an agreement is none: accepts of one agreement go one after the other."""
        with self._changed:
            return self._locks.setdefault(agreement_id, threading.Lock())


def _advice(error: GolemError) -> str:
    return "; the budget is used up: give Golem a larger `budget`" if "Not enough funds" in str(error) else ""

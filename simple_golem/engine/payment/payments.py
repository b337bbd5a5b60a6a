"""Every debit note and invoice of the session, checked against what was agreed, and answered."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Protocol

from ...background.cancellation import Scope, ScopeEnded
from ...background.serial_queue import SerialQueue
from ...background.threads import EngineThread, WorkerPool
from ...errors import GolemError, Overcharged, YagnaError
from ...model.cost import plain
from ...model.events import DebitNoteAccepted, DebitNoteRefused, InvoiceAccepted, InvoiceRefused
from ...model.service.suspended import SuspendedInstance
from ...yagna.client import Yagna
from ...yagna.event_reader import POLL_SECONDS, follow
from ...yagna.transport.retry import Repeat
from ...yagna.values import DebitNote, Invoice, PaymentEvent
from ..event_dispatcher import Emit
from .account import Account
from .budget import Budget, BudgetWatch
from .ledger import Ledger

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.03
_LONGEST_LOOK_SECONDS = 1.0
# A provider that is gone mostly is gone for good, and if not, a later session pays it.
_UNLIKELY_SECONDS = 5.0
# An invoice follows the last debit note, of which the reader may not have heard yet.
_RECENT = timedelta(seconds=120)
_ANSWERED = ("ACCEPTED", "SETTLED")
_NO_FUNDS = "Not enough funds"


class _Reader(Protocol):
    """The two event endpoints have one form."""

    def __call__(
        self, after: datetime, *, timeout: float, app_session_id: str | None, scope: Scope | None
    ) -> list[PaymentEvent]: ...


class Payments:
    """Accepts what providers may ask for, and refuses the rest."""

    def __init__(
        self,
        yagna: Yagna,
        app_session_id: str,
        budget: Budget,
        watch: BudgetWatch,
        ledger: Ledger,
        workers: WorkerPool,
        stop: Scope,
        emit: Emit,
    ) -> None:
        self._emit = emit
        self._yagna = yagna
        self._app_session_id = app_session_id
        self._budget = budget
        self._watch = watch
        self._ledger = ledger
        self._workers = workers
        # The daemon's own lock for an agreement is none: accepts of one agreement go one after the other.
        self._in_turn = SerialQueue(workers)
        self._stop = stop
        self._changed = threading.Condition()
        self._awaited: dict[str, str] = {}
        self._unlikely: set[str] = set()
        self._answered_before: set[str] = set()
        self._noted: set[str] = set()
        self._unpaid: dict[str, Invoice] = {}
        self._hurried = math.inf
        self._sessions = {app_session_id}
        self._readers: list[EngineThread] = []
        # Set by the session: who ends the life of an agreement whose provider asks for too much.
        self.on_overcharge: Callable[[str, Overcharged], object] = lambda agreement_id, error: None

    # what was suspended

    def keep_for(self, agreement_id: str) -> str:
        """The agreement goes on without this session: keep the allocation for it; returns its id."""
        self._no_longer_awaited(agreement_id)
        return self._budget.keep(agreement_id)

    def adopt(self, suspended: SuspendedInstance) -> None:
        """Answer what comes for an earlier session, and release its allocation: this one pays from now on."""
        self._budget.take_back(suspended.agreement_id)
        if suspended.app_session_id not in self._sessions:
            self._sessions.add(suspended.app_session_id)
            self._start_readers(suspended.app_session_id)
        if suspended.allocation_id == self._budget.allocation_id:
            return
        if not self._ledger.books.is_over(suspended.app_session_id):
            return  # the earlier session lives, and pays for more than this
        try:
            self._yagna.payment.release(suspended.allocation_id)
        except GolemError as error:
            logger.warning("the allocation %s is not released: %s", suspended.allocation_id, error)
            return
        if self._ledger.books.has(suspended.app_session_id):
            self._ledger.books.write_of_session(
                suspended.app_session_id, "allocation released", id=suspended.allocation_id
            )

    # what is owed

    def expect_invoice(self, agreement_id: str, provider: str) -> None:
        """An activity ran under this agreement, so an invoice will come once it has ended."""
        account = self._ledger.find(agreement_id)
        with self._changed:
            is_answered = agreement_id in self._answered_before
            if not is_answered and (account is None or account.invoice is None):
                self._awaited[agreement_id] = provider
        self._watch.begin()

    def hardly_expect_invoice(self, agreement_id: str) -> None:
        """Its provider has let the activity down: closing does not wait for its invoice as for others."""
        with self._changed:
            self._unlikely.add(agreement_id)

    def wait_for_invoices(self, until: float) -> None:
        """Block until all invoices are answered, or their time is over; names what is missing.

        Args:
            until: when that is, on the monotonic clock; `shorten` can bring it forward.
        """
        pause = _LOOK_SECONDS
        since = datetime.now(timezone.utc) - _RECENT
        unlikely_until = min(until, time.monotonic() + _UNLIKELY_SECONDS)
        while True:
            with self._changed:
                likely = self._awaited.keys() - self._unlikely
                left = min(until if likely else unlikely_until, self._hurried) - time.monotonic()
                if not self._awaited or left <= 0:
                    break
                self._changed.wait(min(left, pause))
            self._workers.post(self._look, since)
            pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
        with self._changed:
            late = dict(self._awaited)
        failed = {who: late.pop(who) for who in list(late) if self._has_come(who)}
        for what, missing in (("no invoice had come", late), ("no invoice could be accepted", failed)):
            if missing:
                names = ", ".join(f"{agreement} with {provider}" for agreement, provider in missing.items())
                logger.warning(
                    "%s by the end for the agreement%s %s: it is paid by the next session, or by "
                    "`simple-golem cleanup`",
                    what,
                    "s" if len(missing) > 1 else "",
                    names,
                )

    def _has_come(self, agreement_id: str) -> bool:
        """Whether there is an invoice, which could not be accepted."""
        account = self._ledger.find(agreement_id)
        return account is not None and account.unpaid is not None

    def _look(self, since: datetime) -> None:
        """Once a second the daemon tells of what is new: too rarely for whoever waits for nothing else."""
        try:
            invoices = self._yagna.payment.invoices(
                self._budget.opened, scope=self._stop, repeat=Repeat.NEVER
            )
            with self._changed:
                new = [one for one in invoices if one.agreement_id in self._awaited]
            if any(self._is_ahead_of_notes(invoice) for invoice in new):
                self._take_recent_notes(since)
        except (GolemError, ScopeEnded) as error:
            logger.debug("the invoices could not be listed: %s", error)
            return
        for invoice in new:
            self._in_turn.post(invoice.agreement_id, self._answer_invoice, invoice)

    def _is_ahead_of_notes(self, invoice: Invoice) -> bool:
        """Whether debit notes that this invoice follows may not have been read yet."""
        account = self._ledger.find(invoice.agreement_id)
        return account is not None and account.cost() != invoice.amount

    def _take_recent_notes(self, since: datetime) -> None:
        for note in self._yagna.payment.debit_notes(since, scope=self._stop):
            self._in_turn.post(note.agreement_id, self._answer_debit_note, note)

    def shorten(self, until: float) -> None:
        """Don't wait for invoices longer than until the monotonic clock shows `until`."""
        with self._changed:
            self._hurried = min(self._hurried, until)
            self._changed.notify_all()

    def topped_up(self) -> None:
        """There is more to pay from: answer what could not be paid."""
        with self._changed:
            unpaid, self._unpaid = self._unpaid, {}
        for invoice in unpaid.values():
            self._in_turn.post(invoice.agreement_id, self._answer_invoice, invoice)

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

    # debit notes, on the workers

    def _take_debit_note(self, debit_note_id: str) -> None:
        if debit_note_id in self._noted:
            return
        try:
            note = self._yagna.payment.debit_note(debit_note_id, scope=self._stop)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning("the debit note %s could not be read: %s", debit_note_id, error)
            return
        self._in_turn.post(note.agreement_id, self._answer_debit_note, note)

    def _answer_debit_note(self, note: DebitNote) -> None:
        account = self._ledger.find(note.agreement_id)
        if account is None or note.debit_note_id in self._noted:
            return
        self._noted.add(note.debit_note_id)
        with self._ledger.lock:
            objection = account.objection_to_note(note.activity_id, note.amount, note.usage)
        try:
            if objection is not None:
                self._refuse_debit_note(account, note, objection)
            elif note.status in _ANSWERED:
                self._take_into_account(account, note)
            elif account.invoice is None:  # else the invoice, which contains it, was quicker
                self._yagna.payment.accept_debit_note(note, self._budget.allocation_id, scope=self._stop)
                self._take_into_account(account, note)
                self._emit(
                    DebitNoteAccepted(note.agreement_id, note.activity_id, note.issuer_id, note.amount)
                )
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning("the debit note %s could not be accepted: %s", note.debit_note_id, error)
            self._look_for_funds(error)

    def _take_into_account(self, account: Account, note: DebitNote) -> None:
        self._ledger.noted(account, note)
        # It may tell of more processor time than was foreseen.
        self._watch.begin()

    def _refuse_debit_note(self, account: Account, note: DebitNote, objection: str) -> None:
        self._ledger.note_refused(account, note)
        self._emit(
            DebitNoteRefused(note.agreement_id, note.activity_id, note.issuer_id, note.amount, objection)
        )
        error = Overcharged(
            f"a debit note of {account.provider} is not accepted: {objection}; its activity is destroyed, "
            "and the provider not taken again"
        )
        logger.error("%s", error)
        self.on_overcharge(note.agreement_id, error)

    def _look_for_funds(self, error: GolemError) -> bool:
        is_short = _NO_FUNDS in str(error)
        if is_short:
            self._watch.used_up()
        return is_short

    # invoices, on the workers

    def _take_invoice(self, invoice_id: str) -> None:
        try:
            invoice = self._yagna.payment.invoice(invoice_id, scope=self._stop)
            if self._is_ahead_of_notes(invoice):
                self._take_recent_notes(datetime.now(timezone.utc) - _RECENT)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning("the invoice %s could not be read: %s", invoice_id, error)
            return
        self._in_turn.post(invoice.agreement_id, self._answer_invoice, invoice)

    def _answer_invoice(self, invoice: Invoice) -> None:
        account = self._ledger.find(invoice.agreement_id)
        # Of another session with the same key, or one that goes on without being resumed: not this one's.
        if account is None or account.invoice is not None or account.refused is not None:
            return
        if invoice.status in _ANSWERED:  # by an earlier session, whose cost it is
            with self._changed:
                self._answered_before.add(invoice.agreement_id)
            self._no_longer_awaited(invoice.agreement_id)
            return
        with self._ledger.lock:
            objection = account.objection_to_invoice(invoice.amount)
        try:
            if objection is None:
                self._accept_invoice(account, invoice)
            else:
                self._refuse_invoice(account, invoice, objection)
        except ScopeEnded:
            return
        except GolemError as error:
            self._answer_failed(account, invoice, error)

    def _answer_failed(self, account: Account, invoice: Invoice, error: GolemError) -> None:
        """Of want of money it is waited for with a top-up; all else is tried again while closing."""
        why = str(error.detail if isinstance(error, YagnaError) else error)
        is_news, account.unpaid = account.unpaid != why, why
        if is_news:
            told = invoice.invoice_id, account.provider, plain(invoice.amount), why
            logger.error("the invoice %s of %s over %s GLM is not paid: %s", *told)
        if self._look_for_funds(error):
            with self._changed:
                self._unpaid[invoice.invoice_id] = invoice
            self._no_longer_awaited(invoice.agreement_id)

    def _accept_invoice(self, account: Account, invoice: Invoice) -> None:
        self._yagna.payment.accept_invoice(invoice, self._budget.allocation_id, scope=self._stop)
        self._ledger.invoice_answered(account, invoice.amount)
        self._emit(
            InvoiceAccepted(invoice.agreement_id, invoice.invoice_id, invoice.issuer_id, invoice.amount)
        )
        self._no_longer_awaited(invoice.agreement_id)

    def _refuse_invoice(self, account: Account, invoice: Invoice, objection: str) -> None:
        logger.error("the invoice of %s is not paid: %s", account.provider, objection)
        self._yagna.payment.reject_invoice(invoice, objection, scope=self._stop)
        self._ledger.invoice_answered(account, None, objection)
        self._emit(
            InvoiceRefused(
                invoice.agreement_id, invoice.invoice_id, invoice.issuer_id, invoice.amount, objection
            )
        )
        self._no_longer_awaited(invoice.agreement_id)

    def _no_longer_awaited(self, agreement_id: str) -> None:
        with self._changed:
            self._awaited.pop(agreement_id, None)
            self._changed.notify_all()

    def spent(self) -> Decimal:
        """The sum of all invoices accepted, and of the debit notes of agreements that have none yet."""
        return self._ledger.cost()

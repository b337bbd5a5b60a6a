"""Answers the debit notes and invoices of providers: what was agreed is accepted, and the rest is refused.

Both kinds take the same way. The reader of the daemon's events fetches a new document: the daemon alone
answers that request. A payment worker checks and answers the document, in the queue of its agreement: an
answer takes 15 seconds if the provider is away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal

from ...background.cancellation import Scope, ScopeEnded
from ...background.serial_queue import SerialQueue
from ...background.threads import WorkerPool
from ...errors import AllocationRefused, GolemError, Overcharged, YagnaError
from ...model.cost import plain
from ...model.events.documents import DebitNoteAccepted, DebitNoteRefused, InvoiceAccepted, InvoiceRefused
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from ...yagna.values import DebitNote, Invoice, PaymentEvent
from ..event_dispatcher import Emit
from .account import Account
from .budget import Budget
from .budget_watch import BudgetWatch
from .documents import debit_notes_before, earlier_answer, invoices_of
from .expected_invoices import ExpectedInvoices
from .ledger import Ledger

logger = logging.getLogger(__name__)

_NO_FUNDS = "Not enough funds"


class Payments:
    """Answers each document once; used by any thread.

    Args:
        yagna: the daemon.
        budget, watch, ledger, expected: of the same session.
        workers: answer the documents, those of one agreement one after the other.
        stop: cancelling it ends all requests.
        emit: gets the events.
        on_overcharge: called with an agreement's id when its provider asks for more than was agreed; it must
            not block.
    """

    def __init__(
        self,
        yagna: Yagna,
        budget: Budget,
        watch: BudgetWatch,
        ledger: Ledger,
        expected: ExpectedInvoices,
        workers: WorkerPool,
        stop: Scope,
        emit: Emit,
        on_overcharge: Callable[[str, Overcharged], object],
    ) -> None:
        self._yagna = yagna
        self._budget = budget
        self._watch = watch
        self._ledger = ledger
        self._expected = expected
        self._workers = workers
        # One queue for each agreement: the daemon does not lock agreements, and two accepts would collide.
        self._answers = SerialQueue(workers)
        self._stop = stop
        self._emit = emit
        self._on_overcharge = on_overcharge
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._unpaid: dict[str, Invoice] = {}

    # --- documents arrive -----------------------------------------------------------------------------

    def debit_note_event(self, event: PaymentEvent) -> None:
        """Fetch a debit note that has arrived; blocks for one request."""
        if _is_arrival(event):
            self._fetch(event, self._fetch_debit_note)

    def invoice_event(self, event: PaymentEvent) -> None:
        """Fetch an invoice that has arrived; blocks for two requests at most."""
        if _is_arrival(event):
            self._fetch(event, self._fetch_invoice)

    def look_for_invoices(self) -> None:
        """Have a worker ask the daemon for the invoices that are expected; does not block."""
        self._workers.post(self._fetch_expected_invoices)

    def _fetch(self, event: PaymentEvent, fetch: Callable[[str], None]) -> None:
        try:
            fetch(event.document_id)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning("the document %s could not be read: %s", event.document_id, error)

    def _fetch_debit_note(self, debit_note_id: str) -> None:
        self._receive_debit_note(self._yagna.payment.debit_note(debit_note_id, scope=self._stop))

    def _fetch_invoice(self, invoice_id: str) -> None:
        self._receive_invoices([self._yagna.payment.invoice(invoice_id, scope=self._stop)])

    def _fetch_expected_invoices(self) -> None:
        if not self._looking.acquire(blocking=False):
            return  # another worker looks: the list may be long
        try:
            accounts = [
                one for one in self._ledger.accounts() if self._expected.is_expected(one.agreement_id)
            ]
            self._receive_invoices(invoices_of(self._yagna, accounts, self._stop, Repeat.NEVER))
        except (GolemError, ScopeEnded) as error:
            logger.debug("the invoices could not be listed: %s", error)
        finally:
            self._looking.release()

    def look_for_earlier_answer(self, agreement_id: str, scope: Scope) -> None:
        """Note what another session has answered to the invoice of an agreement; blocks for one request.

        The events say so, too, but later.

        Args:
            agreement_id: of an agreement that goes on from an earlier session, and has ended meanwhile.
            scope: cancelling it ends the request.

        Raises:
            ScopeEnded: `scope` was cancelled.
        """
        account = self._ledger.find(agreement_id)
        accepted = None if account is None else earlier_answer(self._yagna, account, scope)
        if account is not None and accepted is not None:
            self._note_earlier_answer(account, accepted)

    def _receive_invoices(self, invoices: Sequence[Invoice]) -> None:
        # Debit notes that these follow may not have been read yet: their events may come later.
        ahead = [
            (account, invoice)
            for invoice in invoices
            if (account := self._ledger.find(invoice.agreement_id))
            and self._ledger.cost([invoice.agreement_id]) != invoice.amount
        ]
        for note in debit_notes_before(self._yagna, ahead, self._stop):
            self._receive_debit_note(note)
        for invoice in invoices:
            self._answers.post(invoice.agreement_id, self._answer_invoice, invoice)

    def _receive_debit_note(self, note: DebitNote) -> None:
        self._answers.post(note.agreement_id, self._answer_debit_note, note)

    def topped_up(self) -> None:
        """Answer what could not be paid from the smaller budget; does not block."""
        with self._lock:
            unpaid, self._unpaid = self._unpaid, {}
        for invoice in unpaid.values():
            self._answers.post(invoice.agreement_id, self._answer_invoice, invoice)

    def _account_to_pay(self, agreement_id: str) -> Account | None:
        """Return the account of an agreement; None if another session of the same identity pays for it."""
        account = self._ledger.find(agreement_id)
        if account is None or self._ledger.is_with_another(agreement_id):
            return None
        return account

    # --- debit notes, on the workers ------------------------------------------------------------------

    def _answer_debit_note(self, note: DebitNote) -> None:
        account = self._account_to_pay(note.agreement_id)
        if account is None or not self._ledger.is_first_receipt(note):
            return
        objection, budget = self._ledger.objection_to_note(account, note), self._budget.total
        try:
            if objection is not None:
                self._refuse_debit_note(account, note, objection)
            elif note.is_accepted:
                self._count_debit_note(account, note)
            elif account.invoice is None:  # else the invoice came first, and contains it
                self._accept_debit_note(account, note)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.warning("the debit note %s could not be accepted: %s", note.debit_note_id, error)
            if _lacks_funds(error):
                self._watch.report_used_up(budget)

    def _accept_debit_note(self, account: Account, note: DebitNote) -> None:
        self._yagna.payment.accept_debit_note(note, self._budget.allocation_id, scope=self._stop)
        self._count_debit_note(account, note)
        self._emit(
            DebitNoteAccepted(
                note.agreement_id,
                note.activity_id,
                note.issuer_id,
                account.provider_name,
                note.amount,
                self._budget.currency,
            )
        )

    def _count_debit_note(self, account: Account, note: DebitNote) -> None:
        self._ledger.debit_note_accepted(account, note)
        # More processor time may have been used than was expected.
        self._watch.check_soon()

    def _refuse_debit_note(self, account: Account, note: DebitNote, objection: str) -> None:
        self._ledger.debit_note_refused(account, note)
        self._emit(
            DebitNoteRefused(
                note.agreement_id,
                note.activity_id,
                note.issuer_id,
                account.provider_name,
                note.amount,
                objection,
                self._budget.currency,
            )
        )
        error = Overcharged(
            f"a debit note of {account.provider} is not accepted: {objection}; its activity is destroyed, "
            "and this Golem makes no further agreement with the provider"
        )
        logger.error("%s", error)
        self._on_overcharge(note.agreement_id, error)

    # --- invoices, on the workers ---------------------------------------------------------------------

    def _answer_invoice(self, invoice: Invoice) -> None:
        account = self._account_to_pay(invoice.agreement_id)
        if account is None or account.invoice is not None or account.refused is not None:
            return
        if invoice.answer is not None:
            self._note_earlier_answer(account, invoice.answer)
            return
        objection, budget = self._ledger.objection_to_invoice(account, invoice.amount), self._budget.total
        try:
            if objection is None:
                self._accept_invoice(account, invoice)
            else:
                self._refuse_invoice(account, invoice, objection)
        except ScopeEnded:
            return
        except GolemError as error:
            self._answer_failed(account, invoice, error, budget)

    def _note_earlier_answer(self, account: Account, accepted: Decimal) -> None:
        self._ledger.invoice_was_answered(account, accepted)
        self._expected.answered(account.agreement_id)

    def _accept_invoice(self, account: Account, invoice: Invoice) -> None:
        self._yagna.payment.accept_invoice(invoice, self._budget.allocation_id, scope=self._stop)
        self._ledger.invoice_accepted(account, invoice.amount)
        self._emit(
            InvoiceAccepted(
                invoice.agreement_id,
                invoice.invoice_id,
                invoice.issuer_id,
                account.provider_name,
                invoice.amount,
                self._budget.currency,
            )
        )
        self._expected.answered(invoice.agreement_id)

    def _refuse_invoice(self, account: Account, invoice: Invoice, objection: str) -> None:
        logger.error("the invoice of %s is not paid: %s", account.provider, objection)
        self._yagna.payment.reject_invoice(invoice, objection, scope=self._stop)
        self._ledger.invoice_refused(account, objection)
        self._emit(
            InvoiceRefused(
                invoice.agreement_id,
                invoice.invoice_id,
                invoice.issuer_id,
                account.provider_name,
                invoice.amount,
                objection,
                self._budget.currency,
            )
        )
        self._expected.answered(invoice.agreement_id)

    def _answer_failed(self, account: Account, invoice: Invoice, error: GolemError, budget: Decimal) -> None:
        """Keep an invoice for a top-up if funds are missing; else closing the session tries again."""
        why = str(error.detail if isinstance(error, YagnaError) else error)
        is_new, account.unpaid = account.unpaid != why, why
        if isinstance(error, AllocationRefused):
            logger.info("an invoice of %s came too late: the next session pays it", account.provider)
        elif is_new:
            logger.error(
                "the invoice %s of %s over %s %s is not paid: %s",
                invoice.invoice_id,
                account.provider,
                plain(invoice.amount),
                self._budget.currency,
                why,
            )
        if not _lacks_funds(error):
            return
        with self._lock:
            # `topped_up` comes after a change of the budget: it finds the invoice, or this finds the change.
            is_topped_up = self._budget.total > budget
            if not is_topped_up:
                self._unpaid[invoice.invoice_id] = invoice
        if is_topped_up:
            self._answers.post(invoice.agreement_id, self._answer_invoice, invoice)
            return
        self._expected.postponed(invoice.agreement_id)
        self._watch.report_used_up(budget)


def _is_arrival(event: PaymentEvent) -> bool:
    return event.kind.endswith("ReceivedEvent")


def _lacks_funds(error: GolemError) -> bool:
    return _NO_FUNDS in str(error)

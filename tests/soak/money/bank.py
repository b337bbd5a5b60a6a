"""The payment API of a daemon, as far as the payment code calls it: plain objects, without requests."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from simple_golem.errors import YagnaError
from simple_golem.model.offers.prices import EXACT
from simple_golem.yagna.values import Allocation, DebitNote, Invoice
from tests.soak.money.hand_time import HandTime


class Bank:
    """Counts what is accepted as the daemon does: a note contains those before it, an invoice all notes.

    Attributes:
        clock, payment: as a `Yagna` has them.
        total: GLM of the only allocation.
        notes, invoices: the documents that providers have sent, by their ids.
        of_agreement: GLM accepted, by agreement.
        accepts: how often each document was accepted.
    """

    def __init__(self, clock: HandTime) -> None:
        self.clock = clock
        self.payment = self
        self.total = Decimal(0)
        self.notes: dict[str, DebitNote] = {}
        self.invoice_documents: dict[str, Invoice] = {}
        self.of_agreement: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.accepts: Counter[str] = Counter()
        self._of_activity: defaultdict[str, Decimal] = defaultdict(Decimal)

    @property
    def spent(self) -> Decimal:
        with localcontext(EXACT):
            return sum(self.of_agreement.values(), Decimal(0))

    # --- what the payment code calls --------------------------------------------------------------------

    def allocate(self, amount: Decimal, platform: str, until: datetime, *, scope: Any = None) -> Allocation:
        self.total = amount
        now = self.clock.now()
        return Allocation("al1", platform, "0xreq", amount, Decimal(0), amount, now, until)

    def allocations(self, *, scope: Any = None) -> list[Allocation]:
        return []

    def amend(
        self, allocation_id: str, amount: Decimal, timeout: datetime | None = None, *, scope: Any = None
    ) -> None:
        self.total = amount

    def debit_note(self, debit_note_id: str, *, scope: Any = None) -> DebitNote:
        return self.notes[debit_note_id]

    def debit_notes(self, after: datetime | None = None, *, scope: Any = None) -> list[DebitNote]:
        return [note for note in self.notes.values() if after is None or note.timestamp > after]

    def invoice(self, invoice_id: str, *, scope: Any = None) -> Invoice:
        return self.invoice_documents[invoice_id]

    def invoices(
        self, after: datetime | None = None, *, scope: Any = None, repeat: Any = None
    ) -> list[Invoice]:
        return list(self.invoice_documents.values())

    def accept_debit_note(self, note: DebitNote, allocation_id: str, *, scope: Any = None) -> None:
        self._accept(note.debit_note_id, note.agreement_id, note.amount, self._of_activity, note.activity_id)

    def accept_invoice(self, invoice: Invoice, allocation_id: str, *, scope: Any = None) -> None:
        agreement = invoice.agreement_id
        self._accept(invoice.invoice_id, agreement, invoice.amount, self.of_agreement, agreement)

    def reject_invoice(self, invoice: Invoice, reason: str, *, scope: Any = None) -> None:
        """Nothing is spent."""

    def _accept(
        self, document: str, agreement: str, amount: Decimal, amounts: defaultdict[str, Decimal], subject: str
    ) -> None:
        more = max(Decimal(0), EXACT.subtract(amount, amounts[subject]))
        left = EXACT.subtract(self.total, self.spent)
        if more > left:
            text = f"Not enough funds. Allocated: {left:f} Needed: {more:f}"
            raise YagnaError("POST", f"/{document}/accept", 400, text)
        amounts[subject] = EXACT.add(amounts[subject], more)
        if amounts is not self.of_agreement:
            self.of_agreement[agreement] = EXACT.add(self.of_agreement[agreement], more)
        self.accepts[document] += 1

"""Debit notes and invoices."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..cost import plain
from .event import Event


@dataclass(frozen=True, slots=True)
class DebitNoteAccepted(Event):
    """A provider's debit note was accepted; `amount` is what its activity costs so far."""

    agreement_id: str
    activity_id: str
    provider_id: str
    provider_name: str
    amount: Decimal
    currency: str = "GLM"

    def _text(self) -> str:
        return f"debit note of {self.provider_name} over {plain(self.amount)} {self.currency} accepted"


@dataclass(frozen=True, slots=True)
class InvoiceAccepted(Event):
    """A provider's invoice was accepted."""

    agreement_id: str
    invoice_id: str
    provider_id: str
    provider_name: str
    amount: Decimal
    currency: str = "GLM"

    def _text(self) -> str:
        return f"invoice of {self.provider_name} over {plain(self.amount)} {self.currency} accepted"


@dataclass(frozen=True, slots=True)
class DebitNoteRefused(Event):
    """A provider's debit note asks for more than the agreed prices allow; its activity is destroyed."""

    agreement_id: str
    activity_id: str
    provider_id: str
    provider_name: str
    amount: Decimal
    reason: str
    currency: str = "GLM"

    def _text(self) -> str:
        what = f"debit note of {self.provider_name} over {plain(self.amount)} {self.currency}"
        return f"{what} refused: {self.reason}"


@dataclass(frozen=True, slots=True)
class InvoiceRefused(Event):
    """A provider's invoice asks for more than was agreed, and is not paid."""

    agreement_id: str
    invoice_id: str
    provider_id: str
    provider_name: str
    amount: Decimal
    reason: str
    currency: str = "GLM"

    def _text(self) -> str:
        what = f"invoice of {self.provider_name} over {plain(self.amount)} {self.currency}"
        return f"{what} refused: {self.reason}"

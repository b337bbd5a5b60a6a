"""Debit notes and invoices."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .event import Event


@dataclass(frozen=True, slots=True)
class DebitNoteAccepted(Event):
    """A provider's debit note was accepted; `amount` is what its activity costs so far."""

    agreement_id: str
    activity_id: str
    provider_id: str
    provider_name: str
    amount: Decimal

    def _text(self) -> str:
        return f"debit note of {self.provider_name} over {self.amount} GLM accepted"


@dataclass(frozen=True, slots=True)
class InvoiceAccepted(Event):
    """A provider's invoice was accepted."""

    agreement_id: str
    invoice_id: str
    provider_id: str
    provider_name: str
    amount: Decimal

    def _text(self) -> str:
        return f"invoice of {self.provider_name} over {self.amount} GLM accepted"


@dataclass(frozen=True, slots=True)
class DebitNoteRefused(Event):
    """A provider's debit note asks for more than the agreed prices allow; its activity is destroyed."""

    agreement_id: str
    activity_id: str
    provider_id: str
    provider_name: str
    amount: Decimal
    reason: str

    def _text(self) -> str:
        return f"debit note of {self.provider_name} over {self.amount} GLM refused: {self.reason}"


@dataclass(frozen=True, slots=True)
class InvoiceRefused(Event):
    """A provider's invoice asks for more than was agreed, and is not paid."""

    agreement_id: str
    invoice_id: str
    provider_id: str
    provider_name: str
    amount: Decimal
    reason: str

    def _text(self) -> str:
        return f"invoice of {self.provider_name} over {self.amount} GLM refused: {self.reason}"

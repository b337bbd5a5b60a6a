"""The budget of a session."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..cost import plain
from ..settings import currency_of, network_of
from .event import Event


@dataclass(frozen=True, slots=True)
class BudgetAllocated(Event):
    """A session has begun, and its budget is allocated."""

    allocation_id: str
    amount: Decimal
    platform: str

    def _text(self) -> str:
        return f"{plain(self.amount)} {currency_of(network_of(self.platform))} allocated on {self.platform}"


@dataclass(frozen=True, slots=True)
class BudgetReleased(Event):
    """A session has ended, and the rest of its budget is released."""

    allocation_id: str

    def _text(self) -> str:
        return "the rest of the budget is released"


@dataclass(frozen=True, slots=True)
class BudgetChanged(Event):
    """The budget was enlarged."""

    allocation_id: str
    amount: Decimal
    currency: str = "GLM"

    def _text(self) -> str:
        return f"the budget was enlarged to {plain(self.amount)} {self.currency}"


@dataclass(frozen=True, slots=True)
class BudgetUsedUp(Event):
    """The rest of the budget is needed to end what runs, so all clusters are stopped."""

    budget: Decimal
    spent: Decimal
    currency: str = "GLM"

    def _text(self) -> str:
        budget = f"the budget of {plain(self.budget)} {self.currency} is used up"
        return f"{budget}, with {plain(self.spent)} {self.currency} accepted: all clusters are stopped"

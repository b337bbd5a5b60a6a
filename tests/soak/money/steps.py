"""What can happen in a history of money."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from simple_golem.model.offers.prices import CPU, DURATION

MEMORY = "golem.usage.storage_gib"
# What the offers of a history count, and what a unit of it costs; the last price is that of the start.
OFFERS: tuple[tuple[tuple[str, ...], tuple[float, ...]], ...] = (
    ((DURATION, CPU), (0.0001, 0.0002, 0.0001)),
    ((CPU, DURATION), (0.0003, 0.00007, 0.0)),
    ((DURATION,), (1 / 3600, 0.01)),
    ((DURATION, CPU, MEMORY), (0.0001, 0.0, 0.0, 0.0)),
    ((DURATION, CPU, MEMORY), (0.0001, 0.0002, 0.5, 0.001)),
    ((MEMORY,), (0.1, 0.0)),
)


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Agree:
    """An agreement is made, by one of the offers."""

    offer: int
    threads: int


@dataclass(frozen=True)
class Create:
    """The activity of an agreement is known from now on; it was asked for some seconds ago."""

    agreement: int
    asked_ago: float


@dataclass(frozen=True)
class EndAgreement:
    agreement: int


@dataclass(frozen=True)
class SendNote:
    """A provider sends a debit note.

    Attributes:
        invented: the number of an activity that does not exist; None for the real one.
        load: threads that were busy, as a share of those that there are.
        memory: the third counter.
        claim: what the usage is multiplied by; 1 for an honest provider.
        factor: what the price of that usage is multiplied by; 1 for an honest provider.
        usage: what becomes of the usage on its way.
        arrives: how often it is announced; 0: it is late, and arrives by `Deliver`.
    """

    agreement: int
    invented: int | None = None
    load: float = 0.5
    memory: float = 0.0
    claim: tuple[float, float] = (1.0, 1.0)
    factor: float = 1.0
    usage: str = "whole"
    arrives: int = 1

    @property
    def is_honest(self) -> bool:
        is_fair = self.factor <= 1.0 and max(self.claim) <= 1.0
        return is_fair and self.invented is None and self.usage == "whole"


@dataclass(frozen=True)
class Deliver:
    """A note that is late arrives, or one that has arrived is announced once more."""

    note: int


@dataclass(frozen=True)
class SendInvoice:
    """A provider sends an invoice.

    Attributes:
        factor: what the sum of its honest charges is multiplied by.
        more: GLM on top.
        arrives: as of a note.
        is_greedy: whether it asks for the most that the session does not object to.
    """

    agreement: int
    factor: float = 1.0
    more: Decimal = Decimal(0)
    arrives: int = 1
    is_greedy: bool = False

    @property
    def is_honest(self) -> bool:
        return self.factor <= 1.0 and self.more <= 0 and not self.is_greedy


@dataclass(frozen=True)
class LookForInvoices:
    """The session asks for the invoices that have not been announced."""


@dataclass(frozen=True)
class TopUp:
    amount: Decimal


Step = (
    Wait | Agree | Create | EndAgreement | SendNote | Deliver | SendInvoice | LookForInvoices | TopUp
)  # fmt: skip

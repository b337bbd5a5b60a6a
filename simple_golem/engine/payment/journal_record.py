"""What the lines of a journal add up to: what a session has open, and what it owes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from ...model.offers.prices import EXACT
from ...model.service.suspended import SuspendedInstance
from ...model.settings import network_of
from .account import Account, ActivityAccount

Line = Mapping[str, Any]
# The kinds of lines, as they stand in the files: never rename one.
Kind = Literal[
    "budget",
    "demands left",
    "demands withdrawn",
    "allocation planned",
    "allocation not made",
    "allocation",
    "allocation released",
    "agreement",
    "agreement ended",
    "activity",
    "activity ended",
    "invoice answered",
    "suspended",
    "resumed",
    "network planned",
    "network not made",
    "network",
    "network ended",
]


@dataclass(frozen=True, slots=True)
class JournalOwner:
    """Whose journal it is: only a session with the same daemon and identity can clean up after it."""

    api_url: str
    node_id: str
    platform: str

    @property
    def payment_network(self) -> str:
        """The network of the platform."""
        return network_of(self.platform)


@dataclass
class Record:
    """The content of a journal.

    Attributes:
        owner: daemon, identity and payment platform.
        session_id: the daemon lists the agreements, debit notes and invoices of the session under this id.
        allocations: ids of the allocations that are not released.
        planned: ends of allocations that were asked for and whose ids are not known; the daemon lists them.
        demands_left: whether the daemon may have demands of the session, though it has ended.
        accounts: all agreements, by id.
        open: ids of the agreements that may not have ended.
        owed: ids of the agreements whose invoices are not answered.
        suspended: the instances that were left alive, by agreement id.
        networks: ids of the private networks that were not ended.
        planned_networks: marks of networks that were asked for and whose ids are not known.
        budget: GLM that the session may spend.
        paid: GLM of the accepted invoices.
    """

    owner: JournalOwner
    session_id: str
    allocations: list[str] = field(default_factory=list)
    planned: list[datetime] = field(default_factory=list)
    demands_left: bool = False
    accounts: dict[str, Account] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    owed: set[str] = field(default_factory=set)
    suspended: dict[str, SuspendedInstance] = field(default_factory=dict)
    networks: set[str] = field(default_factory=set)
    planned_networks: set[str] = field(default_factory=set)
    budget: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)

    def apply(self, line: Line) -> None:
        """Add one line. A kind that is unknown changes nothing: a later version may have written it.

        Raises:
            KeyError, TypeError, ValueError, ArithmeticError: the line is damaged.
        """
        change = _CHANGES.get(line["is"])
        if change is not None:
            change(self, line)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is open and nothing is owed."""
        is_open = self.demands_left or self.allocations or self.planned or self.open
        return not (is_open or self.owed or self.suspended or self.networks or self.planned_networks)


def _budget(record: Record, line: Line) -> None:
    record.budget = Decimal(line["amount"])


def _demands_left(record: Record, line: Line) -> None:
    record.demands_left = True


def _demands_withdrawn(record: Record, line: Line) -> None:
    record.demands_left = False


def _allocation_planned(record: Record, line: Line) -> None:
    record.planned.append(datetime.fromisoformat(line["until"]))


def _allocation_not_made(record: Record, line: Line) -> None:
    record.planned.clear()


def _allocation(record: Record, line: Line) -> None:
    record.allocations.append(line["id"])
    record.planned.clear()


def _allocation_released(record: Record, line: Line) -> None:
    released = line["id"]
    record.allocations = [one for one in record.allocations if one != released]


def _agreement(record: Record, line: Line) -> None:
    account = Account.from_json(line)
    record.accounts[account.agreement_id] = account
    record.open.add(account.agreement_id)


def _agreement_ended(record: Record, line: Line) -> None:
    record.open.discard(line["id"])
    record.suspended.pop(line["id"], None)


def _activity(record: Record, line: Line) -> None:
    account = record.accounts.get(line["agreement"])
    if account is not None:
        account.activities[line["id"]] = ActivityAccount(datetime.fromisoformat(line["began"]))
        record.owed.add(account.agreement_id)


def _activity_ended(record: Record, line: Line) -> None:
    account = record.accounts.get(line["agreement"])
    if account is not None:
        account.activity(line["id"]).ended = datetime.fromisoformat(line["at"])


def _invoice_answered(record: Record, line: Line) -> None:
    record.owed.discard(line["agreement"])
    record.paid = EXACT.add(record.paid, Decimal(line["paid"]))


def _suspended(record: Record, line: Line) -> None:
    # An older version wrote fewer of them.
    known = {name: line[name] for name in SuspendedInstance.__dataclass_fields__ if name in line}
    record.suspended[line["agreement_id"]] = SuspendedInstance(**known)


def _resumed(record: Record, line: Line) -> None:
    record.suspended.pop(line["id"], None)


def _network_planned(record: Record, line: Line) -> None:
    record.planned_networks.add(line["mark"])


def _network_not_made(record: Record, line: Line) -> None:
    record.planned_networks.discard(line["mark"])


def _network(record: Record, line: Line) -> None:
    record.networks.add(line["id"])
    record.planned_networks.discard(line.get("mark"))


def _network_ended(record: Record, line: Line) -> None:
    record.networks.discard(line["id"])


_CHANGES: Mapping[Kind, Callable[[Record, Line], None]] = {
    "budget": _budget,
    "demands left": _demands_left,
    "demands withdrawn": _demands_withdrawn,
    "allocation planned": _allocation_planned,
    "allocation not made": _allocation_not_made,
    "allocation": _allocation,
    "allocation released": _allocation_released,
    "agreement": _agreement,
    "agreement ended": _agreement_ended,
    "activity": _activity,
    "activity ended": _activity_ended,
    "invoice answered": _invoice_answered,
    "suspended": _suspended,
    "resumed": _resumed,
    "network planned": _network_planned,
    "network not made": _network_not_made,
    "network": _network,
    "network ended": _network_ended,
}

"""What happens in an open Golem: a class for each kind of event; `str(event)` is a line for a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal

from .commands.commands import Command
from .commands.results import Result
from .pool_stats import PoolStats
from .service.states import ServiceState


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events.

    Attributes:
        at: when it happened (UTC, this machine's clock).
    """

    at: datetime = field(default_factory=_now, compare=False)

    def __str__(self) -> str:
        return f"{self.at.astimezone():%H:%M:%S} {self._text()}"

    def _text(self) -> str:
        """What has happened, with names and without ids: attributes have those."""
        return repr(self)


@dataclass(frozen=True, slots=True)
class BudgetAllocated(Event):
    """A session has begun, and its budget is allocated."""

    allocation_id: str
    amount: Decimal
    platform: str

    def _text(self) -> str:
        return f"{self.amount} GLM allocated on {self.platform}"


@dataclass(frozen=True, slots=True)
class BudgetReleased(Event):
    """A session has ended, and the rest of its budget is released."""

    allocation_id: str

    def _text(self) -> str:
        return "the rest of the budget is released"


@dataclass(frozen=True, slots=True)
class DemandPublished(Event):
    """A cluster's demand is on the market, for the first time or again."""

    cluster: str
    demand_id: str

    def _text(self) -> str:
        return f"{self.cluster}: demand published"


@dataclass(frozen=True, slots=True)
class DemandWithdrawn(Event):
    """A cluster's demand was taken off the market."""

    cluster: str
    demand_id: str

    def _text(self) -> str:
        return f"{self.cluster}: demand withdrawn"


@dataclass(frozen=True, slots=True)
class ProposalReceived(Event):
    """A provider has sent a proposal; `draft` if it can become an agreement."""

    cluster: str
    provider_id: str
    provider_name: str
    draft: bool

    def _text(self) -> str:
        what = "is ready to make an agreement" if self.draft else "offers"
        return f"{self.cluster}: {self.provider_name} {what}"


@dataclass(frozen=True, slots=True)
class ProposalRejected(Event):
    """A provider, or this library, has rejected a proposal."""

    cluster: str
    reason: str

    def _text(self) -> str:
        return f"{self.cluster}: a proposal was rejected: {self.reason}"


@dataclass(frozen=True, slots=True)
class InstanceEvent(Event):
    """The base of all events of one instance."""

    instance: str


@dataclass(frozen=True, slots=True)
class ConnectionOpened(InstanceEvent):
    """There is a connection to a port of the instance in its private network."""

    port: int

    def _text(self) -> str:
        return f"{self.instance}: connection to port {self.port} opened"


@dataclass(frozen=True, slots=True)
class ConnectionClosed(InstanceEvent):
    """A connection to a port of the instance has ended.

    Attributes:
        port: of the instance.
        sent: how many bytes went to the instance.
        received: how many bytes came from it.
    """

    port: int
    sent: int
    received: int

    def _text(self) -> str:
        return (
            f"{self.instance}: connection to port {self.port} closed after {self.sent} bytes sent and "
            f"{self.received} received"
        )


@dataclass(frozen=True, slots=True)
class AgreementMade(InstanceEvent):
    """A provider has approved an agreement."""

    agreement_id: str
    provider_id: str
    provider_name: str

    def _text(self) -> str:
        return f"{self.instance}: agreement with {self.provider_name}"


@dataclass(frozen=True, slots=True)
class AgreementNotMade(InstanceEvent):
    """A provider did not approve an agreement, or the instance was stopped before that.

    Attributes:
        agreement_id: of the agreement; it is ended if its provider approves it after all.
        reason: why it is not made.
    """

    agreement_id: str
    provider_id: str
    provider_name: str
    reason: str

    def _text(self) -> str:
        return f"{self.instance}: no agreement with {self.provider_name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class AgreementEnded(InstanceEvent):
    """An agreement was terminated, by the requestor or by the provider."""

    agreement_id: str
    by_provider: bool
    reason: str

    def _text(self) -> str:
        who = "the provider" if self.by_provider else "us"
        return f"{self.instance}: agreement ended by {who}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ActivityCreated(InstanceEvent):
    """The provider has created the activity."""

    activity_id: str
    provider_name: str

    def _text(self) -> str:
        return f"{self.instance}: activity on {self.provider_name} created"


@dataclass(frozen=True, slots=True)
class ActivityDestroyed(InstanceEvent):
    """The activity was destroyed; `confirmed` if the provider has confirmed that."""

    activity_id: str
    confirmed: bool

    def _text(self) -> str:
        how = "destroyed" if self.confirmed else "to be destroyed: the provider did not confirm it in time"
        return f"{self.instance}: activity {how}"


@dataclass(frozen=True, slots=True)
class StateChanged(InstanceEvent):
    """The state of an instance has changed."""

    old: ServiceState
    new: ServiceState

    def _text(self) -> str:
        return f"{self.instance} is {self.new.value}"


@dataclass(frozen=True, slots=True)
class BatchStarted(InstanceEvent):
    """Commands are sent to the provider as one batch."""

    commands: Sequence[Command]

    def _text(self) -> str:
        return f"{self.instance}: {_listed(self.commands)} begun"


@dataclass(frozen=True, slots=True)
class BatchEnded(InstanceEvent):
    """A batch has ended; `failure` says why it failed, None if it did not."""

    commands: Sequence[Command]
    results: Sequence[Result]
    failure: str | None

    def _text(self) -> str:
        return f"{self.instance}: {_listed(self.commands)} {self.failure or 'done'}"


@dataclass(frozen=True, slots=True)
class TransferProgress(InstanceEvent):
    """A part of a file was transferred; sent repeatedly, and at the end.

    Attributes:
        command: the command that transfers it.
        transferred: bytes transferred so far.
        total: the size of the file in bytes; None if only the provider knows it.
    """

    command: Command
    transferred: int
    total: int | None

    def _text(self) -> str:
        whole = "" if self.total is None else f" of {self.total}"
        return f"{self.instance}: {self.command!r}: {self.transferred}{whole} bytes"


@dataclass(frozen=True, slots=True)
class StartProgress(Event):
    """A cluster starts, and the number of its running instances has changed.

    Attributes:
        running: how many instances run.
        total: how many have not ended; this includes those that start.
    """

    cluster: str
    running: int
    total: int

    def _text(self) -> str:
        return f"{self.cluster}: {self.running} of {self.total} running"


@dataclass(frozen=True, slots=True)
class MethodCalled(InstanceEvent):
    """A method of the service is called: deploy, start, run or shutdown."""

    method: str

    def _text(self) -> str:
        return f"{self.instance}: {self.method}()"


@dataclass(frozen=True, slots=True)
class InstanceFailed(InstanceEvent):
    """A life of an instance has failed; `respawned` if another one follows."""

    failure: str
    respawned: bool

    def _text(self) -> str:
        what = "is started again on another provider, since" if self.respawned else "has failed:"
        return f"{self.instance} {what} {self.failure}"


@dataclass(frozen=True, slots=True)
class ItemEvent(InstanceEvent):
    """The base of what happens to one item of a pool; `instance` is the machine that works on it.

    Attributes:
        pool: the name of the pool.
        item: the number of the item, from 1, in the order of submission.
        stats: the numbers of the pool after this.
    """

    pool: str
    item: int
    stats: PoolStats


@dataclass(frozen=True, slots=True)
class ItemStarted(ItemEvent):
    """A machine begins to work on an item; `attempt` counts from 1."""

    attempt: int

    def _text(self) -> str:
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{self.instance}: item {self.item} of {self.pool} begun{again}"


@dataclass(frozen=True, slots=True)
class ItemDone(ItemEvent):
    """An item is answered, for good; `failure` says what its exception is, None if it has a result."""

    failure: str | None

    def _text(self) -> str:
        how = "done" if self.failure is None else f"failed: {self.failure}"
        return f"{self.instance}: item {self.item} of {self.pool} {how}"


@dataclass(frozen=True, slots=True)
class ItemRetried(ItemEvent):
    """An attempt has failed, and the item is begun once more, on this machine or another one."""

    reason: str

    def _text(self) -> str:
        return f"{self.instance}: item {self.item} of {self.pool} is begun once more: {self.reason}"


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


@dataclass(frozen=True, slots=True)
class BudgetChanged(Event):
    """The budget was enlarged."""

    allocation_id: str
    amount: Decimal

    def _text(self) -> str:
        return f"the budget was enlarged to {self.amount} GLM"


@dataclass(frozen=True, slots=True)
class BudgetUsedUp(Event):
    """The rest of the budget is needed to end what runs, so all clusters are stopped."""

    budget: Decimal
    spent: Decimal

    def _text(self) -> str:
        budget = f"the budget of {self.budget} GLM is used up"
        return f"{budget}, with {self.spent} GLM accepted: all clusters are stopped"


@dataclass(frozen=True, slots=True)
class CleanedUp(Event):
    """Something that an earlier session had left open was cleaned up."""

    session_id: str
    what: str

    def _text(self) -> str:
        return f"after the session {self.session_id}: {self.what}"


def _listed(commands: Sequence[Command]) -> str:
    first = repr(commands[0]) if commands else "nothing"
    more = f" and {len(commands) - 1} more" if len(commands) > 1 else ""
    return first + more

"""All events. `golem.on_event` has a function called with each; `str(event)` is a line for a log."""

from .model.events.agreements import (
    ActivityCreated,
    ActivityDestroyed,
    AgreementEnded,
    AgreementMade,
    AgreementNotMade,
)
from .model.events.batches import BatchEnded, BatchStarted, MethodCalled, TransferProgress
from .model.events.budget import BudgetAllocated, BudgetChanged, BudgetReleased, BudgetUsedUp
from .model.events.cleanup import CleanedUp
from .model.events.connections import ConnectionClosed, ConnectionOpened
from .model.events.documents import DebitNoteAccepted, DebitNoteRefused, InvoiceAccepted, InvoiceRefused
from .model.events.event import Event, InstanceEvent
from .model.events.instances import InstanceFailed, StartProgress, StateChanged
from .model.events.items import ItemDone, ItemEvent, ItemRetried, ItemStarted
from .model.events.market import DemandPublished, DemandWithdrawn, ProposalReceived, ProposalRejected

__all__ = [
    "ActivityCreated",
    "ActivityDestroyed",
    "AgreementEnded",
    "AgreementMade",
    "AgreementNotMade",
    "BatchEnded",
    "BatchStarted",
    "BudgetAllocated",
    "BudgetChanged",
    "BudgetReleased",
    "BudgetUsedUp",
    "CleanedUp",
    "ConnectionClosed",
    "ConnectionOpened",
    "DebitNoteAccepted",
    "DebitNoteRefused",
    "DemandPublished",
    "DemandWithdrawn",
    "Event",
    "InstanceEvent",
    "InstanceFailed",
    "InvoiceAccepted",
    "InvoiceRefused",
    "ItemDone",
    "ItemEvent",
    "ItemRetried",
    "ItemStarted",
    "MethodCalled",
    "ProposalReceived",
    "ProposalRejected",
    "StartProgress",
    "StateChanged",
    "TransferProgress",
]

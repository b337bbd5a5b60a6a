"""What happens to the demand of a cluster on the market."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .event import Event


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

    is_frequent: ClassVar[bool] = True
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

"""Agreements with providers, and the activities under them."""

from __future__ import annotations

from dataclasses import dataclass

from .event import InstanceEvent


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

"""The states of instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..service.states import ServiceState
from .event import Event, InstanceEvent


@dataclass(frozen=True, slots=True)
class StartProgress(Event):
    """A cluster starts, and the number of its running instances has changed.

    Attributes:
        running: how many instances run.
        total: how many have not ended; this includes those that start.
    """

    is_frequent: ClassVar[bool] = True
    cluster: str
    running: int
    total: int

    def _text(self) -> str:
        if self.total == 0:
            return f"{self.cluster}: all instances have ended"
        return f"{self.cluster}: {self.running} of {self.total} running"


@dataclass(frozen=True, slots=True)
class StateChanged(InstanceEvent):
    """The state of an instance has changed."""

    old: ServiceState
    new: ServiceState

    def _text(self) -> str:
        return f"{self.instance} is {self.new.value}"


@dataclass(frozen=True, slots=True)
class InstanceFailed(InstanceEvent):
    """A life of an instance has failed; `respawned` if another one follows."""

    failure: str
    respawned: bool

    def _text(self) -> str:
        what = "is started again on another provider, since" if self.respawned else "has failed:"
        return f"{self.instance} {what} {self.failure}"

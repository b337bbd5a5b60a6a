"""Connections to instances in private networks."""

from __future__ import annotations

from dataclasses import dataclass

from .event import InstanceEvent


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

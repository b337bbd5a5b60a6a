"""The states of an instance, and which may follow which."""

from __future__ import annotations

from enum import Enum


class ServiceState(str, Enum):
    """Where an instance is in its life; equal to its name, so `instance.state == "running"` holds."""

    pending = "pending"
    starting = "starting"
    running = "running"
    stopping = "stopping"
    terminated = "terminated"
    unresponsive = "unresponsive"
    suspended = "suspended"

    @property
    def is_final(self) -> bool:
        """True if no other state follows in this session."""
        return not TRANSITIONS[self]

    def __str__(self) -> str:
        return self.value


TRANSITIONS: dict[ServiceState, frozenset[ServiceState]] = {
    ServiceState.pending: frozenset({ServiceState.starting, ServiceState.terminated}),
    ServiceState.starting: frozenset(
        {ServiceState.running, ServiceState.pending, ServiceState.stopping, ServiceState.terminated}
    ),
    ServiceState.running: frozenset(
        {
            ServiceState.stopping,
            ServiceState.unresponsive,
            ServiceState.suspended,
            ServiceState.pending,
            ServiceState.terminated,
        }
    ),
    ServiceState.unresponsive: frozenset(
        {ServiceState.running, ServiceState.stopping, ServiceState.pending, ServiceState.terminated}
    ),
    ServiceState.stopping: frozenset({ServiceState.pending, ServiceState.terminated}),
    ServiceState.suspended: frozenset(),
    ServiceState.terminated: frozenset(),
}

"""The states of an instance, and the changes that are possible."""

from __future__ import annotations

from enum import Enum


class ServiceState(str, Enum):
    """The state of an instance; it equals its name: `instance.state == "running"`."""

    pending = "pending"
    starting = "starting"
    running = "running"
    stopping = "stopping"
    terminated = "terminated"
    unresponsive = "unresponsive"
    suspended = "suspended"

    @property
    def is_final(self) -> bool:
        """Whether no other state follows in this session."""
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

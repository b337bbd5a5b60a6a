"""The instances that a proxy connects to, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ...background.cancellation import Deadline, Scope
from ...engine.network.place import Connections, Place, check_port
from ...errors import BadNetwork, NetworkError, NotRunning, PortRefused, PortTimeout
from ...model.service.states import ServiceState
from ..cluster import Cluster
from ..instance import Instance

T = TypeVar("T")

_NEXT_ROUND_SECONDS = 0.1
# If a round has less time than this and no answer, the reason of the one before counts: the daemon is slow.
_SHORT_ROUND_SECONDS = 1.0


class Targets:
    """Takes turns among the instances that are running; used by any thread.

    Attributes:
        port: of the instances.
        connections: what connects to them.
    """

    def __init__(self, target: Instance | Cluster, port: int) -> None:
        """Check a target.

        Raises:
            BadNetwork: it is none, it has no private network, or there is no such port.
        """
        check_port(port)
        if not isinstance(target, (Instance, Cluster)):
            raise BadNetwork(f"a proxy leads to an instance or a cluster, not to {target!r}")
        self.port = port
        self._target = target
        instances = self._instances()
        if not instances:
            raise BadNetwork(f"{target!r} has no instances that a proxy could lead to")
        self.connections: Connections = instances[0]._network_place.connections
        self._lock = threading.Lock()
        self._turn = 0

    def _instances(self) -> tuple[Instance, ...]:
        return self._target.instances if isinstance(self._target, Cluster) else (self._target,)

    def reach(self, connect: Callable[[Place], T], deadline: Deadline, scope: Scope) -> T:
        """Connect to the instance whose turn it is, or to another one if that can't be reached; blocks.

        Args:
            connect: connects to the place of one, without repetition; called again for all if all fail.
            deadline: until when it is tried.
            scope: cancelling it ends the tries.

        Returns:
            What `connect` returned.

        Raises:
            NetworkError, NotRunning: there was no connection, with the last reason.
        """
        before: NetworkError | NotRunning | None = None
        while True:
            left = deadline.remaining()
            error: NetworkError | NotRunning | None = None
            for place in self._in_turn():
                if error is not None and deadline.passed:
                    break
                try:
                    return connect(place)
                except (NetworkError, NotRunning) as reason:
                    if error is None or not isinstance(reason, PortRefused):
                        error = reason
            if error is None:
                raise NotRunning(f"no instance is running: {self}")
            if before is not None and left < _SHORT_ROUND_SECONDS and isinstance(error, PortTimeout):
                error = before
            if deadline.remaining() < _NEXT_ROUND_SECONDS or scope.wait(_NEXT_ROUND_SECONDS):
                raise error
            before = error

    def _in_turn(self) -> list[Place]:
        """Return the places of all running instances, beginning with the one whose turn it is."""
        running = [one._network_place for one in self._instances() if one.state is ServiceState.running]
        if not running:
            return []
        with self._lock:
            first = self._turn % len(running)
            self._turn += 1
        return [*running[first:], *running[:first]]

    def __str__(self) -> str:
        return f"port {self.port} of {self._target!r}"

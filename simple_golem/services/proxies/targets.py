"""The instances that a proxy connects to, one after the other."""

from __future__ import annotations

import threading

from ...engine.network.place import Connections, Place, check_port
from ...errors import BadNetwork
from ...model.service.states import ServiceState
from ..cluster import Cluster
from ..instance import Instance


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

    def in_turn(self) -> list[Place]:
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

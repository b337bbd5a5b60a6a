"""The private networks of a session, and the connections to instances in them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from ...background.cancellation import Scope
from ...background.timer import Timer
from ...errors import BadNetwork, GolemError
from ...model.service.suspended import SuspendedInstance
from ...yagna.api.network import NetworkApi
from ..event_dispatcher import Emit
from .connector import Connector
from .message_order import MessageOrder
from .network import PrivateNetwork, Write, host_name_of
from .place import Connections, OpenProxies, Place
from .pump import Pump

logger = logging.getLogger(__name__)

DEFAULT_IP = "192.168.0.0/24"


class Networks:
    """Makes networks, and ends them with the session; used by any thread."""

    def __init__(
        self,
        api: NetworkApi,
        journal: Write,
        asking: Scope,
        stop: Scope,
        emit: Emit,
        timer: Timer,
        own_node_id: str,
        refusal: str = "",
    ) -> None:
        """Args:
        api: the daemon's.
        journal: writes a line to the journal.
        asking: cancelling it abandons the requests for new networks.
        stop: cancelled when the session ends.
        emit: gets an event for each connection.
        timer: closes connections that nobody uses.
        own_node_id: the requestor's.
        refusal: why no provider can join a network; `""` if that is not known.
        """
        self._asking = asking
        self._api = api
        self._journal = journal
        self._connections = Connections(
            Connector(api), Pump(lambda: MessageOrder(api)), stop, emit, OpenProxies(), timer
        )
        self._lock = threading.Lock()
        self._networks: list[PrivateNetwork] = []
        self._default: PrivateNetwork | None = None
        self._adopted: dict[str, PrivateNetwork] = {}
        self._refusal = refusal
        self._own_node_id = own_node_id

    def create(self, ip: str) -> PrivateNetwork:
        """Make a network; blocks for requests.

        Raises:
            BadNetwork: `ip` is no range of addresses, or no provider can join.
        """
        self.require_possible()
        with self._lock:
            network = self._new_locked(ip)
        network.make(self._asking)
        return network

    def _new_locked(self, ip: str) -> PrivateNetwork:
        network = PrivateNetwork(self._api, ip, self._own_node_id, self._journal)
        self._networks.append(network)
        return network

    def default(self) -> PrivateNetwork:
        """Return the session's own network; blocks for requests when it is first needed, and made.

        Raises:
            BadNetwork: no provider can join.
        """
        self.require_possible()
        with self._lock:
            network = self._default
            if network is None:
                network = self._default = self._new_locked(DEFAULT_IP)
        network.make(self._asking)
        return network

    def require_possible(self) -> None:
        """Raise `BadNetwork` if it is known that no provider can join a network."""
        if self._refusal:
            raise BadNetwork(
                f"the local network has no private networks: {self._refusal}. Run the script where "
                "programs may have network interfaces of their own, or without network="
            )

    def of_suspended(self, suspended: SuspendedInstance) -> PrivateNetwork:
        """Return the network of a suspended instance, which is not taken over before `adopt`."""
        with self._lock:
            network = self._adopted.get(suspended.network_id)
            if network is None:
                network = self._adopted[suspended.network_id] = self._new_locked(suspended.network_ip)
            return network

    def adopt(self, suspended: Sequence[SuspendedInstance]) -> None:
        """Take over the networks of suspended instances, which are resumed."""
        for network_id, network in list(self._adopted.items()):
            agreements = [one.agreement_id for one in suspended if one.network_id == network_id]
            if agreements:
                network.adopt(network_id, agreements)

    def place_of(self, suspended: SuspendedInstance, group: object) -> Place | None:
        """Return the place of a suspended instance; None if it had none.

        Raises:
            BadNetwork: another instance has its address.
        """
        if not suspended.network_ip:
            return None
        network = self.of_suspended(suspended)
        return self.places(network, [suspended.name], group, [suspended.ip])[0]

    def places(
        self,
        network: PrivateNetwork,
        names: Sequence[str],
        group: object,
        wanted: Sequence[str] | None = None,
    ) -> list[Place]:
        """Give places to new instances.

        Args:
            network: in which.
            names: the names of the instances.
            group: their cluster.
            wanted: their addresses; None: the next ones that are free.

        Raises:
            BadNetwork: they can't have these addresses, or the network was closed.
        """
        host_names = [host_name_of(name) for name in names]
        addresses = network.enter(host_names, group, wanted)
        return [
            Place(network, ip, host_name, name, group, self._connections)
            for ip, host_name, name in zip(addresses, host_names, names, strict=True)
        ]

    def end_all(self, scope: Scope) -> None:
        """End all networks but those that suspended instances need; blocks for requests."""
        with self._lock:
            networks = list(self._networks)
        for network in networks:
            try:
                network.end(scope)
            except GolemError as error:
                logger.warning(
                    "the network %s could not be ended; it ends with the daemon: %s", network.ip, error
                )

    def close(self, timeout: float) -> bool:
        """Close all proxies and connections; whether their thread has ended within `timeout` seconds."""
        self._connections.proxies.close_all()
        return self._connections.pump.close(timeout)

"""The private networks of a fake daemon, and the connections to servers of its providers."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ...yagna.transport.tcp_pair import tcp_pair
from ..request import Call, FakeAnswer, FakeRequest
from .wire import json_body
from .world import World

_SILENCE_SECONDS = 5.0

Server = Callable[[socket.socket], object]


class Host(Protocol):
    """A provider, as it is reached in a network."""

    def has_deployed(self, network_id: str, ip: str) -> bool: ...
    def server(self, port: int) -> Server | None: ...


class Hosts(Protocol):
    """All providers."""

    def host(self, node_id: str) -> Host | None: ...


class PortConnection:
    """The daemon's end of a connection to a port.

    Attributes:
        end: the socket.
        confirmed: how often the order in its network was confirmed.
    """

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.confirmed = 0
        self._lock = threading.Lock()
        self._in_use = True
        self._dropped = False

    def drop(self) -> None:
        """End it; from any thread."""
        with self._lock:
            self._dropped = True
            with contextlib.suppress(OSError):
                self.end.shutdown(socket.SHUT_RDWR)
            if not self._in_use:
                self.end.close()

    def left(self) -> None:
        """The client is gone. As in the real daemon, the server does not see that."""
        with self._lock:
            self._in_use = False
            if self._dropped:
                self.end.close()


@dataclass
class _Network:
    ip: ipaddress.IPv4Network
    gateway: str
    nodes: dict[str, str] = field(default_factory=dict)
    connections: list[PortConnection] = field(default_factory=list)


class PrivateNetworks:
    """Answers requests for networks; holds the lock of the world.

    Attributes:
        hosts: the providers.
    """

    hosts: Hosts

    def __init__(self, world: World) -> None:
        self._world = world
        self._changed = world.condition()
        self._networks: dict[str, _Network] = {}

    @property
    def ids(self) -> list[str]:
        """The ids of all networks."""
        return list(self._networks)

    def nodes(self, network_id: str) -> dict[str, str]:
        """The node ids in a network, by address."""
        return dict(self._networks[network_id].nodes)

    def forget_all(self) -> None:
        """Drop all networks with their connections, as a restart does."""
        for network in self._networks.values():
            _drop(network)
        self._networks.clear()

    # --- by REST ----------------------------------------------------------------------------------------

    def post(self, request: FakeRequest, call: Call) -> FakeAnswer:
        body = json_body(request, ("ip",))
        ip = str(body["ip"])
        try:
            whole = ipaddress.IPv4Network(ip)
        except ValueError:
            return _bad_address(ip)
        network_id = self._world.hex_id(32)
        self._networks[network_id] = _Network(whole, str(body.get("gateway") or whole[1]))
        return FakeAnswer.of_json(self._wire(network_id))

    def list_all(self, request: FakeRequest, call: Call) -> FakeAnswer:
        return FakeAnswer.of_json([self._wire(one) for one in self._networks])

    def delete(self, request: FakeRequest, call: Call, network_id: str) -> FakeAnswer:
        network = self._networks.pop(network_id, None)
        if network is None:
            return FakeAnswer.of_message("Network not found", 404)
        _drop(network)
        return FakeAnswer.of_json(None)

    def post_address(self, request: FakeRequest, call: Call, network_id: str) -> FakeAnswer:
        return self._checked(network_id, str(json_body(request, ("ip",))["ip"])) or FakeAnswer.of_json(None)

    def post_node(self, request: FakeRequest, call: Call, network_id: str) -> FakeAnswer:
        body = json_body(request, ("id", "ip"))
        refusal = self._checked(network_id, str(body["ip"]))
        if refusal is not None:
            return refusal
        # The real daemon keeps the first node of an address, and says nothing.
        self._networks[network_id].nodes.setdefault(str(body["ip"]), str(body["id"]))
        return FakeAnswer.of_json(None)

    def delete_node(self, request: FakeRequest, call: Call, network_id: str, node_id: str) -> FakeAnswer:
        network = self._networks.get(network_id)
        if network is None:
            return FakeAnswer(403)
        network.nodes = {ip: node for ip, node in network.nodes.items() if node != node_id}
        return FakeAnswer.of_json(None)

    def connect(self, request: FakeRequest, call: Call, network_id: str, ip: str, port: str) -> FakeAnswer:
        network = self._networks.get(network_id)
        if network is None:
            return FakeAnswer(403)
        if port == "0":
            for connection in network.connections:
                connection.confirmed += 1
            return FakeAnswer.of_message("Connection error: unaddressable destination", 400)
        host = self.hosts.host(network.nodes.get(ip, ""))
        if host is None or not host.has_deployed(network_id, ip):
            self._world.wait(call, self._changed, lambda: False, _SILENCE_SECONDS)
            return FakeAnswer(504)
        server = host.server(int(port))
        if server is None:
            return FakeAnswer.of_message("Socket closed", 400)
        ours, theirs = tcp_pair()
        connection = PortConnection(ours)
        network.connections.append(connection)
        self._world.spawn(f"fake-server-{port}", lambda: _serve(server, theirs))
        return FakeAnswer(101, service=connection)

    def _checked(self, network_id: str, ip: str) -> FakeAnswer | None:
        network = self._networks.get(network_id)
        if network is None:
            return FakeAnswer(403)
        try:
            is_inside = ipaddress.IPv4Address(ip) in network.ip
        except ValueError:
            is_inside = False
        return None if is_inside else _bad_address(ip)

    def _wire(self, network_id: str) -> dict[str, str]:
        network = self._networks[network_id]
        mask = str(network.ip.netmask)
        return {"id": network_id, "ip": str(network.ip), "mask": mask, "gateway": network.gateway}


def _bad_address(ip: str) -> FakeAnswer:
    return FakeAnswer.of_message(f"Invalid network IP address: {ip}", 400)


def _drop(network: _Network) -> None:
    for connection in network.connections:
        connection.drop()


def _serve(server: Server, end: socket.socket) -> None:
    with end, contextlib.suppress(OSError):
        server(end)

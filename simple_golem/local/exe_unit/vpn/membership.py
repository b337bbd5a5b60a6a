"""The membership of one activity in one private network: frames between its interface and the service bus."""

from __future__ import annotations

import errno
import ipaddress
import logging
from collections.abc import Mapping
from typing import Any

from ....errors import BusError
from ...bus.bus import Bus
from ...bus.protocol import from_payload, to_payload
from ...sandbox.sandbox import Sandbox
from .frames import target_of, who_has
from .interface import mac_of, make_interface

logger = logging.getLogger(__name__)

_EVERYBODY = "255.255.255.255"
_LONGEST_FRAME = 65536


class BadNetwork(Exception):
    """The description of a network in `deploy` makes no sense."""


class Membership:
    """Passes frames on, in both directions, until it is closed.

    Attributes:
        frames: the socket of the interface; `forward` reads what it has received.
    """

    def __init__(
        self, bus: Bus, node_id: str, sandbox: Sandbox, number: int, network: Mapping[str, Any]
    ) -> None:
        """Make the interface, and serve the network on the bus; blocks for 10 seconds at most.

        Args:
            bus: the service bus.
            node_id: the provider's node id.
            sandbox: gets the interface.
            number: of the interface.
            network: as in `deploy`: `{"id", "ip", "mask", "nodeIp", "nodes"}`.

        Raises:
            BadNetwork: the description makes no sense.
            OSError: the kernel refuses to make the interface.
            BusError: the bus refuses the address.
            SandboxGone: the sandbox has ended.
        """
        try:
            self._address = _address_of(network)
            self._nodes = dict(network["nodes"])
            network_id = network["id"]
        except (KeyError, ValueError, TypeError) as error:
            raise BadNetwork(f"{type(error).__name__}: {error}") from error
        self._bus = bus
        self._node_id = node_id
        self._network_id = network_id
        self._service_id = f"/net/{node_id}/vpn/{network_id}"
        self.frames = make_interface(sandbox, number, self._address)
        try:
            bus.register_raw(self._service_id, self._called)
        except BaseException:
            self.frames.close()
            raise

    def close(self) -> None:
        """Stop serving the network, and close the socket; does not block."""
        self._bus.unregister(self._service_id)
        self.frames.close()

    # --- to the instance, on the reading thread of the bus ---------------------------------------------

    def _called(self, caller: str, address: str, data: bytes) -> bytes:
        message = address.rpartition("/")[2]
        if message == "raw":
            self._receive(data)
            return b""
        if message == "VpnPacket":
            packet = from_payload(data)
            if isinstance(packet, list):
                self._receive(bytes(packet))
        elif message == "VpnControl":
            self._change_nodes(from_payload(data))
        else:
            raise BusError(f"a private network has no message {message}")
        return to_payload({"Ok": None})

    def _receive(self, frame: bytes) -> None:
        try:
            self.frames.send(frame)
        except OSError as error:
            # As on any network, a frame can be lost: TCP sends it again.
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.ENETDOWN, errno.EBADF, errno.ENXIO):
                logger.warning("a frame for %s was lost: %s", self._address.ip, error)

    def _change_nodes(self, change: object) -> None:
        """Add or remove members. The dictionary is replaced, not changed: other threads read it."""
        logger.info("%s on %s: %s", self._address.ip, self._node_id, change)
        if not isinstance(change, dict):
            return
        for added in _parts(change, "addNodes"):
            self._nodes = {**self._nodes, **added["nodes"]}
        for removed in _parts(change, "removeNodes"):
            gone = set(removed["node_ids"])
            self._nodes = {ip: node for ip, node in self._nodes.items() if node not in gone}
        self.greet()

    # --- from the instance, on the thread of the activity's networks -----------------------------------

    def forward(self) -> None:
        """Send the frames that the interface has sent to the members that they are for; does not block."""
        while True:
            try:
                frame = self.frames.recv(_LONGEST_FRAME)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # the sandbox is ending
                    return
                raise
            target = target_of(frame)
            if target is not None:
                self._send(target, frame)

    def greet(self) -> None:
        """Tell all members the hardware address of this one, with the question for theirs.

        A daemon's network looks up only one unknown address each second: the first contacts with two unknown
        instances would take three seconds.
        """
        own = self._address.ip
        for address in self._nodes:
            if address != str(own):
                self._send(address, who_has(ipaddress.IPv4Address(address), own, mac_of(own)))

    def _send(self, target: str, frame: bytes) -> None:
        nodes = self._nodes
        if target in (_EVERYBODY, str(self._address.network.broadcast_address)):
            receivers = {node for node in nodes.values() if node != self._node_id}
        else:
            receivers = {nodes[target]} if target in nodes else set()
        for node in receivers:
            self._bus.send(f"/net/{node}/vpn/{self._network_id}/raw", frame, caller=self._node_id)


def _address_of(network: Mapping[str, Any]) -> ipaddress.IPv4Interface:
    """The address of the node, with the mask of its network, which may be written in two ways."""
    ip, mask = network["ip"], network.get("mask")
    whole = ipaddress.IPv4Network(ip if "/" in ip or not mask else f"{ip}/{mask}", strict=False)
    address = ipaddress.IPv4Interface(f"{network['nodeIp']}/{whole.prefixlen}")
    if address.ip not in whole:
        raise ValueError(f"{address.ip} is not in {whole}")
    return address


def _parts(change: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    part = change.get(name)
    return [part] if isinstance(part, dict) else []

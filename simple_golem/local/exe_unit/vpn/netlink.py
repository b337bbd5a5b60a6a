"""Makes and configures network interfaces by messages to the kernel (rtnetlink).

It is our own code because the packages that speak netlink load hundreds of modules; two messages are needed.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from dataclasses import dataclass

_NEWLINK, _NEWADDR, _ERROR = 16, 20, 2
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_LINK_MAC, _LINK_NAME, _LINK_MTU, _LINK_INFO = 1, 3, 4, 18
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_ADDRESS_PEER, _ADDRESS_LOCAL, _ADDRESS_BROADCAST = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a pair of interfaces.

    Attributes:
        name: its name.
        mac: its address of six bytes; empty for a random one.
    """

    name: str
    mac: bytes = b""


def add_pair(netlink: socket.socket, one: Interface, other: Interface, mtu: int) -> None:
    """Make two interfaces that are connected with each other; neither is up yet.

    Args:
        netlink: a netlink socket in the network that gets them.
        one, other: the two.
        mtu: the largest packet that they take, in bytes.

    Raises:
        OSError: the kernel refuses.
    """
    pair = _attribute(_INFO_KIND, b"veth") + _attribute(
        _INFO_DATA, _attribute(_VETH_PEER, _interface(other, mtu))
    )
    _ask(netlink, _NEWLINK, _interface(one, mtu) + _attribute(_LINK_INFO, pair))


def add_address(netlink: socket.socket, index: int, address: ipaddress.IPv4Interface) -> None:
    """Give an interface an address, and the route to its network.

    Args:
        netlink: a netlink socket in the network of the interface.
        index: the number of the interface.
        address: the address, with the network's mask.

    Raises:
        OSError: the kernel refuses.
    """
    network = address.network
    body = _ADDRESS.pack(socket.AF_INET, network.prefixlen, 0, 0, index)
    body += _attribute(_ADDRESS_LOCAL, address.packed[:4]) + _attribute(_ADDRESS_PEER, address.packed[:4])
    body += _attribute(_ADDRESS_BROADCAST, network.broadcast_address.packed)
    _ask(netlink, _NEWADDR, body)


def _interface(interface: Interface, mtu: int) -> bytes:
    message = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    message += _attribute(_LINK_NAME, interface.name.encode() + b"\0")
    message += _attribute(_LINK_MTU, struct.pack("=I", mtu))
    return message + (_attribute(_LINK_MAC, interface.mac) if interface.mac else b"")


def _attribute(number: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), number) + value
    return data + bytes(-len(data) % 4)


def _ask(netlink: socket.socket, kind: int, body: bytes) -> None:
    flags = _REQUEST | _ACK | _CREATE | _EXCL
    netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
    answer = netlink.recv(65536)
    answered = _HEADER.unpack_from(answer)[1]
    number = -struct.unpack_from("=i", answer, _HEADER.size)[0] if answered == _ERROR else 0
    if number:
        raise OSError(number, os.strerror(number))

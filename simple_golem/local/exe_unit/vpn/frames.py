"""Ethernet frames: for whom they are, and the question for a neighbour's hardware address (ARP)."""

from __future__ import annotations

import ipaddress
import struct

_IPV4, _ARP = 0x0800, 0x0806
_BROADCAST_MAC = b"\xff" * 6
_KIND = struct.Struct(">H")


def target_of(frame: bytes) -> str | None:
    """Return the IPv4 address that a frame is for; None if it is no frame of IPv4 or ARP.

    A broadcast is for `255.255.255.255`.
    """
    if len(frame) < 34:
        return None
    kind = _KIND.unpack_from(frame, 12)[0]
    if kind == _IPV4:
        if frame[:6] == _BROADCAST_MAC:
            return "255.255.255.255"
        return _dotted(frame[30:34])
    if kind == _ARP and len(frame) >= 42:
        return _dotted(frame[38:42])
    return None


def who_has(wanted: ipaddress.IPv4Address, asking: ipaddress.IPv4Address, mac: bytes) -> bytes:
    """Return the frame that asks for a neighbour's hardware address, and tells the asking one's.

    Args:
        wanted: the neighbour's address.
        asking: the address that asks.
        mac: its hardware address.
    """
    head = _BROADCAST_MAC + mac + _KIND.pack(_ARP)
    question = struct.pack(">HHBBH", 1, _IPV4, 6, 4, 1)
    return head + question + mac + asking.packed + bytes(6) + wanted.packed


def _dotted(address: bytes) -> str:
    return "%d.%d.%d.%d" % tuple(address)  # noqa: UP031 - four times as quick as an IPv4Address

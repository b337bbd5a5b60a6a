"""A network interface in a sandbox, whose frames are read and written outside of it.

It is a pair of connected interfaces: programs use the first, and a packet socket is bound to the second. All
of it needs rights in the sandbox only, which whoever has made the sandbox has; no device file is opened.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import ipaddress
import socket
import struct

from ...sandbox.sandbox import Sandbox
from .netlink import Interface, add_address, add_pair

# The figures of the real VM runtime.
MTU = 1220
_MAC_PREFIX = b"\x90\x13"

_ALL_PROTOCOLS = 0x0003
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SIOCSIFFLAGS, _SIOCGIFINDEX, _SIOCETHTOOL = 0x8914, 0x8933, 0x8946
_IFF_UP = 0x1
# Checksums and the splitting of large segments: nobody does them behind a packet socket.
_OFFLOADS = {"checksum": 0x17, "scatter-gather": 0x19, "tso": 0x1F, "gso": 0x24}


def mac_of(address: ipaddress.IPv4Address) -> bytes:
    """Return the hardware address of the interface that has an address."""
    return _MAC_PREFIX + address.packed


def make_interface(sandbox: Sandbox, number: int, address: ipaddress.IPv4Interface) -> socket.socket:
    """Make a network interface in a sandbox.

    Args:
        sandbox: the sandbox.
        number: of the interface: 0 for `eth0`.
        address: its address, with the network's mask.

    Returns:
        A socket that receives the frames which the interface sends, and whose frames it receives; it does not
        block. The caller must close it: it keeps the network of the sandbox alive.

    Raises:
        OSError: the kernel refuses.
        SandboxGone: the sandbox has ended.
    """
    inner, outer = f"eth{number}", f"net{number}"
    with sandbox.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        add_pair(netlink, Interface(inner, mac_of(address.ip)), Interface(outer), MTU)
        with sandbox.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            _turn_offloads_off(control, inner)
            _bring_up(control, inner)
            _bring_up(control, outer)
            index = _index_of(control, inner)
        add_address(netlink, index, address)
    frames = sandbox.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
    try:
        frames.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        frames.bind((outer, _ALL_PROTOCOLS))
        frames.setblocking(False)
    except BaseException:
        frames.close()
        raise
    return frames


def why_impossible(sandbox: Sandbox) -> str:
    """Return why a sandbox of this machine can have no network interface; `""` if it can."""
    try:
        make_interface(sandbox, 0, ipaddress.IPv4Interface("192.168.0.2/24")).close()
    except OSError as error:
        return f"this machine lets no activity have a network interface: {error.strerror}"
    return ""


def _turn_offloads_off(control: socket.socket, name: str) -> None:
    for command in _OFFLOADS.values():
        value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
        request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, request)
        except OSError as error:
            # Where a kernel does not know one of them, it has nothing to turn off.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise


def _bring_up(control: socket.socket, name: str) -> None:
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), _IFF_UP))


def _index_of(control: socket.socket, name: str) -> int:
    answer = fcntl.ioctl(control, _SIOCGIFINDEX, struct.pack("16s24x", name.encode()))
    index: int = struct.unpack_from("=i", answer, 16)[0]
    return index

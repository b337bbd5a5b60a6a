"""A local network is no service for the neighbours: all of it listens on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from simple_golem.local import LocalGolem

_LISTENS = "0A"


def processes_under(pid: int) -> Iterator[int]:
    """A process and all that it has started."""
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listed.read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            continue
        for child in children:
            yield from processes_under(int(child))


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets of a process."""
    found = set()
    try:
        handles = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):  # the process has ended meanwhile
        return found
    for handle in handles:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{handle}")
        except (FileNotFoundError, ProcessLookupError):  # it was closed meanwhile
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def addresses(table: str, inodes: set[str]) -> Iterator[IPv4Address | IPv6Address]:
    """Where sockets listen, or wait for datagrams, by a table of the kernel."""
    for line in Path("/proc/net", table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and (table.startswith("udp") or fields[3] == _LISTENS):
            words = bytes.fromhex(fields[1].partition(":")[0])
            # Each word of four bytes is written in the order of the machine.
            yield ip_address(b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4)))


def test_all_processes_of_a_local_network_listen_on_loopback_alone(network: LocalGolem) -> None:
    inodes: set[str] = set()
    for pid in processes_under(os.getpid()):
        inodes |= sockets_of(pid)
    found = [one for table in ("tcp", "tcp6", "udp", "udp6") for one in addresses(table, inodes)]
    assert len(found) >= 3
    assert [one for one in found if not one.is_loopback] == []

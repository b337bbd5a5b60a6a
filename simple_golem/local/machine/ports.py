"""TCP ports for local networks; no two networks get the same port.

yagna can't connect to a hub on a port with five digits, and the kernel gives only such ports. A lock on a
file reserves a port; the lock ends with its process.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from pathlib import Path

from ...background.file_lock import FileLock
from ...errors import LocalNetworkError

# The default ports of the user's own yagna.
_YAGNA_DEFAULTS = (7464, 7465)
CANDIDATES = tuple(port for port in range(4000, 10000) if port not in _YAGNA_DEFAULTS)


class HeldPort:
    """A port that is reserved for this process until `release`, or until the process ends."""

    def __init__(self, number: int, lock: FileLock) -> None:
        self.number = number
        self._lock = lock

    def release(self) -> None:
        self._lock.release()


def hold_ports(count: int, folder: Path, candidates: Iterable[int] | None = None) -> list[HeldPort]:
    """Find free ports with four digits, and reserve them.

    Args:
        count: the number of ports.
        folder: the folder of the lock files, which all networks of a user share.
        candidates: the ports to try, in this order; by default all ports, in random order.

    Raises:
        LocalNetworkError: there are not enough free ports.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held: list[HeldPort] = []
    for number in candidates if candidates is not None else random.sample(CANDIDATES, len(CANDIDATES)):
        port = _try_to_hold(number, folder)
        if port is not None:
            held.append(port)
        if len(held) == count:
            return held
    for port in held:
        port.release()
    raise LocalNetworkError(f"{count} free ports of four digits are needed, and only {len(held)} were found")


def _try_to_hold(number: int, folder: Path) -> HeldPort | None:
    try:
        lock = FileLock(folder / str(number), wait=False)
    except BlockingIOError:
        return None
    if _in_use(number):
        lock.release()
        return None
    return HeldPort(number, lock)


def _in_use(number: int) -> bool:
    with socket.socket() as probe:
        # As yagna does. Without it a port counts as used for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return True
    return False

"""TCP ports that no two local networks share.

yagna can't reach a hub whose port has more than four digits, so the kernel's own free ports are of no use.
A port is held by a lock on a file of its own, which ends with the process that holds it.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from pathlib import Path

from ...background.file_lock import FileLock
from ...errors import LocalNetworkError

# The ports that a user's own yagna takes unless told otherwise.
_YAGNA_DEFAULTS = (7464, 7465)
CANDIDATES = tuple(port for port in range(4000, 10000) if port not in _YAGNA_DEFAULTS)


class HeldPort:
    """A port that belongs to this process until `release`, or until the process ends."""

    def __init__(self, number: int, lock: FileLock) -> None:
        self.number = number
        self._lock = lock

    def release(self) -> None:
        self._lock.release()


def hold_ports(count: int, folder: Path, candidates: Iterable[int] | None = None) -> list[HeldPort]:
    """Find ports of at most four digits that nobody uses, and hold them.

    Args:
        count: how many.
        folder: where the lock files are; shared by all networks of a user.
        candidates: the ports to try, in this order; by default all of them, in a random one.

    Raises:
        LocalNetworkError: there are not as many.
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
        # As yagna does; without it a port is "in use" for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return True
    return False

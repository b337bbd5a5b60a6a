"""Lets the connections between two daemons send small packets at once.

yagna leaves Nagle's algorithm on for its service bus: each frame of a private network waits 40 ms for an
acknowledgement. The option is set from outside, on duplicates of the daemons' sockets: a relay in between
would copy all data, and each file that is transferred with it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_PIDFD_GETFD = 438
_ESTABLISHED = "01"

_libc = ctypes.CDLL(None, use_errno=True)


def send_at_once(pid: int, port: int) -> str:
    """Turn Nagle's algorithm off for all connections of a process from and to a port; does not block.

    Args:
        pid: a process of this user.
        port: of this machine.

    Returns:
        Why that is not possible; `""` if it was.
    """
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        return f"there is no process {pid}: {error.strerror}"
    try:
        for descriptor in _connections(pid, port):
            with _duplicate(process, descriptor) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        return f"the sockets of process {pid} can't be changed: {error.strerror}"
    finally:
        os.close(process)
    return ""


def _connections(pid: int, port: int) -> Iterator[int]:
    inodes = _inodes(pid, port)
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # it was closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{name}") in inodes:
                yield int(name)


def _inodes(pid: int, port: int) -> set[str]:
    number = f":{port:04X}"
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {
        f"socket:[{line[9]}]"
        for line in lines
        if line[3] == _ESTABLISHED and (line[1].endswith(number) or line[2].endswith(number))
    }


def _duplicate(process: int, descriptor: int) -> socket.socket:
    duplicate = _libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
    if duplicate == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return socket.socket(fileno=duplicate)

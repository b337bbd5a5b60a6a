"""Waits for sockets; `select.select` can't do it in a process with more than a thousand open files."""

from __future__ import annotations

import selectors
from typing import Protocol


class HasFileno(Protocol):
    """A socket, or what has one."""

    def fileno(self) -> int: ...


def wait_readable(carrier: HasFileno, seconds: float | None) -> bool:
    """Block until there is something to read, or for `seconds`; returns whether there is."""
    with selectors.DefaultSelector() as selector:
        selector.register(carrier, selectors.EVENT_READ)
        return bool(selector.select(seconds))

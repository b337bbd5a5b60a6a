"""Descriptors that stand for a process, also when its number has gone to another."""

from __future__ import annotations

import select


def has_ended(process: int, seconds: float) -> bool:
    """Block until the process of a descriptor has ended, `seconds` at most; whether it has."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))

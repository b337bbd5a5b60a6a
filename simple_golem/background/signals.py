"""What SIGTERM and Ctrl-C do to a `with Golem` in the main thread; nothing else here touches signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGTERM_STATUS = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM."""


class SigtermAsExit:
    """While it is taken, SIGTERM leaves the program like `sys.exit(143)`, through every `with` on the way."""

    def __init__(self) -> None:
        self._old: Any = None
        self._taken = False

    def take(self) -> None:
        """Take SIGTERM over; in any thread but the main one this does nothing."""
        if _in_main_thread():
            self._old = signal.signal(signal.SIGTERM, _exit)
            self._taken = True

    def give_back(self) -> None:
        """Put the handler back that was there before."""
        if self._taken and _in_main_thread():
            signal.signal(signal.SIGTERM, self._old)
            self._taken = False


@contextmanager
def shortening(shorten: Callable[[], None], *, told: bool) -> Iterator[None]:
    """While closing, Ctrl-C and SIGTERM call `shorten` and raise nothing until it is done.

    Args:
        hurry: called in the handler, so in the middle of anything: it must not wait for a lock.
        told: whether the program is ending by a signal already, so that it need not be raised after closing.
    """
    if not _in_main_thread():
        yield
        return
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        shorten()

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if received and not told:
        raise KeyboardInterrupt if received[0] == signal.SIGINT else Terminated(_SIGTERM_STATUS)


def _exit(number: int, frame: FrameType | None) -> None:
    raise Terminated(_SIGTERM_STATUS)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

"""What Ctrl-C, SIGTERM and SIGHUP do to a `with Golem` in the main thread; no other module touches them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .forks import current_process

# Besides Ctrl-C, these ask a process to end: `kill`, and a terminal that is closed. Windows has no SIGHUP.
_END_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(SystemExit):
    """The process was asked to end by SIGTERM or SIGHUP; its status is 128 and the signal's number."""


class EndSignals:
    """Has SIGTERM and SIGHUP end the program through every `with` that is open, as `sys.exit` does.

    A signal that the program ignores stays ignored: after `nohup`, it goes on when its terminal is closed.
    """

    def __init__(self) -> None:
        self._old: dict[int, Any] = {}

    def handle(self) -> None:
        """Handle the signals from now on; in a thread other than the main thread this does nothing."""
        if _in_main_thread():
            self._old = {number: signal.signal(number, _exit) for number in _not_ignored(_END_SIGNALS)}

    def restore(self) -> None:
        """Set the earlier handlers again."""
        if _in_main_thread():
            while self._old:
                _set_again(*self._old.popitem())


@contextmanager
def shortening(shorten: Callable[[], None], *, is_ending: bool) -> Iterator[None]:
    """In the `with`, have Ctrl-C, SIGTERM and SIGHUP call `shorten`; they raise their exception after it.

    Args:
        shorten: the signal handler calls it, at any moment: it must not wait for a lock.
        is_ending: whether a signal ends the program already; if not, it is raised after closing.
    """
    if not _in_main_thread():
        yield
        return
    received: list[int] = []
    process = current_process()

    def handle(number: int, frame: FrameType | None) -> None:
        if process is not current_process():
            raise _ending(number)  # a forked child closes nothing
        received.append(number)
        shorten()

    old = {number: signal.signal(number, handle) for number in _not_ignored((signal.SIGINT, *_END_SIGNALS))}
    try:
        yield
    finally:
        for number, handler in old.items():
            _set_again(number, handler)
    if received and not is_ending:
        raise _ending(received[0])


def _set_again(number: int, handler: Any) -> None:
    # None: the handler was not set by Python, which then can't set it again.
    signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _ending(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(128 + number)


def _exit(number: int, frame: FrameType | None) -> None:
    raise Terminated(128 + number)


def _not_ignored(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

"""Calls functions after a delay, unless a scope ends before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import LocalNetworkError

logger = logging.getLogger(__name__)


class DelayedCalls:
    """Each call waits on a thread of its own; it is dropped when the scope ends."""

    def __init__(self, name: str, scope: Scope) -> None:
        self._name = name
        self._scope = scope
        self._lock = threading.Lock()
        self._threads: list[EngineThread] = []

    def after(self, seconds: float | None, work: Callable[[], object]) -> None:
        """Call `work()` after `seconds`, or never (None); does not block."""
        if seconds is None:
            return
        with self._lock:
            self._threads.append(EngineThread(self._name, self._call_later, seconds, work).start())

    def _call_later(self, seconds: float, work: Callable[[], object]) -> None:
        if self._scope.wait(seconds):
            return
        try:
            work()
        except (ScopeEnded, LocalNetworkError) as error:
            logger.info("%s: a delayed call failed: %s", self._name, error)

    def join(self, timeout: float) -> bool:
        """Wait for the threads after the scope has ended, except for the calling one.

        Args:
            timeout: the longest time to block, in seconds.

        Returns:
            Whether they have ended.
        """
        left = Deadline(timeout)
        with self._lock:
            others = [thread for thread in self._threads if not thread.is_current]
        ended = [thread.join(left.remaining()) for thread in others]
        return all(ended)

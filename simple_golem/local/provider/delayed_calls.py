"""What is to be done later, in a scope that may end before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import LocalNetworkError

logger = logging.getLogger(__name__)


class DelayedCalls:
    """Each waits on a thread of its own, and is off when the scope has ended."""

    def __init__(self, name: str, scope: Scope) -> None:
        self._name = name
        self._scope = scope
        self._lock = threading.Lock()
        self._threads: list[EngineThread] = []

    def after(self, seconds: float | None, work: Callable[[], object]) -> None:
        """Have `work()` done in so many seconds, or never (None); does not block."""
        if seconds is None:
            return
        with self._lock:
            self._threads.append(EngineThread(self._name, self._keep, seconds, work).start())

    def _keep(self, seconds: float, work: Callable[[], object]) -> None:
        if self._scope.wait(seconds):
            return
        try:
            work()
        except (ScopeEnded, LocalNetworkError) as error:
            logger.info("%s came to nothing: %s", self._name, error)

    def join(self, timeout: float) -> bool:
        """Wait for all but the calling thread, `timeout` seconds at most, after the scope has ended."""
        left = Deadline(timeout)
        with self._lock:
            others = [thread for thread in self._threads if not thread.is_current]
        ended = [thread.join(left.remaining()) for thread in others]
        return all(ended)

"""Does work in order where it has the same key, and at the same time where it has not."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .threads import WorkerPool

Work = tuple[Callable[..., object], tuple[Any, ...]]


class SerialQueue:
    """A queue for each key; the same workers serve all queues, and slow work delays only its own queue.

    Args:
        workers: the pool that does the work.
    """

    def __init__(self, workers: WorkerPool) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Work]] = {}

    def post(self, key: str, work: Callable[..., object], *args: Any) -> None:
        """Have `work(*args)` done after all earlier work of the same `key`; does not block."""
        with self._lock:
            queue = self._queues.get(key)
            if queue is not None:
                queue.append((work, args))
                return
            self._queues[key] = deque([(work, args)])
        self._workers.post(self._do_next, key)

    def _do_next(self, key: str) -> None:
        with self._lock:
            work, args = self._queues[key].popleft()
        try:
            work(*args)
        finally:
            with self._lock:
                more = bool(self._queues[key])
                if not more:
                    del self._queues[key]
            if more:
                self._workers.post(self._do_next, key)

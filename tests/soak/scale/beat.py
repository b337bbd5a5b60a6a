"""When the batches are due, how many were made, and what they took."""

from __future__ import annotations

import math
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

# The first batches open connections, and do not count.
_WARM_SHARE = 0.25
_PATIENCE = 180.0


class Beat:
    """Has each of many threads make a batch a second, spread over the second.

    A batch that is not made within its second is left out.
    """

    def __init__(self, instances: int) -> None:
        self._instances = instances
        self._lock = threading.Condition()
        self._there = 0
        self._begun: float | None = None
        self._is_over = False
        self._durations: list[float] = []

    def keep(self, batch: Callable[[], object]) -> None:
        """Make batches until the measurement is over.

        Raises:
            TimeoutError: it does not begin.
        """
        with self._lock:
            number, self._there = self._there, self._there + 1
            self._lock.notify_all()
            self._lock.wait_for(lambda: self._begun is not None or self._is_over, _PATIENCE)
        if self._begun is None:
            raise TimeoutError("the measurement has not begun")
        due = self._begun + number / self._instances
        while not self._is_over:
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            batch()
            ended = time.monotonic()
            with self._lock:
                self._durations.append(ended - began)
            due += max(1.0, math.ceil(ended - due))

    def measure(self, seconds: float) -> dict[str, Any]:
        """Wait until all are there, have them begin, and return what was made in a span of `seconds`.

        Raises:
            TimeoutError: not all came.
        """
        try:
            return self._measured(seconds)
        finally:
            # However it ends, nobody waits for it, or makes batches, any more.
            with self._lock:
                self._is_over = True
                self._lock.notify_all()

    def _measured(self, seconds: float) -> dict[str, Any]:
        with self._lock:
            if not self._lock.wait_for(lambda: self._there == self._instances, _PATIENCE):
                raise TimeoutError(f"only {self._there} of {self._instances} run")
            self._begun = time.monotonic()
            self._lock.notify_all()
        time.sleep(_WARM_SHARE * seconds)
        with self._lock:
            self._durations.clear()
        before, began = (time.process_time(), _daemon_cpu_seconds()), time.monotonic()
        time.sleep(seconds)
        with self._lock:
            durations, passed = list(self._durations), time.monotonic() - began
        after = time.process_time(), _daemon_cpu_seconds()
        return {
            "instances": self._instances,
            "per_second": len(durations) / passed,
            "seconds": statistics.median(durations),
            "cpu": (after[0] - before[0]) / passed,
            "daemon_cpu": (after[1] - before[1]) / passed,
        }


def _daemon_cpu_seconds() -> float:
    with open(f"/proc/{os.environ['SOAK_DAEMON_PID']}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

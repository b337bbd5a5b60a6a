"""What every subject measures of itself, and how it tells; nothing but the standard library."""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from typing import Any


def cpu_seconds() -> float:
    """Processor time that this process has used so far, its own and the system's for it; no children."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory_mib() -> float:
    """Resident memory at this moment."""
    return _status("VmRSS") / 1024


def most_memory_mib() -> float:
    """The most resident memory so far; `getrusage` would tell that of the starting process, if larger."""
    return _status("VmHWM") / 1024


def threads() -> int:
    """How many threads the process has, by the system's count."""
    return _status("Threads")


def _status(name: str) -> int:
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines[name].split()[0])


class Stopwatch:
    """Measures one run; its time begins when it is made, after all imports."""

    def __init__(self) -> None:
        self._cpu = cpu_seconds()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._firsts: list[float] = []
        self._lasts: list[float] = []
        self._round_trips: list[float] = []

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def first(self) -> None:
        """An instance has its first result."""
        with self._lock:
            self._firsts.append(self.seconds())

    def last(self) -> None:
        """An instance has all of its results."""
        with self._lock:
            self._lasts.append(self.seconds())

    def round_trip(self, seconds: float) -> None:
        """A batch has taken this long, from before it was sent until its result was there."""
        with self._lock:
            self._round_trips.append(seconds)

    def tell(self, **more: Any) -> None:
        """Everything is released: print what was measured, for the process that started this one."""
        report = {
            "instances": len(self._lasts),
            "first": max(self._firsts),
            "done": max(self._lasts),
            "closed": self.seconds(),
            "cpu": cpu_seconds() - self._cpu,
            "cpu_of_process": cpu_seconds(),
            "memory_mib": most_memory_mib(),
            "round_trips": self._round_trips,
            **more,
        }
        say(report)


def say(report: dict[str, Any]) -> None:
    """Print a report as the last line of the output."""
    print(json.dumps(report))
    sys.stdout.flush()

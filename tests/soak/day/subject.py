"""Two sessions that are left alone: `subject CLOCK HOURS SPEED`.

The first one has two instances, and waits for a provider for a third one; the second one has none. A line of
JSON is printed for each hour. Then the third instance has to run, and one of the second session.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import requests

from simple_golem import Golem, Run, Service
from simple_golem.events import (
    AgreementMade,
    DebitNoteAccepted,
    DemandPublished,
    InstanceFailed,
    InvoiceAccepted,
)
from tests.soak.day.fast_clock import FastClock

RUNNING = 2
_LOOK_SECONDS = 300.0
_PATIENCE = 60.0


class Day:
    """Counts what happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def see(self, event: object) -> None:
        with self._lock:
            self._counts[type(event).__name__] += 1

    def counts(self) -> dict[str, int]:
        kinds = (AgreementMade, DebitNoteAccepted, DemandPublished, InstanceFailed, InvoiceAccepted)
        with self._lock:
            return {kind.__name__: self._counts[kind.__name__] for kind in kinds}


def main(clock: FastClock, hours: float, speed: float) -> None:
    # It tells again and again that there is no third provider.
    logging.getLogger("simple_golem.services.cluster").setLevel(logging.ERROR)
    day = Day()
    options: dict[str, Any] = {"progress": False, "on_event": day.see}
    with Golem(50, **options) as golem, Golem(1, **options) as quiet:
        ends = timedelta(hours=hours + 12)
        cluster = golem.run_service(Service, num_instances=RUNNING + 1, expiration=ends)
        while sum(one.state == "running" for one in cluster) < RUNNING:
            time.sleep(0.05)
        began = time.monotonic()
        clock.set_speed(speed)
        for hour in range(1, max(1, round(hours)) + 1):
            until = began + hours * 3600 * hour / max(1, round(hours))
            seen = _look_until(until)
            _say({"hour": (time.monotonic() - began) / 3600, **day.counts(), **seen, **_size()})
        clock.set_speed(1.0)
        _say({"wants": "provider"})
        cluster.wait_until_running(timeout=_PATIENCE)
        late = quiet.run_service(Service)
        late.wait_until_running(timeout=_PATIENCE)
        said = [one.execute(Run("/bin/echo", "hello")).success for one in (*cluster, *late)]
        _say({"batches": said})
    _say({"end": day.counts()})


def _look_until(moment: float) -> Mapping[str, Any]:
    """Block until then; returns the least hours that the budget was allocated for, and the least threads.

    Some threads live for a request or two: only those count that were there all the time.
    """
    shortest, threads = float("inf"), threading.active_count()
    while True:
        shortest = min(shortest, _hours_covered())
        threads = min(threads, threading.active_count())
        if time.monotonic() >= moment:
            return {"covered": shortest, "threads": threads}
        time.sleep(min(_LOOK_SECONDS, max(0.0, moment - time.monotonic())))


def _hours_covered() -> float:
    """For how long both budgets are allocated."""
    url, key = os.environ["YAGNA_API_URL"], os.environ["YAGNA_APPKEY"]
    headers = {"Authorization": f"Bearer {key}"}
    allocations = requests.get(f"{url}/payment-api/v1/allocations", headers=headers, timeout=60).json()
    if len(allocations) != 2:
        return 0.0
    ends = [datetime.fromisoformat(one["timeout"].replace("Z", "+00:00")) for one in allocations]
    return (min(ends) - datetime.now(timezone.utc)).total_seconds() / 3600


def _size() -> Mapping[str, Any]:
    gc.collect()
    with open("/proc/self/status", encoding="ascii") as status:
        kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return {"kib": kib, "blocks": sys.getallocatedblocks()}


def _say(told: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(FastClock(Path(sys.argv[1])), float(sys.argv[2]), float(sys.argv[3]))

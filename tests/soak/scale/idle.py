"""`python -m tests.soak.scale.idle SECONDS COUNT…`: what so many instances take while nothing happens.

It prints a line of JSON for none, and one for each count; they ascend.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Sequence

from simple_golem import Golem, Service
from simple_golem.background.threads import _IDLE_THREAD_SECONDS

_AT_ONCE = 100
# The threads of pools that the start has left idle have ended by then, also on a busy machine.
_REST_SECONDS = _IDLE_THREAD_SECONDS + 0.5
_PATIENCE = 600.0


def main(seconds: float, counts: Sequence[int]) -> None:
    with Golem(budget=500, progress=False) as golem:
        _say(0, 0.0, seconds)
        cluster = golem.run_service(Service, num_instances=1)
        for count in counts:
            began = time.monotonic()
            for size in (*range(len(cluster.instances) + _AT_ONCE, count, _AT_ONCE), count):
                cluster.resize(size)
                cluster.wait_until_running(timeout=_PATIENCE)
            _say(count, time.monotonic() - began, seconds)
        began = time.monotonic()
    sys.stdout.write(json.dumps({"closed": time.monotonic() - began}) + "\n")


def _say(count: int, started: float, seconds: float) -> None:
    # What the start of so many has set in motion comes to rest first.
    time.sleep(max(seconds, _REST_SECONDS))
    gc.collect()
    cpu, began = time.process_time(), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    told = {"instances": count, "cpu": (time.process_time() - cpu) / passed, "started": started}
    sys.stdout.write(json.dumps(told | {"kib": _status("VmRSS"), "threads": _status("Threads")}) + "\n")
    sys.stdout.flush()


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


if __name__ == "__main__":
    main(float(sys.argv[1]), [int(one) for one in sys.argv[2:]])

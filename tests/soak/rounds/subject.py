"""`python -m tests.soak.rounds.subject INSTANCES ROUNDS`: starts and stops instances, and says what is left.

It prints a line of JSON for the beginning, and one for each round.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import threading
import time

from simple_golem import Golem, Service

# Idle threads end after a second.
SETTLE_SECONDS = 10.0
_PATIENCE = 300.0


def main(instances: int, rounds: int) -> None:
    _say(0, 0.0, _threads())
    threads = _threads()
    for number in range(1, rounds + 1):
        began = time.monotonic()
        _do_round(instances)
        _say(number, time.monotonic() - began, threads)


def _do_round(instances: int) -> None:
    with Golem(budget=50, progress=False) as golem:
        cluster = golem.run_service(Service, num_instances=instances)
        cluster.wait_until_running(timeout=_PATIENCE)
        cluster.stop()


def _say(number: int, seconds: float, threads: int) -> None:
    until = time.monotonic() + SETTLE_SECONDS
    while _threads() > threads and time.monotonic() < until:
        time.sleep(0.05)
    gc.collect()
    gc.collect()
    told: dict[str, float] = {"round": number, "seconds": round(seconds, 1)}
    told |= {"threads": _threads(), "descriptors": len(os.listdir("/proc/self/fd"))}
    told |= {"blocks": sys.getallocatedblocks(), "used_kib": _used_kib(), "kib": _kib()}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _threads() -> int:
    return threading.active_count()


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _used_kib() -> int:
    """What C code has allocated and not freed, without what it keeps free for later."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _MallocInfo
    info = mallinfo()
    return int(info.uordblks + info.hblkhd) // 1024


def _kib() -> int:
    # What is free, and only kept by the C library for later, is no memory that is used.
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

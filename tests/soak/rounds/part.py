"""`python -m tests.soak rounds`: 200 instances, started and stopped 20 times in one process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from tests.helpers.unmeasured import own_environment
from tests.soak.daemon_process import daemon_process, rows_of
from tests.soak.figures import Figures, Watch

INSTANCES = 200
# The first rounds import modules, and make the pools that Python keeps for later objects.
WARM_ROUNDS = 3
# After that the memory may differ by what the allocator makes of it.
MOST_GROWTH = 0.05
_TIMEOUT = 3600.0


def measured(instances: int, rounds: int, timeout: float = _TIMEOUT) -> list[Mapping[str, Any]]:
    """Run the subject; returns a row for the beginning and one for each round."""
    with tempfile.TemporaryDirectory() as folder, daemon_process(instances) as found:
        # Otherwise the C library keeps memory apart for threads that have ended, and its size says little.
        one_heap = {"MALLOC_ARENA_MAX": "1"}
        environment = {**own_environment(), **found, **one_heap, "SIMPLE_GOLEM_STATE": folder}
        return rows_of("tests.soak.rounds.subject", environment, instances, rounds, timeout=timeout)


def failures_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the process has kept, in words."""
    first, last = rows[0], rows[-1]
    told = []
    if last["threads"] > first["threads"]:
        told.append(f"{last['threads'] - first['threads']} threads are left")
    # The first round opens what the process keeps, such as a source of random numbers.
    after_one = rows[1]["descriptors"]
    if last["descriptors"] > after_one:
        told.append(f"{last['descriptors'] - after_one} descriptors are left")
    warm = rows[min(WARM_ROUNDS, len(rows) - 1)]["used_kib"]
    # The memory of Python's objects, which no allocator keeps for later.
    blocks = max(row["blocks"] for row in rows[1 : WARM_ROUNDS + 1])
    if last["blocks"] > blocks * (1 + MOST_GROWTH):
        told.append(f"{last['blocks'] - blocks} objects are left")
    if last["used_kib"] > warm * (1 + MOST_GROWTH):
        told.append(f"the memory of C code has grown from {warm} to {last['used_kib']} KiB")
    return told


def run(runs: int | None, seed: int, only: int | None) -> Figures:
    """Measure.

    Args:
        runs: how many rounds; None: 20.
        seed, only: nothing is random here.
    """
    watch, rounds = Watch(), runs or 20
    rows = measured(INSTANCES, rounds)
    shown = [
        {
            "round": row["round"] or "before",
            "threads": row["threads"],
            "descriptors": row["descriptors"],
            "blocks of Python": f"{row['blocks']:,}",
            "in use by C (MiB)": f"{row['used_kib'] / 1024:.1f}",
            "resident (MiB)": f"{row['kib'] / 1024:.1f}",
            "seconds": row["seconds"],
        }
        for row in rows
    ]
    return Figures(f"python -m tests.soak rounds --runs {rounds}", shown, failures_of(rows), watch.seconds)

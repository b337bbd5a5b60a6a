"""`python -m tests.soak rounds`: 200 instances, started and stopped 20 times in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.soak.figures import Figures, Watch

INSTANCES = 200
_CHECKOUT = Path(__file__).resolve().parents[3]
# The first rounds import modules, and make the pools that Python keeps for later objects.
WARM_ROUNDS = 3
# After that the memory may differ by what the allocator makes of it.
MOST_GROWTH = 0.05
_TIMEOUT = 3600.0


def measured(instances: int, rounds: int, timeout: float = _TIMEOUT) -> list[Mapping[str, Any]]:
    """Run the subject; returns a row for the beginning and one for each round."""
    with tempfile.TemporaryDirectory() as folder, _daemon(instances) as found:
        # Otherwise the C library keeps memory apart for threads that have ended, and its size says little.
        one_heap = {"MALLOC_ARENA_MAX": "1"}
        environment = {**_own_environment(), **found, **one_heap, "SIMPLE_GOLEM_STATE": folder}
        ran = subprocess.run(
            [sys.executable, "-m", "tests.soak.rounds.subject", str(instances), str(rounds)],
            env=environment,
            cwd=_CHECKOUT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    if ran.returncode:
        raise RuntimeError(f"the subject has ended with {ran.returncode}: {ran.stderr}")
    return [json.loads(line) for line in ran.stdout.splitlines()]


@contextmanager
def _daemon(providers: int) -> Iterator[Mapping[str, str]]:
    """A daemon in memory, in a process of its own; yields the variables by which it is found."""
    command = [sys.executable, "-m", "simple_golem.testing", "--providers", str(providers)]
    with subprocess.Popen(
        command,
        env=_own_environment(),
        cwd=_CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().strip() for _ in range(3)]
            yield dict(line.split("=", 1) for line in lines)
        finally:
            process.stdin.close()


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


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

"""`python -m tests.soak scale`: 10 to 2,000 instances in one process, idle and with a batch a second each."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.helpers.unmeasured import own_environment
from tests.soak.daemon_process import CHECKOUT, daemon_process, rows_of
from tests.soak.figures import Figures, Watch
from tests.soak.scale.draw import draw
from tests.soak.scale.rows import Row, Scale, each

IDLE_COUNTS = (10, 50, 100, 200, 500, 1000, 1500, 2000)
BUSY_COUNTS = (50, 100, 200, 300, 400, 600, 800, 1000)
# What else the machine does makes one measurement lower, and never higher.
BEST_OF = 2
# Above 50 activities each is asked for its state every 30 seconds.
IDLE_SECONDS = 30.0
BUSY_SECONDS = 10.0
PROCESSES = (1, 2, 4)
MOST_KIB_EACH = 100.0
MOST_THREADS_EACH = 2.0
LEAST_OF_BARE = 0.9
PICTURE = CHECKOUT / "docs" / "scale.svg"
_TIMEOUT = 3600.0


def measured_idle(counts: Sequence[int], seconds: float) -> list[Row]:
    """Measure idle instances in one process; returns a row for none, and one for each count."""
    with daemon_process(max(counts)) as daemon:
        rows = _lines("tests.soak.scale.idle", daemon, seconds, *counts)
    return [row for row in rows if "instances" in row]


def measured_busy(subject: str, instances: int, seconds: float) -> Row:
    """Measure `busy` or `bare`, which makes a batch a second on so many instances."""
    with daemon_process(instances) as daemon:
        (row,) = _lines(f"tests.soak.scale.{subject}", daemon, instances, seconds)
    return row


def measured_several(instances: int, processes: int, seconds: float) -> Row:
    """Measure instances that several processes share, with a daemon for each of them."""
    with ThreadPoolExecutor(processes) as pool:
        share = instances // processes
        rows = list(pool.map(lambda _: measured_busy("busy", share, seconds), range(processes)))
    return {
        "processes": processes,
        "instances": sum(row["instances"] for row in rows),
        "per_second": sum(row["per_second"] for row in rows),
        "seconds": max(row["seconds"] for row in rows),
        "cpu": sum(row["cpu"] for row in rows),
    }


def _lines(module: str, daemon: Mapping[str, str], *arguments: object) -> list[dict[str, Any]]:
    with _environment(daemon) as environment:
        return rows_of(module, environment, *arguments, timeout=_TIMEOUT)


@contextmanager
def _environment(daemon: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        yield {
            **own_environment(),
            **daemon,
            "SIMPLE_GOLEM_STATE": folder,
            "YAGNA_SUBNET": "public",
            "YAGNA_PAYMENT_NETWORK": "hoodi",
            "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "tests/benchmarks/subjects"))),
        }


# --- judgement --------------------------------------------------------------------------------------------


def knee(rows: Sequence[Row]) -> float:
    """The most batches a second that were made."""
    return max(float(row["per_second"]) for row in rows)


def failures_of(scale: Scale) -> list[str]:
    """What must not be, in words."""
    none, *rows = scale.idle
    told = []
    for row in rows:
        count = row["instances"]
        if (threads := each(none, row, "threads")) > MOST_THREADS_EACH:
            told.append(f"each of {count} idle instances has {threads:.1f} threads")
    # The first ones load modules and make pools, whatever their number.
    small, large = rows[len(rows) // 2 - 1], rows[-1]
    added = large["instances"] - small["instances"]
    if added and (kib := (large["kib"] - small["kib"]) / added) > MOST_KIB_EACH:
        told.append(f"each idle instance above {small['instances']} takes {kib:.0f} KiB")
    if scale.bare and knee(scale.busy) < LEAST_OF_BARE * knee(scale.bare):
        told.append(
            f"the library makes {knee(scale.busy):.0f} batches a second at most, and the plain loops "
            f"{knee(scale.bare):.0f}"
        )
    return told


# --- the whole part ---------------------------------------------------------------------------------------


def measured(rounds: int) -> Scale:
    """Measure all; blocks for about half an hour."""
    idle = measured_idle(IDLE_COUNTS, IDLE_SECONDS)
    best: dict[str, list[Row]] = {"bare": [], "busy": []}
    for count in BUSY_COUNTS:
        # In turns, so that what else the machine does weighs on both.
        rows = [
            (subject, measured_busy(subject, count, BUSY_SECONDS)) for _ in range(rounds) for subject in best
        ]
        for subject, chosen in best.items():
            chosen.append(max((row for name, row in rows if name == subject), key=_rate))
    several = [
        max((measured_several(BUSY_COUNTS[-1], count, BUSY_SECONDS) for _ in range(rounds)), key=_rate)
        for count in PROCESSES
    ]
    return Scale(idle, best["busy"], best["bare"], several)


def _rate(row: Row) -> float:
    return float(row["per_second"])


def run(runs: int | None, seed: int, only: int | None) -> Figures:
    """Measure.

    Args:
        runs: how often each number of busy instances is measured; the best one counts. None: 2.
        seed, only: nothing is random here.
    """
    watch, rounds = Watch(), runs or BEST_OF
    scale = measured(rounds)
    try:
        draw(scale, PICTURE)
    except ImportError as error:
        sys.stderr.write(f"nothing is drawn ({error}): install the extra bench\n")
    rows = table(scale)
    return Figures(f"python -m tests.soak scale --runs {rounds}", rows, failures_of(scale), watch.seconds)


def table(scale: Scale) -> list[Mapping[str, object]]:
    """A row for each measurement."""
    none, *idle = scale.idle
    rows = [
        _shown(
            "idle",
            row,
            **{
                "KiB each": f"{each(none, row, 'kib'):.0f}",
                "threads": row["threads"],
                "processor (%)": f"{100 * row['cpu']:.1f}",
            },
        )
        for row in idle
    ]
    for name, busy in (("busy", scale.busy), ("plain loops", scale.bare)):
        rows += [_shown(name, row, **_made(row)) for row in busy]
    rows += [_shown(f"busy, {row['processes']} processes", row, **_made(row)) for row in scale.several]
    return rows


def _made(row: Row) -> dict[str, object]:
    return {
        "batches/s": f"{row['per_second']:.0f}",
        "median batch (ms)": f"{1000 * row['seconds']:.0f}",
        "processor (%)": f"{100 * row['cpu']:.1f}",
        "ms of it per batch": f"{1000 * row['cpu'] / row['per_second']:.2f}",
    }


def _shown(name: str, row: Row, **measured: object) -> Mapping[str, object]:
    columns = ("KiB each", "threads", "batches/s", "median batch (ms)", "processor (%)", "ms of it per batch")
    return {"what": name, "instances": row["instances"], **{one: measured.get(one, "") for one in columns}}

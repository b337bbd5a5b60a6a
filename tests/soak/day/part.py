"""`python -m tests.soak day`: two sessions that are left alone for a day, whose clocks go faster."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.helpers.unmeasured import own_environment
from tests.soak.daemon_process import CHECKOUT
from tests.soak.day.fast_clock import FastClock
from tests.soak.figures import Figures, Watch

HOURS = 24.0
# So many seconds of the day pass in a real one.
SPEED = 120.0
RUNNING = 2
# Those that come when the day is over.
LATE = 2
# What providers and the library agree upon where nothing else is asked for.
NOTE_SECONDS = 120.0
# A demand lives for an hour on the daemon.
DEMAND_HOURS = 1.0
TOLERANCE = 0.9
# An allocation is prolonged each half hour, to more than three hours.
LEAST_COVERED_HOURS = 2.5
MOST_GROWTH = 0.05

Told = Mapping[str, Any]


@dataclass(frozen=True)
class Lived:
    """What a day was like.

    Attributes:
        hours: a row for each.
        batches: whether the batches after the day went well.
        end: how often each event has come.
        left: what the daemon has after the end.
    """

    hours: Sequence[Told]
    batches: Sequence[bool]
    end: Mapping[str, int]
    left: Sequence[str]


def lived(hours: float = HOURS, speed: float = SPEED) -> Lived:
    """Live through a day; blocks for `hours` divided by `speed`, and some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Path(folder) / "clock"
        FastClock.make(clock)
        environment = {**own_environment(), "SIMPLE_GOLEM_STATE": folder}
        with _running(environment, clock, "daemon", RUNNING) as (orders, answers):
            found = dict(answers.readline().strip().split("=", 1) for _ in range(3))
            told = []
            with _running({**environment, **found}, clock, "subject", clock, hours, speed) as (_, lines):
                for line in lines:
                    told.append(json.loads(line))
                    if "wants" in told[-1]:
                        _order(orders, "add")
                        _order(orders, "add")
            _order(orders, "left")
            left = json.loads(answers.readline())
    if "end" not in told[-1]:
        raise RuntimeError(f"the session has ended after {told[-1]}")
    rows = [one for one in told if "hour" in one]
    return Lived(rows, told[-2]["batches"], told[-1]["end"], left)


@contextmanager
def _running(
    environment: Mapping[str, str], clock: Path, module: str, *arguments: object
) -> Iterator[tuple[IO[str], IO[str]]]:
    """Run a module of this folder with the fast clock; yields its input and its output."""
    fast = ["-m", "tests.soak.day.run_fast", str(clock), f"tests.soak.day.{module}"]
    with subprocess.Popen(
        [sys.executable, *fast, *map(str, arguments)],
        env=environment,
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdin, process.stdout
        finally:
            process.stdin.close()


def _order(orders: IO[str], order: str) -> None:
    orders.write(f"{order}\n")
    orders.flush()


def failures_of(day: Lived, tolerance: float = TOLERANCE) -> list[str]:
    """What must not have happened, in words.

    Args:
        tolerance: the share of the notes and demands that are due that must have come. What a request takes
            makes each a little later, as often as the clock is faster.
    """
    last = day.hours[-1]
    hours = last["hour"]
    told = []
    notes = RUNNING * hours * 3600 / NOTE_SECONDS
    if not tolerance * notes <= last["DebitNoteAccepted"] <= notes / TOLERANCE:
        told.append(f"{last['DebitNoteAccepted']} debit notes were accepted, and {notes:.0f} were due")
    demands = 1 + int(tolerance * hours / DEMAND_HOURS)
    if last["DemandPublished"] < demands:
        told.append(f"the demand was published {last['DemandPublished']} times, and not {demands}")
    covered = min(one["covered"] for one in day.hours)
    if covered < LEAST_COVERED_HOURS:
        told.append(f"the budget was allocated for {covered:.1f} hours only")
    if not all(day.batches) or len(day.batches) != RUNNING + LATE:
        told.append(f"the batches after it went so: {list(day.batches)}")
    if day.end["AgreementMade"] != RUNNING + LATE or day.end["InstanceFailed"]:
        told.append(f"{day.end['AgreementMade']} agreements, {day.end['InstanceFailed']} instances failed")
    if day.end["InvoiceAccepted"] != RUNNING + LATE:
        told.append(f"{day.end['InvoiceAccepted']} invoices were accepted")
    told += _growth(day.hours)
    return [*told, *(f"left: {one}" for one in day.left)]


def _growth(hours: Sequence[Told]) -> list[str]:
    """What has grown from the first quarter of the day to its end."""
    warm, last = hours[len(hours) // 4], hours[-1]
    return [
        f"{what} has grown from {warm[what]} to {last[what]}"
        for what in ("blocks", "threads")
        if last[what] > warm[what] * (1 + MOST_GROWTH) + 2
    ]


def run(runs: int | None, seed: int, only: int | None) -> Figures:
    """Live through a day.

    Args:
        runs: how many hours it has; None: 24.
        seed, only: nothing is random here.
    """
    watch, hours = Watch(), float(runs or HOURS)
    day = lived(hours)
    shown = [
        {
            "hour": f"{row['hour']:.0f}",
            "demands published": row["DemandPublished"],
            "debit notes accepted": row["DebitNoteAccepted"],
            "budget allocated for (hours)": f"{row['covered']:.2f}",
            "threads": row["threads"],
            "blocks of Python": f"{row['blocks']:,}",
            "resident (MiB)": f"{row['kib'] / 1024:.1f}",
        }
        for row in day.hours
    ]
    return Figures(f"python -m tests.soak day --runs {hours:g}", shown, failures_of(day), watch.seconds)

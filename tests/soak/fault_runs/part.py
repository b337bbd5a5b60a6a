"""`python -m tests.soak faults`: many runs with faults, on a daemon in memory."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest import mock

from simple_golem.local import LocalGolem
from simple_golem.testing import FakeYagna
from tests.faults.plan import Fault
from tests.network.helpers.leftovers import left_on
from tests.soak.fault_runs.one_run import MIXED, RunOutcome, run_seed
from tests.soak.fault_runs.real_run import PROVIDERS, run_real_seeds
from tests.soak.figures import Figures, Watch

# What says that a cleanup has not ended everything.
_LEFT = ("cleanup", "left after cleanup")
# At 5 % of all requests, so many percent of the runs have to end well.
LEAST_WELL = 95
# Runs mostly wait, so that many go at the same time.
AT_ONCE = 6


def run_seeds(seeds: Iterable[int], at_once: int = AT_ONCE) -> Iterator[RunOutcome]:
    """Run the seeds, several at the same time; yields their outcomes in order."""
    with _surroundings(), ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(run_seed, seeds)


@contextmanager
def _surroundings() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, FakeYagna(0) as fake:
        registry = fake.environment["GOLEM_REGISTRY_URL"]
        with mock.patch.dict(os.environ, {"SIMPLE_GOLEM_STATE": folder, "GOLEM_REGISTRY_URL": registry}):
            yield


def failures_of(outcomes: Sequence[RunOutcome], part: str = "faults") -> list[str]:
    """What must not have happened, in words, each with a command of `part` that repeats it."""
    told = [
        f"seed {one.seed} ({one.kind}; {', '.join(one.jobs)}): {problem}; hits: {_hits(one)}; "
        f"`python -m tests.soak {part} --only {one.seed}`"
        for one in outcomes
        for problem in _problems(one)
    ]
    mixed = [one for one in outcomes if one.kind == MIXED]
    if mixed and _percent(mixed) < LEAST_WELL:
        worst = [f"{one.seed}: {one.told}" for one in mixed if one.ended != "well"]
        told.append(f"at 5 % only {_percent(mixed)} % of the runs ended well: {worst}")
    return told


def _problems(one: RunOutcome) -> list[str]:
    problems = list(one.broken)
    if one.ended in ("hung", "wrong"):
        problems.append(f"it has {one.ended}: {one.told}")
    if one.ended == "error" and one.kind != MIXED:
        problems.append(one.told)
    return problems


def _hits(one: RunOutcome) -> str:
    return ", ".join(f"{fault.name} at {endpoint}" for endpoint, fault in one.hits) or "none"


def _percent(outcomes: Sequence[RunOutcome]) -> float:
    """How many of those ended well whose batches the library could mend."""
    counted = [one for one in outcomes if one.ended != "batch lost"]
    well = sum(one.ended == "well" for one in counted)
    return round(100 * well / len(counted), 1) if counted else 100.0


def table(outcomes: Sequence[RunOutcome]) -> list[Mapping[str, object]]:
    """One row for each kind of run."""
    return [
        _row(name, chosen)
        for name in (*(fault.name for fault in Fault), MIXED)
        if (chosen := [one for one in outcomes if one.kind == name])
    ]


def _row(name: str, chosen: Sequence[RunOutcome]) -> Mapping[str, object]:
    ended = [one.ended for one in chosen]
    return {
        "fault": name,
        "runs": len(chosen),
        "runs hit": sum(bool(one.hits) for one in chosen),
        "requests hit": sum(len(one.hits) for one in chosen),
        "ended well": ended.count("well"),
        "batch lost": ended.count("batch lost"),
        "clear error": ended.count("error"),
        "other error": ended.count("wrong"),
        "hung": ended.count("hung"),
        "left after cleanup": sum(any(text.startswith(_LEFT) for text in one.broken) for one in chosen),
        "longest (s)": f"{max(one.seconds for one in chosen):.1f}",
    }


def run(runs: int | None, seed: int, only: int | None) -> Figures:
    """Run the seeds.

    Args:
        runs: how many; None: 1,000.
        seed: the first one.
        only: the only one.
    """
    if only is None:
        logging.getLogger("simple_golem").setLevel(logging.CRITICAL)
    else:
        logging.basicConfig(level=logging.DEBUG)
    number, watch = runs or 1000, Watch()
    seeds = [only] if only is not None else range(seed, seed + number)
    outcomes = []
    for outcome in run_seeds(seeds):
        outcomes.append(outcome)
        if failures := failures_of([outcome]):
            sys.stderr.write("".join(f"{one}\n" for one in failures))
    command = f"python -m tests.soak faults --runs {len(seeds)} --seed {seeds[0]}"
    return Figures(command, table(outcomes), failures_of(outcomes), watch.seconds)


def run_real(runs: int | None, seed: int, only: int | None) -> Figures:
    """Run the seeds on a local network, with the real daemon: 200 if `runs` is None."""
    logging.getLogger("simple_golem").setLevel(logging.CRITICAL)
    number, watch = runs or 200, Watch()
    seeds = [only] if only is not None else range(seed, seed + number)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, LocalGolem(providers=PROVIDERS, chain=False) as network:
        with mock.patch.dict(os.environ, {**network.environment, "SIMPLE_GOLEM_STATE": folder}):
            for outcome in run_real_seeds(network, seeds):
                outcomes.append(outcome)
                sys.stderr.write("".join(f"{one}\n" for one in failures_of([outcome], "real-faults")))
        left = left_on(network)
    failures = [*failures_of(outcomes, "real-faults"), *(f"left after all: {one}" for one in left)]
    command = f"python -m tests.soak real-faults --runs {len(seeds)} --seed {seeds[0]}"
    return Figures(command, table(outcomes), failures, watch.seconds)

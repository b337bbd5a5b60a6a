"""`python -m tests.soak kills`: many sessions that are killed, on a daemon in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.soak.figures import Figures, Watch
from tests.soak.kills.one_kill import KINDS, KillOutcome, kill_seed

AT_ONCE = 4


def kill_seeds(seeds: Iterable[int], at_once: int = AT_ONCE) -> Iterator[KillOutcome]:
    """Do what the seeds say, several at the same time; yields their outcomes in order."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(kill_seed, seeds)


def failures_of(outcomes: Sequence[KillOutcome]) -> list[str]:
    """What must not have happened, in words."""
    return [
        f"seed {one.seed} ({one.kind}, killed after {one.killed_after:.2f} s): {problem}; "
        f"`python -m tests.soak kills --only {one.seed}`"
        for one in outcomes
        for problem in one.broken
    ]


def table(outcomes: Sequence[KillOutcome]) -> list[Mapping[str, object]]:
    """One row for each kind of victim."""
    return [_row(kind, [one for one in outcomes if one.kind == kind]) for kind in KINDS]


def _row(kind: str, chosen: Sequence[KillOutcome]) -> Mapping[str, object]:
    def had(what: str) -> int:
        return sum(what in one.left for one in chosen)

    things = ("allocation", "demand", "agreement", "activity", "service", "network")
    return {
        "killed": kind,
        "times": len(chosen),
        **{f"with {what}": had(what) for what in things},
        "something left": sum(bool(one.broken) for one in chosen),
    }


def run(runs: int | None, seed: int, only: int | None) -> Figures:
    """Kill sessions.

    Args:
        runs: how many; None: 250.
        seed: the first seed.
        only: the only one.
    """
    number, watch = runs or 250, Watch()
    seeds = [only] if only is not None else range(seed, seed + number)
    outcomes = []
    for outcome in kill_seeds(seeds):
        outcomes.append(outcome)
        sys.stderr.write("".join(f"{one}\n" for one in failures_of([outcome])))
    command = f"python -m tests.soak kills --runs {len(seeds)} --seed {seeds[0]}"
    return Figures(command, table(outcomes), failures_of(outcomes), watch.seconds)

"""`python -m tests.soak peer`: yapapi and simple_golem under the same faults."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.benchmarks.peer import NoPeer
from tests.benchmarks.peer import the_peer as installed_peer
from tests.soak.beside.one_run import THE_LIBRARY, Ended, Program, run_seed, the_peer
from tests.soak.fault_runs.one_run import MIXED
from tests.soak.figures import Figures, Watch

RUNS = 39
AT_ONCE = 3


def run_seeds(programs: Sequence[Program], seeds: Iterable[int], at_once: int = AT_ONCE) -> list[Ended]:
    """Run each seed by each program, several at the same time."""
    both = [(program, seed) for seed in seeds for program in programs]
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda one: run_seed(*one), both))


def table(runs: Sequence[Ended]) -> list[Mapping[str, object]]:
    """For single faults and for many, a row for each program."""
    return [
        _row(title, name, chosen)
        for title, is_mixed in (("one fault", False), ("5 % of all requests", True))
        for name in dict.fromkeys(one.program for one in runs)
        if (chosen := [one for one in runs if one.program == name and (one.kind == MIXED) == is_mixed])
    ]


def _row(title: str, name: str, chosen: Sequence[Ended]) -> Mapping[str, object]:
    ended = [one.how for one in chosen]
    return {
        "faults": title,
        "by": name,
        "runs": len(chosen),
        "runs hit": sum(bool(one.hits) for one in chosen),
        "ended well": ended.count("well"),
        "error": ended.count("error"),
        "results missing, no error": ended.count("incomplete"),
        "hung": ended.count("hung"),
        "left something": sum(bool(one.left) for one in chosen),
        "longest (s)": f"{max(one.seconds for one in chosen):.0f}",
    }


def failures_of(runs: Sequence[Ended]) -> list[str]:
    """What the library must not do, in words; how the peer ends is only told."""
    return [
        f"seed {one.seed} ({one.kind}; {one.job}): {one.how}; {one.told}"
        for one in runs
        if one.program == THE_LIBRARY.name and one.how in ("hung", "incomplete")
    ]


def run(runs: int | None, seed: int, only: int | None) -> Figures:
    """Run the seeds by both programs.

    Args:
        runs: how many seeds; None: 39.
        seed: the first one.
        only: the only one.
    """
    watch = Watch()
    programs = [THE_LIBRARY]
    try:
        peer = installed_peer()
        programs.append(the_peer(peer.python, peer.environment))
    except NoPeer as error:
        sys.stderr.write(f"without yapapi: {error}\n")
    seeds = [only] if only is not None else range(seed, seed + (runs or RUNS))
    ended = run_seeds(programs, seeds)
    for one in ended:
        if one.how != "well" or one.left:
            hits = ", ".join(f"{fault.name} at {endpoint}" for endpoint, fault in one.hits)
            sys.stderr.write(f"{one.program}, seed {one.seed} ({one.job}): {one.how}; {hits}; left "
                             f"{list(one.left)}; {one.told[:200]}\n")  # fmt: skip
    command = f"python -m tests.soak peer --runs {len(seeds)} --seed {seeds[0]}"
    return Figures(command, table(ended), failures_of(ended), watch.seconds)

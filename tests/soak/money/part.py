"""`python -m tests.soak money`: many random histories of money."""

from __future__ import annotations

import logging

from tests.soak.figures import Figures, Watch
from tests.soak.money.history import Broken
from tests.soak.money.runs import replay_at_random

# Those of one seed, which is repeated as a whole.
HISTORIES_OF_SEED = 1000


def run(runs: int | None, seed: int, only: int | None) -> Figures:
    """Replay histories; hypothesis prints one that has failed.

    Args:
        runs: how many histories; None: 100,000.
        seed: the first seed; each next thousand has the next one.
        only: the only seed.
    """
    logging.getLogger("simple_golem").setLevel(logging.CRITICAL)
    number, watch, failures = runs or 100_000, Watch(), []
    seeds = [only] if only is not None else range(seed, seed + -(-number // HISTORIES_OF_SEED))
    for one in seeds:
        try:
            replay_at_random(min(number, HISTORIES_OF_SEED), one)
        except Broken as error:
            failures.append(f"seed {one}: {error}; `python -m tests.soak money --only {one}`")
    done = len(seeds) * min(number, HISTORIES_OF_SEED)
    rows = [{"histories": f"{done:,}", "seeds": f"{seeds[0]} to {seeds[-1]}", "failed": len(failures)}]
    return Figures(f"python -m tests.soak money --runs {number} --seed {seed}", rows, failures, watch.seconds)

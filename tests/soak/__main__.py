"""`python -m tests.soak PART`: makes the figures of one part, and prints them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from tests.soak.beside import part as beside
from tests.soak.day import part as day
from tests.soak.fault_runs import part as fault_runs
from tests.soak.figures import Figures
from tests.soak.kills import part as kills
from tests.soak.money import part as money
from tests.soak.rounds import part as rounds
from tests.soak.scale import part as scale

PARTS: dict[str, Callable[[int | None, int, int | None], Figures]] = {
    "money": money.run,
    "faults": fault_runs.run,
    "real-faults": fault_runs.run_real,
    "kills": kills.run,
    "rounds": rounds.run,
    "scale": scale.run,
    "day": day.run,
    "peer": beside.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument(
        "--runs", type=int, default=None, help="how many; otherwise as in docs/reliability.md"
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--only", type=int, default=None, help="repeat this one seed")
    asked = parser.parse_args()
    figures = PARTS[asked.part](asked.runs, asked.seed, asked.only)
    sys.stdout.write(f"{figures}\n")
    return 1 if figures.failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.benchmarks`: measure, and print one table."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from . import measures
from .peer import NoPeer, the_peer
from .subject import Subject
from .table import Row, markdown

GROWTH = (1, 10, 50, 100, 200)


def main() -> None:
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    subjects = list(measures.STANDARD)
    if not options.no_peer:
        subjects += _peers()
    before = os.getloadavg()
    rows: list[Row] = []
    growth: measures.Growth = {}
    for name in options.only or NAMES:
        if name == "growth":
            growth = measures.growth(subjects, options.growth, options.rounds)
        else:
            rows += MEASURES[name](subjects, options)
    print(f"\n{markdown(rows)}\n")
    for count, subject, values in [(n, who, v) for n, of_n in growth.items() for who, v in of_n.items()]:
        print(f"{count:4} {subject:12}", *(f"{key} {value:.2f}" for key, value in values.items()))
    load = [before[0], os.getloadavg()[0]]
    print(
        f"Medians of {options.rounds} interleaved rounds on {os.cpu_count()} processors, "
        f"load {load[0]:.1f} before and {load[1]:.1f} after."
    )
    if options.json is not None:
        told = {"rows": [asdict(row) for row in rows], "growth": growth, "load": load}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


Measure = Callable[[list[Subject], argparse.Namespace], list[Row]]
MEASURES: Mapping[str, Measure] = {
    "imports": lambda subjects, options: measures.imports(subjects),
    "lives": lambda subjects, options: measures.lives(subjects, options.rounds),
    "round-trips": lambda subjects, options: measures.round_trips(subjects, options.rounds),
    "work": lambda subjects, options: measures.work(subjects, options.rounds, options.items),
    "transfers": lambda subjects, options: measures.transfers(
        options.rounds, options.transfer_mb * 1_000_000
    ),
    "network": lambda subjects, options: measures.network(options.rounds, options.network_mb * 1_000_000),
    "images": lambda subjects, options: measures.images(options.rounds, options.image_mb * 1_000_000),
    "notice": lambda subjects, options: measures.notice(options.rounds),
    "idle": lambda subjects, options: measures.idle(options.idle, options.idle_seconds),
}
NAMES = (*MEASURES, "growth")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="MEASURE", help=f"those of {', '.join(NAMES)}; else all")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run, in turns (5)")
    parser.add_argument("--no-peer", action="store_true", help="leave yapapi out")
    parser.add_argument("--items", type=int, default=1000, metavar="N", help="so many items of work (1000)")
    parser.add_argument("--transfer-mb", type=int, default=100, metavar="MB", help="so large a file (100)")
    parser.add_argument("--network-mb", type=int, default=100, metavar="MB", help="so much both ways (100)")
    parser.add_argument("--image-mb", type=int, default=200, metavar="MB", help="so large an image (200)")
    parser.add_argument("--idle", type=int, default=200, metavar="N", help="so many idle instances (200)")
    parser.add_argument("--idle-seconds", type=float, default=60.0, metavar="S", help="for so long (60)")
    parser.add_argument(
        "--growth", type=int, nargs="+", default=GROWTH, metavar="N", help="so many instances"
    )
    parser.add_argument("--json", type=Path, help="where it is written as well, for the plot")
    options = parser.parse_args()
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return options


def _peers() -> list[Subject]:
    try:
        return [the_peer()]
    except NoPeer as error:
        logging.warning("without yapapi: %s", error)
        return []


if __name__ == "__main__":
    main()

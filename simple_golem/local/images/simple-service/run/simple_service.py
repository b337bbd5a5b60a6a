#!/usr/local/bin/python3
"""A small service: keeps numbers that were observed, and answers with their statistics."""

# ruff: noqa: T201 - its output is its answer

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

STORE = Path(os.environ.get("OBSERVATIONS_STORE", "/golem/out/observations.db"))


@contextlib.contextmanager
def store() -> Iterator[sqlite3.Connection]:
    """The store, made if it is not there; what was changed is kept unless an error leaves the block."""
    connection = sqlite3.connect(STORE, timeout=10)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS observation ("
                "id INTEGER PRIMARY KEY, "
                "value REAL NOT NULL, "
                "observed_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            yield connection
    finally:
        connection.close()


def add(value: float) -> None:
    with store() as connection:
        connection.execute("INSERT INTO observation (value) VALUES (?)", (value,))


def values() -> list[float]:
    with store() as connection:
        return [row[0] for row in connection.execute("SELECT value FROM observation ORDER BY id")]


def print_stats() -> None:
    observed = values()
    answer: dict[str, float | int | None] = {"count": len(observed)}
    answer["mean"] = round(statistics.fmean(observed), 4) if observed else None
    answer["median"] = round(statistics.median(observed), 4) if observed else None
    answer["deviation"] = round(statistics.stdev(observed), 4) if len(observed) > 1 else None
    answer["min"] = min(observed, default=None)
    answer["max"] = max(observed, default=None)
    print(json.dumps(answer))


def print_all() -> None:
    with store() as connection:
        rows = connection.execute("SELECT value, observed_at FROM observation ORDER BY id").fetchall()
    print(json.dumps([{"value": value, "observed_at": f"{at.replace(' ', 'T')}Z"} for value, at in rows]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--add", type=float, metavar="NUMBER", help="keep an observed number")
    action.add_argument("--stats", action="store_true", help="print count, mean, median, … as JSON")
    action.add_argument("--dump", action="store_true", help="print all observations as JSON")
    action.add_argument("--init", action="store_true", help="make the store; the other actions do it too")
    wanted = parser.parse_args()
    if wanted.add is not None:
        add(wanted.add)
    elif wanted.stats:
        print_stats()
    elif wanted.dump:
        print_all()
    else:
        values()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Many items by a pool of simple_golem."""

from __future__ import annotations

import logging
import sys

from stopwatch import Stopwatch

from simple_golem import Golem, Instance, Run


def work(machine: Instance, item: int) -> int:
    """One item."""
    machine.execute(Run("/bin/true"))
    return item


def main(machines: int, items: int) -> None:
    # Where many are on one machine, finding them all takes longer than anybody is kept in the dark for; that
    # is told and is no failure.
    logging.getLogger("simple_golem.services").setLevel(logging.ERROR)
    watch = Stopwatch()
    with Golem(budget=50) as golem, golem.pool(machines) as pool:
        for number, result in enumerate(pool.map(work, range(items))):
            watch.first()
            assert result == number
        watch.last()
    assert pool.stats.done == items, pool.stats
    watch.tell(machines=sum(machine.has_run for machine in golem.instances))


if __name__ == "__main__":
    main(machines=int(sys.argv[1]), items=int(sys.argv[2]))

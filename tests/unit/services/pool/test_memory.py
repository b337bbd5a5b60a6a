"""The memory of a pool grows with the items that are under way, not with those that were answered."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from simple_golem.testing import FakeYagna

# In a process of its own: the daemon in memory remembers each request, and each command.
PROGRAM = """
import gc, json, sys
from simple_golem import Golem, Run

items, has_commands = int(sys.argv[1]), sys.argv[2] == "commands"

def work(machine, item):
    if has_commands:
        machine.execute(Run("/bin/true"))
    return item

def memory():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

with Golem(budget=1) as golem, golem.pool(1, item_timeout=600) as pool:
    for number, result in enumerate(pool.map(work, range(items))):
        assert result == number
        if number == items // 10:
            early = memory()
    late = memory()
    assert pool.stats.done == items
print(json.dumps({"early": early, "late": late}))
"""
# An item with its arguments and its Future takes more than 1 KiB.
MOST_KIB = 4096


def growth(fake: FakeYagna, items: int, what: str, timeout: float) -> int:
    """How many KiB a process has more when all items are answered than after the first tenth."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(items), what], capture_output=True, text=True, timeout=timeout
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    return int(told["late"] - told["early"])


def test_answered_items_take_no_memory(fake: FakeYagna) -> None:
    assert growth(fake, 10_000, "nothing", 120) < MOST_KIB


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_hundred_thousand_items_take_no_more_memory_than_some(fake: FakeYagna) -> None:
    assert growth(fake, 100_000, "commands", 1100) < MOST_KIB

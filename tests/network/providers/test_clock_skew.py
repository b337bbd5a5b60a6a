"""A script on a machine whose clock differs from the real daemon's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from simple_golem.local import LocalGolem
from tests.network.helpers.leftovers import left_on
from tests.network.helpers.processes import ROOT

# The clock is set wrong for this script alone. An agreement has to be approved within two minutes.
SCRIPT = """
import datetime as dates
import time

real_now, real_time = dates.datetime.now, time.time
by = dates.timedelta(minutes={minutes})

class Wrong(dates.datetime):
    @classmethod
    def now(cls, tz=None):
        return real_now(tz) + by

dates.datetime = Wrong
time.time = lambda: real_time() + by.total_seconds()

from simple_golem import Golem, Run, Service

class Once(Service):
    def run(self):
        print(self.execute(Run("/bin/echo", "done")).stdout, end="")

with Golem(budget=1) as golem:
    golem.run_service(Once, expiration=dates.timedelta(minutes=10)).wait(40)
print(golem.instances[0].state.value, golem.instances[0].failure, golem.cost.amount > 0)
"""


@pytest.mark.parametrize(("minutes", "side"), [(-5, "behind"), (5, "ahead of")])
def test_a_clock_that_is_wrong_by_minutes_is_told_of_and_makes_no_difference(
    network: LocalGolem, minutes: int, side: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(minutes=minutes)],
        env={**os.environ, **network.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.splitlines() == ["done", "terminated None True"], ended.stderr
    (warning,) = ended.stderr.splitlines()
    assert (
        f"seconds {side} the clock of the daemon: times that are sent to the daemon are corrected" in warning
    )
    seconds = int(warning.partition("machine is ")[2].partition(" ")[0])
    assert abs(seconds - 300) <= 3
    assert left_on(network) == []

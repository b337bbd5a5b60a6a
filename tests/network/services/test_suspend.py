"""Instances that outlive their script, and are taken up again by another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.errors import ActivityLost, NotRunning
from simple_golem.model.service.suspended import SuspendedInstance
from tests.network.helpers.leftovers import left_on
from tests.network.helpers.processes import TOOL

pytestmark = pytest.mark.usefixtures("golem_environment")
ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import dataclasses, json
from simple_golem import Golem, Run, Service

class Counter(Service):
    def start(self):
        return Run.shell("echo from the first script > /golem/work/note")
    def shutdown(self):
        print("shutdown was called", flush=True)

with Golem(budget=1) as golem:
    cluster = golem.run_service(Counter, num_instances=2)
    cluster.wait_until_running(timeout=60)
    suspended = cluster.suspend()
    print(json.dumps([dataclasses.asdict(one) for one in suspended]), flush=True)
    print([instance.state.value for instance in cluster], flush=True)
"""


class Counter(Service):
    run_interval = 600

    def __init__(self):
        self.calls = []
        self.has_read = threading.Event()

    def start(self):
        self.calls.append("start")
        return Run.shell("echo from this script > /golem/work/note")

    def run(self):
        self.note = self.execute(Run("/bin/cat", "/golem/work/note")).stdout
        self.has_read.set()

    def shutdown(self):
        self.calls.append("shutdown")


def test_a_later_script_goes_on_with_the_same_activities(network, tmp_path):
    path = tmp_path / "first.py"
    path.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert second == "['suspended', 'suspended']"
    suspended = [SuspendedInstance(**entry) for entry in json.loads(first)]
    kept = left_on(network)
    assert sorted(what.split()[0] for what in kept) == sorted(
        ["allocation", "activity", "activity", "agreement", "agreement"]
    )

    with Golem(1) as golem:
        cluster = golem.resume_service(Counter, suspended)
        cluster.wait_until_running(timeout=30)
        assert {one.activity_id for one in cluster} == {one.activity_id for one in suspended}
        answers = cluster.execute(Run("/bin/cat", "/golem/work/note"))
        assert [answer.stdout for answer in answers.values()] == ["from the first script\n"] * 2
        for one in cluster:
            assert one.service.has_read.wait(30)
        cluster.stop()
    assert [one.service.calls for one in cluster] == [["shutdown"], ["shutdown"]]
    assert [one.service.note for one in cluster] == ["from the first script\n"] * 2
    assert golem.cost.amount > 0
    assert left_on(network) == []


def test_resuming_an_instance_that_has_ended_says_so(network, caplog):
    with Golem(1) as golem:
        (instance,) = golem.run_service(Counter).wait_until_running(timeout=30)
        suspended = instance.suspend(timeout=30)
        assert instance.state == "suspended"
        with pytest.raises(NotRunning, match="suspended"):
            instance.execute(Run("/bin/true"))
        with pytest.raises(NotRunning, match="only a running"):
            instance.suspend()
    with Golem(1) as golem:
        resumed = golem.resume_service(Counter, [suspended])
        resumed.wait_until_running(timeout=30)
    with Golem(1, raise_failures=False) as golem:
        again = golem.resume_service(Counter, [suspended])
        assert again.wait(30)
    assert isinstance(again.instances[0].failure, ActivityLost)
    assert "while Counter-1 was suspended" in str(again.instances[0].failure)
    # It was paid by the session before, and is not waited for.
    assert "no invoice" not in caplog.text
    assert left_on(network) == []


def test_resuming_leaves_the_money_of_the_session_that_suspended_and_lives_alone(network, tool_cleanup):
    with Golem("0.5") as first:
        one, two = first.run_service(Counter, num_instances=2).wait_until_running(timeout=30)
        suspended = one.suspend(timeout=30)
        with Golem("0.25") as second:
            second.resume_service(Counter, [suspended]).wait_until_running(timeout=30)
            assert sum(what.startswith("allocation") for what in left_on(network)) == 2
        assert second.cost_report.entries[0].is_invoiced
        two.stop()
    paid = {entry.agreement_id: entry.is_invoiced for entry in first.cost_report.entries}
    assert paid.pop(suspended.agreement_id) is False
    assert list(paid.values()) == [True]
    # It has asked at its end whether what it suspended needs its allocation any more.
    assert left_on(network) == []
    tool_cleanup()
    assert list(Path(network.environment["SIMPLE_GOLEM_STATE"]).glob("*")) == []


@pytest.fixture
def tool_cleanup(network):
    def run() -> str:
        done = subprocess.run(
            [*TOOL, "cleanup"],
            env={**os.environ, **network.environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run

"""What a killed script leaves open is ended and paid by the next one, or by `simple-golem cleanup`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.model.events.cleanup import CleanedUp
from simple_golem.model.events.documents import InvoiceAccepted
from simple_golem.model.service.suspended import SuspendedInstance
from simple_golem.yagna.client import Yagna
from tests.helpers.killed_maker import make_network_and_be_killed
from tests.network.helpers.leftovers import left_on
from tests.network.helpers.processes import TOOL

WAIT_SECONDS = 30.0
ROOT = Path(__file__).resolve().parents[3]
LATE_SECONDS = 6.0

SCRIPT = """
import dataclasses, json, sys
from simple_golem import Golem, Run, Service

class Loop(Service):
    run_interval = 0.5
    def run(self):
        sys.stdout.write(f"run {{self.name}}\\n")  # one write, so lines of two threads do not mix
        sys.stdout.flush()
        self.execute(Run("/bin/echo", "hi"))

with Golem(budget={budget!r}) as golem:
    cluster = golem.run_service(Loop, num_instances=2)
    cluster.wait_until_running(timeout=60)
    {then}
"""


@pytest.fixture(scope="module")
def late_network() -> Iterator[LocalGolem]:
    """Three providers, whose invoices come late."""
    with LocalGolem([ProviderHabits(invoices_after=LATE_SECONDS)] * 3, chain=False) as network:
        yield network


class Script:
    """A script in a process of its own."""

    def __init__(self, network: LocalGolem, tmp_path: Path, then: str, budget: str = "1") -> None:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(SCRIPT).format(then=then, budget=budget))
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            cwd=ROOT,
            env={**os.environ, **network.environment},
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the script has ended"
        return line.strip()

    def wait_until_both_run(self) -> None:
        seen: set[str] = set()
        while len(seen) < 2:
            seen.add(self.line())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


def killed(network: LocalGolem, tmp_path: Path) -> None:
    """Run a script until both of its instances are running, and kill it."""
    script = Script(network, tmp_path, "cluster.wait()")
    script.wait_until_both_run()
    script.kill()


def journals(network: LocalGolem) -> list[str]:
    folder = Path(network.environment["SIMPLE_GOLEM_STATE"])
    return sorted(path.name for path in folder.glob("*"))


def tool(network: LocalGolem, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment: Mapping[str, str] = {**os.environ, **network.environment}
    return subprocess.run(
        [*TOOL, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


def wait_until_nothing_is_left(network: LocalGolem) -> None:
    deadline, scope = Deadline(WAIT_SECONDS), Scope()
    while left := left_on(network):
        assert not deadline.passed, f"left: {left}"
        scope.wait(0.2)


def test_the_tool_ends_and_pays_what_a_killed_script_left_open(network, tmp_path):
    killed(network, tmp_path)
    assert {line.split()[0] for line in left_on(network)} == {"demand", "allocation", "agreement", "activity"}
    done = tool(network, "cleanup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("terminated") == 2
    assert re.search(r"\nin all: 2 agreements ended, 0\.\d+ tGLM paid\n$", done.stdout)
    assert done.stdout.count("invoice of ") == 2
    assert left_on(network) == []
    assert journals(network) == []
    assert tool(network, "cleanup").stdout == "nothing to clean up\n"


def test_the_next_session_ends_and_pays_what_a_killed_script_left_open(network, golem_environment, tmp_path):
    killed(network, tmp_path)
    told = []
    with Golem(budget=1) as golem:
        golem.on_event(told.append)
        wait_until_only_this_session_is_left(network)
    assert left_on(network) == []
    assert journals(network) == []
    assert golem.cost.amount == 0, "it is paid from an allocation of its own"
    assert not [event for event in told if isinstance(event, InvoiceAccepted)]
    assert len([event for event in told if isinstance(event, CleanedUp)]) >= 2


def wait_until_only_this_session_is_left(network: LocalGolem) -> None:
    """Wait until the daemon has its allocation alone, and the journals of others are gone: they are paid."""
    deadline, scope = Deadline(WAIT_SECONDS), Scope()
    while [line.split()[0] for line in left_on(network)] != ["allocation"] or len(sessions(network)) > 1:
        assert not deadline.passed, f"left: {left_on(network)}, {sessions(network)}"
        scope.wait(0.2)


def sessions(network: LocalGolem) -> list[str]:
    return [name for name in journals(network) if name.endswith(".jsonl")]


def test_a_script_that_still_runs_is_not_touched(network, golem_environment, tmp_path):
    script = Script(network, tmp_path, "cluster.wait()")
    script.wait_until_both_run()
    try:
        before = {line for line in left_on(network) if line.split()[0] in ("agreement", "activity")}
        assert tool(network, "cleanup").stdout == "nothing to clean up\n"
        with Golem(budget=1) as other:
            other.run_service(Service, num_instances=1).wait_until_running(timeout=60)
        assert before <= set(left_on(network))
        assert {script.line().split()[0] for _ in range(6)} == {"run"}
        # Only what this session itself has run is its cost.
        assert len(other.cost_report.entries) == 1
    finally:
        script.interrupt()
    wait_until_nothing_is_left(network)


def test_an_invoice_that_comes_after_a_ctrl_c_is_paid_by_the_tool(late_network, tmp_path):
    script = Script(late_network, tmp_path, "cluster.wait()")
    script.wait_until_both_run()
    script.interrupt()
    assert len(sessions(late_network)) == 1
    done = tool(late_network, "cleanup", "--wait", str(WAIT_SECONDS))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("invoice of ") == 2
    assert left_on(late_network) == []
    assert journals(late_network) == []


def test_a_late_invoice_leaves_the_next_sessions_budget_alone(late_network, tmp_path, monkeypatch):
    for name, value in late_network.environment.items():
        monkeypatch.setenv(name, value)
    script = Script(late_network, tmp_path, "cluster.wait()")
    script.wait_until_both_run()
    script.interrupt()
    yagna = Yagna(late_network.near.api_url, late_network.near.app_key)
    try:
        with Golem(budget="0.5") as golem:
            wait_until_only_this_session_is_left(late_network)
            allocations = yagna.payment.allocations()
            assert [one.total_amount for one in allocations] == [golem.budget]
            assert allocations[0].spent_amount == 0
    finally:
        yagna.close()
    assert left_on(late_network) == []
    assert journals(late_network) == []


def test_of_networks_of_the_same_range_the_tool_ends_that_of_the_killed_session_alone(
    network, golem_environment
):
    yagna = Yagna(network.near.api_url, network.near.app_key)
    try:
        of_another = yagna.network.create("10.1.0.0/24").network_id
        make_network_and_be_killed("10.1.0.0/24", {**os.environ, **network.environment})
        assert len(yagna.network.networks()) == 2
        done = tool(network, "cleanup")
        assert done.returncode == 0, done.stderr
        assert [one.network_id for one in yagna.network.networks()] == [of_another]
        yagna.network.delete(of_another)
    finally:
        yagna.close()
    assert left_on(network) == []
    assert journals(network) == []


def test_suspended_instances_are_kept_and_ended_only_on_request(network, golem_environment, tmp_path):
    then = "print(json.dumps([dataclasses.asdict(one) for one in cluster.suspend()]), flush=True)"
    script = Script(network, tmp_path, then)
    output = ""
    while not output.startswith("["):
        output = script.line()
    script.process.wait(WAIT_SECONDS)
    assert script.process.stdout is not None
    script.process.stdout.close()
    suspended = [SuspendedInstance(**one) for one in json.loads(output)]
    kept = tool(network, "cleanup", "--wait", "1")
    assert "kept, since suspended: Loop-1, Loop-2" in kept.stdout
    assert sum(line.startswith("activity") for line in left_on(network)) == 2

    class Loop(Service):
        pass

    with Golem(budget=1) as golem:
        cluster = golem.resume_service(Loop, suspended[:1])
        cluster.wait_until_running(timeout=60)
        assert tool(network, "cleanup", "--wait", "1").stdout == "nothing to clean up\n"
        cluster.stop()
    assert sum(line.startswith("activity") for line in left_on(network)) == 1
    ended = tool(network, "cleanup", "--suspended")
    assert ended.returncode == 0, ended.stderr
    assert "terminated" in ended.stdout
    assert left_on(network) == []
    assert journals(network) == []


def test_the_tool_lists_the_market(network):
    listed = tool(network, "offers", "--json")
    offers = json.loads(listed.stdout)
    assert sorted(offer["provider_name"] for offer in offers) == ["prov-1", "prov-2", "prov-3", "prov-4"]
    assert {offer["price_per_hour"] for offer in offers} == {"0.36"}
    table = tool(network, "offers", "--min-cpu-threads", "1000", "--seconds", "0.5")
    assert table.stdout == "no offers\n"
    assert "simple-golem offers --why" in table.stderr
    assert left_on(network) == []


def test_bad_options_of_the_tool_say_what_to_write(network):
    wrong = tool(network, "cleanup", "--wait", "-1")
    assert wrong.returncode == 2
    assert "--wait can't be -1.0" in wrong.stderr


def test_no_journal_does_no_harm(network, golem_environment, tmp_path, monkeypatch, caplog):
    file = tmp_path / "no-folder"
    file.write_text("")
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(file / "below"))

    class Once(Service):
        def run(self):
            return Run("/bin/echo", "hi")

    with Golem(budget=1) as golem:
        assert golem.run_service(Once).wait(60)
    assert "no journal can be kept" in caplog.text
    assert golem.cost.amount > 0

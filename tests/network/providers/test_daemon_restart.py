"""The requestor's daemon is killed with -9 and started again: all goes on, and nothing is done twice."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.local.local_golem import LocalGolem
from tests.network.helpers.commands import wait_until_script_runs
from tests.network.helpers.leftovers import left_on

FILE = "/golem/work/count"
COUNT = f"echo $(( $(cat {FILE} 2>/dev/null || echo 0) + 1 )) > {FILE}; cat {FILE}"


@pytest.fixture
def fresh_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGolem]:
    with LocalGolem(providers=3, chain=False) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        yield network


def restart(network: LocalGolem) -> None:
    network.kill_requestor_daemon()
    network.restart_requestor_daemon()


class Counting(Service):
    """Counts its own commands on the provider's machine: one that was done twice would show."""

    run_interval = 0.05

    def __init__(self):
        self.counts = []
        self.enough = threading.Event()
        self.mark = f"mark-{uuid.uuid4().hex}"

    def slow(self):
        """A command that takes its time: the daemon is killed while it runs, not while it is being sent."""
        return Run.shell(f": {self.mark}; sleep 4; {COUNT}")

    def run(self):
        answer = self.execute(Run.shell(COUNT) if self.counts else self.slow())
        self.counts.append(int(answer.stdout))
        if len(self.counts) >= 6:
            self.enough.set()

    def shutdown(self):
        self.last = self.execute(Run.shell(COUNT)).stdout


def test_running_instances_go_on_with_the_same_activities(fresh_network):
    with Golem(1) as golem:
        cluster = golem.run_service(Counting, num_instances=2)
        cluster.wait_until_running(timeout=30)
        before = {instance.name: instance.activity_id for instance in cluster}
        for instance in cluster:
            wait_until_script_runs(instance.service.mark)
        cluster.wait(1)  # the library, too, knows that they run
        restart(fresh_network)
        for instance in cluster:
            assert instance.service.enough.wait(30)
        assert {instance.name: instance.activity_id for instance in cluster} == before
        cluster.stop()
    for instance in cluster:
        counts = [*instance.service.counts, int(instance.service.last)]
        assert counts == list(range(1, len(counts) + 1))
        assert instance.failure is None
    assert left_on(fresh_network) == []


def test_a_pending_instance_finds_its_provider_all_the_same(fresh_network):
    class Blocker(Service):
        pass

    with Golem(1) as golem:
        blockers = golem.run_service(Blocker, num_instances=3)
        blockers.wait_until_running(timeout=30)
        waiting = golem.run_service(Counting)
        restart(fresh_network)
        blockers.stop()
        waiting.wait_until_running(timeout=60)
    assert left_on(fresh_network) == []


def test_an_instance_that_is_starting_gets_to_run(fresh_network):
    class Slow(Counting):
        def start(self):
            return self.slow()

    with Golem(1) as golem:
        cluster = golem.run_service(Slow)
        (instance,) = cluster.instances
        instance.wait_for("starting", timeout=30)
        wait_until_script_runs(instance.service.mark)
        cluster.wait(1)
        restart(fresh_network)
        instance.wait_for("running", timeout=30)
        assert [result.stdout for result in instance.service.results] == ["1\n"]
        assert len([state for state, _ in instance.history if state == "starting"]) == 1
    assert left_on(fresh_network) == []


def test_an_instance_that_is_stopping_is_shut_down_once(fresh_network):
    class Careful(Counting):
        calls = 0

        def run(self):
            self.wait(60)

        def shutdown(self):
            Careful.calls += 1
            self.leaving = True
            self.last = self.execute(self.slow()).stdout

    with Golem(1) as golem:
        cluster = golem.run_service(Careful)
        (instance,) = cluster.wait_until_running(timeout=30)
        cluster.stop(wait=False)
        wait_until_script_runs(instance.service.mark)
        assert instance.state == "stopping"
        cluster.wait(1)
        restart(fresh_network)
        assert cluster.wait(60)
    assert Careful.calls == 1
    assert instance.service.last == "1\n"
    assert left_on(fresh_network) == []

"""Lives on providers that misbehave: their states, what is called how often, and that nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import tenacity

from simple_golem import Golem, Run, Service
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import ActivityLost, BatchLost, GolemError
from simple_golem.local.control.habits import Answer, ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from tests.network.helpers.commands import LongCommand
from tests.network.helpers.leftovers import left_on

GOOD = ProviderHabits()
AT_ONCE = {"respawn_wait": tenacity.wait_fixed(0.1)}
QUICK_HEALTH = {"health_interval": 0.5, "health_misses": 2}
ENDED_AT_ONCE = 3 * 1.0


@pytest.fixture
def network_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LocalGolem]]:
    """Starts a network with one provider for each of the given habits."""
    with ExitStack() as stack:

        def start(*habits: ProviderHabits) -> LocalGolem:
            network = stack.enter_context(LocalGolem(providers=habits, chain=False))
            for name, value in network.environment.items():
                monkeypatch.setenv(name, value)
            return network

        yield start


class Told(Service):
    """Keeps a record of its calls that all its lives share."""

    def __init__(self, calls):
        self.calls = calls

    def start(self):
        self.calls.append(("start", self.provider_name))

    def shutdown(self):
        self.calls.append(("shutdown", self.provider_name))


class Waiting(Told):
    run_interval = 600

    def run(self):
        self.calls.append(("run", self.provider_name))


# What `Working`, and whoever is outside, has its providers run.
LONG = LongCommand()


class Working(Told):
    def run(self):
        self.calls.append(("run", self.provider_name))
        self.execute(LONG.run)


def run(golem: Golem, cls: type[Service], **options):
    calls: list[tuple[str, str]] = []
    cluster = golem.run_service(cls, instance_params=[{"calls": calls}], **options)
    return cluster, cluster.instances[0], calls


def states(instance):
    return [state.value for state, _ in instance.history]


def methods(calls):
    return [method for method, _ in calls]


def wait_until_run_is_called(calls, times=1):
    """An instance is running a moment before that."""
    left = Deadline(60)
    while methods(calls).count("run") < times:
        assert not left.passed, calls
        Scope().wait(0.02)


def test_a_provider_that_dies_ends_the_instance_without_shutdown(network_of):
    """While it only waits, while its own batch runs, and while that of somebody outside does."""
    network = network_of(GOOD, GOOD, GOOD)
    with Golem(1, raise_failures=False, **QUICK_HEALTH) as golem:
        started = [run(golem, cls) for cls in (Waiting, Working, Waiting)]
        instances = [instance for _, instance, _ in started]
        for instance in instances:
            instance.wait_for("running", timeout=30)
        future = instances[-1]._submit((LONG.run,), None)
        for _, _, calls in started:
            wait_until_run_is_called(calls)
        LONG.wait_until_running(2)
        started[0][0].wait(1.0)  # the library, too, knows that they run
        for instance in instances:
            network.provider(instance.provider_name).die()
        with pytest.raises(BatchLost):
            future.result(60)
        for cluster, _, _ in started:
            assert cluster.wait(60)
    for _, instance, calls in started:
        assert methods(calls) == ["start", "run"]
        assert states(instance)[:3] == ["pending", "starting", "running"]
        assert states(instance)[-1] == "terminated"
        assert "stopping" not in states(instance)
        assert isinstance(instance.failure, ActivityLost)


def _until(cluster, state, times):
    seen = []
    for change in cluster.state_changes(timeout=60):
        seen.append(change)
        if [one.value for _, one in seen].count(state) == times:
            break
    return seen


def test_a_provider_that_ends_agreement_and_activity_ends_the_instance_without_shutdown(network_of):
    network = network_of(GOOD)
    with Golem(1, raise_failures=False) as golem:
        cluster, instance, calls = run(golem, Waiting)
        instance.wait_for("running", timeout=30)
        future = instance._submit((LONG.run,), None)
        wait_until_run_is_called(calls)
        LONG.wait_until_running()
        cluster.wait(1.0)  # the library, too, knows that it runs
        network.provider(instance.provider_name).terminate_agreement("I need it myself")
        with pytest.raises(BatchLost, match="I need it myself"):
            future.result(30)
        assert cluster.wait(30)
        _await_invoice(golem)
    assert methods(calls) == ["start", "run"]
    assert states(instance) == ["pending", "starting", "running", "terminated"]
    assert "I need it myself" in str(instance.failure)
    assert left_on(network) == []


# A way to go in mid command, whether it is to be started again, and what is said of it.
WAYS_TO_GO = [
    ("kill_exe_unit", False, "is gone: exit code None"),
    ("kill_exe_unit", True, ""),
    ("shut_down", False, "is gone: its provider has ended it"),
    ("shut_down", True, ""),
    ("die", True, ""),
]


def test_providers_that_go_away_and_instances_that_are_started_again_where_that_was_asked_for(network_of):
    """In mid command its exe-unit is killed, it is shut down, or it dies; another one dies while idle."""
    network = network_of(*[GOOD] * 10)
    golem = Golem(1, raise_failures=False, stop_grace=0.1, **QUICK_HEALTH).open()
    started = [run(golem, Working, respawn_running=respawn) for _, respawn, _ in WAYS_TO_GO]
    idle_cluster, idle, idle_calls = run(golem, Waiting, respawn_running=True)
    for _, instance, _ in [*started, (idle_cluster, idle, idle_calls)]:
        instance.wait_for("running", timeout=30)
    wait_until_run_is_called(idle_calls)
    LONG.wait_until_running(len(WAYS_TO_GO))
    idle_cluster.wait(1.0)  # the library, too, knows that they run
    firsts = [instance.provider_name for _, instance, _ in started]
    first_of_idle, service = idle.provider_name, idle.service
    for (way, _, _), first in zip(WAYS_TO_GO, firsts, strict=True):
        getattr(network.provider(first), way)()
    network.provider(first_of_idle).die()
    for (way, respawn, reason), first, (cluster, instance, calls) in zip(
        WAYS_TO_GO, firsts, started, strict=True
    ):
        if respawn:
            _runs_again(instance)
            assert instance.provider_name != first, way
        else:
            assert cluster.wait(60), way
            assert isinstance(instance.failure, ActivityLost), way
            assert reason in str(instance.failure)
            assert states(instance)[-1] == "terminated"
        assert "stopping" not in states(instance)
        assert ("shutdown", first) not in calls
    _runs_again(idle)
    assert states(idle)[-3:] == ["pending", "starting", "running"]
    assert idle.provider_name != first_of_idle
    assert idle.service is not service
    with pytest.raises(GolemError):
        service.execute(Run("/bin/true"))
    wait_until_run_is_called(idle_calls, times=2)
    idle_cluster.stop()
    golem.close()
    assert methods(idle_calls) == ["start", "run", "start", "run", "shutdown"]
    assert idle.failure is None


def _runs_again(instance):
    left = Deadline(60)
    while states(instance).count("running") < 2:
        assert not left.passed
        Scope().wait(0.05)


def test_a_provider_whose_agent_dies_alone_goes_on(network_of):
    """Its exe-unit works: that is right, and more can follow."""
    network = network_of(GOOD)
    golem = Golem(1, **QUICK_HEALTH).open()
    _, instance, _ = run(golem, Waiting)
    instance.wait_for("running", timeout=30)
    future = instance._submit((Run.shell("sleep 2; echo done"),), None)
    network.provider(instance.provider_name).kill_agent()
    assert future.result(30).stdout == "done\n"
    assert instance.execute(Run("/bin/echo", "more")).stdout == "more\n"
    assert states(instance) == ["pending", "starting", "running"]
    golem.close(timeout=3)


def _await_invoice(golem):
    """The end of the session would not wait for it; as long as the session lives it is answered."""
    left = Deadline(30)
    while not all(entry.is_invoiced for entry in golem.cost_report.entries):
        assert not left.passed
        Scope().wait(0.05)


def test_shutdown_is_tried_when_the_agreement_was_ended_but_the_activity_answers(network_of):
    network = network_of(GOOD)
    with Golem(1, raise_failures=False) as golem:
        cluster, instance, calls = run(golem, Waiting)
        wait_until_run_is_called(calls)
        network.provider(instance.provider_name).terminate_agreement(keep_activity=True)
        assert cluster.wait(30)
    assert methods(calls) == ["start", "run", "shutdown"]
    assert states(instance) == ["pending", "starting", "running", "stopping", "terminated"]
    assert isinstance(instance.failure, ActivityLost)
    assert left_on(network) == []


def test_a_stop_is_felt_at_once_where_a_provider_keeps_us_waiting(network_of):
    network, state = network_of(ProviderHabits(agreements=Answer.NEVER)), "pending"
    # It was waited for, and never ran: that alone would be raised.
    with Golem(1, raise_failures=False) as golem:
        cluster, instance, calls = run(golem, Waiting)
        cluster.wait(1.5)
        assert instance.state == state
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < ENDED_AT_ONCE
    assert states(instance)[-2:] == [state, "terminated"]
    assert calls == []
    assert [what for what in left_on(network) if not what.startswith("activity")] == []


def test_an_instance_whose_provider_falls_silent_is_unresponsive_and_comes_back(network_of):
    # The daemon needs up to two seconds to hear the reports and to say so, and destroys what is silent for
    # five seconds after it found it unresponsive: 2.5 s for the library to find out, as many to come back.
    network = network_of(GOOD)
    with Golem(1, health_interval=0.5, health_misses=5) as golem:
        cluster, instance, calls = run(golem, Waiting)
        instance.wait_for("running", timeout=30)
        provider = network.provider(instance.provider_name)
        provider.stop_reporting()
        instance.wait_for("unresponsive", timeout=30)
        provider.report_again()
        _until(cluster, "running", times=2)
        cluster.stop()
    expected = ["pending", "starting", "running", "unresponsive", "running", "stopping", "terminated"]
    assert states(instance) == expected
    assert methods(calls) == ["start", "run", "shutdown"]
    assert left_on(network) == []


def test_thirty_instances_start_and_stop_together(network_of):
    network = network_of(*[GOOD] * 30)
    calls: list[tuple[str, str]] = []
    with Golem(5) as golem:
        cluster = golem.run_service(Waiting, instance_params=[{"calls": calls}] * 30)
        assert len(cluster.wait_until_running(timeout=60)) == 30
        wait_until_run_is_called(calls, times=30)
        cluster.stop()
    assert len({instance.provider_id for instance in cluster}) == 30
    assert sorted(methods(calls)) == ["run"] * 30 + ["shutdown"] * 30 + ["start"] * 30
    assert left_on(network) == []

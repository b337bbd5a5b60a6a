"""Lives on providers that misbehave: their states, what is called how often, and that nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal

import pytest
import tenacity

from simple_golem import CommandFailed, Golem, Run, Service, ServiceFailed
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import ActivityFailed, ActivityLost, BatchLost, GolemError
from simple_golem.local.control.habits import Answer, Price, ProviderHabits
from simple_golem.local.local_golem import LocalGolem
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


class Working(Told):
    def run(self):
        self.calls.append(("run", self.provider_name))
        self.execute(Run("/bin/sleep", "600"))


def run(golem: Golem, cls: type[Service], **options):
    calls: list[tuple[str, str]] = []
    cluster = golem.run_service(cls, instance_params=[{"calls": calls}], **options)
    return cluster, cluster.instances[0], calls


def states(instance):
    return [state.value for state, _ in instance.history]


def methods(calls):
    return [method for method, _ in calls]


def test_a_provider_that_dies_ends_the_instance_without_shutdown(network_of):
    """While it only waits, while its own batch runs, and while that of somebody outside does."""
    network = network_of(GOOD, GOOD, GOOD)
    with Golem(1, raise_failures=False, **QUICK_HEALTH) as golem:
        started = [run(golem, cls) for cls in (Waiting, Working, Waiting)]
        instances = [instance for _, instance, _ in started]
        for instance in instances:
            instance.wait_for("running", timeout=30)
        future = instances[-1]._submit((Run("/bin/sleep", "600"),), None)
        started[0][0].wait(0.5)
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


def test_a_provider_that_dies_is_replaced_when_that_was_asked_for(network_of):
    network = network_of(GOOD, GOOD)
    with Golem(1, **QUICK_HEALTH) as golem:
        cluster, instance, calls = run(golem, Waiting, respawn_running=True)
        instance.wait_for("running", timeout=30)
        first, service = instance.provider_name, instance.service
        network.provider(first).die()
        changes = [state.value for _, state in _until(cluster, "running", times=2)]
        assert changes[-3:] == ["pending", "starting", "running"]
        assert instance.provider_name != first
        assert instance.service is not service
        with pytest.raises(GolemError):
            service.execute(Run("/bin/true"))
        cluster.stop()
    assert methods(calls) == ["start", "run", "start", "run", "shutdown"]
    assert instance.failure is None


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
        network.provider(instance.provider_name).terminate_agreement("I need it myself")
        assert cluster.wait(30)
        _await_invoice(golem)
    assert methods(calls) == ["start", "run"]
    assert states(instance) == ["pending", "starting", "running", "terminated"]
    assert "I need it myself" in str(instance.failure)
    assert left_on(network) == []


WAYS_TO_GO = {
    "kill_exe_unit": "is gone: exit code None",
    "shut_down": "is gone: its provider has ended it",
}


@pytest.mark.parametrize(
    ("way", "respawn"),
    [
        ("kill_exe_unit", False),
        ("kill_exe_unit", True),
        ("shut_down", False),
        ("shut_down", True),
        ("die", True),
    ],
)
def test_a_provider_that_goes_away_in_mid_command(network_of, way, respawn):
    """Its exe-unit is killed; it is shut down in good order; agent and exe-unit die together."""
    network = network_of(GOOD, GOOD)
    golem = Golem(1, raise_failures=False, stop_grace=0.1, **QUICK_HEALTH).open()
    cluster, instance, calls = run(golem, Working, respawn_running=respawn)
    instance.wait_for("running", timeout=30)
    first = instance.provider_name
    cluster.wait(0.5)
    getattr(network.provider(first), way)()
    if respawn:
        _until(cluster, "running", times=2)
        assert instance.provider_name != first
    else:
        assert cluster.wait(60)
        assert isinstance(instance.failure, ActivityLost)
        assert WAYS_TO_GO[way] in str(instance.failure)
        assert states(instance)[-1] == "terminated"
    assert "stopping" not in states(instance)
    assert [one for one in calls if one == ("shutdown", first)] == []
    golem.close()


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
        instance.wait_for("running", timeout=30)
        network.provider(instance.provider_name).terminate_agreement(keep_activity=True)
        assert cluster.wait(30)
    assert methods(calls) == ["start", "run", "shutdown"]
    assert states(instance) == ["pending", "starting", "running", "stopping", "terminated"]
    assert isinstance(instance.failure, ActivityLost)
    assert left_on(network) == []


def test_three_rejections_are_no_attempts_and_the_fourth_provider_is_asked(network_of):
    # Their price is lower, so they are asked first.
    price = Price(Decimal("0.00001"), Decimal("0.00001"), Decimal(0))
    refusing = ProviderHabits(agreements=Answer.NO, reason="no room left", price=price)
    network = network_of(*[refusing] * 3, GOOD)
    with Golem(1) as golem:
        cluster, instance, calls = run(golem, Waiting, respawn_stop=tenacity.stop_after_attempt(1))
        instance.wait_for("running", timeout=60)
        assert instance.provider_name == "prov-4"
        reason = "no agreement was made: rejected by the provider: no room left"
        assert f"3 rejected because: {reason}" in cluster.market_report()
        cluster.stop()
    assert states(instance) == ["pending", "starting", "running", "stopping", "terminated"]
    assert methods(calls) == ["start", "run", "shutdown"]
    assert left_on(network) == []


@pytest.mark.parametrize(
    ("habits", "failure"),
    [
        (ProviderHabits(deploy_error="no such image here"), CommandFailed),
        (ProviderHabits(activities=Answer.NO), ActivityFailed),
    ],
)
def test_a_provider_on_which_nothing_starts_is_replaced(network_of, habits, failure):
    network = network_of(habits, habits, habits)
    with Golem(1, raise_failures=False) as golem:
        cluster, instance, calls = run(golem, Waiting, **AT_ONCE)
        assert cluster.wait(60)
    assert states(instance) == ["pending", "starting"] * 3 + ["terminated"]
    assert calls == []
    assert isinstance(instance.failure, failure)
    assert left_on(network) == []


def test_a_start_that_raises_the_same_error_on_two_providers_is_not_tried_on_a_third(network_of):
    class Wrong(Told):
        def start(self):
            super().start()
            raise LookupError("a mistake of ours")

    network = network_of(GOOD, GOOD, GOOD)
    with Golem(1, raise_failures=False) as golem:
        cluster, instance, calls = run(golem, Wrong, **AT_ONCE)
        assert cluster.wait(30)
        with pytest.raises(ServiceFailed, match="a mistake of ours"):
            cluster.wait_until_running(timeout=1)
    assert methods(calls) == ["start"] * 2
    assert len({provider for _, provider in calls}) == 2
    assert states(instance) == ["pending", "starting"] * 2 + ["terminated"]
    assert left_on(network) == []


@pytest.mark.parametrize(
    ("habits", "state"),
    [
        (ProviderHabits(agreements=Answer.NEVER), "pending"),
        (ProviderHabits(activities=Answer.NEVER), "starting"),
        (ProviderHabits(command_delay=60), "starting"),
    ],
    ids=["never approves", "never creates", "deploys for a minute"],
)
def test_a_stop_is_felt_at_once_where_a_provider_keeps_us_waiting(network_of, habits, state):
    network = network_of(habits)
    # It was waited for, and never ran: that alone would be raised.
    with Golem(1, raise_failures=False) as golem:
        cluster, instance, calls = run(golem, Waiting)
        if state == "starting":
            instance.wait_for(state, timeout=30)
        cluster.wait(1.5)
        assert instance.state == state
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < ENDED_AT_ONCE
    assert states(instance)[-2:] == [state, "terminated"]
    assert calls == []
    assert [what for what in left_on(network) if not what.startswith("activity")] == []


def test_a_provider_that_ends_its_activities_only_with_the_agreement_does_not_hold_up_a_stop(network_of):
    network = network_of(ProviderHabits(destroys=False))
    with Golem(1) as golem:
        cluster, instance, calls = run(golem, Waiting)
        instance.wait_for("running", timeout=30)
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < ENDED_AT_ONCE
    assert methods(calls) == ["start", "run", "shutdown"]
    assert left_on(network) == []


def test_an_activity_that_is_not_destroyed_does_not_hold_up_a_stop_for_long(network_of, monkeypatch, caplog):
    monkeypatch.setattr("simple_golem.engine.shutdown_times._INVOICE_SECONDS", 0.5)
    network = network_of(GOOD)
    with Golem(1) as golem:
        cluster, instance, calls = run(golem, Waiting)
        instance.wait_for("running", timeout=30)
        network.provider(instance.provider_name).die()
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < 3 * 10
    assert methods(calls) == ["start", "run", "shutdown"]
    assert "did not confirm in time" in caplog.text
    assert [what for what in left_on(network) if what.startswith("agreement")] == []


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


def test_nothing_is_started_again_once_its_cluster_was_stopped(network_of):
    network = network_of(*[ProviderHabits(deploy_error="never")] * 3)
    with Golem(1, raise_failures=False) as golem:
        cluster, instance, _ = run(golem, Waiting, respawn_wait=tenacity.wait_fixed(60))
        _until(cluster, "pending", times=1)
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < ENDED_AT_ONCE
    assert states(instance) == ["pending", "starting", "pending", "terminated"]
    assert left_on(network) == []


def test_thirty_instances_start_and_stop_together(network_of):
    network = network_of(*[GOOD] * 30)
    calls: list[tuple[str, str]] = []
    with Golem(5) as golem:
        cluster = golem.run_service(Waiting, instance_params=[{"calls": calls}] * 30)
        assert len(cluster.wait_until_running(timeout=60)) == 30
        cluster.stop()
    assert len({instance.provider_id for instance in cluster}) == 30
    assert sorted(methods(calls)) == ["run"] * 30 + ["shutdown"] * 30 + ["start"] * 30
    assert left_on(network) == []


def test_an_invoice_that_does_not_come_is_named_in_one_warning_and_not_waited_for_long(
    network_of, caplog, monkeypatch
):
    monkeypatch.setattr("simple_golem.engine.shutdown_times._INVOICE_SECONDS", 2.0)
    network_of(ProviderHabits(invoices=False))
    with Golem(1) as golem:
        cluster, instance, _ = run(golem, Waiting)
        instance.wait_for("running", timeout=30)
        cluster.stop()
        began = time.monotonic()
    assert 2.0 <= time.monotonic() - began < 3 * 2
    warnings = [record.getMessage() for record in caplog.records if "no invoice" in record.getMessage()]
    assert len(warnings) == 1
    assert instance.provider_name in warnings[0]

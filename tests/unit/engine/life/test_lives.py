"""Lives whose provider ends them, falls silent, charges too much, or vanishes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from simple_golem import CommandFailed, Golem, Instance, Run, ServiceStopped
from simple_golem.errors import ActivityLost, BatchLost, Overcharged
from simple_golem.testing import FakeProvider, FakeRequest, FakeYagna, HandClock
from tests.helpers.recorded_services import (
    NORMAL_LIFE,
    SECONDS,
    Idle,
    InThread,
    Sleeping,
    begun,
    calls,
    gate_of,
    programs,
    seconds_of,
    started,
    states,
)
from tests.unit.conftest import eventually

QUICK_HEALTH: dict[str, Any] = {"health_interval": 0.05, "health_misses": 2}
LOST = ["pending", "starting", "running", "terminated"]


def at_work(fake: FakeYagna) -> FakeProvider:
    """The provider that has an activity."""
    return next(one for one in fake.providers if one.activities)


def test_shutdown_runs_when_the_agreement_was_ended_but_the_activity_answers(fake: FakeYagna) -> None:
    class Saving(Idle):
        def shutdown(self) -> Any:
            super().shutdown()
            self.calls.append(str(self.execute(Run("/bin/save")).success))

    told: list[Any] = []
    with Golem(1, raise_failures=False) as golem:
        golem.on_event(told.append)
        cluster, instance = begun(golem, Saving)
        instance.wait_for("running", SECONDS)
        provider = at_work(fake)
        provider.terminate_agreement("I need it myself", keep_activity=True)
        assert cluster.wait(SECONDS)
    assert states(instance) == NORMAL_LIFE
    assert calls(instance) == ["start", "shutdown", "True"]
    assert programs(provider)[-1] == "/bin/save"
    assert isinstance(instance.failure, ActivityLost)
    assert f"{provider.name} ({provider.node_id}) has ended the agreement: I need it myself" in str(
        instance.failure
    )
    ended = [event.by_provider for event in told if type(event).__name__ == "AgreementEnded"]
    assert ended[0] is True


@pytest.mark.parametrize("service", [Idle, Sleeping])
def test_no_shutdown_runs_when_the_activity_has_ended_with_the_agreement(
    losing: FakeYagna, service: type[Idle]
) -> None:
    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, service)
        instance.wait_for("running", SECONDS)
        at_work(losing).terminate_agreement("I need it myself")
        assert cluster.wait(SECONDS)
    assert states(instance) == LOST
    assert "shutdown" not in calls(instance)
    assert isinstance(instance.failure, (ActivityLost, CommandFailed))


def test_an_agreement_that_ends_without_a_reason_is_said_so(losing: FakeYagna) -> None:
    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem)
        instance.wait_for("running", SECONDS)
        at_work(losing).terminate_agreement("")
        assert cluster.wait(SECONDS)
    assert "has ended the agreement: no reason given" in str(instance.failure)


def test_an_agreement_that_ends_while_it_is_being_stopped_changes_nothing(fake: FakeYagna) -> None:
    gate = gate_of(fake)

    class Slow(Idle):
        def shutdown(self) -> Any:
            super().shutdown()
            self.calls.append(self.execute(Run("/bin/gate")).stdout)

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Slow)
        instance.wait_for("running", SECONDS)
        cluster.stop(wait=False)
        assert gate.reached.wait(SECONDS)
        at_work(fake).terminate_agreement(keep_activity=True)
        gate.open()
        assert cluster.wait(SECONDS)
    assert states(instance) == NORMAL_LIFE
    assert calls(instance) == ["start", "shutdown", "through the gate"]


def test_an_activity_that_dies_ends_what_is_under_way(losing: FakeYagna) -> None:
    """While it only waits, while its own batch runs, and while that of somebody outside does."""

    class Stopped(Idle):
        def run(self) -> Any:
            try:
                self.execute(Run.shell("sleep 600"))
            except ServiceStopped as stopped:
                self.calls.append(type(stopped.__cause__).__name__)
                raise

    with Golem(1, raise_failures=False, **QUICK_HEALTH) as golem:
        waiting, working, asked = started(golem), started(golem, Stopped), started(golem)
        outside = InThread(asked.execute, Run.shell("sleep 600"))
        eventually(
            lambda: sum("/bin/sh -c sleep 600" in programs(one) for one in losing.providers) == 2, SECONDS
        )
        for provider in losing.providers:
            provider.kill_exe_unit()
        for cluster in golem.clusters:
            assert cluster.wait(SECONDS)
        error = outside.join().error
    assert isinstance(error, BatchLost)
    for part in ("Run('/bin/sh', '-c', 'sleep 600')", "unknown", "is gone"):
        assert part in str(error)
    for instance in (waiting, working, asked):
        assert states(instance) == LOST
        assert isinstance(instance.failure, ActivityLost)
    assert calls(waiting) == calls(asked) == ["start"]
    assert calls(working)[0] == "start"
    assert len(calls(working)) == 2
    assert "shutdown" not in calls(working)


@pytest.fixture
def asked_again(frozen: FakeYagna) -> Iterator[threading.Event]:
    """The daemon is asked for an unresponsive activity once this is set: before that, nobody gives it up."""
    asked_again = threading.Event()
    yield asked_again
    asked_again.set()


def wait_once_unresponsive(fake: FakeYagna, instance: Instance, asked_again: threading.Event) -> None:
    """Have questions for the state of an activity wait, from its silence to the end of its agreement."""
    provider = at_work(fake)

    def hold(request: FakeRequest) -> None:
        if request.path.endswith("/state") and "unresponsive" in states(instance) and provider.agreements:
            asked_again.wait(SECONDS)

    fake.intercept(hold)


def test_a_provider_that_falls_silent_makes_it_unresponsive_until_it_comes_back(
    frozen: FakeYagna, asked_again: threading.Event
) -> None:
    with Golem(1, health_interval=0.03, health_misses=5) as golem:
        instance = started(golem)
        provider = at_work(frozen)
        wait_once_unresponsive(frozen, instance, asked_again)
        provider.stop_reporting()
        clock_of(frozen).advance(5)
        instance.wait_for("unresponsive", SECONDS)
        provider.report_again()
        asked_again.set()
        eventually(lambda: instance.state == "running", SECONDS)
        assert instance.execute(Run("/bin/true")).success
        instance.stop()
    assert states(instance) == [
        "pending",
        "starting",
        "running",
        "unresponsive",
        "running",
        "stopping",
        "terminated",
    ]
    assert calls(instance) == ["start", "shutdown"]
    assert instance.failure is None


def test_a_provider_that_stays_silent_is_given_up(frozen: FakeYagna) -> None:
    told: list[str] = []
    with Golem(1, health_interval=0.02, health_misses=3, raise_failures=False) as golem:
        golem.on_event(lambda event: told.append(type(event).__name__))
        cluster, instance = begun(golem)
        instance.wait_for("running", SECONDS)
        at_work(frozen).stop_reporting()
        clock_of(frozen).advance(5)
        assert cluster.wait(SECONDS)
        # The end of the session does not wait for it, but as long as the session lives it is answered.
        eventually(lambda: "InvoiceAccepted" in told, SECONDS)
    assert states(instance) == ["pending", "starting", "running", "unresponsive", "terminated"]
    assert isinstance(instance.failure, ActivityLost)
    assert "its provider does not report its state" in str(instance.failure)
    assert calls(instance) == ["start"]


def test_an_unresponsive_one_can_be_stopped_in_good_order(
    frozen: FakeYagna, asked_again: threading.Event
) -> None:
    with Golem(1, health_interval=0.05, health_misses=10) as golem:
        instance = started(golem)
        wait_once_unresponsive(frozen, instance, asked_again)
        at_work(frozen).stop_reporting()
        clock_of(frozen).advance(5)
        instance.wait_for("unresponsive", SECONDS)
        instance.stop()
    assert states(instance) == [
        "pending",
        "starting",
        "running",
        "unresponsive",
        "stopping",
        "terminated",
    ]
    assert calls(instance) == ["start", "shutdown"]


def clock_of(fake: FakeYagna) -> HandClock:
    assert isinstance(fake.clock, HandClock)
    return fake.clock


def test_a_provider_that_asks_for_too_much_is_left_and_not_taken_again(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    with Golem(1, raise_failures=False) as golem:
        golem.on_event(lambda event: told.append(type(event).__name__))
        cluster, instance = begun(golem)
        instance.wait_for("running", SECONDS)
        provider = at_work(fake)
        provider.overcharge = Decimal(1000)
        provider.send_debit_note()
        assert cluster.wait(SECONDS)
        provider.overcharge = Decimal(1)
        others = golem.run_service(Idle, num_instances=2)
        others.wait_until_running(SECONDS)
        assert provider.name not in {one.provider_name for one in others}
    assert states(instance) == LOST
    assert calls(instance) == ["start"]
    assert isinstance(instance.failure, Overcharged)
    assert "DebitNoteRefused" in told
    assert told.count("InvoiceRefused") == 1
    assert golem.cost.amount < Decimal("0.01")
    assert "makes no further agreement with the provider" in caplog.text


@pytest.mark.parametrize(
    ("going", "left"), [(FakeProvider.vanish, ["agreement", "activity"]), (FakeProvider.die, ["activity"])]
)
def test_a_provider_that_has_vanished_or_died_holds_up_a_stop_no_longer_than_its_time(
    littered: FakeYagna,
    caplog: pytest.LogCaptureFixture,
    going: Callable[[FakeProvider], None],
    left: list[str],
) -> None:
    golem = Golem(1, raise_failures=False).open()
    instance = started(golem)
    going(at_work(littered))
    assert seconds_of(golem.close, timeout=1.6) < 3 * 1.6
    assert instance.state == "terminated"
    assert calls(instance) == ["start", "shutdown"]
    for told in ("did not confirm in time", "no invoice had come by the end"):
        assert told in caplog.text
    assert ("could not be terminated" in caplog.text) == ("agreement" in left)
    # Only its provider can end these.
    assert [one.split()[0] for one in littered.leftovers()] == left


def test_an_activity_that_ends_only_with_its_agreement_does_not_hold_up_a_stop(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.destroys = False
    with Golem(1) as golem:
        instance = started(golem)
        # The wrong way takes ten seconds.
        assert seconds_of(instance.stop) < 5.0
    assert states(instance) == NORMAL_LIFE
    assert calls(instance) == ["start", "shutdown"]

"""One instance on a daemon in memory: its states, what can be asked of it, and every way to stop it."""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from simple_golem import (
    CommandFailed,
    Golem,
    Results,
    Run,
    Service,
    ServiceFailed,
    ServiceState,
    ServiceStopped,
)
from simple_golem.background.timer import TimedCall, Timer
from simple_golem.errors import (
    BadCommandList,
    BadState,
    BadWaitTime,
    BatchLost,
    BatchTimeout,
    GolemError,
    NotRunning,
    StartTimeout,
    WaitTimeout,
)
from simple_golem.services.instance_lives import InstanceLives
from simple_golem.testing import CommandAnswer, FakeYagna
from tests.helpers.recorded_services import (
    NORMAL_LIFE,
    SECONDS,
    Idle,
    InThread,
    Sleeping,
    await_sleep,
    begun,
    calls,
    gate_of,
    programs,
    seconds_of,
    started,
    states,
)
from tests.unit.conftest import eventually

# A stop that is felt at once takes some hundredths of a second. One that is not takes five seconds at least.
AT_ONCE_SECONDS = 4.0
# A batch gets to its provider in that time.
SENT_SECONDS = 1.5
START_TIMEOUT = 12345.0


# --- a whole life ------------------------------------------------------------------------------------


class Whole(Idle):
    """Sends commands in every way there is."""

    run_interval = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[str]] = []

    def start(self) -> Any:
        super().start()
        self.seen.append([one.stdout for one in self.results])
        self.execute(Run("/bin/executed-in-start"))
        return [Run("/bin/echo", "one"), Run("/bin/echo", "two")]

    def run(self) -> Any:
        self.calls.append("run")
        self.seen.append([one.stdout for one in self.results])
        if self.calls.count("run") == 3:
            self.stop()
            return None
        return Run("/bin/echo", "run")

    def shutdown(self) -> Any:
        super().shutdown()
        self.execute(Run("/bin/executed-in-shutdown"))
        return Run("/bin/echo", "bye")


def echo(command: dict[str, Any]) -> str:
    return " ".join(command["run"]["args"])


def test_a_life_goes_through_its_states_and_sends_what_its_methods_say(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = echo
    with Golem(1) as golem:
        cluster, instance = begun(golem, Whole)
        assert cluster.wait(SECONDS)
        (provider,) = (one for one in fake.providers if one.commands)
        assert instance.provider_name == provider.name
        assert instance.provider_id == provider.node_id
    assert states(instance) == NORMAL_LIFE
    assert calls(instance) == ["start", "run", "run", "run", "shutdown"]
    assert instance.service.seen == [[], ["one", "two"], ["run"], ["run"]]  # type: ignore[attr-defined]
    assert programs(provider) == [
        "deploy",
        "start",
        "/bin/executed-in-start",
        "/bin/echo one",
        "/bin/echo two",
        "/bin/echo run",
        "/bin/echo run",
        "/bin/executed-in-shutdown",
        "/bin/echo bye",
    ]
    assert instance.failure is None
    assert instance.cost.amount == golem.cost.amount > 0


def test_its_dates_are_in_order_and_it_has_run(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster, instance = begun(golem)
        assert not instance.has_run
        cluster.wait_until_running(SECONDS)
        assert instance.has_run
        cluster.stop()
        dates = [date for _, date in instance.history]
    assert dates == sorted(dates)
    assert instance.has_run


def test_without_an_interval_run_is_called_once_and_commands_that_it_returned_are_one_info(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "simple_golem")

    class Once(Idle):
        def run(self) -> Any:
            self.calls.append("run")
            return Run("/bin/true")

    with Golem(1) as golem:
        cluster = golem.run_service(Once, num_instances=2)
        assert cluster.wait(SECONDS)
    assert [calls(one) for one in cluster] == [["start", "run", "shutdown"]] * 2
    assert [states(one) for one in cluster] == [NORMAL_LIFE] * 2
    advice = [record for record in caplog.records if "run_interval" in record.getMessage()]
    assert [record.levelno for record in advice] == [logging.INFO]
    assert "Once.run() returned commands and was called once" in advice[0].getMessage()


def test_an_interval_that_was_assigned_to_nonsense_is_a_failure_that_names_it(fake: FakeYagna) -> None:
    class Hasty(Idle):
        def run(self) -> Any:
            self.run_interval = -1

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Hasty)
        assert cluster.wait(SECONDS)
    assert isinstance(instance.failure, BadWaitTime)
    assert "Hasty.run_interval" in str(instance.failure)
    assert states(instance) == NORMAL_LIFE


def test_a_service_that_only_overrides_deploy_sends_what_that_returns(fake: FakeYagna) -> None:
    class Nothing(Idle):
        def deploy(self) -> Any:
            return []

    with Golem(1) as golem:
        instance = started(golem, Nothing)
        assert [one.commands for one in fake.providers] == [[], [], []]
        instance.stop()
    assert states(instance) == NORMAL_LIFE


# --- what can be read --------------------------------------------------------------------------------


def test_its_name_is_that_of_its_service_and_both_may_be_assigned(fake: FakeYagna) -> None:
    class Christened(Idle):
        def __init__(self) -> None:
            super().__init__()
            self.name = "Emma"

        def start(self) -> Any:
            self.first = threading.current_thread().name
            self.name = "Emily"

    with Golem(1) as golem:
        instance = started(golem, Christened)
        assert instance.service.first.startswith("Emma")  # type: ignore[attr-defined]
        assert instance.name == instance.service.name == "Emily"
        instance.name = "Ann"
        assert instance.service.name == "Ann"


@pytest.mark.parametrize("named", [False, True])
def test_its_name_is_there_before_its_life_begins(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    class Christened(Idle):
        def __init__(self) -> None:
            super().__init__()
            if named:
                self.name = "Emma"

    may_begin, live = threading.Event(), InstanceLives.live

    def late(lives: InstanceLives) -> None:
        may_begin.wait(SECONDS)
        live(lives)

    monkeypatch.setattr(InstanceLives, "live", late)
    with Golem(1) as golem:
        instance = golem.run_service(Christened).instances[0]
        assert instance.name == instance.service.name == ("Emma" if named else "Christened-1")
        may_begin.set()
        instance.wait_for("running", SECONDS)


def test_it_shows_where_it_lives(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.agreements_wanted = "never"
    with Golem(1) as golem:
        cluster, instance = begun(golem)
        assert repr(instance) == "<Instance Idle-1: pending>"
        assert (instance.provider_name, instance.provider_id, instance.activity_id) == (None, None, None)
        service = instance.service
        assert (service.provider_name, service.provider_id, service.activity_id) == (None, None, None)
        cluster.stop()
        for provider in fake.providers:
            provider.agreements_wanted = "yes"
        instance = started(golem)
        provider = next(one for one in fake.providers if one.activities)
        assert repr(instance) == f"<Instance Idle-2: running on {provider.name}>"
        assert instance.activity_id == provider.activities[0]
        service = instance.service
        assert service.provider_name == instance.provider_name == provider.name
        assert service.provider_id == instance.provider_id == provider.node_id
        assert service.activity_id == instance.activity_id
        assert service.state == instance.state == "running"
        assert not service.stopping
        instance.stop()
        assert service.stopping
        assert service.state == "terminated"


def test_its_usage_is_what_its_provider_counts(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.cpu_rate = 3.0
        provider.agreements_wanted = "never"
    with Golem(1) as golem:
        cluster, instance = begun(golem)
        with pytest.raises(NotRunning, match="Idle-1 is pending: it has no activity, so there is no usage"):
            _ = instance.usage
        cluster.stop()
        for provider in fake.providers:
            provider.agreements_wanted = "yes"
        instance = started(golem)
        eventually(lambda: instance.usage.seconds > 0)
        usage = instance.usage
        assert usage.cpu_seconds == pytest.approx(3 * usage.seconds, abs=0.003)
        assert set(usage.counters) == {"golem.usage.duration_sec", "golem.usage.cpu_sec"}
        instance.stop()
        with pytest.raises(NotRunning, match="Idle-2 is terminated: it has no activity, so"):
            _ = instance.usage


def test_what_has_come_up_is_told_before_the_first_debit_note_and_accepted_with_it(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.start = Decimal("0.01")  # as much as a hundred seconds
    with Golem(1) as golem:
        instance = started(golem)
        before = instance.cost
        (provider,) = (one for one in fake.providers if one.activities)
        assert before.amount == 0
        assert before.accrued >= provider.start
        provider.send_debit_note()
        eventually(lambda: instance.cost.amount)
        after = instance.cost
        # The price of the start is in the note, and only the time since then is not.
        assert after.amount >= provider.start > after.accrued
        eventually(lambda: instance.cost.accrued > after.accrued)
        assert golem.cost.accrued > after.accrued
        assert golem.cost_report.entries[0].accrued > after.accrued
        assert golem.clusters[0].cost.accrued > after.accrued
        instance.stop()
    assert instance.cost.amount == golem.cost.amount > after.amount
    assert instance.cost.accrued == golem.cost.accrued == golem.cost_report.total.accrued == 0


# --- waiting for a state -----------------------------------------------------------------------------


def test_a_state_is_waited_for_by_its_name_or_itself(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster, instance = begun(golem)
        instance.wait_for("running", SECONDS)
        assert instance.state is ServiceState.running
        cluster.stop(wait=False)
        instance.wait_for(ServiceState.terminated, SECONDS)
        assert instance.state == "terminated"
        instance.wait_for("running", 0)  # it was running


def test_a_state_that_there_is_not_is_refused_with_those_there_are(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        _, instance = begun(golem)
        with pytest.raises(BadState, match=r"'runing'.*pending, starting, running"):
            instance.wait_for("runing")


def test_a_state_that_does_not_come_in_time_or_never_can_is_said(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(WaitTimeout, match=r"Idle-1 is not terminated after 0\.01 s but running"):
            instance.wait_for("terminated", 0.01)
        instance.stop()
        with pytest.raises(ServiceFailed, match="Idle-1 is terminated and won't be suspended"):
            instance.wait_for("suspended", SECONDS)


def test_a_failure_that_was_met_by_waiting_is_chained_and_not_raised_again(fake: FakeYagna) -> None:
    class Broken(Idle):
        def start(self) -> Any:
            raise LookupError("no such luck")

    with Golem(1) as golem:
        _, instance = begun(golem, Broken)
        with pytest.raises(ServiceFailed) as raised:
            instance.wait_for("running", SECONDS)
        assert raised.value.failures == (instance.failure,)
        assert isinstance(instance.failure, LookupError)
    assert states(instance) == ["pending", "starting"] * 2 + ["terminated"]


# --- commands from outside ---------------------------------------------------------------------------


def test_commands_from_outside_answer_while_it_is_running(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = {"/bin/date": "today", "/bin/false": CommandAnswer(stderr="oh dear", exit_code=3)}
    with Golem(1) as golem:
        instance = started(golem)
        assert instance.execute(Run("/bin/date")).stdout == "today"
        assert instance.execute() == ()
        with pytest.raises(CommandFailed) as failed:
            instance.execute(Run("/bin/date"), Run("/bin/false"), Run("/bin/never"))
        assert failed.value.exit_code == 3
        assert failed.value.command == Run("/bin/false")
        assert failed.value.stderr == "oh dear"
        assert str(instance.provider_name) in str(failed.value)
        assert instance.execute(Run("/bin/date")).stdout == "today"
        assert instance.state == "running"
        provider = next(one for one in fake.providers if one.commands)
        assert programs(provider)[2:] == ["/bin/date", "/bin/date", "/bin/false", "/bin/date"]


def test_commands_before_and_after_are_refused_with_the_state(fake: FakeYagna) -> None:
    gate = gate_of(fake)

    class Slow(Idle):
        def start(self) -> Any:
            return Run("/bin/gate")

    with Golem(1) as golem:
        cluster, instance = begun(golem, Slow)
        assert gate.reached.wait(SECONDS)
        with pytest.raises(NotRunning, match="Slow-1 is starting: commands can be run while it is running"):
            instance.execute(Run("/bin/true"))
        gate.open()
        instance.wait_for("running", SECONDS)
        service = instance.service
        cluster.stop()
        with pytest.raises(NotRunning, match=r"Slow-1 is terminated \(.*stop.*\): commands can be run while"):
            instance.execute(Run("/bin/true"))
        with pytest.raises(NotRunning, match="Slow-1 is terminated"):
            service.execute(Run("/bin/true"))


def test_commands_after_the_expiration_are_refused_with_that_reason(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        machine = golem.rent(expiration=timedelta(seconds=3))
        machine.wait_for("terminated", SECONDS)
        with pytest.raises(NotRunning, match=r"is terminated \(the expiration has ended the work\)"):
            machine.shell("true")


def test_commands_are_refused_as_long_as_there_is_no_provider(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.agreements_wanted = "never"
    with Golem(1) as golem:
        _, instance = begun(golem)
        with pytest.raises(NotRunning, match="Idle-1 is pending"):
            instance.execute(Run("/bin/true"))


def test_a_batch_that_takes_longer_than_its_time_is_awaited_by_the_next_one(fake: FakeYagna) -> None:
    gate = gate_of(fake)
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(BatchTimeout, match="may still be running"):
            instance.execute(Run("/bin/gate"), timeout=SENT_SECONDS)
        after = InThread(instance.execute, Run("/bin/after"))
        gate.open()
        assert after.join().error is None
        provider = next(one for one in fake.providers if one.commands)
        assert programs(provider)[-2:] == ["/bin/gate", "/bin/after"]


def test_the_time_of_a_batch_counts_from_the_call_and_not_from_its_turn(fake: FakeYagna) -> None:
    gate = gate_of(fake)
    with Golem(1) as golem:
        instance = started(golem)
        first = InThread(instance.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        with pytest.raises(BatchTimeout, match="not sent"):
            instance.execute(Run("/bin/never-sent"), timeout=0.05)
        gate.open()
        assert first.join().error is None
        instance.execute(Run("/bin/last"))
        provider = next(one for one in fake.providers if one.commands)
        assert programs(provider)[-2:] == ["/bin/gate", "/bin/last"]


def test_a_batch_whose_turn_does_not_come_before_the_end_is_refused(fake: FakeYagna) -> None:
    gate = gate_of(fake)
    with Golem(1) as golem:
        instance = started(golem)
        first = InThread(instance.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        second = InThread(instance.execute, Run("/bin/true"))
        eventually(lambda: len(instance._pool._helper._queue) == 1)
        # Closing the Golem joins the threads of an instance that has ended.
        instance._pool.close(0.0)
        error = second.join().error
        assert isinstance(error, NotRunning)
        assert str(error).startswith("Idle-1 is running")
        gate.open()
        assert first.join().error is None


@pytest.mark.parametrize("timeout", [math.inf, 1e12, 10**400], ids=["inf", "1e12", "10**400"])
def test_a_batch_may_have_a_time_without_an_end(fake: FakeYagna, timeout: float) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        assert instance.execute(Run("/bin/true"), timeout=timeout).success
        (results,) = golem.clusters[0].execute(Run("/bin/true"), timeout=timeout).values()
        assert isinstance(results, Results)


def test_a_batch_from_outside_has_the_grace_of_the_golem_when_the_service_ends_by_itself(
    fake: FakeYagna,
) -> None:
    gate = gate_of(fake)

    class Brief(Idle):
        def run(self) -> None:
            assert gate.reached.wait(SECONDS)

    with Golem(1, stop_grace=0.2) as golem:
        cluster, instance = begun(golem, Brief)
        instance.wait_for("running", SECONDS)
        outside = InThread(instance.execute, Run("/bin/gate"))
        # The usual grace is 10 seconds.
        assert cluster.wait(3 * 0.2 + AT_ONCE_SECONDS)
        gate.open()
        assert isinstance(outside.join().error, BatchLost)


def test_a_bad_timeout_of_a_batch_is_refused(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(BadWaitTime, match="timeout"):
            instance.execute(Run("/bin/true"), timeout=-1)
        with pytest.raises(BadWaitTime, match="timeout"):
            instance.stop(timeout=-1)


def test_a_batch_from_outside_that_is_cut_by_a_stop_is_lost_and_shutdown_is_skipped(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    with Golem(1, stop_grace=0.05) as golem:
        instance = started(golem)
        asked = InThread(instance.execute, Run.shell("sleep 600"))
        await_sleep(fake)
        assert seconds_of(instance.stop) < AT_ONCE_SECONDS
        error = asked.join().error
    assert isinstance(error, BatchLost)
    assert "Idle-1 was stopped before Run('/bin/sh', '-c', 'sleep 600') had ended" in str(error)
    assert calls(instance) == ["start"]
    assert "shutdown() is skipped" in caplog.text
    assert states(instance) == NORMAL_LIFE


def test_a_batch_from_outside_may_end_within_the_grace_and_new_ones_are_refused(fake: FakeYagna) -> None:
    gate = gate_of(fake)
    with Golem(1) as golem:
        instance = started(golem)
        asked = InThread(instance.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        instance.stop(wait=False)
        instance.wait_for("stopping", SECONDS)
        late = InThread(instance.execute, Run("/bin/late"))
        gate.open()
        assert asked.join().error is None
        assert isinstance(late.join().error, NotRunning)
        instance.stop()
    assert calls(instance) == ["start", "shutdown"]
    assert not any("/bin/late" in programs(one) for one in fake.providers)


def test_its_own_methods_may_use_it_from_outside_too(fake: FakeYagna) -> None:
    told: list[Any] = []

    class Mirror(Idle):
        def run(self) -> Any:
            (own,) = golem.instances
            told.append(own.execute(Run("/bin/true")).success)
            with pytest.raises(GolemError):
                own.suspend()
            own.stop()
            golem.clusters[0].stop()
            told.append(self.stopping)

    golem = Golem(1)
    with golem:
        cluster = golem.run_service(Mirror)
        assert cluster.wait(SECONDS)
    assert told == [True, True]
    assert states(cluster.instances[0]) == NORMAL_LIFE


def test_other_threads_of_a_service_execute_as_from_outside_and_cant_wait(fake: FakeYagna) -> None:
    class Threaded(Idle):
        def run(self) -> Any:
            self.asked = InThread(self.execute, Run("/bin/by-thread")).join()
            self.waited = InThread(self.wait, 0).join()

    with Golem(1) as golem:
        cluster, instance = begun(golem, Threaded)
        assert cluster.wait(SECONDS)
    service = instance.service
    assert service.asked.error is None  # type: ignore[attr-defined]
    waited = service.waited.error  # type: ignore[attr-defined]
    assert isinstance(waited, NotRunning)
    assert "in methods of Threaded only" in str(waited)
    assert any("/bin/by-thread" in programs(one) for one in fake.providers)


# --- a stop in every phase ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("habit", "value", "state"),
    [
        ("proposals", "never", "pending"),
        ("agreements_wanted", "never", "pending"),
        ("approves_after", 600.0, "pending"),
        ("activities_wanted", "never", "starting"),
        ("command_seconds", 600.0, "starting"),
    ],
)
def test_a_stop_is_felt_at_once_where_a_provider_keeps_us_waiting(
    fake: FakeYagna, habit: str, value: object, state: str
) -> None:
    for provider in fake.providers:
        setattr(provider, habit, value)
    asked = {
        "proposals": "/proposals/",
        "agreements_wanted": "/wait",
        "approves_after": "/wait",
        "activities_wanted": "/activity-api/v1/activity",
        "command_seconds": "/exec",
    }[habit]
    with Golem(1) as golem:
        cluster, instance = begun(golem)
        fake.wait_for(lambda: any(asked in one.path and one.method == "POST" for one in fake.requests))
        assert seconds_of(cluster.stop) < AT_ONCE_SECONDS
    assert states(instance)[-2:] == [state, "terminated"]
    assert calls(instance) == []
    assert instance.failure is None


def test_a_stop_while_start_executes_lets_it_end_and_raises_at_the_next_call(fake: FakeYagna) -> None:
    gate = gate_of(fake)

    class Starting(Idle):
        def start(self) -> Any:
            super().start()
            self.calls.append(self.execute(Run("/bin/gate")).stdout)
            try:
                self.execute(Run("/bin/never"))
            except ServiceStopped as stopped:
                self.calls.append(str(stopped))
                raise

    with Golem(1) as golem:
        cluster, instance = begun(golem, Starting)
        assert gate.reached.wait(SECONDS)
        cluster.stop(wait=False)
        gate.open()
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "through the gate", "stop() was called", "shutdown"]
    assert states(instance) == ["pending", "starting", "stopping", "terminated"]
    assert instance.failure is None


def test_a_batch_of_run_that_exceeds_the_grace_is_cut_and_shutdown_skipped(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    with Golem(1, stop_grace=0.05) as golem:
        instance = started(golem, Sleeping)
        await_sleep(fake)
        assert seconds_of(instance.stop) < AT_ONCE_SECONDS
    assert calls(instance) == ["start", "run"]
    assert "shutdown() is skipped" in caplog.text
    assert states(instance) == NORMAL_LIFE
    assert instance.failure is None


def test_a_stop_is_felt_between_two_runs_and_while_a_method_waits(fake: FakeYagna) -> None:
    class Patient(Idle):
        run_interval = 600

        def run(self) -> Any:
            self.calls.append("run")

    class Waiting(Idle):
        def run(self) -> Any:
            self.calls.append("run")
            while True:
                try:
                    self.wait(600)
                except Exception:  # noqa: BLE001 - no stop may be swallowed by this
                    self.calls.append("swallowed")

    with Golem(1) as golem:
        instances = [started(golem, Patient), started(golem, Waiting)]
        eventually(lambda: [calls(one) for one in instances] == [["start", "run"]] * 2)
        for instance in instances:
            assert seconds_of(instance.stop) < AT_ONCE_SECONDS
    assert [calls(one) for one in instances] == [["start", "run", "shutdown"]] * 2
    assert [one.failure for one in instances] == [None, None]


def test_a_stop_from_inside_ends_it_at_the_next_wait(fake: FakeYagna) -> None:
    class Leaving(Idle):
        def run(self) -> Any:
            self.stop()
            assert self.stopping
            self.wait(600)
            self.calls.append("never")

    with Golem(1) as golem:
        cluster, instance = begun(golem, Leaving)
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "shutdown"]
    assert states(instance) == NORMAL_LIFE
    assert instance.failure is None


def test_a_second_stop_in_shutdown_changes_nothing(fake: FakeYagna) -> None:
    gate = gate_of(fake)

    class Closing(Idle):
        def shutdown(self) -> Any:
            super().shutdown()
            self.wait(0.001)  # a stop does not end this wait
            self.calls.append(self.execute(Run("/bin/gate")).stdout)

    with Golem(1) as golem:
        instance = started(golem, Closing)
        instance.stop(wait=False)
        assert gate.reached.wait(SECONDS)
        with pytest.raises(WaitTimeout, match=r"Closing-1 was stopping still after 0\.01 s of stopping"):
            instance.stop(timeout=0.01)
        gate.open()
        instance.stop()
    assert calls(instance) == ["start", "shutdown", "through the gate"]
    assert states(instance) == NORMAL_LIFE
    assert instance.failure is None


def test_a_shutdown_that_does_not_end_in_its_time_is_cut_and_told_so(fake: FakeYagna) -> None:
    class Clinging(Idle):
        def shutdown(self) -> Any:
            super().shutdown()
            with pytest.raises(BatchTimeout, match=r"within the time of shutdown\(\)"):
                self.execute(Run.shell("sleep 600"))
            with pytest.raises(NotRunning, match="time for shutdown"):
                self.execute(Run("/bin/never"))
            with pytest.raises(NotRunning, match="time for shutdown"):
                self.wait(600)
            self.calls.append("cut")

    golem = Golem(1).open()
    instance = started(golem, Clinging)
    closing = InThread(golem.close)
    await_sleep(fake)
    golem.close(timeout=1.7)
    assert closing.join().error is None
    assert calls(instance) == ["start", "shutdown", "cut"]
    assert instance.failure is None


def test_commands_of_shutdown_that_take_too_long_are_cut_with_a_warning(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Idle):
        def shutdown(self) -> Any:
            super().shutdown()
            return Run.shell("sleep 600")

    golem = Golem(1).open()
    instance = started(golem, Slow)
    closing = InThread(golem.close)
    await_sleep(fake)
    golem.close(timeout=1.7)
    assert closing.join().error is None
    assert calls(instance) == ["start", "shutdown"]
    assert "Slow-1: shutdown() was not done in time" in caplog.text


# --- errors of the user's own ------------------------------------------------------------------------


def test_an_error_in_run_leads_through_shutdown_and_shows_the_users_lines_alone(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Idle):
        def run(self) -> Any:
            raise LookupError("no such luck")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Broken)
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "shutdown"]
    assert states(instance) == NORMAL_LIFE
    assert isinstance(instance.failure, LookupError)
    told = next(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert "failed in run()" in told
    assert 'raise LookupError("no such luck")' in told
    assert "simple_golem/engine" not in told


def test_an_error_in_shutdown_is_a_failure_unless_there_was_one_before(fake: FakeYagna) -> None:
    class Clumsy(Idle):
        def shutdown(self) -> Any:
            raise LookupError("in shutdown")

    class Hopeless(Clumsy):
        def run(self) -> Any:
            raise ValueError("in run")

    with Golem(1, raise_failures=False) as golem:
        clumsy, hopeless = started(golem, Clumsy), begun(golem, Hopeless)[1]
        hopeless.wait_for("terminated", SECONDS)
        clumsy.stop()
    assert isinstance(clumsy.failure, LookupError)
    assert isinstance(hopeless.failure, ValueError)
    assert states(clumsy) == states(hopeless) == NORMAL_LIFE


@pytest.mark.parametrize("method", ["run", "shutdown"])
def test_a_command_that_fails_in_what_was_returned_is_the_failure(fake: FakeYagna, method: str) -> None:
    for provider in fake.providers:
        provider.answers = {"/bin/false": 3}
    failing = type("Failing", (Idle,), {method: lambda self: [Run("/bin/false"), Run("/bin/never")]})
    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, failing)
        instance.wait_for("running", SECONDS)
        if method == "shutdown":
            cluster.stop()
        assert cluster.wait(SECONDS)
    assert isinstance(instance.failure, CommandFailed)
    assert instance.failure.exit_code == 3
    assert states(instance) == NORMAL_LIFE
    assert ("shutdown" in calls(instance)) == (method == "run")
    assert not any("/bin/never" in programs(one) for one in fake.providers)


def test_a_wrong_return_value_is_named_with_its_method(fake: FakeYagna) -> None:
    class Wrong(Idle):
        def run(self) -> Any:
            return ["ls -l"]

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Wrong)
        assert cluster.wait(SECONDS)
    assert isinstance(instance.failure, BadCommandList)
    for part in ("Wrong.run() returned", "ls -l"):
        assert part in str(instance.failure)
    assert calls(instance) == ["start", "shutdown"]


def test_a_deploy_that_executes_is_told_that_it_is_too_early(fake: FakeYagna) -> None:
    class Early(Idle):
        def deploy(self) -> Any:
            self.execute(Run("/bin/never"))

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Early)
        assert cluster.wait(SECONDS)
    assert isinstance(instance.failure, NotRunning)
    assert "Early-1 is not deployed yet" in str(instance.failure)
    assert states(instance) == ["pending", "starting", "terminated"]


# --- ends that nobody asks for -----------------------------------------------------------------------


def test_its_expiration_ends_it_in_time_and_is_no_failure(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_golem.engine.shutdown_times._EXPIRATION_RESERVE_PART", 0.5)
    gate = gate_of(fake)

    class Working(Idle):
        def run(self) -> Any:
            self.execute(Run("/bin/gate"))
            self.wait(SECONDS)

    with Golem(1) as golem:
        cluster, instance = begun(golem, Working, expiration=timedelta(seconds=8))
        instance.wait_for("running", SECONDS)
        assert not cluster.has_expired
        eventually(lambda: cluster.has_expired, SECONDS)
        gate.open()
        assert cluster.wait(SECONDS)
        assert not begun(golem)[0].has_expired
    assert calls(instance) == ["start", "shutdown"]
    assert states(instance) == NORMAL_LIFE
    assert instance.failure is None
    # A part of its time before the expiration.
    stopping = {state.value: since for state, since in instance.history}["stopping"]
    assert stopping < cluster.expiration
    told = r"<Cluster of 1 Working: Working-1 running> reaches its expiration in (\d\.\d) s and is stopped"
    (reserve,) = re.findall(told, caplog.text)
    # Half of what was left of its time when it was started.
    assert 2.0 < float(reserve) <= 4.0


@pytest.mark.parametrize(("service", "reserve"), [(Service, "0.1 s"), (Idle, "1.0 s")])
def test_a_class_with_a_shutdown_has_more_time_before_the_expiration(
    fake: FakeYagna,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    service: type[Service],
    reserve: str,
) -> None:
    times = "simple_golem.engine.shutdown_times"
    monkeypatch.setattr(f"{times}._EXPIRATION_RESERVE_PART", 0.5)
    monkeypatch.setattr(f"{times}._EXPIRATION_RESERVE_SECONDS", 0.1)
    monkeypatch.setattr(f"{times}._SHUTDOWN_SECONDS", 0.5)
    with Golem(1, stop_grace=0.5) as golem:
        assert golem.run_service(service, expiration=timedelta(seconds=3.5)).wait(SECONDS)
    assert f"reaches its expiration in {reserve} and is stopped" in caplog.text


@pytest.mark.parametrize(
    ("habit", "value", "state", "timeout"),
    [("agreements_wanted", "never", "pending", 0.4), ("command_seconds", 600.0, "starting", 3.0)],
)
def test_an_instance_that_does_not_get_to_run_in_time_has_failed(
    fake: FakeYagna, habit: str, value: object, state: str, timeout: float
) -> None:
    for provider in fake.providers:
        setattr(provider, habit, value)
    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, start_timeout=timeout)
        with pytest.raises(ServiceFailed, match="start timeout"):
            cluster.wait_until_running(SECONDS)
    assert isinstance(instance.failure, StartTimeout)
    assert f"was {state} still after its start timeout of {timeout:g} s" in str(instance.failure)
    assert states(instance)[-2:] == [state, "terminated"]


def test_an_instance_that_runs_in_time_does_not_hear_of_its_start_timeout(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_in, alarms = Timer.call_in, list[Callable[[], object]]()

    def noted(timer: Timer, seconds: float, action: Callable[[], object]) -> TimedCall:
        if seconds == START_TIMEOUT:
            alarms.append(action)
        return call_in(timer, seconds, action)

    monkeypatch.setattr(Timer, "call_in", noted)
    with Golem(1) as golem:
        _, instance = begun(golem, start_timeout=START_TIMEOUT)
        instance.wait_for("running", SECONDS)
        (time_is_over,) = alarms
        time_is_over()
        assert instance.state == "running"
    assert instance.failure is None

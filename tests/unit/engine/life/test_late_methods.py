"""A method of the user that does not return after a stop: the instance ends in good order without it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import tenacity

from simple_golem import Golem, Run, ServiceStopped, Strategy
from simple_golem.errors import ActivityLost, MethodStuck
from simple_golem.testing import FakeYagna
from tests.helpers.recorded_services import (
    AT_ONCE,
    NORMAL_LIFE,
    SECONDS,
    Gate,
    Idle,
    begun,
    calls,
    programs,
    states,
)
from tests.unit.conftest import eventually

QUICK_HEALTH: dict[str, Any] = {"health_interval": 0.05, "health_misses": 2}


# The first provider is the best one, and is waited for, however slow the machine is.
IN_ORDER = Strategy(score=lambda offer: -1.0 - int(offer.provider_name[-1]) / 100, collect_seconds=5)


class Deaf(Idle):
    """Waits in a method for something that a stop does not end, as for the answer of a web server.

    Attributes:
        gates: one for each life that was begun.
        after: what the late method got when it went on at last.
    """

    waits_in = "run"
    gates: list[Gate] = []
    after: list[BaseException] = []

    def start(self) -> Any:
        super().start()
        self._wait("start")

    def run(self) -> Any:
        self.calls.append("run")
        self._wait("run")
        self.wait(600)

    def shutdown(self) -> Any:
        super().shutdown()
        self._wait("shutdown")
        self.calls.append(threading.current_thread().name)
        return self.execute(Run("/bin/save")) and None

    def _wait(self, method: str) -> None:
        if method == self.waits_in:
            gate = Gate()
            self.gates.append(gate)
            gate.wait()
            for call in (lambda: self.execute(Run("/bin/never")), lambda: self.wait(1)):
                try:
                    call()
                except BaseException as error:  # noqa: BLE001 - it is what the test looks at
                    self.after.append(error)


class DeafInStart(Deaf):
    waits_in = "start"


class DeafInShutdown(Deaf):
    waits_in = "shutdown"


@pytest.fixture(autouse=True)
def gates(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Gate]]:
    """Those of the lives of one test, which are opened at its end."""
    monkeypatch.setattr("simple_golem.engine.shutdown_times._METHOD_SECONDS", 0.2)
    monkeypatch.setattr(Deaf, "gates", [])
    monkeypatch.setattr(Deaf, "after", [])
    yield Deaf.gates
    for gate in Deaf.gates:
        gate.open()


def reached(gates: list[Gate], number: int = 1) -> None:
    eventually(lambda: len(gates) == number, SECONDS)
    assert gates[-1].reached.wait(SECONDS)


@pytest.mark.parametrize("service", [DeafInStart, Deaf])
def test_a_stop_leads_through_shutdown_while_the_activity_lives(
    fake: FakeYagna, gates: list[Gate], caplog: pytest.LogCaptureFixture, service: type[Deaf]
) -> None:
    with Golem(1) as golem:
        cluster, instance = begun(golem, service)
        reached(gates)
        cluster.stop(wait=False)
        assert instance.state == "stopping"
        assert cluster.wait(SECONDS)
        # Where it goes on at last, there is nothing left to be done.
        gates[0].open()
        eventually(lambda: len(Deaf.after) == 2)
    assert [type(error) for error in Deaf.after] == [ServiceStopped] * 2
    method = service.waits_in
    assert calls(instance)[:-1] == [*(["start", "run"] if method == "run" else ["start"]), "shutdown"]
    assert calls(instance)[-1].startswith("Deaf")
    expected = NORMAL_LIFE if method == "run" else [one for one in NORMAL_LIFE if one != "running"]
    assert states(instance) == expected
    assert instance.failure is None
    assert sum("/bin/save" in programs(one) for one in fake.providers) == 1
    assert not any("/bin/never" in programs(one) for one in fake.providers)
    (warning,) = [one.getMessage() for one in caplog.records if "left behind at" in one.getMessage()]
    assert f"{instance.name}: {method}() has not returned in time" in warning
    assert "_open.wait(SECONDS)" in warning
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_what_is_due_does_not_wait_for_the_log_of_late_methods(
    fake: FakeYagna, gates: list[Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking: list[str] = []

    def look(ident: int | None) -> str:
        looking.append(threading.current_thread().name)
        return "here"

    monkeypatch.setattr("simple_golem.engine.life.life.whereabouts", look)
    with Golem(1) as golem:
        cluster, _ = begun(golem, Deaf)
        reached(gates)
        cluster.stop()
    # The timer ends all other waits.
    assert [name.partition("-")[0] for name in looking] == ["Deaf"]


def test_only_a_shutdown_that_does_not_return_is_a_failure(
    fake: FakeYagna, gates: list[Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    golem = Golem(1, raise_failures=False).open()
    cluster, instance = begun(golem, DeafInShutdown)
    instance.wait_for("running", SECONDS)
    cluster.stop(wait=False)
    reached(gates)
    golem.close(timeout=1.7)
    assert isinstance(instance.failure, MethodStuck)
    for words in ("shutdown() of DeafInShutdown did not return in time", "_open.wait(SECONDS)"):
        assert words in str(instance.failure)
    assert states(instance) == NORMAL_LIFE
    gates[0].open()
    eventually(lambda: len(Deaf.after) == 2)
    assert [type(error) for error in Deaf.after] == [ServiceStopped] * 2


def test_a_run_and_a_shutdown_that_both_do_not_return_are_left_behind(
    fake: FakeYagna, gates: list[Gate]
) -> None:
    class DeafInBoth(Deaf):
        def shutdown(self) -> Any:
            self.calls.append("shutdown")
            self._wait("run")

    golem = Golem(1, raise_failures=False).open()
    _, instance = begun(golem, DeafInBoth)
    reached(gates)
    golem.close(timeout=2.0)
    assert isinstance(instance.failure, MethodStuck)
    assert calls(instance) == ["start", "run", "shutdown"]
    assert fake.leftovers() == []


def test_a_start_that_fails_after_a_stop_leads_through_shutdown(fake: FakeYagna, gates: list[Gate]) -> None:
    class Clumsy(Idle):
        def start(self) -> Any:
            super().start()
            gates.append(Gate())
            gates[0].wait()
            raise LookupError("a mistake of ours")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Clumsy)
        reached(gates)
        cluster.stop(wait=False)
        gates[0].open()
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "shutdown"]
    assert states(instance) == ["pending", "starting", "stopping", "terminated"]
    assert isinstance(instance.failure, LookupError)


def test_a_late_run_does_not_keep_an_instance_from_being_suspended(
    fake: FakeYagna, gates: list[Gate]
) -> None:
    with Golem(1) as golem:
        _, instance = begun(golem, Deaf)
        reached(gates)
        suspended = instance.suspend(SECONDS)
        assert calls(instance) == ["start", "run"]
        (again,) = golem.resume_service(Idle, [suspended]).wait_until_running(SECONDS)
        assert again.activity_id == suspended.activity_id


def test_a_late_run_does_not_keep_an_instance_from_being_started_again(
    losing: FakeYagna, gates: list[Gate]
) -> None:
    with Golem(1, **QUICK_HEALTH) as golem:
        cluster, instance = begun(golem, Deaf, respawn_running=True)
        reached(gates)
        first = instance.service
        next(one for one in losing.providers if one.activities).kill_exe_unit()
        reached(gates, 2)
        assert instance.service is not first
        assert states(instance)[-3:] == ["pending", "starting", "running"]
        gates[0].open()
        eventually(lambda: len(Deaf.after) == 2)
        assert [type(error) for error in Deaf.after] == [ServiceStopped] * 2
        gates[1].open()
        eventually(lambda: "/bin/never" in [line for one in losing.providers for line in programs(one)])
        cluster.stop()
    assert calls(instance)[:3] == ["start", "run", "shutdown"]
    assert instance.failure is None


def test_a_late_start_does_not_keep_an_instance_from_being_started_again_as_often_as_it_may(
    losing: FakeYagna, gates: list[Gate]
) -> None:
    options = {**AT_ONCE, "respawn_stop": tenacity.stop_after_attempt(3)}
    losing.providers[0].deploy_error = "no such image here"
    with Golem(1, raise_failures=False, **QUICK_HEALTH) as golem:
        cluster, instance = begun(golem, DeafInStart, strategy=IN_ORDER, **options)
        for number in (1, 2):
            reached(gates, number)
            next(one for one in losing.providers if one.activities).kill_exe_unit()
        assert cluster.wait(SECONDS)
    assert states(instance) == ["pending", "starting"] * 3 + ["terminated"]
    assert isinstance(instance.failure, ActivityLost)


def test_a_late_run_does_not_bring_back_the_failure_of_an_earlier_attempt(
    fake: FakeYagna, gates: list[Gate]
) -> None:
    fake.providers[0].deploy_error = "no such image here"
    with Golem(1) as golem:
        cluster, instance = begun(golem, Deaf, strategy=IN_ORDER, **AT_ONCE)
        reached(gates)
        cluster.stop()
    assert states(instance) == ["pending", "starting", *NORMAL_LIFE]
    assert instance.failure is None


def test_a_late_run_after_an_earlier_attempt_does_not_keep_an_instance_from_being_suspended(
    fake: FakeYagna, gates: list[Gate]
) -> None:
    fake.providers[0].deploy_error = "no such image here"
    with Golem(1) as golem:
        _, instance = begun(golem, Deaf, strategy=IN_ORDER, **AT_ONCE)
        reached(gates)
        suspended = instance.suspend(SECONDS)
        (again,) = golem.resume_service(Idle, [suspended]).wait_until_running(SECONDS)
        assert again.activity_id == suspended.activity_id


def test_a_late_run_whose_provider_is_lost_ends_without_shutdown(
    losing: FakeYagna, gates: list[Gate]
) -> None:
    with Golem(1, raise_failures=False, **QUICK_HEALTH) as golem:
        cluster, instance = begun(golem, Deaf)
        reached(gates)
        next(one for one in losing.providers if one.activities).kill_exe_unit()
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "run"]
    assert states(instance) == ["pending", "starting", "running", "terminated"]
    assert isinstance(instance.failure, ActivityLost)

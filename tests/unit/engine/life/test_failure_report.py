"""One failure is one report: what failed, where in the user's code, on which provider, and what is next."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from simple_golem import Golem, Instance, Run, Service
from simple_golem.errors import BatchLost, CommandFailed
from simple_golem.testing import CommandAnswer, FakeProvider, FakeYagna
from tests.helpers.recorded_services import AT_ONCE, SECONDS, InThread, begun, gate_of, started
from tests.unit.conftest import eventually

FAILING = CommandAnswer(stderr="one\ntwo", exit_code=3)


class Executes(Service):
    def run(self) -> Any:
        self.execute(Run("/bin/x"))


class Returns(Service):
    def run(self) -> Any:
        return Run("/bin/x")


class Raises(Service):
    def run(self) -> Any:
        self.look_up("a key")

    def look_up(self, key: str) -> Any:
        return {}[key]  # type: ignore[index]


class ShutdownRaises(Service):
    def shutdown(self) -> Any:
        raise LookupError("no such luck")


class StartRaises(Service):
    def start(self) -> Any:
        raise TypeError


def line(method: Any, after: int = 1) -> str:
    """A line of a method, as reports name it."""
    return f"{__file__}:{method.__code__.co_firstlineno + after} in {method.__name__}"


def reports(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is seen of the log by default."""
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def on(instance: Instance) -> str:
    return f"{instance.name} on {instance.provider_name} ({instance.provider_id})"


def run(golem: Golem, service: type[Service], **options: Any) -> Instance:
    cluster, instance = begun(golem, service, **options)
    eventually(lambda: instance.has_run or instance.state.is_final, SECONDS)
    if service is ShutdownRaises:
        cluster.stop()
    assert cluster.wait(SECONDS)
    return instance


@pytest.fixture
def failing(fake: FakeYagna) -> FakeYagna:
    for provider in fake.providers:
        provider.answers = {"/bin/x": FAILING}
    return fake


def test_a_command_that_was_executed(failing: FakeYagna, caplog: pytest.LogCaptureFixture) -> None:
    with Golem(1, raise_failures=False) as golem:
        instance = run(golem, Executes)
    (report,) = reports(caplog)
    assert report.splitlines() == [
        f"{on(instance)} failed in run():",
        f'  {line(Executes.run)}: self.execute(Run("/bin/x"))',
        f"  CommandFailed: Run('/bin/x') failed on {on(instance).split(' on ')[1]}: exit code 3",
        "    stderr: one",
        "    stderr: two",
        "  → To go on after a failed command, catch CommandFailed in run(), or execute it with check=False.",
    ]


def test_a_command_that_was_returned(failing: FakeYagna, caplog: pytest.LogCaptureFixture) -> None:
    with Golem(1, raise_failures=False) as golem:
        instance = run(golem, Returns)
    (report,) = reports(caplog)
    first, where, *_ = report.splitlines()
    assert first == f"{on(instance)} failed in what run() returned:"
    assert where == f"  {line(Returns.run, after=0)}"


@pytest.mark.parametrize(
    ("service", "told", "advice"),
    [
        (
            Raises,
            ["run(): ", f"{line(Raises.run)}: self.look_up", f"{line(Raises.look_up)}: return {{}}[key]"],
            "an error that leaves run() ends the instance",
        ),
        (
            ShutdownRaises,
            ["shutdown():", line(ShutdownRaises.shutdown), "LookupError: no such luck"],
            "the instance has ended all the same",
        ),
        (StartRaises, ["start():", line(StartRaises.start), "\n  TypeError\n"], "no other provider is tried"),
    ],
)
def test_an_error_of_the_users_code(
    fake: FakeYagna,
    caplog: pytest.LogCaptureFixture,
    service: type[Service],
    told: list[str],
    advice: str,
) -> None:
    with Golem(1, raise_failures=False) as golem:
        run(golem, service)
    (report,) = reports(caplog)
    for part in told:
        assert part.rstrip(" ") in report
    assert report.splitlines()[-1].startswith("  → It comes from your code")
    assert report.endswith(f"{advice}.")


def test_each_attempt_is_reported_once_with_what_follows(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    for provider in fake.providers:
        provider.deploy_error = "no such image here"
    with Golem(1, raise_failures=False) as golem:
        run(golem, Service, **AT_ONCE)
    ends = [report.splitlines()[-1] for report in reports(caplog)]
    assert ends == ["  → it is started again"] * 2 + [
        "  → it is not started again: look at the command and at the image first; "
        "respawn_stop=tenacity.stop_after_attempt(n) allows more attempts"
    ]
    caplog.clear()
    for provider in fake.providers:
        provider.deploy_error, provider.activities_wanted = None, "no"
    with Golem(1, raise_failures=False) as golem:
        run(golem, Service, **AT_ONCE)
    assert reports(caplog)[-1].splitlines()[-1] == (
        "  → it is not started again: respawn_stop=tenacity.stop_after_attempt(n) allows more attempts"
    )
    for provider in fake.providers:
        provider.deploy_error, provider.activities_wanted = "no such image here", "yes"
    caplog.clear()
    with Golem(1, raise_failures=False) as golem:
        run(golem, Service, respawn_unstarted_instances=False)
    (report,) = reports(caplog)
    assert report.endswith("with run_service(…, respawn_unstarted_instances=True) it would be started again")


@pytest.mark.parametrize("respawns", [False, True])
def test_a_provider_that_is_lost_while_nothing_is_called(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture, respawns: bool
) -> None:
    with Golem(1, raise_failures=False) as golem:
        instance = started(golem, Service, respawn_running=respawns)
        where = on(instance)
        at_work(fake).terminate_agreement("I need it myself")
        eventually(lambda: len(instance.history) > 3, SECONDS)
        golem.clusters[0].stop()
    (report,) = reports(caplog)
    first, error, last = report.splitlines()
    assert first == f"{where} failed while running:"
    assert error.startswith("  ActivityLost: ")
    assert error.endswith(" has ended the agreement: I need it myself")
    assert last == "  → it is started again" if respawns else "respawn_running=True" in last


def test_all_that_a_report_leaves_out_is_logged_at_debug(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for provider in fake.providers:
        provider.activities_wanted = "no"
    with Golem(1, raise_failures=False) as golem:
        instance = run(golem, Service, respawn_unstarted_instances=False)
    assert instance.failure is not None
    assert instance.failure.__cause__ is not None
    (whole,) = [one for one in caplog.records if "all of its failure" in one.getMessage()]
    assert whole.levelno == logging.DEBUG
    assert whole.exc_info


def test_what_python_prints_of_a_command_from_outside_is_short(failing: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem, Service)
        with pytest.raises(CommandFailed) as failed:
            instance.execute(Run("/bin/x"))
    assert "activity.py" not in "".join(traceback.format_exception(failed.value))


def test_what_python_prints_of_a_batch_that_is_lost_has_its_causes_without_their_frames(
    littered: FakeYagna,
) -> None:
    gate = gate_of(littered)
    with Golem(1, raise_failures=False, health_interval=0.1) as golem:
        instance = started(golem, Service)
        outside = InThread(instance.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        at_work(littered).kill_exe_unit()
        gate.open()
        error = outside.join().error
    assert isinstance(error, BatchLost)
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None


def at_work(fake: FakeYagna) -> FakeProvider:
    return next(one for one in fake.providers if one.activities)

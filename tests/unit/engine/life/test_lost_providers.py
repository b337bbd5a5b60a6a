"""An instance whose provider goes away, whatever was under way: it ends, or starts again by its flags."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from simple_golem import Golem, Instance, Run, ServiceStopped
from simple_golem.errors import ActivityLost, BatchLost
from simple_golem.testing import FakeProvider, FakeRequest, FakeYagna
from tests.helpers.recorded_services import (
    AT_ONCE,
    NORMAL_LIFE,
    SECONDS,
    Idle,
    InThread,
    begun,
    programs,
    seconds_of,
    states,
)
from tests.helpers.side_by_side import side_by_side
from tests.unit.conftest import eventually

QUICK: dict[str, Any] = {"health_interval": 0.1, "health_misses": 2, "stop_grace": 0.05}
LONG = Run.shell("sleep 600")
RUNNING = ["pending", "starting", "running"]
# A Golem whose providers are lost is closed in this time.
CLOSED = 5.0


@pytest.fixture(autouse=True)
def quick(littered: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds with a real provider takes a part of one here."""
    activity = "simple_golem.engine.activity.activity"
    for name, seconds in {
        f"{activity}._ALIVE_SECONDS": 1.0,
        f"{activity}._BATCH_RETRY_SECONDS": 0.8,
        f"{activity}._SEND_SECONDS": 0.8,
        f"{activity}._RESULT_POLL_SECONDS": 0.3,
        # Long enough for a busy machine: a late answer must not count as none.
        "simple_golem.engine.activity.health_check._STATE_TIMEOUT_SECONDS": 0.6,
        "simple_golem.engine.shutdown_times._LOST_RELEASE_SECONDS": 0.8,
        "simple_golem.services.instance_lives._RESPAWN_PAUSE_SECONDS": 0.05,
    }.items():
        monkeypatch.setattr(name, seconds)


def finding_out_soon(fake: FakeYagna) -> FakeYagna:
    """A daemon that finds out soon that a provider has died."""
    for provider in fake.providers:
        provider.unresponsive_after = 0.1
        provider.times_out_after = 0.1
    return fake


@pytest.fixture
def honest(littered: FakeYagna) -> FakeYagna:
    """The same; something may be left on it."""
    return finding_out_soon(littered)


def golem_on(fake: FakeYagna, **options: Any) -> Golem:
    """An open Golem on this daemon, whichever one the environment names."""
    options = {**QUICK, **options}
    return Golem(1, api_url=fake.url, app_key=fake.app_key, **options).open()


class Shared(Idle):
    """All its lives keep one record, with the name of the provider."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def start(self) -> Any:
        self._note("start")

    def shutdown(self) -> Any:
        self._note("shutdown")

    def _note(self, what: str) -> None:
        self.calls.append(f"{what} on {self.provider_name}")


class WithoutRun(Shared):
    pass


class LongCommand(Shared):
    def run(self) -> Any:
        self.execute(LONG)


class ReturnedCommand(Shared):
    def run(self) -> Any:
        return LONG


class ShortCommands(Shared):
    def run(self) -> Any:
        while True:
            self.execute(Run("/bin/step"))


class OwnCode(Shared):
    """Waits for a command that somebody else executes."""

    def run(self) -> Any:
        self.wait(600)


# --- how a provider goes away, and what is said of it -----------------------------------------------------


def ends_the_agreement(provider: FakeProvider) -> None:
    provider.terminate_agreement("I need it myself")


def vanishes(provider: FakeProvider) -> None:
    provider.vanish()


def dies(provider: FakeProvider) -> None:
    """Its daemon says `Unresponsive` soon."""
    provider.die()


def dies_and_its_daemon_does_not_know(provider: FakeProvider) -> None:
    """As real ones do whose agent and exe-unit die together: the state stays Ready for ever."""
    provider.unresponsive_after = 3600.0
    provider.die()


def loses_its_exe_unit(provider: FakeProvider) -> None:
    provider.kill_exe_unit()


def is_shut_down(provider: FakeProvider) -> None:
    provider.shut_down()


Going = Callable[[FakeProvider], None]
REASONS: dict[Going, str] = {
    ends_the_agreement: "has ended the agreement: I need it myself",
    vanishes: "does not answer any more",
    dies: "",  # which of two signs comes first is open: its daemon's word, or that of its exe-unit
    dies_and_its_daemon_does_not_know: "its exe-unit does not answer any more",
    loses_its_exe_unit: "is gone: exit code None",
    is_shut_down: "is gone: its provider has ended it",
}
Case = Callable[[FakeYagna, Going], None]


def each_way_to_go(case: Case) -> None:
    """Run a case for each way to go away, on a daemon of its own, all at the same time: they mostly wait."""

    def run(going: Going) -> None:
        with FakeYagna(3) as fake:
            case(finding_out_soon(fake), going)

    side_by_side({going.__name__: partial(run, going) for going in REASONS})


def at_work(fake: FakeYagna) -> FakeProvider:
    """The provider that has an activity."""
    return next(one for one in fake.providers if one.activities)


def begun_on(
    fake: FakeYagna, golem: Golem, service: type[Shared], **options: Any
) -> tuple[Instance, list[str], FakeProvider]:
    """A running instance, and its provider, which goes away with something under way."""
    calls: list[str] = []
    _, instance = begun(golem, service, instance_params=[{"calls": calls}], **AT_ONCE, **options)
    instance.wait_for("running", SECONDS)
    provider = at_work(fake)
    if service in (LongCommand, ReturnedCommand):
        eventually(lambda: "/bin/sh -c sleep 600" in programs(provider), SECONDS)
    if service is ShortCommands:
        eventually(lambda: programs(provider).count("/bin/step") > 2, SECONDS)
    return instance, calls, provider


def reason_is(failure: BaseException | None, going: Going) -> bool:
    return type(failure) is ActivityLost and REASONS[going] in str(failure)


# --- while it is running ----------------------------------------------------------------------------------

WORK = pytest.mark.parametrize("service", [WithoutRun, LongCommand, ReturnedCommand, ShortCommands])


@WORK
def test_a_running_instance_ends_without_shutdown(service: Any) -> None:
    def case(honest: FakeYagna, going: Going) -> None:
        if going is dies_and_its_daemon_does_not_know and service is WithoutRun:
            going = dies  # its daemon says Ready for ever, and nobody asks the exe-unit
        golem = golem_on(honest, raise_failures=False)
        instance, calls, provider = begun_on(honest, golem, service)
        going(provider)
        assert golem.clusters[0].wait(SECONDS)
        assert seconds_of(golem.close) < 3 * CLOSED
        assert states(instance)[:3] == RUNNING
        assert states(instance)[3:] in (["terminated"], ["unresponsive", "terminated"])
        assert calls == [f"start on {provider.name}"]
        assert reason_is(instance.failure, going), instance.failure

    each_way_to_go(case)


def test_nobody_waits_for_what_a_lost_provider_can_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its activity is destroyed by one request at most, and its invoice is left to the journal."""
    monkeypatch.setattr("simple_golem.engine.shutdown_times._INVOICE_SECONDS", 600.0)

    def case(honest: FakeYagna, going: Going) -> None:
        golem = golem_on(honest, raise_failures=False)
        instance, _, provider = begun_on(honest, golem, LongCommand)
        provider.sends_invoice = False
        activity = instance.activity_id
        going(provider)
        assert golem.clusters[0].wait(SECONDS)
        assert seconds_of(golem.close) < 3 * CLOSED
        paths = [one.path for one in honest.requests if one.method == "DELETE"]
        assert sum(path.endswith(f"/activity/{activity}") for path in paths) <= 1

    each_way_to_go(case)


@WORK
def test_a_running_instance_is_started_again_where_that_was_asked_for(service: Any) -> None:
    def case(honest: FakeYagna, going: Going) -> None:
        if going is dies_and_its_daemon_does_not_know and service is WithoutRun:
            going = dies
        failures: list[str] = []
        golem = golem_on(honest)
        golem.on_event(
            lambda event: failures.append(getattr(event, "failure", "")) if _is_failure(event) else None
        )
        instance, calls, provider = begun_on(honest, golem, service, respawn_running=True)
        going(provider)
        eventually(lambda: states(instance).count("running") == 2, SECONDS)
        another = instance.provider_name
        assert another != provider.name
        assert [one for one in states(instance) if one != "unresponsive"] == RUNNING * 2
        assert calls == [f"start on {provider.name}", f"start on {another}"]
        golem.close()
        assert instance.failure is None
        assert len(failures) == 1
        assert REASONS[going] in failures[0]

    each_way_to_go(case)


def _is_failure(event: object) -> bool:
    return type(event).__name__ == "InstanceFailed"


@pytest.mark.parametrize("respawn", [False, True])
def test_a_command_from_outside_is_told_why(respawn: bool) -> None:
    def case(honest: FakeYagna, going: Going) -> None:
        golem = golem_on(honest, raise_failures=False)
        instance, calls, provider = begun_on(honest, golem, OwnCode, respawn_running=respawn)
        outside = InThread(instance.execute, LONG)
        eventually(lambda: "/bin/sh -c sleep 600" in programs(provider), SECONDS)
        going(provider)
        error = outside.join().error
        assert isinstance(error, BatchLost)
        assert REASONS[going] in str(error)
        assert isinstance(error.__cause__, ActivityLost)
        if respawn:
            eventually(lambda: states(instance).count("running") == 2, SECONDS)
            assert instance.provider_name != provider.name
            golem.close()
            assert instance.failure is None
        else:
            assert golem.clusters[0].wait(SECONDS)
            golem.close()
            assert reason_is(instance.failure, going)
        assert calls[:1] == [f"start on {provider.name}"]
        assert f"shutdown on {provider.name}" not in calls

    each_way_to_go(case)


# --- while it starts ----------------------------------------------------------------------------------------


class SlowStart(Shared):
    def start(self) -> Any:
        super().start()
        if len(self.calls) == 1:
            try:
                self.execute(LONG)
            except ServiceStopped:
                self.calls.append("stopped")
                raise


class ReturnedStart(Shared):
    def start(self) -> Any:
        super().start()
        return LONG if len(self.calls) == 1 else None


@pytest.mark.parametrize("service", [SlowStart, ReturnedStart])
@pytest.mark.parametrize("respawn", [False, True])
def test_an_instance_that_is_starting(service: type[Shared], respawn: bool) -> None:
    def case(honest: FakeYagna, going: Going) -> None:
        calls: list[str] = []
        golem = golem_on(honest, raise_failures=False)
        cluster, instance = begun(
            golem, service, instance_params=[{"calls": calls}], respawn_unstarted_instances=respawn, **AT_ONCE
        )
        eventually(lambda: any("/bin/sh -c sleep 600" in programs(one) for one in honest.providers), SECONDS)
        provider = at_work(honest)
        going(provider)
        if respawn:
            instance.wait_for("running", SECONDS)
            assert instance.provider_name != provider.name
            assert states(instance) == ["pending", "starting", *RUNNING]
            golem.close()
            assert instance.failure is None
        else:
            assert cluster.wait(SECONDS)
            golem.close()
            assert states(instance) == ["pending", "starting", "terminated"]
            assert reason_is(instance.failure, going)
        assert f"shutdown on {provider.name}" not in calls
        if service is SlowStart:
            assert calls[:2] == [f"start on {provider.name}", "stopped"]

    each_way_to_go(case)


# --- while it is stopped -----------------------------------------------------------------------------


class SlowShutdown(Shared):
    """Attributes:
    caught: what `shutdown()` got.
    """

    caught: BaseException | None = None

    def shutdown(self) -> Any:
        super().shutdown()
        try:
            self.execute(LONG)
        except BaseException as error:
            self.caught = error
            raise


class ReturnedShutdown(Shared):
    def shutdown(self) -> Any:
        super().shutdown()
        return LONG


@pytest.mark.parametrize("service", [SlowShutdown, ReturnedShutdown])
@pytest.mark.parametrize("respawn", [False, True])
def test_an_instance_in_its_shutdown_ends(service: type[Shared], respawn: bool) -> None:
    def case(honest: FakeYagna, going: Going) -> None:
        golem = golem_on(honest, raise_failures=False)
        instance, calls, provider = begun_on(honest, golem, service, respawn_running=respawn)
        instance.stop(wait=False)
        eventually(lambda: "/bin/sh -c sleep 600" in programs(provider), SECONDS)
        going(provider)
        assert golem.clusters[0].wait(SECONDS)
        golem.close()
        assert states(instance) == NORMAL_LIFE
        assert calls == [f"start on {provider.name}", f"shutdown on {provider.name}"]
        assert reason_is(instance.failure, going)
        if isinstance(instance.service, SlowShutdown):
            assert isinstance(instance.service.caught, ActivityLost)

    each_way_to_go(case)


@pytest.mark.parametrize("service", [SlowShutdown, ReturnedShutdown])
def test_a_shutdown_whose_time_is_over_while_its_provider_is_silent_has_lost_it(
    honest: FakeYagna, caplog: pytest.LogCaptureFixture, service: type[Shared]
) -> None:
    """Its time may be over before the provider is given up."""
    is_silent, is_over = threading.Event(), threading.Event()

    def nobody_gives_it_up(request: FakeRequest) -> None:
        if request.path.endswith("/state") and is_silent.is_set() and provider.agreements:
            is_over.wait(SECONDS)

    golem = golem_on(honest, raise_failures=False, health_misses=20)
    instance, _, provider = begun_on(honest, golem, service)
    instance.stop(wait=False)
    eventually(lambda: "/bin/sh -c sleep 600" in programs(provider), SECONDS)
    provider.stop_reporting()
    honest.intercept(nobody_gives_it_up)
    eventually(lambda: "has not answered since" in caplog.text, SECONDS)
    is_silent.set()
    golem.close(timeout=1.6)
    is_over.set()
    assert states(instance) == NORMAL_LIFE
    assert type(instance.failure) is ActivityLost
    assert "it was silent until the time of shutdown() was over" in str(instance.failure)
    assert "did not confirm in time" not in caplog.text


# --- an activity that answers ------------------------------------------------------------------------


@pytest.mark.parametrize("service", [WithoutRun, LongCommand, ShortCommands])
@pytest.mark.parametrize("respawn", [False, True])
def test_an_activity_that_outlives_its_agreement_is_shut_down_first(
    honest: FakeYagna, service: type[Shared], respawn: bool
) -> None:
    golem = golem_on(honest, raise_failures=False)
    instance, calls, provider = begun_on(honest, golem, service, respawn_running=respawn)
    provider.terminate_agreement("I need it myself", keep_activity=True)
    if respawn:
        eventually(lambda: states(instance).count("running") == 2, SECONDS)
        assert states(instance) == [*RUNNING, "stopping", *RUNNING]
        golem.close()
        assert instance.failure is None
    else:
        assert golem.clusters[0].wait(SECONDS)
        golem.close()
        assert states(instance) == NORMAL_LIFE
        assert reason_is(instance.failure, ends_the_agreement)
    if service is not LongCommand:  # whose command occupies the exe-unit: no other can be run
        assert calls[1] == f"shutdown on {provider.name}"
    assert honest.leftovers() == []


def test_an_agent_that_dies_alone_is_no_loss(honest: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exe-unit works on: that is right, and more can follow."""
    monkeypatch.setattr("simple_golem.engine.shutdown_times._INVOICE_SECONDS", 0.2)
    work = threading.Event()
    with Golem(1, **QUICK) as golem:
        instance, _, provider = begun_on(honest, golem, OwnCode)
        provider.answers = lambda command: "done" if work.wait(SECONDS) else None
        outside = InThread(instance.execute, Run("/bin/work"))
        eventually(lambda: "/bin/work" in programs(provider), SECONDS)
        provider.kill_agent()
        work.set()
        value: Any = outside.join().value
        assert value.stdout == "done"
        assert instance.execute(Run("/bin/more")).stdout == "done"
        assert states(instance) == RUNNING
        golem.clusters[0].stop(wait=False)
        provider.come_back()
    assert instance.failure is None


# --- what comes back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [WithoutRun, LongCommand, ShortCommands])
def test_a_provider_that_comes_back_in_time_goes_on_with_the_same_activity(
    honest: FakeYagna,
    service: type[Shared],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simple_golem.engine.activity.activity._SEND_SECONDS", SECONDS)
    options = {**QUICK, "health_misses": 4}
    with Golem(1, **options) as golem:
        instance, _, provider = begun_on(honest, golem, service)
        provider.times_out_after = math.inf  # a batch that is being sent reaches it when it comes back
        activity = instance.activity_id
        provider.vanish()
        eventually(lambda: "is given up" in caplog.text or instance.state == "unresponsive", SECONDS)
        provider.come_back()
        eventually(lambda: instance.state == "running", SECONDS)
        assert instance.activity_id == activity
        if service is ShortCommands:
            before = programs(provider).count("/bin/step")
            eventually(lambda: programs(provider).count("/bin/step") > before + 2, SECONDS)
    assert [one for one in states(instance) if one != "unresponsive"] == [
        *RUNNING,
        "running",
        *NORMAL_LIFE[3:],
    ]
    assert instance.failure is None

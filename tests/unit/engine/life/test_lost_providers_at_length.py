"""Providers that fall silent, with the times that users have; `pytest -m long -s` shows them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simple_golem import Golem, Instance, Run, Service
from simple_golem.errors import ActivityLost
from simple_golem.testing import FakeProvider, FakeYagna
from tests.helpers.recorded_services import Idle, calls, programs, seconds_of, started, states
from tests.unit.conftest import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

# An instance is ended, or started again, so many seconds after the death of its provider.
ENDED, ENDED_OF_MANY = 60.0, 120.0
CLOSED = 5.0
# After about 15 seconds of silence there is a warning. A provider may fall silent right after it was asked.
WARNED = 15.0 + 5.0 + 1.0


class LongCommand(Idle):
    def run(self) -> Any:
        self.execute(Run.shell("sleep 600"))


class ShortCommands(Idle):
    def run(self) -> Any:
        while True:
            self.execute(Run("/bin/step"))
            self.wait(0.5)


def vanishes(provider: FakeProvider) -> None:
    provider.vanish()


def dies(provider: FakeProvider) -> None:
    provider.die()


def dies_and_its_daemon_does_not_know(provider: FakeProvider) -> None:
    provider.unresponsive_after = 3600.0
    provider.die()


def loses_its_exe_unit(provider: FakeProvider) -> None:
    provider.kill_exe_unit()


def is_shut_down(provider: FakeProvider) -> None:
    provider.shut_down()


WAYS = [vanishes, dies, loses_its_exe_unit, is_shut_down]
CASES: list[tuple[Callable[[FakeProvider], None], type[Idle]]] = [
    *((way, service) for way in WAYS for service in (Idle, LongCommand, ShortCommands)),
    (dies_and_its_daemon_does_not_know, LongCommand),
    (dies_and_its_daemon_does_not_know, ShortCommands),
]


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], FakeYagna]]:
    fakes: list[FakeYagna] = []

    def start(providers: int) -> FakeYagna:
        fake = FakeYagna(providers)
        fakes.append(fake)
        fake.serve()
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        return fake

    yield start
    for fake in fakes:
        fake.close()


def of(instance: Instance, fake: FakeYagna) -> FakeProvider:
    return next(one for one in fake.providers if one.name == instance.provider_name)


def tell(what: str, seconds: float) -> None:
    sys.stdout.write(f"{what}: {seconds:.1f} s\n")


def seconds_until(fulfilled: Callable[[], bool], began: float, limit: float) -> float:
    eventually(fulfilled, limit)
    return time.monotonic() - began


def seconds_to_end(instance: Instance, since: float) -> float:
    """How long after `since`, on the clock of the day, the instance had ended."""
    return instance.history[-1][1].timestamp() - since


@pytest.mark.parametrize("respawn", [False, True])
def test_an_instance_ends_or_starts_again_within_a_minute_of_its_provider_s_death(
    daemon: Callable[[int], FakeYagna], respawn: bool
) -> None:
    fake = daemon(len(CASES) + 2)
    golem = Golem(1, raise_failures=False).open()
    instances = [started(golem, service, respawn_running=respawn) for _, service in CASES]
    providers = [of(instance, fake) for instance in instances]
    time.sleep(3)
    since = time.time()
    for (way, _), provider in zip(CASES, providers, strict=True):
        way(provider)
    # Then it looks for another provider, which is a matter of the market.
    last = "pending" if respawn else "terminated"

    def is_done(instance: Instance) -> bool:
        return last in states(instance)[3:]

    eventually(lambda: all(is_done(one) for one in instances), 2 * ENDED)
    for (way, service), instance in zip(CASES, instances, strict=True):
        done = next(when for state, when in instance.history[3:] if state == last).timestamp() - since
        tell(f"{way.__name__}, {service.__name__}: {last} after", done)
        assert done < ENDED
        assert "stopping" not in states(instance)
        if not respawn:
            assert isinstance(instance.failure, ActivityLost)
            assert "shutdown" not in calls(instance)
    closed = seconds_of(golem.close, timeout=10 if respawn else None)
    tell("closed after", closed)
    if not respawn:
        assert closed < CLOSED


def test_a_silent_provider_is_told_after_about_fifteen_seconds_and_goes_on_when_it_is_back(
    daemon: Callable[[int], FakeYagna], caplog: pytest.LogCaptureFixture
) -> None:
    fake = daemon(3)
    with Golem(1) as golem:
        instances = [started(golem, service) for service in (Idle, LongCommand, ShortCommands)]
        activities = [one.activity_id for one in instances]
        providers = [of(one, fake) for one in instances]
        time.sleep(3)
        began = time.monotonic()
        for provider in providers:
            provider.vanish()
        told = seconds_until(lambda: all(one.state == "unresponsive" for one in instances), began, 60)
        tell("unresponsive after", told)
        assert 10.0 < told < WARNED
        # The state comes before the warning.
        eventually(lambda: caplog.text.count("has not answered since") == 3, 10)
        time.sleep(5)
        for provider in providers:
            provider.come_back()
        back = seconds_until(lambda: all(one.state == "running" for one in instances), time.monotonic(), 30)
        tell("running again after", back)
        assert [one.activity_id for one in instances] == activities
        steps = programs(providers[2]).count("/bin/step")
        eventually(lambda: programs(providers[2]).count("/bin/step") > steps + 2, 10)
        assert [programs(one).count("/bin/sh -c sleep 600") for one in providers] == [0, 1, 0]
        golem.clusters[1].stop(wait=False)
    assert all(one.failure is None for one in instances)


def test_of_many_instances_each_ends_within_two_minutes(daemon: Callable[[int], FakeYagna]) -> None:
    fake = daemon(60)
    golem = Golem(20, raise_failures=False).open()
    cluster = golem.run_service(Idle, num_instances=60)
    cluster.wait_until_running(60)
    time.sleep(40)  # until they are asked in their slow rhythm
    lost = cluster.instances[:20]
    since = time.time()
    for number, instance in enumerate(lost):
        (vanishes if number % 2 else dies)(of(instance, fake))
    eventually(lambda: all(one.state.is_final for one in lost), 2 * ENDED_OF_MANY)
    last = max(seconds_to_end(one, since) for one in lost)
    tell("of 60 instances, 20 that are lost have ended after", last)
    assert last < ENDED_OF_MANY
    assert all(one.state == "running" for one in cluster.instances[20:])
    golem.close()


@pytest.fixture
def other_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A daemon with 200 providers, whose processor time is not that of this process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-m", "simple_golem.testing", "--providers", "200"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            name, _, value = process.stdout.readline().strip().partition("=")
            monkeypatch.setenv(name, value)
        yield
        process.stdin.close()
        process.wait(10)


@pytest.mark.usefixtures("other_process")
def test_two_hundred_idle_instances_cost_two_percent_of_a_processor_at_most() -> None:
    with Golem(50) as golem:
        cluster = golem.run_service(Service, num_instances=200)
        cluster.wait_until_running(120)
        time.sleep(10)
        cpu, began = time.process_time(), time.monotonic()
        time.sleep(90)
        percent = 100 * (time.process_time() - cpu) / (time.monotonic() - began)
        sys.stdout.write(f"200 idle instances: {percent:.2f} % of a processor\n")
        assert percent <= 2.0
        assert all(one.state == "running" for one in cluster)

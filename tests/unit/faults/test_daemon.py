"""The daemon is restarted at each step, goes for good, fails, forgets the key, or is slow."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.command_line.main import main
from simple_golem.errors import GolemError
from simple_golem.events import BatchStarted, ConnectionOpened, DemandPublished, ItemStarted, StateChanged
from simple_golem.testing import FakeAnswer, FakeRequest, FakeYagna
from tests.soak.fault_runs.jobs import JOBS, PATIENCE, Setting
from tests.soak.fault_runs.providers import providers

AWAY_SECONDS = 0.3
# What Ctrl-C takes at most.
INTERRUPT_SECONDS = 5.0
# Longer than anything has time after Ctrl-C.
SLOW_SECONDS = 5.0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    with FakeYagna(providers()) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield fake


def enters(state: str) -> Callable[[object], bool]:
    return lambda event: isinstance(event, StateChanged) and event.new == state


STEPS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "pending": ("commands", lambda event: isinstance(event, DemandPublished)),
    "starting": ("commands", enters("starting")),
    "running": ("commands", enters("running")),
    "stopping": ("commands", enters("stopping")),
    "files": ("files", lambda event: isinstance(event, BatchStarted) and "Upload" in str(event)),
    "connections": ("network", lambda event: isinstance(event, ConnectionOpened)),
    "work": ("work", lambda event: isinstance(event, ItemStarted)),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_run_ends_as_it_should_though_the_daemon_is_restarted(fake: FakeYagna, step: str) -> None:
    job, is_time = STEPS[step]
    restarts: list[threading.Thread] = []

    def restart() -> None:
        fake.go_down()
        time.sleep(AWAY_SECONDS)
        fake.restart()
        fake.come_up()

    def watch(event: object) -> None:
        if is_time(event) and not restarts:
            restarts.append(threading.Thread(target=restart))
            restarts[0].start()

    told = ""
    try:
        with Golem(1, on_event=watch) as golem:
            JOBS[job](golem, Setting(lambda: Golem(1), random.Random(1)))
    except GolemError as error:
        told = f"{type(error).__name__}: {error}"
    assert len(restarts) == 1
    restarts[0].join()
    # Whether a batch was executed that was on its way can't be known; a network is lost with its daemon.
    assert told == "" or "BatchLost" in told or "NetworkLost" in told
    if fake.leftovers():
        assert main(["cleanup", "--wait", "5"]) == 0
    assert fake.leftovers() == []


def golem_with_instances() -> Golem:
    """An open Golem with two running instances."""
    golem = Golem(1, raise_failures=False).open()
    golem.run_service(Service, num_instances=2).wait_until_running(PATIENCE)
    return golem


def threads_of_golem() -> list[str]:
    """The names of the threads that are not of the test, and not of the daemon in memory."""
    names = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    return [name for name in names if not name.startswith(("fake", "pytest"))]


def threads_left() -> list[str]:
    """Those that have not ended after some time."""
    until = time.monotonic() + 5
    while threads_of_golem() and time.monotonic() < until:
        time.sleep(0.02)
    return threads_of_golem()


def test_a_daemon_that_is_gone_for_good_does_not_keep_a_golem_open(fake: FakeYagna) -> None:
    golem = golem_with_instances()
    fake.go_down()
    began = time.monotonic()
    golem.close(timeout=3.0)
    assert time.monotonic() - began < 3 * 3.0
    fake.come_up()
    assert threads_left() == []
    assert main(["cleanup", "--wait", "5"]) == 0
    assert fake.leftovers() == []


@pytest.mark.parametrize("status", [500, 401])
def test_a_daemon_that_fails_or_forgets_the_key_midway_is_cleaned_up_later(
    fake: FakeYagna, status: int
) -> None:
    golem = golem_with_instances()
    end = fake.intercept(lambda request: FakeAnswer.of_message("database or disk is full", status))
    (instance, _) = golem.instances
    with pytest.raises(GolemError):
        instance.execute(Run("/bin/echo", "hello"))
    golem.close(timeout=3.0)
    end()
    assert threads_left() == []
    assert main(["cleanup", "--wait", "5"]) == 0
    assert fake.leftovers() == []


def test_a_slow_daemon_piles_up_no_threads_and_an_interruption_stays_quick(fake: FakeYagna) -> None:
    golem = golem_with_instances()

    def slow(request: FakeRequest) -> None:
        time.sleep(SLOW_SECONDS)

    end = fake.intercept(slow)
    time.sleep(SLOW_SECONDS)
    assert len(threads_of_golem()) < 60
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), golem:
        raise KeyboardInterrupt
    assert time.monotonic() - began < 3 * INTERRUPT_SECONDS
    end()
    assert threads_left() == []
    time.sleep(SLOW_SECONDS)  # the slow requests end, which the daemon carries out all the same
    assert main(["cleanup", "--wait", "5"]) == 0
    assert fake.leftovers() == []

"""The order of locks that is written down is the one that is kept: services run, and locks are watched."""

from __future__ import annotations

import re
import threading

import pytest
import tenacity

from simple_golem import Golem, Run, Service, UploadBytes
from simple_golem.engine import life
from simple_golem.testing import FakeProvider, FakeYagna
from tests.helpers.lock_watch import LockWatch, watched_locks

SECONDS = 20


class Busy(Service):
    """Does a bit of everything, and then stays until it is stopped."""

    def start(self) -> None:
        self.execute(Run("/bin/echo", "hello", stream=print), UploadBytes(b"x", "/golem/input/x"))

    def run(self) -> None:
        self.wait(600)

    def shutdown(self) -> list[Run]:
        return [Run("/bin/true")]


def written_order() -> dict[str, int]:
    """The line of the docstring on which each class stands."""
    lines = re.findall(r"^\d+\. (.*)$", life.__doc__ or "", re.MULTILINE)
    return {name: rank for rank, line in enumerate(lines) for name in re.findall(r"`(\w+)`", line)}


def live_through_everything(providers: list[FakeProvider]) -> None:
    options = {"health_interval": 0.05, "health_misses": 2, "raise_failures": False}
    with Golem(budget=1, **options) as golem:
        cluster = golem.run_service(
            Busy, num_instances=2, respawn_running=True, respawn_wait=tenacity.wait_fixed(0.05)
        )
        cluster.wait_until_running(SECONDS)
        cluster.execute(Run("/bin/true"))
        cluster.spawn()
        cluster.wait_until_running(SECONDS)
        cluster.instances[0].stop()
        lost = cluster.instances[1]
        first = lost.provider_id
        next(one for one in providers if one.node_id == first).terminate_agreement()
        for instance, state in cluster.state_changes(SECONDS):
            if instance is lost and state == "running" and instance.provider_id != first:
                break
        golem.top_up(1)
        resumed = golem.resume_service(Busy, cluster.suspend())
        resumed.wait_until_running(SECONDS)
        resumed.stop()


@pytest.fixture(scope="module")
def watch() -> LockWatch:
    """What was seen while services lived through everything."""
    with watched_locks() as watch, pytest.MonkeyPatch.context() as patch:
        providers = [FakeProvider() for _ in range(5)]
        with FakeYagna(providers) as fake:
            for name, value in fake.environment.items():
                patch.setenv(name, value)
            live_through_everything(providers)
            assert fake.leftovers() == []
    return watch


def test_each_lock_is_taken_after_those_that_are_written_before_it(watch: LockWatch) -> None:
    order = written_order()
    last = len(order)
    wrong = [(held, taken) for held, taken in watch.pairs if order.get(held, last) >= order.get(taken, last)]
    assert wrong == [], "of each pair the first was held; give it a place in the docstring of engine.life"


def test_the_locks_that_are_written_down_are_there(watch: LockWatch) -> None:
    assert set(written_order()) <= watch.names
    assert "LifeState" in watch.names


def test_the_watch_sees_what_is_taken_while_something_is_held() -> None:
    class Keeper:
        def __init__(self) -> None:
            self.condition = threading.Condition()
            self.plain_condition = threading.Condition(threading.Lock())
            self.lock = threading.Lock()

    Keeper.__module__ = "simple_golem.engine.keeper"
    with watched_locks() as watch:
        first, second = Keeper(), Keeper()
    with first.condition:
        first.condition.wait(0.01)
        assert watch.pairs == set()
        with second.lock:
            assert watch.pairs == {("Keeper", "Keeper")}
    with first.condition, first.condition:
        first.condition.wait(0.01)
        assert len(watch.held) == 2
    with first.plain_condition:
        first.plain_condition.wait(0.01)
        assert len(watch.held) == 1
    assert watch.held == []

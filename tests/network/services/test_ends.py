"""The table of ends: how long each part of an end may take, on the real daemon, at three times its length."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.background.cancellation import Deadline, Scope
from tests.network.helpers.commands import LongCommand
from tests.network.helpers.leftovers import invoices_on, left_on, pay_late_invoices

pytestmark = pytest.mark.usefixtures("golem_environment")


def seconds_of(work, *args, **options) -> float:
    began = time.monotonic()
    work(*args, **options)
    return time.monotonic() - began


class Recording(Service):
    def __init__(self):
        self.calls = []

    def shutdown(self):
        self.calls.append("shutdown")


def test_closing_in_a_given_time_keeps_it_whatever_is_under_way(network):
    long = LongCommand()

    class Busy(Recording):
        def run(self):
            self.execute(long.run)

    before = invoices_on(network)
    golem = Golem(1).open()
    cluster = golem.run_service(Busy, num_instances=2)
    long.wait_until_running(2)
    cluster.wait(1.0)  # the library, too, knows that they run
    assert seconds_of(golem.close, timeout=3) < 3 * 3
    assert [instance.service.calls for instance in cluster] == [[], []]
    assert_agreements_are_ended_and_pay(network, before + 2)


def test_closing_in_no_time_ends_the_agreements_all_the_same(network):
    before = invoices_on(network)
    golem = Golem(1).open()
    golem.run_service(Recording, num_instances=2).wait_until_running(timeout=30)
    assert seconds_of(golem.close, timeout=0.1) < 3 * 1.5
    assert_agreements_are_ended_and_pay(network, before + 2)


def assert_agreements_are_ended_and_pay(network, invoices):
    """The providers end their activities and send their invoices also where nobody waits for that."""
    assert [what for what in left_on(network) if what.startswith(("agreement", "allocation", "demand"))] == []
    deadline = Deadline(30)
    while invoices_on(network) < invoices:
        assert not deadline.passed
        Scope().wait(0.1)
    pay_late_invoices(network)
    assert left_on(network) == []


def test_user_code_in_its_own_sleep_is_left_behind_after_five_seconds(network, caplog):
    """The web server that `run` asks does not answer; `shutdown` runs all the same."""
    asked, awake = threading.Event(), threading.Event()

    class Sleeper(Recording):
        def run(self):
            asked.set()
            awake.wait(600)

        def shutdown(self):
            self.calls.append(self.execute(Run("/bin/echo", "saved")).stdout)

    try:
        with Golem(1) as golem:
            cluster = golem.run_service(Sleeper)
            (instance,) = cluster.instances
            assert asked.wait(30)
            cluster.stop(wait=False)
            assert instance.state == "stopping"
            assert seconds_of(cluster.wait) < 3 * (5 + 1.6)
        assert instance.service.calls == ["saved\n"]
        assert instance.failure is None
        assert "run() has not returned in time" in caplog.text
        assert "awake.wait(600)" in caplog.text
        assert left_on(network) == []
    finally:
        awake.set()


def test_shutdown_has_its_time_before_the_expiration(monkeypatch):
    """A part of it, of which a second and a half belong to the release."""
    monkeypatch.setattr("simple_golem.engine.shutdown_times._EXPIRATION_RESERVE_PART", 0.5)

    class Careful(Recording):
        def shutdown(self):
            self.calls.append(self.execute(Run.shell("sleep 0.2; echo saved")).stdout)

    with Golem(1) as golem:
        cluster = golem.run_service(Careful, expiration=timedelta(seconds=14))
        cluster.wait_until_running(timeout=7)
        assert cluster.wait(30)
        instance = cluster.instances[0]
        assert instance.history[-1][1] < cluster.expiration
    assert instance.service.calls == ["saved\n"]
    assert instance.failure is None

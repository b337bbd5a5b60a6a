"""The table of ends: how long each part of an end may take, on the real daemon, at three times its length."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from simple_golem import Golem, Run, Service, ServiceStopped
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import BatchTimeout, GolemError, MethodStuck, NotRunning
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


def test_a_stop_in_the_wait_between_two_runs_is_felt_at_once():
    class Patient(Recording):
        run_interval = 600

        def run(self):
            self.calls.append("run")

    with Golem(1) as golem:
        cluster = golem.run_service(Patient)
        cluster.wait_until_running(timeout=30)
        assert seconds_of(cluster.stop) < 3 * 1.6  # what the provider needs to destroy an activity
    assert cluster.instances[0].service.calls == ["run", "shutdown"]


def test_a_shutdown_that_does_not_end_is_cut_with_a_warning():
    class Clinging(Service):
        def shutdown(self):
            try:
                self.execute(Run("/bin/sleep", "600"))
            except BatchTimeout as error:
                self.cut = error
            with pytest.raises(NotRunning, match="time for shutdown"):
                self.execute(Run("/bin/true"))

    golem = Golem(1).open()
    cluster = golem.run_service(Clinging)
    cluster.wait_until_running(timeout=30)
    assert seconds_of(golem.close, timeout=4) < 3 * 4
    assert "shutdown()" in str(cluster.instances[0].service.cut)


def test_closing_in_a_given_time_keeps_it_whatever_is_under_way(network):
    class Busy(Recording):
        def run(self):
            self.execute(Run("/bin/sleep", "600"))

    golem = Golem(1).open()
    cluster = golem.run_service(Busy, num_instances=2)
    cluster.wait_until_running(timeout=30)
    cluster.wait(0.5)
    assert seconds_of(golem.close, timeout=3) < 3 * 3
    assert [instance.service.calls for instance in cluster] == [[], []]
    assert left_on(network) == []


def test_closing_in_no_time_ends_the_agreements_all_the_same(network):
    before = invoices_on(network)
    golem = Golem(1).open()
    golem.run_service(Recording, num_instances=2).wait_until_running(timeout=30)
    assert seconds_of(golem.close, timeout=0.1) < 3 * 1.5
    assert [what for what in left_on(network) if what.startswith(("agreement", "allocation"))] == []
    deadline = Deadline(20)
    while invoices_on(network) < before + 2:
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


def test_a_shutdown_that_does_not_return_is_a_failure(network):
    awake = threading.Event()

    class Sleeper(Recording):
        def shutdown(self):
            awake.wait(600)

    try:
        golem = Golem(1, raise_failures=False).open()
        cluster = golem.run_service(Sleeper)
        (instance,) = cluster.wait_until_running(timeout=30)
        assert seconds_of(golem.close, timeout=4) < 3 * 4
        assert isinstance(instance.failure, MethodStuck)
        pay_late_invoices(network)
        assert left_on(network) == []
    finally:
        awake.set()


def test_a_stop_from_inside_run_does_not_hang_and_the_next_wait_raises():
    class Leaving(Recording):
        def run(self):
            self.stop()
            assert self.stopping
            try:
                self.wait(600)
            except ServiceStopped:
                self.calls.append("stopped")
                raise

    with Golem(1) as golem:
        cluster = golem.run_service(Leaving)
        assert cluster.wait(30)
    assert cluster.instances[0].service.calls == ["stopped", "shutdown"]
    assert cluster.instances[0].failure is None


def test_closing_from_inside_run_does_not_hang():
    class Closing(Recording):
        def run(self):
            golem.close()

    golem = Golem(1)
    with golem:
        cluster = golem.run_service(Closing)
        assert cluster.wait(30)
    assert cluster.instances[0].service.calls == ["shutdown"]


def test_an_error_in_shutdown_is_a_failure_and_everything_is_released_all_the_same(network):
    class Clumsy(Service):
        def shutdown(self):
            raise LookupError("where was it")

    with Golem(1, raise_failures=False) as golem:
        cluster = golem.run_service(Clumsy)
        cluster.wait_until_running(timeout=30)
        cluster.stop()
    assert isinstance(cluster.instances[0].failure, LookupError)
    assert left_on(network) == []


def test_shutdown_has_its_time_before_the_expiration(monkeypatch):
    """A part of it, of which a second and a half belong to the release."""
    monkeypatch.setattr("simple_golem.engine.shutdown_times._EXPIRATION_RESERVE_PART", 0.25)

    class Careful(Recording):
        def shutdown(self):
            self.calls.append(self.execute(Run.shell("sleep 0.2; echo saved")).stdout)

    with Golem(1) as golem:
        cluster = golem.run_service(Careful, expiration=timedelta(seconds=12))
        cluster.wait_until_running(timeout=9)
        assert cluster.wait(30)
        instance = cluster.instances[0]
        assert instance.history[-1][1] < cluster.expiration
    assert instance.service.calls == ["saved\n"]
    assert instance.failure is None


def test_commands_before_and_after_running_are_refused_with_the_state():
    class Early(Recording):
        def start(self):
            return Run("/bin/sleep", "2")

    with Golem(1) as golem:
        cluster = golem.run_service(Early)
        (instance,) = cluster.instances
        with pytest.raises(NotRunning, match=r"pending|starting"):
            instance.execute(Run("/bin/true"))
        instance.wait_for("running", timeout=30)
        assert instance.execute(Run("/bin/echo", "now")).stdout == "now\n"
        service = instance.service
        cluster.stop()
        with pytest.raises(NotRunning, match="terminated"):
            instance.execute(Run("/bin/true"))
        with pytest.raises(GolemError):
            service.execute(Run("/bin/true"))

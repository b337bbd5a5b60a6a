"""Services from their agreement to their invoice, on the real daemon."""

from __future__ import annotations

import logging
import threading
import time
from decimal import Decimal

import pytest

from simple_golem import CommandFailed, Golem, Run, Service, ServiceFailed, vm
from simple_golem.background.cancellation import Deadline
from simple_golem.errors import (
    BadAppKey,
    BatchTimeout,
    NoDaemon,
    NotRunning,
    UnknownImage,
    WaitTimeout,
)
from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.client import Yagna
from tests.network.helpers.leftovers import left_on

pytestmark = pytest.mark.usefixtures("golem_environment")


class Echo(Service):
    """Stays running until it is stopped."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self):
        self.calls.append("start")
        return [Run("/bin/echo", "started")]

    def shutdown(self):
        self.calls.append("shutdown")
        return [Run("/bin/echo", "stopped")]


def states(instance):
    return [state.value for state, _ in instance.history]


def invoices_of(network: LocalGolem, since: int) -> list[Decimal]:
    yagna = Yagna(network.environment["YAGNA_API_URL"], network.environment["YAGNA_APPKEY"])
    try:
        return [invoice.amount for invoice in yagna.payment.invoices()][since:]
    finally:
        yagna.close()


def test_a_service_runs_from_agreement_to_accepted_invoice(network):
    before = len(invoices_of(network, 0))
    with Golem(budget=1) as golem:
        cluster = golem.run_service(Echo)
        (instance,) = cluster.wait_until_running(timeout=30)
        assert instance.service.results[0].stdout == "started\n"
        assert instance.provider_name.startswith("prov-")
        assert instance.provider_id.startswith("0x")
        assert len(instance.activity_id) > 10
        cluster.stop()
        assert instance.service.calls == ["start", "shutdown"]
    assert states(instance) == ["pending", "starting", "running", "stopping", "terminated"]
    assert instance.failure is None
    new = invoices_of(network, before)
    assert len(new) == 1
    assert golem.cost.amount == sum(new) > 0
    assert "tGLM (test money) on hoodi" in str(golem.cost)
    assert left_on(network) == []


def test_three_instances_and_the_users_thread_run_side_by_side():
    meeting = threading.Barrier(4)

    class Meet(Service):
        def run(self):
            self.thread = threading.current_thread().name
            meeting.wait(30)

    with Golem(budget=1) as golem:
        cluster = golem.run_service(Meet, num_instances=3)
        meeting.wait(30)  # all three and this thread are here at the same time
        assert cluster.wait(30)
        assert len({instance.provider_id for instance in cluster.instances}) == 3
        threads = {instance.service.thread for instance in cluster.instances}
    assert len(threads) == 3
    assert all(thread.startswith("Meet-") for thread in threads)


def test_without_a_run_interval_run_is_called_once_and_the_service_ends(caplog):
    class Once(Service):
        calls = 0

        def run(self):
            Once.calls += 1
            return Run("/bin/echo", "once")

    with Golem(budget=1) as golem:
        assert golem.run_service(Once).wait(30)
    assert Once.calls == 1
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_a_running_instance_can_be_asked_from_outside_by_many_threads():
    with Golem(budget=1) as golem:
        cluster = golem.run_service(Echo, num_instances=2)
        first, _ = cluster.wait_until_running(timeout=30)
        answers: list[str] = []

        def ask(number: int) -> None:
            answers.append(first.execute(Run("/bin/echo", number)).stdout)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(answers) == [f"{number}\n" for number in range(8)]

        together = cluster.execute(Run.shell("exit $(( $(cat /golem/work/n 2>/dev/null || echo 0) ))"))
        assert {instance.name for instance in together} == {"Echo-1", "Echo-2"}
        assert all(results.success for results in together.values())
        cluster.stop()
        with pytest.raises(NotRunning, match="terminated"):
            first.execute(Run("/bin/echo", "too late"))
        assert cluster.execute(Run("/bin/echo")) == {}


def test_a_failed_command_that_is_caught_harms_nothing():
    caught = []

    class Careful(Service):
        def run(self):
            try:
                self.execute(Run.shell("echo oh dear >&2; exit 3"), Run("/bin/echo", "never"))
            except CommandFailed as error:
                caught.append(error)
            self.after = self.execute(Run("/bin/echo", "fine")).stdout

    with Golem(budget=1) as golem:
        cluster = golem.run_service(Careful)
        cluster.wait(30)
    (error,) = caught
    assert error.exit_code == 3
    assert error.command == Run.shell("echo oh dear >&2; exit 3")
    assert "oh dear" in str(error)
    assert cluster.instances[0].provider_name in str(error)
    assert cluster.instances[0].service.after == "fine\n"


def test_a_batch_that_takes_too_long_is_reported_and_the_next_one_waits_for_it():
    class Slow(Service):
        def run(self):
            with pytest.raises(BatchTimeout):
                self.execute(Run.shell("sleep 2.5; echo done > /golem/work/flag"), timeout=0.2)
            self.flag = self.execute(Run("/bin/cat", "/golem/work/flag")).stdout

    with Golem(1) as golem:
        cluster = golem.run_service(Slow)
        assert cluster.wait(30)
    assert cluster.instances[0].service.flag == "done\n"


def test_a_wait_for_providers_says_why_and_can_be_given_up(network, caplog, monkeypatch):
    monkeypatch.setattr("simple_golem.services.cluster._FIRST_SEARCH_WARNING_SECONDS", 1.0)
    with Golem(1) as golem:
        cluster = golem.run_service(Service, payload=vm.repo(min_mem_gib=100_000))
        with pytest.raises(WaitTimeout, match=r"Service-1 pending.*0 offers seen"):
            cluster.wait_until_running(timeout=2)
        left = Deadline(20)
        while "0 of 1 found; 0 offers seen" not in caplog.text:
            assert not left.passed, caplog.text
            cluster.wait(0.05)
        cluster.stop()
    assert states(cluster.instances[0]) == ["pending", "terminated"]
    assert left_on(network) == []


def test_a_golem_in_a_subnet_that_is_not_offered_says_so(caplog):
    with Golem(1, subnet_tag="somewhere-else", payment_network="polygon", raise_failures=False) as golem:
        cluster = golem.run_service(Echo)
        assert not cluster.wait(2)
        cluster.stop()
    assert "the demand is in the subnet 'somewhere-else'; the local providers offer in 'local'" in caplog.text
    assert "simple-golem local run --payment-network polygon" in caplog.text


def test_more_instances_than_providers_wait_for_a_free_one(network):
    class Short(Service):
        def run(self):
            self.execute(Run("/bin/true"))

    with Golem(1) as golem:
        cluster = golem.run_service(Short, num_instances=len(network.providers) + 2)
        assert cluster.wait(60)
    assert [instance.failure for instance in cluster.instances] == [None] * len(cluster)


# --- bad input ---------------------------------------------------------------------------------------


def test_a_wrong_app_key_is_refused_with_a_way_out(network):
    golem = Golem(1, app_key="nobody-knows-this")
    with pytest.raises(BadAppKey, match="yagna app-key list"), golem:
        pytest.fail("must not be entered")


def test_no_daemon_at_the_url_is_said_at_once():
    began = time.monotonic()
    with pytest.raises(NoDaemon, match=r"http://127\.0\.0\.1:1"):
        Golem(1, api_url="http://127.0.0.1:1").open()
    assert time.monotonic() - began < 5


def test_an_image_nobody_has_is_named_together_with_those_there_are(network):
    with Golem(1) as golem:
        with pytest.raises(UnknownImage, match=r"no/such:image.*golem/alpine:latest"):
            golem.run_service(Service, payload=vm.repo(image_tag="no/such:image"))
        assert golem.instances == ()


def test_a_budget_that_is_too_small_is_an_error_at_once(network, caplog):
    with Golem("0.00001") as golem:
        cluster = golem.run_service(Echo)
        with pytest.raises(
            ServiceFailed, match=r"would cost 0.0046 tGLM, and 0.00001 tGLM of the budget are left"
        ):
            cluster.wait_until_running(timeout=30)
    assert golem.cost.amount == 0
    assert golem.cost_report.entries == ()

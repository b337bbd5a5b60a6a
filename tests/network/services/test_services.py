"""Services from their agreement to their invoice, on the real daemon."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from decimal import Decimal

import pytest

from simple_golem import CommandFailed, Golem, GolemError, Run, Service, ServiceFailed, ServiceStopped, vm
from simple_golem.errors import (
    BadAppKey,
    BadCommandList,
    BatchLost,
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


def test_a_returned_list_is_one_batch_and_its_results_are_there_in_the_next_call():
    seen = []

    class Counting(Service):
        run_interval = 0.05

        def start(self):
            assert self.results == ()
            return [Run("/bin/echo", "one"), Run("/bin/echo", "two")]

        def run(self):
            seen.append([result.stdout for result in self.results])
            if len(seen) == 3:
                self.stop()
                return None
            return Run("/bin/echo", f"run {len(seen)}")

    with Golem(budget=1) as golem:
        assert golem.run_service(Counting).wait(30)
    assert seen == [["one\n", "two\n"], ["run 1\n"], ["run 2\n"]]


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


def test_an_error_in_run_leads_through_shutdown_and_is_raised_once_at_the_end(network, caplog):
    class Broken(Echo):
        def run(self):
            raise LookupError("no such luck")

    class Whole(Echo):
        pass

    golem = Golem(1).open()
    whole = golem.run_service(Whole)
    whole.wait_until_running(timeout=30)
    broken = golem.run_service(Broken)
    assert broken.wait(30)
    assert whole.instances[0].state == "running"
    with pytest.raises(ServiceFailed, match=r"(?s)Broken-1.*LookupError: no such luck") as raised:
        golem.close()
    golem.close()  # what was raised once is not raised again
    instance = broken.instances[0]
    assert instance.service.calls == ["start", "shutdown"]
    assert isinstance(instance.failure, LookupError)
    assert raised.value.failures == (instance.failure,)
    assert states(instance) == ["pending", "starting", "running", "stopping", "terminated"]
    told = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert 'raise LookupError("no such luck")' in told.getMessage()
    assert "engine" not in told.getMessage()
    assert left_on(network) == []


def test_a_wrong_return_value_is_named_with_class_and_method():
    class Wrong(Service):
        def start(self):
            return ["ls -l"]

    with Golem(1, raise_failures=False) as golem:
        cluster = golem.run_service(Wrong)
        assert cluster.wait(30)
    failure = cluster.instances[0].failure
    assert isinstance(failure, BadCommandList)
    for part in ("Wrong", "start", "ls -l"):
        assert part in str(failure)


def test_a_start_that_fails_by_a_command_is_tried_on_other_providers_three_times():
    tried = []

    class NeverStarts(Service):
        def start(self):
            tried.append(self.provider_id)
            return Run("/bin/false")

    with Golem(1, raise_failures=False) as golem:
        cluster = golem.run_service(NeverStarts)
        with pytest.raises(ServiceFailed, match="exit code 1"):
            cluster.wait_until_running(timeout=60)
    assert len(set(tried)) == len(tried) == 3
    assert states(cluster.instances[0]) == ["pending", "starting"] * 3 + ["terminated"]


def test_a_stop_reaches_a_loop_that_swallows_every_exception():
    swallowed = []

    class Stubborn(Service):
        def run(self):
            while True:
                try:
                    self.execute(Run("/bin/true"))
                    self.wait(60)
                except Exception as error:  # noqa: BLE001 - this is what is tested
                    swallowed.append(error)
                except ServiceStopped:
                    swallowed.append("stopped")
                    raise

    with Golem(1) as golem:
        cluster = golem.run_service(Stubborn)
        cluster.wait_until_running(timeout=30)
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < 3 * 2  # felt at once; the rest is the provider's destroying
    assert swallowed == ["stopped"]
    assert cluster.instances[0].failure is None


def test_a_method_that_does_not_return_is_left_behind_and_everything_else_released(network, caplog):
    asleep = threading.Event()

    class Sleeper(Service):
        def run(self):
            asleep.wait(60)

    with Golem(1, raise_failures=False) as golem:
        cluster = golem.run_service(Sleeper)
        cluster.wait_until_running(timeout=30)
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < 3 * 5
    try:
        assert cluster.instances[0].failure is None  # only a shutdown() that is stuck is one
        assert "asleep.wait(60)" in caplog.text
        assert left_on(network) == []
    finally:
        asleep.set()


def test_a_batch_that_takes_too_long_is_reported_and_the_next_one_waits_for_it():
    class Slow(Service):
        def run(self):
            with pytest.raises(BatchTimeout):
                self.execute(Run.shell("sleep 1; echo done > /golem/work/flag"), timeout=0.2)
            self.flag = self.execute(Run("/bin/cat", "/golem/work/flag")).stdout

    with Golem(1) as golem:
        cluster = golem.run_service(Slow)
        assert cluster.wait(30)
    assert cluster.instances[0].service.flag == "done\n"


def test_a_batch_under_way_may_end_within_the_grace_of_a_stop():
    class Working(Service):
        def run(self):
            self.begun = True
            self.answer = self.execute(Run.shell("sleep 1.5; echo ready")).stdout

    with Golem(1) as golem:
        cluster = golem.run_service(Working)
        (instance,) = cluster.wait_until_running(timeout=30)
        cluster.wait(0.5)
        cluster.stop()
    assert instance.service.answer == "ready\n"


def test_a_batch_that_exceeds_the_grace_is_cut_and_shutdown_is_skipped(network, caplog):
    class Endless(Echo):
        def run(self):
            return Run("/bin/sleep", "60")

    with Golem(1, stop_grace=0.5) as golem:
        cluster = golem.run_service(Endless)
        (instance,) = cluster.wait_until_running(timeout=30)
        cluster.wait(0.5)
        cluster.stop()
    assert instance.service.calls == ["start"]
    assert "shutdown() is skipped" in caplog.text
    assert left_on(network) == []


def test_the_expiration_ends_a_cluster_in_time_and_is_no_failure():
    with Golem(1) as golem:
        cluster = golem.run_service(Echo, expiration=timedelta(seconds=10))
        cluster.wait_until_running(timeout=9)
        assert cluster.wait(30)
    (instance,) = cluster.instances
    assert instance.service.calls == ["start", "shutdown"]
    assert instance.failure is None
    assert instance.history[-1][1] < cluster.expiration


def test_a_wait_for_providers_says_why_and_can_be_given_up(network, caplog):
    with Golem(1) as golem:
        cluster = golem.run_service(Service, payload=vm.repo(min_mem_gib=100_000))
        with pytest.raises(WaitTimeout, match=r"Service-1 pending.*0 offers seen"):
            cluster.wait_until_running(timeout=11)
        assert "0 of 1 found; 0 offers seen" in caplog.text
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


def test_a_golem_can_be_opened_and_closed_without_with_and_from_any_thread(network):
    golem = Golem(1)
    thread = threading.Thread(target=golem.open)
    thread.start()
    thread.join(30)
    cluster = golem.open().run_service(Echo)
    cluster.wait_until_running(timeout=30)
    closer = threading.Thread(target=golem.close)
    closer.start()
    closer.join(60)
    golem.close()
    assert cluster.instances[0].state == "terminated"
    assert golem.cost.amount > 0
    assert left_on(network) == []
    with pytest.raises(NotRunning, match="closed"):
        golem.run_service(Echo)


def test_a_constructor_that_raises_does_so_where_the_service_is_run(network):
    class Picky(Service):
        def __init__(self, number):
            if number == 2:
                raise ValueError("not two")

    with Golem(1) as golem:
        with pytest.raises(ValueError, match="not two"):
            golem.run_service(Picky, instance_params=[{"number": 1}, {"number": 2}])
        assert golem.clusters == ()


def test_parameters_reach_each_instance():
    class Named(Service):
        def __init__(self, word):
            self.word = word

        def run(self):
            self.answer = self.execute(Run("/bin/echo", self.word)).stdout

    with Golem(1) as golem:
        cluster = golem.run_service(Named, instance_params=[{"word": "a"}, {"word": "b"}])
        assert len(cluster) == 2
        assert cluster.wait(30)
    assert [instance.service.answer for instance in cluster.instances] == ["a\n", "b\n"]


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


# --- events ------------------------------------------------------------------------------------------


def test_everything_that_happens_is_told_in_order_and_a_bad_listener_harms_nobody(caplog):
    told = []
    golem = Golem(1)

    @golem.on_event
    def broken(event):
        raise RuntimeError("a bad listener")

    golem.on_event(told.append)
    with golem:
        cluster = golem.run_service(Echo)
        cluster.wait_until_running(timeout=30)
        cluster.stop()
    kinds = [type(event).__name__ for event in told]
    order = [
        "BudgetAllocated",
        "DemandPublished",
        "AgreementMade",
        "StateChanged",
        "ActivityCreated",
        "AgreementEnded",
        "ActivityDestroyed",
        "BudgetReleased",
    ]
    assert [kind for kind in dict.fromkeys(kinds) if kind in order] == order
    assert kinds.index("AgreementEnded") < kinds.index("InvoiceAccepted") < kinds.index("BudgetReleased")
    assert kinds.count("InvoiceAccepted") == 1
    assert [event.method for event in told if type(event).__name__ == "MethodCalled"] == [
        "deploy",
        "start",
        "shutdown",
    ]
    assert "a bad listener" in caplog.text


def test_a_stop_from_an_event_callable_does_not_hang():
    golem = Golem(1)
    clusters = []

    @golem.on_event
    def stop_when_running(event):
        if getattr(event, "new", None) == "running":
            clusters[0].stop()

    with golem:
        clusters.append(golem.run_service(Echo))
        assert clusters[0].wait(30)
    assert clusters[0].instances[0].service.calls == ["start", "shutdown"]


def test_waiting_until_running_counts_those_that_were_too_quick_to_be_seen():
    class Quick(Service):
        def run(self):
            self.execute(Run("/bin/true"))

    with Golem(1) as golem:
        cluster = golem.run_service(Quick, num_instances=3)
        assert cluster.wait(30)
        assert len(cluster.wait_until_running(timeout=30)) == 3
        cluster.instances[0].wait_for("running", timeout=1)


def test_a_constructor_that_fails_in_a_second_life_ends_its_instance_and_nothing_hangs(caplog):
    class Fragile(Service):
        made = 0

        def __init__(self):
            type(self).made += 1
            if type(self).made == 2:
                raise LookupError("only one of me")

        def start(self):
            return Run("/bin/false")

    with Golem(1, raise_failures=False) as golem:
        cluster = golem.run_service(Fragile)
        assert cluster.wait(30)
    assert isinstance(cluster.instances[0].failure, LookupError)
    assert "only one of me" in caplog.text


def test_a_batch_from_outside_may_end_within_the_grace_and_does_not_hold_up_shutdown(network):
    with Golem(1, stop_grace=0.5) as golem:
        cluster = golem.run_service(Echo)
        (instance,) = cluster.wait_until_running(timeout=30)
        lost = []

        def ask() -> None:
            with pytest.raises(BatchLost) as raised:
                instance.execute(Run("/bin/sleep", "60"))
            lost.append(raised.value)

        asker = threading.Thread(target=ask)
        asker.start()
        cluster.wait(0.5)
        began = time.monotonic()
        cluster.stop()
        assert time.monotonic() - began < 3 * 2.5
        asker.join(10)
    assert "Run('/bin/sleep', '60')" in str(lost[0])
    assert left_on(network) == []


def test_the_time_of_an_outside_batch_counts_from_the_call(network):
    with Golem(1) as golem:
        (instance,) = golem.run_service(Echo).wait_until_running(timeout=30)
        slow = threading.Thread(target=instance.execute, args=(Run("/bin/sleep", "2"),))
        slow.start()

        def ask_until_its_turn_does_not_come() -> None:
            while slow.is_alive():
                instance.execute(Run("/bin/true"), timeout=0.2)

        with pytest.raises(BatchTimeout, match="not sent"):
            ask_until_its_turn_does_not_come()
        slow.join(10)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("instance_params", 5),
        ("instance_params", [1]),
        ("instance_params", {"a": 1}),
        ("expiration", timedelta.max),
        ("expiration", timedelta(seconds=-1)),
        ("respawn_stop", 3),
        ("respawn_wait", 2),
        ("respawn_running", "no"),
        ("start_timeout", -1),
        ("payload", "vm"),
    ],
)
def test_a_bad_argument_of_run_service_is_an_error_of_our_own_that_names_it(option, value):
    with Golem(1) as golem:
        with pytest.raises(GolemError, match=option):
            golem.run_service(Echo, **{option: value})
        assert golem.clusters == ()


def test_a_budget_that_is_too_small_is_an_error_at_once(network, caplog):
    with Golem("0.00001") as golem:
        cluster = golem.run_service(Echo)
        with pytest.raises(
            ServiceFailed, match=r"would cost 0.0046 GLM, and 0.00001 GLM of the budget are left"
        ):
            cluster.wait_until_running(timeout=30)
    assert golem.cost.amount == 0
    assert golem.cost_report.entries == ()

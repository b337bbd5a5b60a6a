"""Clusters on a daemon in memory: they grow, shrink, answer together, and end as one."""

from __future__ import annotations

import json
import logging
import re
import threading
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from simple_golem import Golem, Instance, Run, Service, ServiceFailed, Strategy, vm
from simple_golem.background.signals import Terminated
from simple_golem.errors import (
    BadCommandList,
    BadInstanceCount,
    BadRespawn,
    BadService,
    BadSetting,
    BadWaitTime,
    BatchTimeout,
    CommandFailed,
    GolemError,
    NotRunning,
    WaitTimeout,
    YagnaError,
)
from simple_golem.services import cluster as cluster_module
from simple_golem.services.pool import renter
from simple_golem.testing import CommandAnswer, FakeAnswer, FakeRequest, FakeYagna
from tests.helpers.recorded_services import (
    AT_ONCE,
    NORMAL_LIFE,
    SECONDS,
    Gate,
    Idle,
    InThread,
    Sleeping,
    await_sleep,
    begun,
    calls,
    gate_of,
    programs,
    seconds_of,
    started,
    states,
)
from tests.unit.conftest import eventually


def test_bad_arguments_of_execute_are_refused_even_if_nothing_runs(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.proposals = "never"
    with Golem(1, raise_failures=False) as golem:
        cluster, _ = begun(golem)
        assert cluster.execute(Run("/bin/true")) == {}
        with pytest.raises(BadCommandList):
            cluster.execute("ls")  # type: ignore[arg-type]
        with pytest.raises(BadWaitTime):
            cluster.execute(Run("/bin/true"), timeout=0)


class Named(Idle):
    def __init__(self, word: str = "nothing") -> None:
        super().__init__()
        self.word = word


def state_of_all(instances: Any) -> list[str]:
    return [one.state.value for one in instances]


# --- growing and shrinking ---------------------------------------------------------------------------


def test_a_cluster_grows_and_shrinks_and_ends_as_one(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Named)
        cluster.wait_until_running(SECONDS)
        (second,) = cluster.spawn(instance_params=[{"word": "second"}])
        second.wait_for("running", SECONDS)
        assert second.service.word == "second"  # type: ignore[attr-defined]
        cluster.resize(3)
        assert len(cluster.wait_until_running(SECONDS)) == 3
        assert sorted(len(one.activities) for one in fake.providers) == [1, 1, 1]
        cluster.resize(1)
        assert state_of_all(cluster) == ["running", "terminated", "terminated"]
        cluster.resize(2)
        assert len(cluster.wait_until_running(SECONDS)) == 2
        cluster.resize(0)
        assert cluster.wait(0)
        cluster.resize(1, wait=False)
        assert [one.name for one in cluster.wait_until_running(SECONDS)] == ["Named-5"]
        cluster.stop()
        for call in (cluster.spawn, lambda: cluster.resize(9)):
            with pytest.raises(NotRunning, match="the cluster of Named has been stopped"):
                call()
    assert [one.name for one in cluster] == [f"Named-{number}" for number in range(1, 6)]
    assert [states(one) for one in cluster] == [NORMAL_LIFE] * 5
    assert [calls(one) for one in cluster] == [["start", "shutdown"]] * 5


def test_shrinking_without_waiting_stops_the_youngest(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Idle, num_instances=3)
        cluster.wait_until_running(SECONDS)
        cluster.resize(1, wait=False)
        cluster.resize(1)  # those that are being stopped are not counted
        eventually(lambda: state_of_all(cluster) == ["running", "terminated", "terminated"])
        assert len(cluster) == 3


@pytest.mark.parametrize("number", [-1, 1.5, True, "2"])
def test_a_size_that_makes_no_sense_is_refused(fake: FakeYagna, number: Any) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        for call in (cluster.resize, cluster.spawn, lambda n: golem.run_service(Idle, num_instances=n)):
            with pytest.raises(BadInstanceCount, match="num_instances is"):
                call(number)
        assert len(cluster) == len(golem.instances) == 1


def test_a_cluster_begins_with_an_instance_at_least(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        with pytest.raises(BadInstanceCount, match="num_instances is"):
            golem.run_service(Idle, num_instances=0)
        assert golem.clusters == ()


@pytest.mark.parametrize("params", [[], [{}, {}], {"word": 1}, "ab", 5, [1], [{1: 2}]])
def test_parameters_that_make_no_sense_are_refused(fake: FakeYagna, params: Any) -> None:
    with Golem(1) as golem:
        with pytest.raises(BadInstanceCount, match="instance_params"):
            golem.run_service(Named, num_instances=1, instance_params=params)
        assert golem.clusters == ()
    assert not any("/demands" in one.path for one in fake.requests)


def test_a_constructor_that_raises_starts_nothing(fake: FakeYagna) -> None:
    class Picky(Named):
        def __init__(self, word: str) -> None:
            super().__init__(word)
            if word == "no":
                raise ValueError("not this one")

    with Golem(1) as golem:
        with pytest.raises(ValueError, match="not this one"):
            golem.run_service(Picky, instance_params=[{"word": "yes"}, {"word": "no"}])
        assert golem.clusters == ()
        cluster = golem.run_service(Picky, instance_params=[{"word": "yes"}])
        with pytest.raises(ValueError, match="not this one"):
            cluster.spawn(instance_params=[{"word": "yes"}, {"word": "no"}])
        assert len(cluster) == 1


def no_demands(request: FakeRequest) -> FakeAnswer | None:
    if (request.method, request.path) == ("POST", "/market-api/v1/demands"):
        return FakeAnswer.of_message("no more demands", 400)
    return None


def test_a_demand_that_can_not_be_published_starts_nothing(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        end = fake.intercept(no_demands)
        with pytest.raises(YagnaError, match="no more demands"):
            golem.run_service(Idle)
        assert golem.clusters == ()
        end()
        cluster = golem.run_service(Idle)
        cluster.wait_until_running(SECONDS)
        cluster.resize(0)
        fake.intercept(no_demands)
        with pytest.raises(YagnaError, match="no more demands"):
            cluster.spawn()
        assert cluster.wait(SECONDS)
        assert state_of_all(cluster) == ["terminated", "terminated"]


def test_a_cluster_of_which_nothing_is_left_can_be_filled_again(fake: FakeYagna) -> None:
    class Once(Idle):
        def run(self) -> Any:
            self.calls.append("run")

    with Golem(1) as golem:
        cluster = golem.run_service(Once)
        for _ in range(2):
            assert cluster.wait(SECONDS)
            fake.wait_for(lambda: not any(one.startswith("demand") for one in fake.leftovers()))
            cluster.spawn()
        assert cluster.wait(SECONDS)
    assert [states(one) for one in cluster] == [NORMAL_LIFE] * 3


# --- names -------------------------------------------------------------------------------------------


def test_instances_are_called_as_the_script_says_and_their_numbers_go_on(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        first = golem.run_service(Idle)
        second = golem.run_service(Idle, num_instances=2)
        plain = golem.run_service()  # Service itself
        databases = golem.run_service(Idle, name="db", num_instances=2)
        (more,) = databases.spawn()
        assert [one.name for one in (*first, *second)] == ["Idle-1", "Idle-2", "Idle-3"]
        assert [one.name for one in plain] == ["Service-1"]
        assert type(plain.instances[0].service) is Service
        assert [one.name for one in databases] == ["db-1", "db-2", "db-3"]
        assert more.service.name == "db-3"
        assert repr(databases).startswith("<Cluster of 3 db: db-1 ")
        eventually(lambda: golem.cost_report.entries)
        for cluster in (second, plain, databases):
            cluster.stop()
        assert [one.name for one in golem.run_service(name="db")] == ["db-4"]
    with Golem(1) as golem:
        assert [one.name for one in golem.run_service(Idle)] == ["Idle-1"]


def test_the_cost_report_knows_a_cluster_by_its_name(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        golem.run_service(Idle, name="db").wait_until_running(SECONDS)
    assert [(one.cluster, one.instance) for one in golem.cost_report.entries] == [("db", "db-1")]


@pytest.mark.parametrize("name", ["", " ", 5])
def test_a_name_that_is_none_is_refused(fake: FakeYagna, name: Any) -> None:
    with Golem(1) as golem:
        with pytest.raises(BadSetting, match="name is"):
            golem.run_service(Idle, name=name)
        assert golem.clusters == ()


# --- waiting -----------------------------------------------------------------------------------------


def test_enough_of_them_may_be_waited_for(fake: FakeYagna) -> None:
    fake.providers[0].agreements_wanted = "never"
    with Golem(1) as golem:
        cluster = golem.run_service(Idle, num_instances=3)
        assert len(cluster.wait_until_running(SECONDS, count=2)) >= 2
        with pytest.raises(WaitTimeout, match=r"2 of 3 instances were running after 0\.05 s.* pending"):
            cluster.wait_until_running(0.05)
        for count in (0, 4, True, "2"):
            with pytest.raises(BadInstanceCount, match="give 1 to 3, the number of instances"):
                cluster.wait_until_running(count=count)  # type: ignore[arg-type]
        assert not cluster.wait(0)
        with pytest.raises(BadWaitTime, match="timeout"):
            cluster.wait(-1)


def test_stopped_instances_are_not_waited_for_and_finished_ones_count(fake: FakeYagna) -> None:
    class Quick(Idle):
        def run(self) -> Any:
            return None

    with Golem(1) as golem:
        quick = golem.run_service(Quick, num_instances=2)
        assert quick.wait(SECONDS)
        assert quick.wait_until_running(0) == quick.instances
        cluster = golem.run_service(Idle, num_instances=2)
        first, _ = cluster.wait_until_running(SECONDS)
        first.stop()
        assert cluster.wait_until_running(0) == cluster.instances[1:]
        cluster.stop()
        with pytest.raises(ServiceFailed, match="2 of 2 instances have ended, so 1 can't be running"):
            cluster.wait_until_running(0)


def test_a_wait_that_can_not_succeed_any_more_fails_at_once_with_its_causes(fake: FakeYagna) -> None:
    class Broken(Idle):
        def start(self) -> Any:
            raise LookupError("no such luck")

    with Golem(1) as golem:
        cluster = golem.run_service(Broken, num_instances=2)
        with pytest.raises(ServiceFailed) as raised:
            cluster.wait_until_running(SECONDS, count=2)
        assert cluster.wait(SECONDS)
        assert "instances have ended, so 2 can't be running any more" in str(raised.value)
        assert isinstance(raised.value.failures[0], LookupError)
        with pytest.raises(ServiceFailed) as raised:
            cluster.wait_until_running(SECONDS)
        for name in ("Broken-1 on prov-", "Broken-2 on prov-", "LookupError: no such luck"):
            assert name in str(raised.value)


def test_a_wait_in_vain_tells_how_the_last_attempt_has_failed(fake: FakeYagna) -> None:
    gate, attempts = Gate(), list[str | None]()

    class Late(Idle):
        def start(self) -> Any:
            attempts.append(self.provider_name)
            if len(attempts) == 1:
                raise LookupError("no such luck")
            gate.wait()

    with Golem(1) as golem:
        cluster = golem.run_service(Late, **AT_ONCE)
        assert gate.reached.wait(SECONDS)
        last = r"\n  the last attempt of Late-1 failed, .*test_cluster.py:\d+: LookupError: no such luck$"
        try:
            with pytest.raises(WaitTimeout, match=f"Late-1 starting; \\d+ offers seen .*{last}"):
                cluster.wait_until_running(0.01)
            assert not cluster.wait(0.01)
            assert re.search(last, str(cluster.instances[0]._record.waited_in_vain))
        finally:
            gate.open()
        cluster.wait_until_running(SECONDS)


def test_a_failed_command_has_its_last_output_in_the_error_of_all(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = {"/bin/start": CommandAnswer("", "loading\nsh: touch: not found\n", exit_code=127)}

    class Broken(Idle):
        def start(self) -> Any:
            return Run("/bin/start")

    with Golem(1) as golem:
        cluster = golem.run_service(Broken, respawn_unstarted_instances=False)
        with pytest.raises(ServiceFailed) as raised:
            cluster.wait_until_running(SECONDS)
    assert str(raised.value).endswith(": exit code 127 (stderr: sh: touch: not found)")
    assert "loading" not in str(raised.value)


def test_the_changes_of_state_can_be_iterated_over(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        seen = []
        for instance, state in cluster.state_changes(SECONDS):
            seen.append((instance.name, state.value))
            if state == "running":
                cluster.stop(wait=False)
        assert seen == [("Idle-1", state) for state in NORMAL_LIFE[1:]]
        assert [state for _, state in cluster.state_changes()] == NORMAL_LIFE[1:]
        other = golem.run_service(Idle)
        other.wait_until_running(SECONDS)
        assert [state for _, state in other.state_changes(0.01)] == ["starting", "running"]


# --- asking ------------------------------------------------------------------------------------------


def test_all_that_run_are_asked_side_by_side(fake: FakeYagna) -> None:
    fake.providers[0].answers = {"/bin/ask": "a", "/bin/exit": 7}
    fake.providers[1].answers = {"/bin/ask": "b"}
    with Golem(1) as golem:
        cluster = golem.run_service(Idle, num_instances=2, strategy=first_two)
        cluster.wait_until_running(SECONDS)
        answers = cluster.execute(Run("/bin/ask"))
        assert set(answers) == set(cluster)
        assert sorted(one.stdout for one in answers.values()) == ["a", "b"]  # type: ignore[union-attr]
        failed, fine = sorted(cluster.execute(Run("/bin/exit")).items(), key=by_provider)
        assert isinstance(failed[1], CommandFailed)
        assert not isinstance(fine[1], GolemError)
        assert set(cluster.execute(Run("/bin/ask"), timeout=SECONDS)) == set(cluster)
        cluster.instances[0].stop()
        assert set(cluster.execute(Run("/bin/ask"))) == {cluster.instances[1]}
        cluster.stop()
        assert cluster.execute(Run("/bin/ask")) == {}


def first_two(offer: Any) -> float | None:
    return {"prov-1": 1.0, "prov-2": 1.0}.get(offer.provider_name)


def by_provider(answer: Any) -> str:
    return str(answer[0].provider_name)


def test_the_time_of_a_batch_for_all_counts_from_the_call(fake: FakeYagna) -> None:
    gate = gate_of(fake)
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        (instance,) = cluster.wait_until_running(SECONDS)
        slow = InThread(instance.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        (answer,) = cluster.execute(Run("/bin/never"), timeout=0.05).values()
        assert isinstance(answer, BatchTimeout)
        gate.open()
        assert slow.join().error is None
    assert not any("/bin/never" in programs(one) for one in fake.providers)


# --- ending ------------------------------------------------------------------------------------------


def test_leaving_its_with_stops_it_and_no_other_one(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        other = golem.run_service(Idle)
        with golem.run_service(Idle, num_instances=2) as cluster:
            cluster.wait_until_running(SECONDS)
            other.wait_until_running(SECONDS)
            assert len({one.provider_id for one in golem.instances}) == 3
        assert state_of_all(cluster) == ["terminated"] * 2
        assert state_of_all(other) == ["running"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(143)])
def test_leaving_its_with_by_a_signal_only_asks_it_to_end_in_short_times(
    fake: FakeYagna, error: BaseException
) -> None:
    with Golem(1) as golem:
        cluster, instance = begun(golem, Sleeping)
        await_sleep(fake)
        with pytest.raises(type(error)), cluster:
            raise error
        # Its batch has the second of an interruption, not the ten of a stop.
        assert cluster.wait(3 * 1.0)
    assert calls(instance) == ["start", "run"]
    assert instance.failure is None


def test_a_stop_that_takes_too_long_is_said_and_goes_on(fake: FakeYagna) -> None:
    gate = gate_of(fake)

    class Slow(Idle):
        def shutdown(self) -> Any:
            super().shutdown()
            return Run("/bin/gate")

    with Golem(1) as golem:
        cluster = golem.run_service(Slow)
        cluster.wait_until_running(SECONDS)
        with pytest.raises(WaitTimeout, match=r"not all instances had stopped after 0\.05 s: Slow-1"):
            cluster.stop(timeout=0.05)
        gate.open()
        cluster.stop(timeout=SECONDS)
    assert states(cluster.instances[0]) == NORMAL_LIFE


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (timedelta(seconds=-1), "which is past"),
        (timedelta.max, "which no calendar reaches"),
        (datetime(2100, 1, 1), "which has no time zone"),
        ("tomorrow", "give a timedelta from now"),
    ],
)
def test_an_expiration_that_makes_no_sense_is_refused(fake: FakeYagna, value: Any, what: str) -> None:
    with Golem(1) as golem:
        with pytest.raises(BadWaitTime, match=what):
            golem.run_service(Idle, expiration=value)
        assert golem.clusters == ()


def test_an_expiration_may_be_a_moment_and_is_three_hours_from_now_else(fake: FakeYagna) -> None:
    moment = datetime.now(timezone.utc) + timedelta(hours=1)
    with Golem(1) as golem:
        assert golem.run_service(Idle, expiration=moment).expiration == moment
        usual = golem.run_service(Idle).expiration - datetime.now(timezone.utc)
        assert timedelta(minutes=179) < usual <= timedelta(minutes=180)


@pytest.mark.parametrize(("hours", "seconds"), [(9, None), (10, 86400), (12, 86400)])
def test_from_ten_hours_on_its_agreements_are_paid_while_they_last(
    fake: FakeYagna, hours: int, seconds: int | None
) -> None:
    """Providers reject them otherwise."""
    with Golem(1) as golem:
        golem.run_service(Idle, expiration=timedelta(hours=hours)).wait_until_running(SECONDS)
    counters = [
        json.loads(one.body)["properties"]
        for one in fake.requests
        if one.method == "POST" and "/proposals/" in one.path and not one.path.endswith("/reject")
    ]
    assert {one.get("golem.com.scheme.payu.payment-timeout-sec?") for one in counters} == {seconds}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"respawn_unstarted_instances": 1}, BadRespawn),
        ({"respawn_running": "no"}, BadRespawn),
        ({"respawn_stop": 3}, BadRespawn),
        ({"respawn_wait": 2}, BadRespawn),
        ({"start_timeout": -1}, BadWaitTime),
        ({"payload": "vm"}, GolemError),
        ({"strategy": 1}, GolemError),
        ({"terms": 1}, GolemError),
    ],
)
def test_a_bad_argument_is_named_before_anything_is_spent(
    fake: FakeYagna, options: dict[str, Any], error: type[Exception]
) -> None:
    with Golem(1) as golem:
        with pytest.raises(error, match=next(iter(options))):
            golem.run_service(Idle, **options)
        assert golem.clusters == ()
    assert not any("/demands" in one.path for one in fake.requests)


def test_a_value_that_is_not_a_service_is_refused(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        for nonsense in (int, Idle(), "Idle"):
            with pytest.raises(BadService):
                golem.run_service(nonsense)  # type: ignore[arg-type]


# --- what is shown -----------------------------------------------------------------------------------


def test_it_shows_its_instances_and_what_they_cost(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Idle, num_instances=2)
        cluster.wait_until_running(SECONDS)
        assert repr(cluster) == "<Cluster of 2 Idle: Idle-1 running, Idle-2 running>"
        assert len(cluster) == 2
        assert list(cluster) == list(cluster.instances)
        cluster.stop()
    assert cluster.cost.amount == sum(one.cost.amount for one in cluster) == golem.cost.amount > 0
    assert repr(cluster) == "<Cluster of 2 Idle: Idle-1 terminated, Idle-2 terminated>"


def test_the_log_says_what_providers_have_answered_while_a_cluster_waits(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.proposals = "no"
        provider.reason = "on holiday"
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        eventually(lambda: "3 rejected because: on holiday" in cluster.market_report())
        with pytest.raises(WaitTimeout, match="3 offers seen in the subnet 'public', 0 busy, 3 rejected"):
            cluster.wait_until_running(0.01)
        nobody = golem.run_service(Service, payload=vm.repo(min_mem_gib=100_000))
        assert nobody.market_report().startswith("0 offers seen in the subnet 'public': is that the right")


OWN_LIMIT = (
    "3 offers seen in the subnet 'public', and the price limits of your Strategy refuse all of them: "
    "max_price_per_hour is 0.1, and the cheapest above it asks for 0.36"
)


@pytest.mark.parametrize("way", ["cluster", "rent", "pool"])
def test_a_wait_whose_own_price_limits_refuse_all_offers_says_so_each_minute(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    for module in (cluster_module, renter):
        monkeypatch.setattr(module, "_FIRST_SEARCH_WARNING_SECONDS", 0.2)
        monkeypatch.setattr(module, "_NEXT_SEARCH_WARNING_SECONDS", 0.2)
    fake.providers[0].per_second = Decimal("0.0002")
    limits = Strategy(max_price_per_hour="0.1")

    def warnings() -> int:
        return sum(OWN_LIMIT in one.getMessage() for one in caplog.records if one.levelname == "WARNING")

    with Golem(1) as golem:
        if way == "cluster":
            golem.run_service(Idle, strategy=limits)
        elif way == "rent":
            with pytest.raises(WaitTimeout, match="the price limits of your Strategy refuse all of them"):
                golem.rent(3, strategy=limits)
            assert warnings()
            return
        with golem.pool(1, strategy=limits) as pool:
            if way == "pool":
                item = pool.submit(Instance.shell, "true")
            eventually(lambda: warnings() >= 2)
            if way == "pool":
                assert item.cancel()
        for cluster in golem.clusters:
            cluster.stop()


def test_price_limits_that_refuse_only_some_offers_are_rejections_like_others(fake: FakeYagna) -> None:
    fake.providers[0].per_second = Decimal("0.0002")
    fake.providers[1].start = Decimal(1)
    with Golem(1) as golem:
        some = golem.run_service(Idle, strategy=Strategy(max_price_per_hour="0.5", max_start_price="0.5"))
        some.wait_until_running(SECONDS)
        rejected = "1 rejected because: A price of 0.72 GLM per hour is above 0.5"
        eventually(lambda: rejected in some.market_report())
        fake.providers[2].start = Decimal(2)
        none = golem.run_service(Idle, strategy=Strategy(max_price_per_hour="0.5", max_start_price="0.5"))
        all_refused = (
            "refuse all of them: max_price_per_hour is 0.5, and the cheapest above it asks for 0.72; "
            "max_start_price is 0.5, and the cheapest above it asks for 1"
        )
        eventually(lambda: none.market_report().endswith(all_refused))
        none.stop()


def test_closing_reports_a_cluster_that_never_ran(fake: FakeYagna, caplog: pytest.LogCaptureFixture) -> None:
    with Golem(1) as golem:
        started(golem)
        golem.run_service(Service, payload=vm.repo(min_mem_gib=100_000))
    assert "<Cluster of 1 Service: Service-1 pending> is stopped before anything of it ran" in caplog.text
    assert "cluster.wait_until_running()" in caplog.text
    assert "Cluster of 1 Idle" not in caplog.text
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("step", "later"), [("/agreements", ""), ("/confirm", "/cancel"), ("/wait", "/cancel")]
)
def test_a_stop_in_the_middle_of_an_agreement_leaves_none(fake: FakeYagna, step: str, later: str) -> None:
    """The daemon carries out the request that was abandoned, but only after a later one."""
    reached, stopped = threading.Event(), threading.Event()

    def hold(request: FakeRequest) -> None:
        if request.method == "POST" and request.path.endswith(step):
            reached.set()
            stopped.wait(SECONDS)

    fake.intercept(hold)
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        assert reached.wait(SECONDS)
        before = fake.requests
        cluster.stop(wait=False)
        fake.wait_for(lambda: any(one.path.endswith(later) for one in fake.requests if one not in before))
        stopped.set()
        assert cluster.wait(SECONDS)


def test_a_daemon_that_does_not_answer_does_not_keep_a_golem_from_closing(
    littered: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_golem.engine.session._LAST_REQUESTS_SECONDS_IF_LIMITED", 0.5)
    gate = Gate()

    def hold_demands(request: FakeRequest) -> None:
        if request.method == "POST" and request.path.endswith("/demands"):
            gate.wait()

    littered.intercept(hold_demands)
    golem = Golem(1, raise_failures=False).open()
    call = InThread(golem.run_service, Idle)
    assert gate.reached.wait(SECONDS)
    assert seconds_of(golem.close, timeout=0.5) < 3 * (0.5 + 0.5)
    gate.open()
    assert isinstance(call.join().error, NotRunning)
    # The daemon has published the demand in the end. The next session finds it.
    eventually(lambda: any(one.startswith("demand") for one in littered.leftovers()))
    with Golem(1):
        eventually(lambda: len(littered.leftovers()) == 1)
    assert littered.leftovers() == []

"""`golem.rent()`: one running machine, without a class and without a cluster in sight."""

from __future__ import annotations

import inspect
import json
import typing
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from simple_golem import Golem, Instance, Offer, Run, Service, ServiceFailed, ServiceState, vm
from simple_golem.background.signals import Terminated
from simple_golem.errors import BadInstanceCount, BadPayload, BadWaitTime, GolemError, NotRunning, WaitTimeout
from simple_golem.model.payload.repo_options import RepoOptions
from simple_golem.testing import FakeProvider, FakeYagna
from tests.helpers.recorded_services import SECONDS, Idle, InThread, calls, gate_of


def provider_of(fake: FakeYagna) -> FakeProvider:
    (provider,) = (one for one in fake.providers if one.activities)
    return provider


def demands(fake: FakeYagna) -> list[Any]:
    return [
        json.loads(one.body)
        for one in fake.requests
        if one.method == "POST" and one.path.endswith("/demands")
    ]


def test_a_machine_is_running_when_the_call_returns(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = {"/bin/sh -c uname": "Linux\n"}
    with Golem(1) as golem:
        machine = golem.rent(SECONDS)
        assert isinstance(machine, Instance)
        assert machine.state is ServiceState.running
        assert str(machine.shell("uname")) == "Linux"
    assert machine.state is ServiceState.terminated
    assert machine.failure is None


def test_a_price_with_more_digits_than_python_usually_counts_ends_no_search(fake: FakeYagna) -> None:
    dear, *others = fake.providers
    dear.start = Decimal("1e25")
    with Golem(1, strategy=dearest_start_first) as golem:
        assert golem.rent(SECONDS).provider_name != dear.name
    for other in others:
        other.shut_down()
    with Golem(1) as golem, pytest.raises(ServiceFailed) as caught:
        golem.rent(SECONDS)
    assert "would cost 10000000000000000000000000.00" in str(caught.value)


def dearest_start_first(offer: Offer) -> float:
    assert offer.prices is not None
    return float(offer.prices.start)


def test_it_takes_the_arguments_of_vm_repo(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        golem.rent(
            SECONDS, image_tag="me/image:latest", min_mem_gib=2, constraints=["(golem.inf.cpu.threads>=2)"]
        )
        (demand,) = demands(fake)
        assert "(golem.inf.mem.gib>=2)" in demand["constraints"]
        assert "(golem.inf.cpu.threads>=2)" in demand["constraints"]


@pytest.mark.parametrize("call", [vm.repo, Golem.rent])
def test_all_arguments_of_vm_repo_are_known(call: Any) -> None:
    options = set(typing.get_type_hints(RepoOptions))
    if call is vm.repo:
        assert set(inspect.signature(call).parameters) == options
    else:
        assert not set(inspect.signature(call).parameters) & options


def test_it_takes_a_payload_a_class_and_its_parameters(fake: FakeYagna) -> None:
    class Prepared(Idle):
        def __init__(self, word: str) -> None:
            super().__init__()
            self.word = word

    with Golem(1) as golem:
        machine = golem.rent(
            SECONDS,
            service_class=Prepared,
            service_params={"word": "hello"},
            payload=vm.repo(min_mem_gib=3),
            expiration=timedelta(hours=1),
        )
        assert machine.service.word == "hello"  # type: ignore[attr-defined]
        assert calls(machine) == ["start"]
        assert "(golem.inf.mem.gib>=3)" in demands(fake)[0]["constraints"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"payload": vm.repo(), "min_mem_gib": 2}, BadPayload, "payload is given, and min_mem_gib too"),
        ({"min_mem_gib": -1}, BadPayload, "min_mem_gib is -1"),
        ({"timeout": -1}, BadWaitTime, "timeout can't be -1"),
        ({"service_params": 3}, BadInstanceCount, "instance_params has 3"),
        ({"memory": 3}, TypeError, "memory"),
    ],
)
def test_arguments_that_make_no_sense_rent_nothing(
    fake: FakeYagna, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with Golem(1) as golem:
        with pytest.raises(error, match=says):
            golem.rent(**options)
        assert golem.instances == ()
    assert demands(fake) == []


def test_a_with_statement_ends_it_early(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        with golem.rent(SECONDS, service_class=Idle) as machine:
            assert len(provider_of(fake).activities) == 1
        assert machine.state is ServiceState.terminated
        assert [one.activities for one in fake.providers] == [[], [], []]
        assert calls(machine) == ["start", "shutdown"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, Terminated])
def test_an_interrupted_with_statement_leaves_the_waiting_to_the_golem(
    fake: FakeYagna, kind: type[BaseException]
) -> None:
    golem = Golem(1)
    with pytest.raises(kind), golem, golem.rent(SECONDS, service_class=Idle):
        raise kind(15)
    (machine,) = golem.instances
    assert machine.state is ServiceState.terminated


def test_a_machine_that_does_not_come_in_time_is_stopped(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.proposals = "never"
    with Golem(1) as golem:
        with pytest.raises(WaitTimeout, match=r"0 of 1 instances were running after 0\.2 s"):
            golem.rent(0.2)
        (machine,) = golem.instances
        assert machine.state is ServiceState.terminated


class Broken(Service):
    def start(self) -> None:
        raise ValueError("not here")


def test_a_machine_that_fails_before_it_runs_is_told_once(fake: FakeYagna) -> None:
    with Golem(1) as golem, pytest.raises(ServiceFailed, match="not here"):
        golem.rent(SECONDS, service_class=Broken, respawn_unstarted_instances=False)


def lost(fake: FakeYagna, machine: Instance) -> None:
    provider_of(fake).terminate_agreement()
    machine.wait_for("terminated", SECONDS)


def test_a_lost_machine_raises_in_the_call_that_needs_it(losing: FakeYagna) -> None:
    with Golem(1) as golem:
        machine = golem.rent(SECONDS)
        lost(losing, machine)
        with pytest.raises(NotRunning, match="Service-1 is terminated") as caught:
            machine.shell("uname")
        assert caught.value.__cause__ is machine.failure is not None
    # The script has caught it, so the end of the Golem raises nothing.


def test_a_machine_that_is_lost_under_way_raises_there(losing: FakeYagna) -> None:
    with Golem(1) as golem:
        machine = golem.rent(SECONDS)
        gate = gate_of(losing)
        asking = InThread(machine.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        # By the test, not by the command itself, which has to end before its provider can send an invoice.
        provider_of(losing).terminate_agreement()
        assert isinstance(asking.join().error, GolemError)
        gate.open()
        machine.wait_for("terminated", SECONDS)
        assert machine.failure is not None


def test_a_lost_machine_that_nobody_asks_any_more_is_a_failure(losing: FakeYagna) -> None:
    with pytest.raises(ServiceFailed, match="1 of 1 instances failed"), Golem(1) as golem:
        lost(losing, golem.rent(SECONDS))


def test_the_loss_of_an_instance_of_a_service_is_a_failure_also_if_a_call_has_told_it(
    losing: FakeYagna,
) -> None:
    def told() -> None:
        with Golem(1) as golem:
            (instance,) = golem.run_service(Service).wait_until_running(SECONDS)
            lost(losing, instance)
            with pytest.raises(NotRunning):
                instance.shell("uname")

    with pytest.raises(ServiceFailed, match="1 of 1 instances failed"):
        told()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image": "golem/alpine:latest"}, "golem.rent() has no argument 'image': did you mean image_tag?"),
        ({"min_memory_gib": 2}, "golem.rent() has no argument 'min_memory_gib': did you mean min_mem_gib?"),
        (
            {"min_mem_gib": 2, "num_instances": 2},
            "golem.rent() has no argument 'num_instances': it rents one machine, and "
            "golem.run_service(Service, num_instances=…) several",
        ),
        ({"colour": "red"}, "golem.rent() has no argument 'colour'"),
    ],
)
def test_an_argument_that_is_not_there_is_told_with_the_one_that_may_be_meant(
    fake: FakeYagna, wrong: dict[str, Any], words: str
) -> None:
    with Golem(1) as golem:
        with pytest.raises(TypeError) as raised:
            golem.rent(**wrong)
        assert str(raised.value) == words
        assert golem.clusters == ()

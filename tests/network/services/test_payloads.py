"""Every kind of payload on the real daemon: which providers it reaches, and what they make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from simple_golem import Golem, Payload, Run, Service, vm
from simple_golem.errors import YagnaError
from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.model.commands.commands import Deploy, Start
from simple_golem.model.events.batches import BatchEnded
from simple_golem.model.events.event import Event
from simple_golem.model.payload.constraints import constraint
from simple_golem.model.payload.properties import GPU

HABITS = {
    "plain": ProviderHabits(mem_gib=2.0, cpu_threads=2),
    "wasmtime": ProviderHabits(runtime="wasmtime"),
    "small card": ProviderHabits(gpu="NVIDIA GeForce RTX 3060 Ti", gpu_mem_gib=8.0),
    "big card": ProviderHabits(gpu="NVIDIA GeForce RTX 4090", gpu_mem_gib=24.0),
    "claims inet": ProviderHabits(claims=("inet",)),
}
NAMES = {name: f"prov-{number}" for number, name in enumerate(HABITS, 1)}


@pytest.fixture(scope="module")
def network() -> Iterator[LocalGolem]:
    """A network with one provider of each kind, in place of the usual one."""
    with LocalGolem(providers=list(HABITS.values()), chain=False) as network:
        yield network


@pytest.fixture
def golem(golem_environment: None) -> Iterator[Golem]:
    with Golem(budget=1) as golem:
        yield golem


def found(golem: Golem, payload: Payload, seconds: float) -> set[str]:
    """The kinds of the providers that offer what a payload asks for."""
    kinds = {provider: kind for kind, provider in NAMES.items()}
    return {kinds[offer.provider_name] for offer in golem.offers(payload, timeout=seconds)}


def ended_batches(golem: Golem) -> list[BatchEnded]:
    ended: list[BatchEnded] = []

    def keep(event: Event) -> None:
        if isinstance(event, BatchEnded):
            ended.append(event)

    golem.on_event(keep)
    return ended


VM, CARDS = {"plain", "claims inet"}, {"small card", "big card"}
ASKED: dict[str, tuple[Payload, set[str]]] = {
    "nothing special": (vm.repo(), VM),
    "more memory": (vm.repo(min_mem_gib=3), {"claims inet"}),
    "more cores": (vm.repo(min_cpu_cores=3), {"claims inet"}),
    "cores that nobody has": (vm.repo(min_cpu_cores=5), set()),
    "a capability": (vm.repo(capabilities=["manifest-support"]), VM),
    "any card": (vm.repo(gpu=True), CARDS),
    "a model": (vm.repo(gpu="NVIDIA GeForce RTX 4090"), {"big card"}),
    "a kind of models": (vm.repo(gpu="NVIDIA*3060*"), {"small card"}),
    "a card with memory": (vm.repo(gpu=True, min_gpu_mem_gib=16), {"big card"}),
    "a manifest": (vm.manifest(), VM),
    "outbound access": (vm.manifest(outbound=["https://api.example.com"]), {"claims inet"}),
    "outbound access of a card": (vm.manifest(outbound=True, gpu=True), set()),
    "another runtime": (Payload(runtime="wasmtime"), {"wasmtime"}),
    "not": (Payload(constraints=["(!(golem.runtime.name=vm))"]), {"wasmtime", *CARDS}),
    "or": (
        Payload(constraints=["(|(golem.runtime.name=wasmtime)(golem.inf.mem.gib<=2))"]),
        {"wasmtime", "plain"},
    ),
    "and": (Payload(constraints=["(&(golem.runtime.name=vm)(golem.inf.mem.gib>2))"]), {"claims inet"}),
    "less": (Payload(constraints=[constraint("golem.inf.mem.gib", "<", 8)]), {"plain"}),
    "is there": (Payload(constraints=[constraint(f"{GPU}.model", "=", "*")]), CARDS),
}


def test_a_payload_finds_the_providers_that_have_what_it_asks_for_and_no_others(golem: Golem) -> None:
    with ThreadPoolExecutor(len(ASKED)) as pool:
        # The first offer ends the waiting for others, a second later. All ask at the same moment.
        finding = {
            name: pool.submit(found, golem, payload, 20.0 if expected else 2.0)
            for name, (payload, expected) in ASKED.items()
        }
    kinds = {name: future.result() for name, future in finding.items()}
    assert kinds == {name: expected for name, (_, expected) in ASKED.items()}


def test_a_custom_payload_is_deployed_and_started_as_it_says_and_needs_no_method(golem: Golem) -> None:
    payload = Payload(
        properties={"golem.srv.app.mine": {"level": 3}},
        runtime="wasmtime",
        deploy=Deploy(env={"GREETING": "hello"}),
        start=Start("--dir", "/golem"),
    )
    ended = ended_batches(golem)
    cluster = golem.run_service(Service, payload=payload)
    (instance,) = cluster.wait_until_running(timeout=60)
    assert instance.provider_name == NAMES["wasmtime"]
    assert instance.execute(Run.shell("echo $GREETING")).stdout == "hello\n"
    (further,) = cluster.spawn()
    assert further.service.deploy() == [payload.deploy, payload.start]
    cluster.stop()
    golem.close()
    assert ended[0].commands == (payload.deploy, payload.start)
    assert json.loads(ended[0].results[1].stdout) == {"args": ["--dir", "/golem"]}


class Shouting(Service):
    """Has a `deploy` of its own, which the payload's commands are not for."""

    @staticmethod
    def get_payload() -> Payload:
        return Payload(runtime="wasmtime", deploy=Deploy(env={"GREETING": "hello"}))

    def deploy(self) -> list[Deploy | Start]:
        return [Deploy(env={"GREETING": "HELLO"}), Start()]


def test_a_deploy_method_comes_before_what_the_payload_says(golem: Golem) -> None:
    cluster = golem.run_service(Shouting)
    (instance,) = cluster.wait_until_running(timeout=60)
    assert instance.execute(Run.shell("echo $GREETING")).stdout == "HELLO\n"
    cluster.stop()


def test_a_provider_holds_an_activity_to_the_manifest_that_was_made_for_it(golem: Golem) -> None:
    payload = vm.manifest(commands=["run /bin/echo .*"])
    cluster = golem.run_service(Service, payload=payload)
    (instance,) = cluster.wait_until_running(timeout=60)
    assert instance.execute(Run("/bin/echo", "as", "declared")).stdout == "as declared\n"
    with pytest.raises(YagnaError, match="no matching manifest entry found for 'run /bin/cat /etc/passwd'"):
        instance.execute(Run("/bin/cat", "/etc/passwd"))
    assert instance.execute(Run("/bin/echo", "still")).stdout == "still\n"
    cluster.stop()


def test_a_payload_with_outbound_access_runs_where_the_offer_has_it(golem: Golem) -> None:
    payload = vm.manifest(outbound=["https://api.example.com"])
    cluster = golem.run_service(Service, payload=payload)
    (instance,) = cluster.wait_until_running(timeout=60)
    assert instance.provider_name == NAMES["claims inet"]
    assert instance.execute(Run("/bin/echo", "on", "the way")).stdout == "on the way\n"
    cluster.stop()

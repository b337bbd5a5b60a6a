"""What `vm.repo` asks of the machine, and what a service makes of its payload's deploy and start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from simple_golem.errors import BadPayload
from simple_golem.model.commands.commands import Deploy, Run, Start
from simple_golem.model.payload import vm
from simple_golem.model.payload.payload import Payload
from simple_golem.model.service.service import Service, made_for

GPU = "golem.!exp.gap-35.v1.inf.gpu"


def test_cores_are_asked_for_only_if_they_are_given() -> None:
    assert "(golem.inf.cpu.cores>=3)" in vm.repo(min_cpu_cores=3).constraints
    assert not any("cores" in constraint for constraint in vm.repo().constraints)


def test_any_graphics_card_is_another_runtime_and_a_capability() -> None:
    payload = vm.repo(gpu=True, capabilities=["vpn"])
    assert payload.constraints[0] == "(golem.runtime.name=vm-nvidia)"
    assert payload.constraints[-2:] == (
        "(golem.runtime.capabilities=!exp:gpu)",
        "(golem.runtime.capabilities=vpn)",
    )
    assert not any(GPU in constraint for constraint in payload.constraints)


def test_a_model_and_its_memory_are_asked_for_under_the_old_and_the_new_name() -> None:
    constraints = vm.repo(gpu="NVIDIA GeForce RTX 4090", min_gpu_mem_gib=16).constraints
    assert f"(|({GPU}.model=NVIDIA GeForce RTX 4090)({GPU}.d0.model=NVIDIA GeForce RTX 4090))" in constraints
    assert f"(|({GPU}.memory.total.gib>=16)({GPU}.d0.memory.total.gib>=16))" in constraints


def test_a_manifest_can_ask_for_a_graphics_card_too() -> None:
    payload = vm.manifest(gpu=True)
    assert payload.runtime == "vm-nvidia"
    assert "(golem.runtime.capabilities=!exp:gpu)" in payload.constraints


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"gpu": ""}, "gpu is ''"),
        ({"gpu": 1}, "gpu is 1"),
        ({"gpu": None}, "gpu is None"),
        ({"gpu": "*4090"}, "can't begin with"),
        ({"gpu": "RTX (mobile)"}, "gpu is"),
        ({"gpu": True, "min_gpu_mem_gib": 0}, "min_gpu_mem_gib is 0"),
        ({"gpu": True, "min_gpu_mem_gib": float("nan")}, "min_gpu_mem_gib is nan"),
        ({"min_gpu_mem_gib": 8}, "needs a gpu"),
        ({"min_cpu_cores": 0}, "min_cpu_cores is 0"),
        ({"min_cpu_cores": True}, "min_cpu_cores is True"),
    ],
    ids=str,
)
def test_a_machine_that_can_not_be_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadPayload, match=problem):
        vm.repo(**arguments)
    with pytest.raises(BadPayload, match=problem):
        vm.manifest(**arguments)


def test_the_payloads_of_the_guide_can_be_made() -> None:
    page = Path(__file__).parents[4].joinpath("docs/guide/payloads.md").read_text()
    (program,) = re.findall(r"```python\n([^`]*?\bvm\.manifest\(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(program.replace("\nPayload(", "\ncustom = Payload("), names)
    assert cast(Payload, names["custom"]).start == Start("--listen", "8080")


def test_an_unknown_keyword_is_an_error_of_the_call() -> None:
    with pytest.raises(TypeError, match="min_memory"):
        vm.repo(min_memory=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="payload_hash"):
        Payload(payload_hash="x")  # type: ignore[call-arg]


# --- deploy and start ------------------------------------------------------------------------------------


def test_a_runtime_by_its_name_is_one_constraint_however_often_it_is_said() -> None:
    own = "(golem.runtime.name=wasmtime)"
    assert Payload(runtime="wasmtime").constraints == (own,)
    assert Payload(constraints=["(a=b)", own], runtime="wasmtime").constraints == ("(a=b)", own)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"runtime": ""}, "runtime is ''"),
        ({"runtime": "a)(b"}, "runtime is"),
        ({"runtime": 5}, "runtime is 5"),
        ({"deploy": {"env": {}}}, "deploy is"),
        ({"deploy": Start()}, "deploy is"),
        ({"start": ["--verbose"]}, "start is"),
        ({"start": Run("/bin/date")}, "start is"),
        ({"image": "golem/alpine"}, "image is"),
    ],
    ids=str,
)
def test_a_payload_that_no_runtime_could_take_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadPayload, match=problem):
        Payload(**arguments)


class Custom(Service):
    @staticmethod
    def get_payload() -> Payload:
        return Payload(runtime="wasmtime", start=Start("--dir", "/"))


class WithVolume(Custom):
    def deploy(self) -> list[Any]:
        deployed, started = cast(list[Any], super().deploy())
        return [Deploy(volumes=["/data"], env=deployed.env), started]


def test_a_service_is_deployed_as_its_payload_says() -> None:
    assert Custom().deploy() == [Deploy(), Start("--dir", "/")]
    assert WithVolume().deploy() == [Deploy(volumes=["/data"]), Start("--dir", "/")]


def test_the_payload_it_is_run_on_comes_before_that_of_its_class() -> None:
    given = Payload(runtime="wasmtime", deploy=Deploy(env={"A": "1"}))
    assert made_for(given, Custom).deploy() == [Deploy(env={"A": "1"}), Start()]
    assert made_for(given, WithVolume).deploy() == [Deploy(volumes=["/data"], env={"A": "1"}), Start()]


@pytest.mark.parametrize(
    "runtime",
    [{"runtime": "vm"}, {"runtime": "vm-nvidia"}, {"constraints": ["(golem.runtime.name=vm)"]}],
    ids=str,
)
def test_an_environment_that_a_virtual_machine_loses_is_refused(runtime: dict[str, Any]) -> None:
    with pytest.raises(BadPayload, match=r"Run\('/bin/program', env=\{'MODE': 'fast'\}\)"):
        Payload(**runtime, deploy=Deploy(env={"MODE": "fast"}))


def test_an_environment_for_another_runtime_is_not() -> None:
    for payload in (
        Payload(deploy=Deploy(env={"A": "1"})),
        Payload(runtime="own", deploy=Deploy(env={"A": "1"})),
    ):
        assert payload.deploy.env == {"A": "1"}

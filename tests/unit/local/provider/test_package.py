"""How a local provider holds an activity to its manifest, letter by letter as the real exe-unit does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simple_golem.local.provider.package import Package, demand_refusal
from simple_golem.model.payload import vm
from simple_golem.model.payload.payload import ImageLocation, Payload

HASH = "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488"
IMAGE = f"hash:sha3:{HASH}:http://r/x"


def package(**arguments: Any) -> Package:
    return Package.of(demand(vm.manifest(**arguments)))


def demand(payload: Payload) -> Any:
    """The payload's properties as they come out of the daemon."""
    return json.loads(json.dumps(payload.with_image(ImageLocation(HASH, "http://r/x")).properties))


def run(*words: str) -> dict[str, Any]:
    return {"run": {"entry_point": words[0], "args": list(words[1:])}}


def test_the_image_is_that_of_the_manifest_or_of_the_task_package() -> None:
    assert package().image == IMAGE
    assert Package.of(demand(vm.repo())) == Package(IMAGE)
    assert Package.of({}) == Package()


@pytest.mark.parametrize(
    ("commands", "match", "allowed", "refused"),
    [
        (["run .*"], "regex", run("/bin/date"), {"transfer": {"from": "a", "to": "b"}}),
        (["run /bin/echo .*", "run /bin/date"], "regex", run("/bin/date", "-R"), run("/bin/cat", "x")),
        (["run ^/bin/date"], "regex", {"deploy": {}}, run("/bin/date")),
        (["run /bin/date -R"], "strict", run("/bin/date", "-R"), run("/bin/date", "-Ra")),
        (["run /bin/date "], "strict", run("/bin/date"), run("/bin/date", "-R")),
        (["transfer http://a/.* .*"], "regex", {"transfer": {"from": "http://a/x", "to": "c"}}, run("/x")),
        (
            ['{"run": {"args": "/bin/date -R", "match": "strict"}}'],
            "regex",
            run("/bin/date", "-R"),
            run("/a"),
        ),
        (
            ['{"transfer": {"from": "a", "to": "b"}}'],
            "strict",
            {"transfer": {"from": "a", "to": "b"}},
            run("/a"),
        ),
        ([], "regex", {"start": {"args": ["x"]}}, run("/bin/date")),
    ],
)
def test_only_what_the_manifest_names_may_be_run(
    commands: list[str], match: str, allowed: dict[str, Any], refused: dict[str, Any]
) -> None:
    held = package(commands=commands, match=match)
    assert held.refusal(allowed) == ""
    head = "Manifest violation in ExeScript: script validation error: no matching manifest entry found for '"
    assert held.refusal(refused).startswith(head)


def test_without_a_manifest_everything_may_be_run() -> None:
    assert Package(IMAGE).refusal(run("/bin/rm", "-rf", "/")) == ""
    manifest = {**json.loads(json.dumps(vm.manifest().manifest))}
    del manifest["compManifest"]
    assert Package(IMAGE, manifest).refusal(run("/bin/date")) == ""


def test_a_demand_is_refused_for_a_manifest_that_can_not_be_honoured() -> None:
    inward, outward = demand(vm.manifest()), demand(vm.manifest(outbound=["https://api.example.com"]))
    assert demand_refusal(inward, ["manifest-support"]) == ""
    assert demand_refusal(outward, ["manifest-support", "inet"]) == ""
    assert "outbound access is not offered" in demand_refusal(outward, ["manifest-support"])
    assert "neither JSON" in demand_refusal({"golem.srv.comp.payload": "nonsense"}, ["inet"])
    assert demand_refusal({}, []) == ""

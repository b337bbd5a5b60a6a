"""Payloads, and `vm.repo`, which makes the usual ones."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal

import pytest

from simple_golem.errors import BadPayload
from simple_golem.model.commands.commands import Deploy, Start
from simple_golem.model.payload import vm
from simple_golem.model.payload.payload import ImageLocation, ImageRequest, Payload, require_payload

HASH = "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488"


def test_nothing_given_means_a_small_public_image() -> None:
    payload = vm.repo()
    assert payload.image == ImageRequest(tag="golem/alpine:latest")
    assert payload.properties == {"golem.srv.comp.vm.package_format": "gvmkit-squash"}
    assert payload.constraints == (
        "(golem.runtime.name=vm)",
        "(golem.inf.mem.gib>=0.5)",
        "(golem.inf.storage.gib>=2)",
        "(golem.inf.cpu.threads>=1)",
    )


def test_all_that_is_asked_for_becomes_a_constraint() -> None:
    payload = vm.repo(
        image_hash=HASH.upper(),
        min_mem_gib=1.50,
        min_storage_gib=0.00001,
        min_cpu_threads=4,
        capabilities=["vpn", "inet"],
    )
    assert payload.image == ImageRequest(hash=HASH)
    assert payload.constraints == (
        "(golem.runtime.name=vm)",
        "(golem.inf.mem.gib>=1.5)",
        "(golem.inf.storage.gib>=0.00001)",
        "(golem.inf.cpu.threads>=4)",
        "(golem.runtime.capabilities=inet)",
        "(golem.runtime.capabilities=vpn)",
    )


def test_an_image_at_a_url_of_ones_own_needs_its_hash() -> None:
    url = "http://127.0.0.1:8000/image.gvmi"
    assert vm.repo(image_hash=HASH, image_url=url).image == ImageRequest(hash=HASH, url=url)
    with pytest.raises(BadPayload, match="image_url needs image_hash"):
        vm.repo(image_url=url)
    with pytest.raises(BadPayload, match="image_url needs image_hash"):
        vm.repo(image_url=url, image_tag="a")


def test_hash_and_tag_contradict_each_other() -> None:
    with pytest.raises(BadPayload, match="both given"):
        vm.repo(image_hash=HASH, image_tag="golem/alpine")


@pytest.mark.parametrize(
    "arguments",
    [
        {"image_hash": ""},
        {"image_hash": HASH[:-1]},
        {"image_hash": "g" * 56},
        {"image_hash": 5},
        {"image_tag": ""},
        {"image_tag": "a b"},
        {"image_tag": b"a"},
        {"image_url": "ftp://x", "image_hash": HASH},
        {"image_url": "http://a b", "image_hash": HASH},
        {"image_url": 5, "image_hash": HASH},
        {"min_mem_gib": 0},
        {"min_mem_gib": True},
        {"min_mem_gib": float("nan")},
        {"min_mem_gib": Decimal("sNaN")},
        {"min_mem_gib": "1"},
        {"min_storage_gib": -1},
        {"min_storage_gib": float("inf")},
        {"min_storage_gib": None},
        {"min_cpu_threads": 0},
        {"min_cpu_threads": 1.5},
        {"min_cpu_threads": True},
        {"capabilities": "vpn"},
        {"capabilities": ["a)(b"]},
        {"capabilities": [None]},
        {"capabilities": None},
    ],
    ids=repr,
)
def test_an_argument_that_can_not_be_is_named(arguments: dict[str, object]) -> None:
    with pytest.raises(BadPayload, match=next(iter(arguments))):
        vm.repo(**arguments)  # type: ignore[arg-type]


def test_a_payload_is_a_value() -> None:
    payload = Payload({"a": [1, {"b": None}], "c": 1.5}, ["(x=1)"], deploy=Deploy(), start=Start("-v"))
    for twin in (copy.deepcopy(payload), pickle.loads(pickle.dumps(payload)), eval(repr(payload))):
        assert twin == payload
        assert hash(twin) == hash(payload)
    assert json.loads(json.dumps(payload.properties)) == {"a": [1, {"b": None}], "c": 1.5}


def test_a_payload_copies_its_arguments() -> None:
    properties: dict[str, object] = {"a": 1}
    payload = Payload(properties)
    properties["a"] = 2
    assert payload.properties == {"a": 1}
    with pytest.raises(TypeError, match="can't be changed"):
        payload.properties["a"] = 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("properties", "constraints"),
    [
        ("a", ()),
        ({5: 1}, ()),
        ({"a": object()}, ()),
        ({"a": float("nan")}, ()),
        ({}, "(a=1)"),
        ({}, ["a=1"]),
        ({}, [5]),
        ({}, None),
    ],
)
def test_a_payload_that_has_no_wire_form_is_refused(properties: object, constraints: object) -> None:
    with pytest.raises(BadPayload):
        Payload(properties, constraints)  # type: ignore[arg-type]
    with pytest.raises(BadPayload, match="image"):
        Payload(image="golem/alpine")  # type: ignore[arg-type]


def test_a_found_image_becomes_the_task_package() -> None:
    payload = vm.repo(image_hash=HASH)
    found = payload.with_image(ImageLocation(hash=HASH, url="http://r/x"))
    assert found.properties == {
        "golem.srv.comp.vm.package_format": "gvmkit-squash",
        "golem.srv.comp.task_package": f"hash:sha3:{HASH}:http://r/x",
    }
    assert found.constraints == payload.constraints
    assert "golem.srv.comp.task_package" not in payload.properties


def test_a_location_that_no_provider_could_use_is_refused() -> None:
    with pytest.raises(BadPayload, match="56 hexadecimal"):
        ImageLocation(hash="x", url="http://r/x")
    with pytest.raises(BadPayload, match="URL"):
        ImageLocation(hash=HASH, url="nowhere")


def test_a_value_that_is_not_a_payload_is_refused_with_advice() -> None:
    payload = vm.repo()
    assert require_payload(payload) is payload
    strangers: list[object] = [None, "golem/alpine", vm.repo, {}]
    for stranger in strangers:
        with pytest.raises(BadPayload, match=r"is not a payload: .*vm\.repo\("):
            require_payload(stranger)


def test_an_async_get_payload_is_recognised_by_its_coroutine() -> None:
    async def get_payload() -> Payload:
        return vm.repo()

    with pytest.raises(BadPayload, match="get_payload is async: remove `async`"):
        require_payload(get_payload())

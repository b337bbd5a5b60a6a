"""Computation Payload Manifests: made, read, compared with the schema that Golem publishes."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from simple_golem.errors import BadPayload
from simple_golem.model.payload import vm
from simple_golem.model.payload.manifest import read_manifest
from simple_golem.model.payload.payload import ImageLocation, ImageRequest, Payload

HASH = "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488"
URL = "https://registry.example.com/image.gvmi"
CREATED = datetime(2026, 1, 1, tzinfo=timezone.utc)
READY: dict[str, Any] = {
    "version": "0.1.0",
    "createdAt": "2026-01-01T00:00:00Z",
    "expiresAt": "2100-01-01T00:00:00Z",
    "metadata": {"name": "an app", "version": "1.0.0", "authors": []},
    "payload": [{"platform": {"arch": "x86_64", "os": "linux"}, "urls": [URL], "hash": f"sha3:{HASH}"}],
    "compManifest": {
        "version": "0.1.0",
        "script": {"commands": ["run .*"], "match": "regex"},
        "net": {"inet": {"out": {"protocols": ["https"], "urls": ["https://api.example.com"]}}},
    },
}
MANIFEST = "golem.srv.comp.payload"
NEEDS = ("(golem.runtime.capabilities=inet)", "(golem.runtime.capabilities=manifest-support)")


def decoded(payload: Payload) -> Any:
    return json.loads(base64.b64decode(payload.properties[MANIFEST]))


# --- made ----------------------------------------------------------------------------------------------


def test_a_manifest_is_made_of_the_image_and_what_it_connects_to() -> None:
    payload = vm.manifest(image_hash=HASH, outbound=["https://api.example.com"], created_at=CREATED)
    assert MANIFEST not in payload.properties
    assert payload.image == ImageRequest(hash=HASH)
    found = payload.with_image(ImageLocation(HASH, URL))
    assert "golem.srv.comp.task_package" not in found.properties
    assert decoded(found) == {
        "version": "0.1.0",
        "createdAt": "2026-01-01T00:00:00Z",
        "expiresAt": "2100-01-01T00:00:00Z",
        "payload": [{"platform": {"arch": "x86_64", "os": "linux"}, "urls": [URL], "hash": f"sha3:{HASH}"}],
        "compManifest": {
            "version": "0.1.0",
            "script": {"commands": ["run .*", "transfer .*"], "match": "regex"},
            "net": {"inet": {"out": {"protocols": ["https"], "urls": ["https://api.example.com"]}}},
        },
    }
    assert found.constraints[-2:] == NEEDS
    assert read_manifest(found.properties[MANIFEST])[1] == decoded_frozen(found)


def decoded_frozen(payload: Payload) -> Any:
    return read_manifest(decoded(payload))[1]


def test_one_that_connects_to_nothing_asks_for_no_internet() -> None:
    for payload in (vm.manifest(image_hash=HASH), vm.manifest(outbound=[]), vm.manifest(outbound=False)):
        assert "net" not in payload.manifest["compManifest"]  # type: ignore[index]
        assert payload.constraints[-1:] == NEEDS[1:]
        assert NEEDS[0] not in payload.constraints


def test_any_address_is_asked_for_in_so_many_words() -> None:
    payload = vm.manifest(outbound=True)
    out = payload.manifest["compManifest"]["net"]["inet"]["out"]  # type: ignore[index]
    assert out == {"protocols": ("http", "https", "ws", "wss"), "unrestricted": {"urls": True}}
    assert payload.constraints[-2:] == NEEDS


def test_two_made_at_the_same_moment_are_the_same_value() -> None:
    made = [vm.manifest(outbound=["http://a.example"], created_at=CREATED) for _ in range(2)]
    assert made[0] == made[1]
    assert hash(made[0]) == hash(made[1])
    assert made[0] != vm.manifest(outbound=["http://a.example"], created_at=CREATED + timedelta(seconds=1))
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    created = vm.manifest().manifest["createdAt"]  # type: ignore[index]
    assert before <= datetime.fromisoformat(created.replace("Z", "+00:00")) <= datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"outbound": "https://api.example.com"}, "outbound: .* is not a list"),
        ({"outbound": ["api.example.com"]}, "outbound: 'api.example.com' is not a URL"),
        ({"outbound": ["ftp://example.com"]}, "is not a URL"),
        ({"outbound": ["https://"]}, "is not a URL"),
        ({"outbound": ["https://a b"]}, "is not a URL"),
        ({"outbound": ["https://a:port"]}, "is not a URL"),
        ({"outbound": [5]}, "outbound"),
        ({"outbound": None}, "outbound"),
        ({"outbound": 1}, "outbound"),
        ({"commands": "run .*"}, "commands: .* is not a list"),
        ({"commands": ["/bin/date"]}, "must begin with run or transfer"),
        ({"commands": ["run ("]}, "not a regular expression"),
        ({"commands": ["{run"]}, "is not valid JSON"),
        ({"match": "glob"}, "'regex' or 'strict'"),
        ({"match": None}, "'regex' or 'strict'"),
        ({"created_at": datetime(2026, 1, 1)}, "created_at .* aware"),
        ({"created_at": "now"}, "created_at"),
        ({"expires_at": datetime(2000, 1, 1, tzinfo=timezone.utc)}, "not after its createdAt"),
        (
            {"created_at": CREATED, "expires_at": CREATED + timedelta(days=1)},
            "the manifest expired at 2026-01-02T00:00:00Z",
        ),
        ({"image_hash": "x"}, "image_hash"),
        ({"image_hash": HASH, "image_tag": "a"}, "both given"),
        ({"image_url": URL}, "image_url needs image_hash"),
        ({"manifest_sig": b"x", "manifest_cert": b"y"}, "manifest_sig needs manifest:"),
        ({"min_mem_gib": -1}, "min_mem_gib"),
        ({"capabilities": "inet"}, "capabilities"),
        ({"node_descriptor": "nobody"}, "node_descriptor is not valid JSON"),
        ({"node_descriptor": [1]}, "node_descriptor"),
    ],
    ids=str,
)
def test_arguments_that_make_no_manifest_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadPayload, match=problem):
        vm.manifest(**arguments)


def test_a_strict_match_takes_what_is_no_regular_expression() -> None:
    payload = vm.manifest(commands=["run /bin/echo ("], match="strict")
    assert payload.manifest["compManifest"]["script"]["match"] == "strict"  # type: ignore[index]


# --- ready ---------------------------------------------------------------------------------------------


def test_a_ready_manifest_is_taken_as_dict_text_bytes_or_base64() -> None:
    text = json.dumps(READY, indent=2)
    for given in (READY, text, text.encode()):
        assert decoded(vm.manifest(given)) == READY
    wrapped = base64.encodebytes(text.encode()).decode()
    payload = vm.manifest(wrapped)
    assert payload.properties[MANIFEST] == wrapped  # it may be signed: not a letter may change
    assert payload.image is None
    assert payload.constraints[-2:] == NEEDS


def test_a_signature_goes_with_its_certificate_and_digest() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    payload = vm.manifest(READY, manifest_sig=b"\x00\xff", manifest_cert=pem)
    assert payload.properties[f"{MANIFEST}.sig"] == "AP8="
    assert payload.properties[f"{MANIFEST}.sig.algorithm"] == "sha256"
    assert base64.b64decode(payload.properties[f"{MANIFEST}.cert"]).decode() == pem
    ready = vm.manifest(
        READY, manifest_sig="AP8=", manifest_sig_algorithm="sha512", manifest_cert=b"\x30\x82"
    )
    assert ready.properties[f"{MANIFEST}.sig"] == "AP8="
    assert ready.properties[f"{MANIFEST}.sig.algorithm"] == "sha512"
    assert base64.b64decode(ready.properties[f"{MANIFEST}.cert"]) == b"\x30\x82"


def test_a_node_descriptor_is_sent_as_the_object_that_it_is() -> None:
    payload = vm.manifest(READY, node_descriptor='{"nodeDescriptor": {"nodeId": "0x1"}}')
    sent = payload.properties["golem.!exp.gap-31.v0.node.descriptor"]
    assert sent == {"nodeDescriptor": {"nodeId": "0x1"}}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"manifest_sig": b"x"}, "needs manifest_cert"),
        ({"manifest_cert": b"x"}, "manifest_cert needs manifest_sig"),
        ({"manifest_sig_algorithm": "sha256"}, "manifest_sig_algorithm needs manifest_sig"),
        ({"manifest_sig": "no base64!", "manifest_cert": b"x"}, "manifest_sig is 'no base64!'"),
        ({"manifest_sig": b"", "manifest_cert": b"x"}, "manifest_sig is b''"),
        ({"manifest_sig": 5, "manifest_cert": b"x"}, "manifest_sig is 5"),
        ({"manifest_sig": b"x", "manifest_cert": ""}, "manifest_cert is ''"),
        ({"manifest_sig": b"x", "manifest_cert": b"x", "manifest_sig_algorithm": 1}, "algorithm is 1"),
        ({"image_hash": HASH}, "image_hash or a complete manifest, not both"),
        ({"outbound": True}, "outbound or a complete manifest, not both"),
        ({"commands": ["run .*"]}, "commands or a complete manifest, not both"),
        ({"expires_at": CREATED}, "expires_at or a complete manifest, not both"),
    ],
    ids=str,
)
def test_arguments_that_contradict_a_complete_manifest_are_refused(
    arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BadPayload, match=problem):
        vm.manifest(READY, **arguments)


@pytest.mark.parametrize("given", ["no manifest", "{", b"\xff", "", "bm8ganNvbg==", 5, ["x"], "[1]", "null"])
def test_a_value_that_is_not_a_manifest_is_refused(given: Any) -> None:
    with pytest.raises(BadPayload, match="manifest"):
        vm.manifest(given)


def _without(*path: Any) -> Callable[[Any], None]:
    def change(manifest: Any) -> None:
        for part in path[:-1]:
            manifest = manifest[part]
        del manifest[path[-1]]

    return change


def _with(value: object, *path: Any) -> Callable[[Any], None]:
    def change(manifest: Any) -> None:
        for part in path[:-1]:
            manifest = manifest[part]
        manifest[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_without("version"), "has no version"),
        (_without("createdAt"), "has no createdAt"),
        (_without("payload"), "has no payload"),
        (_with("1", "version"), "version is '1'"),
        (_with("soon", "expiresAt"), "expiresAt is 'soon'"),
        (_with("2026-02-01T00:00:00Z", "expiresAt"), "the manifest expired at 2026-02-01"),
        (_with([], "payload"), "payload is"),
        (_with({}, "payload"), "payload is"),
        (_with("x", "payload", 0), r"payload\[0\] is 'x'"),
        (_with(HASH, "payload", 0, "hash"), r"payload\[0\].hash"),
        (_with([], "payload", 0, "urls"), r"payload\[0\].urls"),
        (_with(["nowhere"], "payload", 0, "urls"), "'nowhere' is not a URL"),
        (_without("payload", 0, "platform", "arch"), "platform has no arch"),
        (_without("compManifest", "version"), "compManifest.version"),
        (_with([5], "compManifest", "script", "commands"), "commands"),
        (_without("compManifest", "script", "commands"), "commands"),
        (_with([{"run": {}}], "compManifest", "script", "commands"), "commands"),
        (_with("exact", "compManifest", "script", "match"), "match is 'exact'"),
        (_with(["gopher"], "compManifest", "net", "inet", "out", "protocols"), "protocol 'gopher'"),
        (_with(["x"], "compManifest", "net", "inet", "out", "urls"), "'x' is not a URL"),
        (_with("all", "compManifest", "net", "inet", "out"), "net.inet.out is 'all'"),
        (_with({1}, "metadata"), "can't be written as JSON"),
    ],
)
def test_a_manifest_that_breaks_the_schema_is_refused_with_the_part_named(
    change: Callable[[Any], None], problem: str
) -> None:
    broken = copy.deepcopy(READY)
    change(broken)
    with pytest.raises(BadPayload, match=problem):
        vm.manifest(broken)


def test_a_payload_of_ones_own_may_have_a_manifest_only_with_an_image() -> None:
    made = vm.manifest().manifest
    assert Payload(image=ImageRequest(hash=HASH), manifest=made, runtime="my-vm").manifest == made
    with pytest.raises(BadPayload, match="manifest needs an image"):
        Payload(manifest=made)
    with pytest.raises(BadPayload, match="manifest has no version"):
        Payload(image=ImageRequest(hash=HASH), manifest={})

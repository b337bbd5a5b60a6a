"""Whether a shell may stand in front of a command, by what the payload says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from simple_golem import Payload, Run, vm
from simple_golem.model.payload.manifest import made_manifest
from simple_golem.model.payload.manifest import with_image as with_its_image
from simple_golem.model.payload.payload import ImageLocation, runtime_of
from simple_golem.model.payload.shell import shell_refusal

COMMAND = Run("/bin/x", cwd="/tmp")
HASH, URL = "0" * 56, "http://images.test/x"


def manifest(commands: Sequence[str], match: str = "regex") -> Payload:
    return vm.manifest(image_hash=HASH, commands=commands, match=match)


@pytest.mark.parametrize(
    "payload",
    [
        vm.repo(),
        vm.repo(gpu=True),
        Payload(),
        Payload(constraints=["(golem.inf.mem.gib>=1)"]),
        manifest(["run .*"]),
        manifest(["run /bin/sh"]),
        manifest(["run /bin/sh"]).with_image(ImageLocation(HASH, URL)),
        vm.manifest(with_its_image(made_manifest(commands=["run .*"]), HASH, URL)),
    ],
)
def test_a_shell_may_run_if_no_reason_against_it_is_known(payload: Payload) -> None:
    assert shell_refusal(payload, COMMAND) == ""


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (Payload(runtime="wasmtime"), "the runtime wasmtime has no shell"),
        (Payload(constraints=["(golem.runtime.name=wasmtime)"]), "the runtime wasmtime has no shell"),
        (manifest(["run /bin/x"]), "the manifest's commands do not allow it"),
        (manifest(["transfer .*"]), "the manifest's commands do not allow it"),
        (manifest(["run /bin/sh "], "strict"), "the manifest's commands do not allow it"),
        (manifest(["run /bin/x"]).with_image(ImageLocation(HASH, URL)), "the manifest's commands"),
        (vm.manifest(with_its_image(made_manifest(commands=["run /bin/x"]), HASH, URL)), "the manifest's"),
    ],
)
def test_a_payload_without_a_shell_says_why(payload: Payload, reason: str) -> None:
    assert shell_refusal(payload, COMMAND).startswith(reason)


def test_a_manifest_that_has_expired_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Later:
            return cls(2200, 1, 1, tzinfo=timezone.utc)

    made = made_manifest(commands=["run /bin/x"], expires_at=datetime.now(timezone.utc) + timedelta(days=1))
    payload = vm.manifest(with_its_image(made, HASH, URL))
    monkeypatch.setattr("simple_golem.model.payload.manifest.datetime", Later)
    assert shell_refusal(payload, COMMAND) == ""


def test_the_runtime_is_read_from_the_payload() -> None:
    assert runtime_of(vm.repo()) == "vm"
    assert runtime_of(vm.repo(gpu=True)) == "vm-nvidia"
    assert runtime_of(Payload(runtime="wasmtime")) == "wasmtime"
    assert runtime_of(Payload(constraints=["(golem.runtime.name=other)"])) == "other"
    assert runtime_of(Payload()) is None

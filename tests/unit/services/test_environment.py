"""Commands with an environment and a working folder, run by instances on a daemon in memory."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from simple_golem import Golem, Payload, Run, UploadFromUrl, vm
from simple_golem.errors import BadCommand, CommandFailed
from simple_golem.testing import CommandAnswer, FakeYagna
from tests.helpers.recorded_services import SECONDS, Idle, begun, programs, started

SECRET = "hunter2"
WITH_SECRET = Run("/bin/x", env={"TOKEN": SECRET}, cwd="/golem/work")


def test_no_value_is_in_an_event_an_error_or_the_log(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for provider in fake.providers:
        provider.answers = {"/bin/x": CommandAnswer(stderr="no\n", exit_code=3)}
    events: list[str] = []
    with Golem(1) as golem:
        golem.on_event(lambda event: events.append(repr(event)))
        instance = started(golem)
        with pytest.raises(CommandFailed, match=r"env=\{'TOKEN': '…'\}") as caught:
            instance.execute(WITH_SECRET)
    (provider,) = (one for one in fake.providers if any("/bin/x" in line for line in programs(one)))
    assert SECRET in repr(provider.commands[-1])
    assert any("TOKEN" in event for event in events)
    for text in (*events, caplog.text, repr(caught.value), str(caught.value), repr(caught.value.results)):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (
            vm.manifest(image_hash="0" * 56, image_url="http://images.test/x", commands=["run /bin/x"]),
            "manifest",
        ),
        (Payload(runtime="wasmtime"), "the runtime wasmtime has no shell"),
    ],
)
def test_a_payload_without_a_shell_is_an_error_at_the_call(
    fake: FakeYagna, payload: Payload, words: str
) -> None:
    if payload.runtime == "wasmtime":
        for provider in fake.providers:
            provider.properties = {"golem.runtime.name": "wasmtime"}
    with Golem(1) as golem:
        instance = started(golem, payload=payload)
        with pytest.raises(BadCommand, match=words) as caught:
            instance.execute(WITH_SECRET)
        assert SECRET not in str(caught.value)
        assert instance.execute(Run("/bin/true")).success
    assert not any(line.startswith("/bin/sh") for one in fake.providers for line in programs(one))


def test_what_a_method_returns_is_refused_there(fake: FakeYagna) -> None:
    class Wrong(Idle):
        def run(self) -> Any:
            return [WITH_SECRET]

    for provider in fake.providers:
        provider.properties = {"golem.runtime.name": "wasmtime"}
    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Wrong, payload=Payload(runtime="wasmtime"))
        assert cluster.wait(SECONDS)
    assert isinstance(instance.failure, BadCommand)


def test_a_file_from_the_web_needs_a_shell_to_be_checked_only(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.properties = {"golem.runtime.name": "wasmtime"}
    url, path = "https://golem.test/x", "/golem/work/x"
    with Golem(1) as golem:
        instance = started(golem, payload=Payload(runtime="wasmtime"))
        assert instance.execute(UploadFromUrl(url, path)).success
        with pytest.raises(BadCommand, match="are checked by /bin/sh, and the runtime wasmtime has no shell"):
            instance.execute(UploadFromUrl(url, path, size=3))
        (provider,) = (one for one in fake.providers if one.activities)
        assert programs(provider) == ["deploy", "start", "transfer"]

"""The library itself on a fake daemon: whole services, from the demand to the invoice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from simple_golem import (
    CommandFailed,
    DownloadBytes,
    Golem,
    Payload,
    Run,
    Service,
    ServiceFailed,
    UploadBytes,
    vm,
)
from simple_golem.testing import CommandAnswer, FakeProvider, FakeYagna

CONTENT = bytes(range(256)) * 1000


class Echo(Service):
    """Copies files, streams output, and then stays until it is stopped."""

    @staticmethod
    def get_payload() -> Payload:
        return vm.repo(image_tag="golem/any-tag")

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[object] = []
        self.downloaded = b""
        self.said = ""

    def start(self) -> None:
        self.execute(UploadBytes(CONTENT, "/golem/input/file"))
        self.downloaded = self.execute(DownloadBytes("/golem/input/file")).data
        self.execute(Run("/bin/count", stream=self.lines.append))
        self.said = self.execute(Run("/bin/echo", "hello")).stdout


def answers(command: dict[str, dict[str, object]]) -> object:
    if command["run"]["entry_point"] == "/bin/count":
        return iter(["one\ntw", "o\n", "three\n"])
    return "hello\n" if command["run"]["args"] == ["hello"] else 3


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    with FakeYagna([FakeProvider(answers=answers) for _ in range(3)]) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


def test_a_service_copies_streams_answers_and_leaves_nothing(frozen: FakeYagna) -> None:
    """The clock stands still: a program begins when its output is listened to, and not before."""
    for one in frozen.providers:
        one.answers = answers
    with Golem(budget=1) as golem:
        cluster = golem.run_service(Echo)
        cluster.wait_until_running(10)
        (instance,) = cluster.instances
        service = instance.service
        assert isinstance(service, Echo)
        assert service.downloaded == CONTENT
        assert service.lines == ["one", "two", "three"]
        assert service.said == "hello\n"
        (provider,) = (one for one in frozen.providers if one.agreements)
        assert provider.files["/golem/input/file"] == CONTENT
    assert golem.cost.amount > 0
    assert frozen.leftovers() == []
    assert [one.agreements for one in frozen.providers] == [[], [], []]


def test_each_instance_has_a_provider_of_its_own(fake: FakeYagna) -> None:
    with Golem(budget=1) as golem:
        golem.run_service(Echo, num_instances=3).wait_until_running(10)
        assert sorted(len(one.activities) for one in fake.providers) == [1, 1, 1]
    assert fake.leftovers() == []


class Failing(Echo):
    def start(self) -> None:
        self.execute(Run("/bin/false"))


def test_a_command_that_fails_is_told_with_its_exit_code(fake: FakeYagna) -> None:
    with pytest.raises(ServiceFailed) as failed, Golem(budget=1) as golem:
        golem.run_service(Failing, respawn_unstarted_instances=False).wait(10)
    assert str(failed.value).endswith("exit code 3")
    assert fake.leftovers() == []


def test_a_failure_at_the_end_has_the_last_line_of_stderr(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = lambda command: CommandAnswer("", "cp: ok\ntouch: not found\n\n", 127)

    class Touching(Service):
        def start(self) -> None:
            self.execute(Run("/bin/touch", "a"))

    with pytest.raises(ServiceFailed) as failed, Golem(budget=1) as golem:
        golem.run_service(Touching, respawn_unstarted_instances=False).wait(10)
    assert str(failed.value).endswith("exit code 127 (stderr: touch: not found)")


def test_a_fake_daemon_can_be_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    script = [sys.executable, "-m", "simple_golem.testing", "--app-key", "its-key"]
    with subprocess.Popen(
        script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            name, _, value = process.stdout.readline().strip().partition("=")
            monkeypatch.setenv(name, value)
        with Golem(budget=1) as golem:
            cluster = golem.run_service(Quiet)
            cluster.wait_until_running(10)
        process.stdin.close()
        assert process.wait(10) == 0


class Quiet(Echo):
    def start(self) -> None:
        with pytest.raises(CommandFailed):
            self.execute(DownloadBytes("/golem/not-there"))


def test_the_registry_says_of_an_image_what_other_requestors_ask_for(fake: FakeYagna) -> None:
    url = f"{fake.environment['GOLEM_REGISTRY_URL']}/v1/image/info"
    image = requests.get(url, params={"tag": "golem/any-tag", "count": "true"}, timeout=10).json()
    assert len(image["sha3"]) == 56
    assert image["http"].endswith(image["sha3"])
    assert image["size"] > 0

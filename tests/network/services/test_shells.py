"""Commands that the library has a shell of the image run: environment, working folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simple_golem import CommandFailed, Golem, Instance, Run, Service, vm
from simple_golem.errors import BadCommand

pytestmark = pytest.mark.usefixtures("golem_environment")

NASTY = 'it\'s "$HOME" `id` \\ * é\n'


class Shell(Service):
    """Waits for commands from outside."""


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Golem(budget=1, stop_grace=0.2) as golem:
        (one,) = golem.run_service(Shell).wait_until_running(timeout=30)
        yield one


def test_a_program_gets_its_environment_and_its_working_folder(instance: Instance) -> None:
    told = instance.execute(
        Run.shell('printf %s "$NASTY"; pwd', env={"NASTY": NASTY, "N": 3}, cwd="/golem/work"),
        Run("/usr/bin/printf", "%s|", NASTY, "", "b", env={"A": NASTY}),
        Run.shell("echo $N; pwd"),
    )
    assert told[0].stdout == NASTY + "/golem/work\n"
    assert told[1].stdout == f"{NASTY}||b|"
    assert told[2].stdout.splitlines()[0] == ""


def test_a_working_folder_that_is_not_there_is_exit_code_126(instance: Instance) -> None:
    with pytest.raises(CommandFailed, match="exit code 126") as caught:
        instance.execute(Run("/bin/echo", "hello", cwd="/no/such/folder"))
    assert "/no/such/folder" in caught.value.stderr
    assert caught.value.stdout == ""
    assert instance.execute(Run.shell("exit 7", env={"A": 1}), check=False).exit_code == 7


def test_a_manifest_without_a_shell_is_an_error_at_the_call() -> None:
    payload = vm.manifest(image_tag="golem/alpine:latest", commands=["run /bin/echo"])
    with Golem(budget=1, stop_grace=0.2) as golem:
        (instance,) = golem.run_service(Shell, payload=payload).wait_until_running(timeout=30)
        assert instance.execute(Run("/bin/echo", "hello")).stdout == "hello\n"
        with pytest.raises(BadCommand, match="do not allow it"):
            instance.execute(Run("/bin/echo", "hello", cwd="/golem/work"))

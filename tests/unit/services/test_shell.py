"""`shell(script)`: short for `execute(Run.shell(script))`, on a service, an instance and a cluster."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest

from simple_golem import CommandFailed, Golem, Instance, Result, Results, Run, Service
from simple_golem.errors import BadCommand, BadJson, BadService, BatchTimeout
from simple_golem.model.commands.shell_options import ShellOptions
from simple_golem.testing import CommandAnswer, FakeYagna
from tests.helpers.recorded_services import SECONDS, Idle, started

ANSWERS = {
    "/bin/sh -c uname -a": "Linux\n",
    "/bin/sh -c fail": CommandAnswer(exit_code=4),
    "/bin/sh -c json": '{"mean": [1.5, null]}\n',
}


@pytest.fixture
def shells(fake: FakeYagna) -> FakeYagna:
    for provider in fake.providers:
        provider.answers = ANSWERS
    return fake


def test_an_instance_runs_lines_of_shell_script(shells: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem, Idle)
        answer = instance.shell("uname -a", timeout=SECONDS)
        assert (str(answer), answer.stdout) == ("Linux", "Linux\n")
        assert answer[0].command == Run.shell("uname -a")
        assert instance.shell("uname -a", binary=True).stdout_bytes == b"Linux\n"
        assert instance.shell("json").json == {"mean": [1.5, None]}
        assert instance.shell("fail", check=False).exit_code == 4
        with pytest.raises(CommandFailed, match="exit code 4"):
            instance.shell("fail")
        with pytest.raises(BatchTimeout):
            instance.shell("sleep 600", timeout=0.05)
        with pytest.raises(BadCommand, match="a line of shell script is missing"):
            instance.shell("")


class KeepsAll(Idle):
    keep_all = True


@pytest.mark.parametrize(
    ("send", "service", "volumes", "is_warned"),
    [
        (lambda one: one.shell("server &"), Idle, ("/data",), False),
        (lambda one: one.shell("server &"), Idle, (), True),
        (lambda one: one.shell("server &", keep_all=False), Idle, ("/data",), True),
        (lambda one: one.shell("server &", keep_last=100), Idle, ("/data",), True),
        (lambda one: one.shell("server &", stream=lambda line: None), KeepsAll, ("/data",), True),
        (lambda one: one.execute(Run.shell("server &")), Idle, ("/data",), True),
        (lambda one: one.execute(Run("/bin/sh", "-c", "server &")), Idle, ("/data",), True),
        (lambda one: one.execute(Run("/bin/echo", "-c", "server &")), Idle, ("/data",), False),
        (lambda one: one.execute(Run.shell("server &", keep_all=True)), Idle, ("/data",), False),
        (lambda one: one.execute(Run.shell("server &")), KeepsAll, ("/data",), False),
        (lambda one: one.execute(Run.shell("server &", keep_last=100)), KeepsAll, ("/data",), True),
    ],
)
def test_a_program_in_the_background_is_warned_of_where_its_output_is_not_redirected(
    fake: FakeYagna,
    caplog: pytest.LogCaptureFixture,
    send: Callable[[Instance], object],
    service: type[Service],
    volumes: tuple[str, ...],
    is_warned: bool,
) -> None:
    for provider in fake.providers:
        provider.volumes = volumes
    with Golem(1) as golem:
        send(started(golem, service))
    warned = [one.message for one in caplog.records if "a program in the background is killed" in one.message]
    assert len(warned) == is_warned


def test_a_cluster_runs_them_on_all_instances(shells: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Idle, num_instances=2)
        cluster.wait_until_running(SECONDS)
        answers = cluster.shell("uname -a", timeout=SECONDS)
        assert {one.name: str(answer) for one, answer in answers.items()} == {
            "Idle-1": "Linux",
            "Idle-2": "Linux",
        }
        (first, _) = cluster.shell("fail").values()
        assert isinstance(first, CommandFailed)
        (first, _) = cluster.shell("fail", check=False).values()
        assert isinstance(first, Results)


def test_a_service_runs_them_and_a_unit_test_answers_them(shells: FakeYagna) -> None:
    class Asking(Service):
        def run(self) -> Any:
            self.said = str(self.shell("uname -a", keep_first=100))

    with Golem(1) as golem:
        cluster = golem.run_service(Asking)
        assert cluster.wait(SECONDS)
        (instance,) = cluster
        assert instance.service.said == "Linux"  # type: ignore[attr-defined]

    alone = Asking().with_answers({Run.shell("uname -a", keep_first=100): "Minix\n"})
    alone.run()
    assert alone.said == "Minix"


def test_no_class_takes_the_name_for_itself() -> None:
    with pytest.raises(BadService, match="Service has a `shell` already"):
        type("Wrong", (Service,), {"shell": "/bin/bash"})


@pytest.mark.parametrize("call", [Run.shell])
def test_all_options_of_a_shell_command_are_known(call: Any) -> None:
    options = set(inspect.signature(call).parameters) - {"script"}
    assert options == set(typing.get_type_hints(ShellOptions))


# --- what a result says ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdout", "text"), [("one\n", "one"), ("one", "one"), ("one\n\n", "one\n"), ("", ""), ("\n", "")]
)
def test_a_result_as_text_is_its_output_without_the_last_newline(stdout: str, text: str) -> None:
    assert str(Result(stdout=stdout)) == str(Results([Result(stdout=stdout)])) == f"{Result(stdout=stdout)}"
    assert str(Result(stdout=stdout)) == text


def test_several_results_as_text_show_each() -> None:
    both = Results([Result(stdout="a"), Result(stdout="b")])
    assert str(both) == repr(both)
    assert str(Results()) == "Results([])"


def test_output_that_is_no_json_is_shown_up_to_200_characters() -> None:
    result = Result(stdout="x" * 1000, command=Run("/bin/x"))
    with pytest.raises(BadJson, match=r"what Run\('/bin/x'\) wrote is no JSON: .*begins with 'x{200}'$"):
        _ = result.json
    with pytest.raises(BadJson, match="it is empty"):
        _ = Results([Result(command=Run("/bin/x"))]).json
    with pytest.raises(BadJson, match=r"brought is no JSON: .*begins with '\{é'"):
        _ = Result(downloaded="{é".encode()).json

"""A failed command whose cause is unclear: what the instance is asked, and what the error says then."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simple_golem import (
    CommandFailed,
    Download,
    DownloadBytes,
    Golem,
    Payload,
    Result,
    Run,
    UploadBytes,
    UploadFromUrl,
)
from simple_golem.background.cancellation import Scope
from simple_golem.engine.activity.explanation import _WHAT_IS_THE_FILE, explained
from simple_golem.errors import BatchTimeout, GolemError
from simple_golem.model.commands.commands import Command
from simple_golem.model.commands.failure import command_failed
from simple_golem.model.commands.results import Results
from simple_golem.testing import CommandAnswer, FakeYagna
from tests.helpers.recorded_services import programs, started

SHELLS = {"sh": ["/bin/sh"], "bash": ["/bin/bash", "--posix"]}
each_shell = pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
Answer = Callable[[Run], Results]


def failed(command: Command, message: str, **output: str) -> CommandFailed:
    result = Result(success=False, message=message, command=command, **output)  # type: ignore[arg-type]
    return command_failed([result], [command], "prov-1 (0x1)")


def killed(command: Command, **output: str) -> CommandFailed:
    return failed(command, "ExeScript command exited with code 9", **output)


class Asked:
    """An activity that answers by a shell of this machine, or as a test says."""

    def __init__(self, answer: Answer) -> None:
        self.questions: list[Run] = []
        self.provider = "prov-1 (0x1)"
        self._answer = answer

    def run(self, commands: list[Run], _scope: Scope, _unsent: Scope, timeout: float) -> Results:
        assert timeout <= 10
        (command,) = commands
        self.questions.append(command)
        return self._answer(command)


def by(shell: list[str]) -> Answer:
    def answer(command: Run) -> Results:
        run = command.to_exe_script()["run"]
        told = subprocess.run([*shell, *run["args"]], env={}, capture_output=True, timeout=10)
        assert told.returncode == 0
        return Results([Result(stdout=told.stdout.decode())])

    return answer


def error_of(error: CommandFailed, answer: Answer, may_run: bool = True) -> tuple[str, Asked]:
    activity: Any = Asked(answer)
    with (
        pytest.raises(CommandFailed) as caught,
        explained(activity, Scope(), Scope(), lambda command: may_run),
    ):
        raise error
    assert (caught.value.command, caught.value.results) == (error.command, error.results)
    return str(caught.value), activity


@each_shell
def test_a_missing_program_is_named(shell: list[str], tmp_path: Path) -> None:
    text, asked = error_of(killed(Run("/bin/nosuch", "x")), by(shell))
    assert text == (
        "Run('/bin/nosuch', 'x') failed on prov-1 (0x1): exit code 9: there is no /bin/nosuch in this image"
    )
    assert len(asked.questions) == 1
    text, _ = error_of(killed(Run(tmp_path / "it's a $PATH \n*", "x")), by(shell))
    assert "there is no" in text


@each_shell
@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("#!/bin/sh\n", 0o644, "can't be executed in this image: it lacks the permission"),
        ("#!/no/such/python3\n", 0o755, "needs the interpreter '/no/such/python3'"),
        ("#! /no/such/python3 -u\n", 0o755, "needs the interpreter '/no/such/python3'"),
        ("#!/bin/sh\r\n", 0o755, r"needs the interpreter '/bin/sh\r'"),
        ("#!/bin/sh -e\necho", 0o755, "was killed (SIGKILL)"),
        ("\x7fELF\0\0\n", 0o755, "was killed (SIGKILL)"),
        ("", 0o755, "was killed (SIGKILL)"),
    ],
)
def test_a_program_that_is_there_is_looked_at(
    shell: list[str], content: str, mode: int, words: str, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text(content, newline="")
    program.chmod(mode)
    text, _ = error_of(killed(Run(program)), by(shell))
    assert words in text
    assert str(program) in text
    text, _ = error_of(killed(Run(tmp_path)), by(shell))
    assert "is a folder in this image" in text


def test_without_a_shell_nothing_can_be_run() -> None:
    def answer(command: Run) -> Results:
        raise killed(command)

    text, _ = error_of(killed(Run("/bin/date")), answer)
    assert text.endswith(
        "exit code 9: /bin/sh fails in the same way: the image has no shell, or its working folder is missing"
    )


@pytest.mark.parametrize(
    "error",
    [
        killed(Run("/bin/x"), stdout="begun"),
        killed(Run("/bin/x"), stderr="no"),
        killed(Run("name", absolute=False)),
        failed(Run("/bin/x"), "ExeScript command exited with code 3"),
        failed(UploadBytes(b"", "/golem/work/x"), "IO error: No such file or directory (os error 2)"),
        failed(Download("/golem/work/x/", "x"), "IO error: No such file or directory (os error 2)"),
        failed(DownloadBytes("/golem/work/x"), "the disk is broken"),
        CommandFailed("without results"),
    ],
    ids=str,
)
def test_what_is_clear_or_can_not_be_known_is_not_asked(error: CommandFailed) -> None:
    activity: Any = Asked(by(["/bin/sh"]))
    with pytest.raises(CommandFailed) as caught, explained(activity, Scope(), Scope(), lambda command: True):
        raise error
    assert caught.value is error
    assert activity.questions == []


@pytest.mark.parametrize("trouble", [BatchTimeout("too slow"), GolemError("gone")])
def test_an_instance_that_does_not_answer_changes_nothing(trouble: GolemError) -> None:
    def answer(_command: Run) -> Results:
        raise trouble

    error = killed(Run("/bin/x"))
    assert error_of(error, answer)[0] == str(error)
    assert error_of(error, lambda command: Results([Result(stdout="nonsense")]))[0] == str(error)

    def fail(command: Run) -> Results:
        raise failed(command, "ExeScript command exited with code 1")

    assert error_of(error, fail)[0] == str(error)
    text, asked = error_of(error, answer, may_run=False)
    assert text == str(error)
    assert asked.questions == []


def test_without_an_answer_all_causes_are_named() -> None:
    text = str(killed(Run("/bin/x")))
    for words in ("exit code 9", "no /bin/x in the image", "can't be executed", "working folder", "SIGKILL"):
        assert words in text
    begun = str(killed(Run("/bin/x"), stdout="begun"))
    assert "SIGKILL" in begun
    assert "working folder" not in begun
    assert "SIGKILL" not in str(failed(Run("/bin/x"), "ExeScript command exited with code 3"))


@each_shell
@pytest.mark.parametrize(
    "message", ["IO error: No such file or directory (os error 2)", "Send error: receiver is gone"]
)
def test_a_download_through_a_link_says_so(shell: list[str], message: str, tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    (folder / "a file").touch()
    (folder / "link").symlink_to(folder / "a file")
    (folder / "lost").symlink_to("nowhere")
    (folder / "in").symlink_to(".")
    expected = {
        "link": "by way of a symbolic link",
        "in/a file": "by way of a symbolic link",
        "lost": "a symbolic link to something that is not there",
        "none": "there is nothing of this name there",
    }
    for name, words in expected.items():
        text, _ = error_of(failed(DownloadBytes(folder / name), message), by(shell))
        assert words in text, name
    error = failed(DownloadBytes(folder / "a file"), message)
    assert error_of(error, by(shell))[0] == str(error)


# --- a whole instance, on providers that answer as real ones do --------------------------------------


def test_an_instance_is_asked_and_lives_on(fake: FakeYagna) -> None:
    def answers(command: dict[str, Any]) -> object:
        words = [command["run"]["entry_point"], *command["run"]["args"]]
        return "missing\n" if words[-1] == "/bin/nosuch" and len(words) > 1 else None

    for provider in fake.providers:
        provider.missing_programs = ["/bin/nosuch"]
        provider.answers = answers
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(CommandFailed, match="there is no /bin/nosuch in this image") as caught:
            instance.execute(Run("/bin/true"), Run("/bin/nosuch"), Run("/bin/never"))
        assert caught.value.exit_code == 9
        assert len(caught.value.results) == 2
        result = instance.execute(Run("/bin/nosuch"), check=False)
        with pytest.raises(CommandFailed, match="there is no /bin/nosuch in this image"):
            result.check()
        assert instance.execute(Run("/bin/true")).success


def test_a_payload_without_a_shell_is_not_asked(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.properties = {"golem.runtime.name": "wasmtime"}
        provider.answers = {"/bin/x": CommandAnswer(exit_code=9)}
    with Golem(1) as golem:
        instance = started(golem, payload=Payload(runtime="wasmtime"))
        with pytest.raises(CommandFailed, match="exit code 9"):
            instance.execute(Run("/bin/x"))
    assert not any(line.startswith("/bin/sh") for one in fake.providers for line in programs(one))


@pytest.mark.parametrize("size", [None, 4])
def test_a_file_from_the_web_needs_a_shell_and_the_error_says_what_to_do(
    fake: FakeYagna, size: int | None
) -> None:
    for provider in fake.providers:
        provider.missing_programs = ["/bin/sh"]
    with Golem(1) as golem:
        instance = started(golem)
        told = (
            "it needs /bin/sh, .* the image has none: fetch the file on your machine, and send it by Upload"
        )
        with pytest.raises(CommandFailed, match=told):
            instance.execute(UploadFromUrl("https://example.com/a", "/golem/input/a", size=size))
        assert instance.execute(Run("/bin/true")).success


@each_shell
def test_a_file_is_not_taken_for_a_link_where_that_can_not_be_found_out(
    shell: list[str], tmp_path: Path
) -> None:
    """An image may have no `readlink`."""
    (tmp_path / "file").write_text("")
    run = subprocess.run(
        [*shell, "-c", _WHAT_IS_THE_FILE, "sh", str(tmp_path / "file")],
        env={"PATH": "/nowhere"},
        capture_output=True,
        check=True,
    )
    assert run.stdout == b""

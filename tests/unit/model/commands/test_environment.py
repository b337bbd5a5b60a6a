"""The environment and the working folder of a command: checked, hidden, and set by real shells."""

from __future__ import annotations

import copy
import pickle
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_golem import Run
from simple_golem.errors import BadCommand
from simple_golem.model.commands.environment import without_environment

SECRET = "hunter2"
SHELLS = {"sh": ["/bin/sh"], "bash": ["/bin/bash", "--posix"]}


def executed(command: Run, shell: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a provider would, with an empty environment and a shell of the test's choice."""
    run = command.to_exe_script()["run"]
    first, *words = [run["entry_point"], *run["args"]]
    assert first == "/bin/sh"
    return subprocess.run([*shell, *words], env={}, capture_output=True, timeout=10)


def test_a_command_without_them_has_no_shell_in_front() -> None:
    assert Run("/bin/ls", "x", env={}, cwd=None) == Run("/bin/ls", "x")
    assert Run("/bin/ls", "x").to_exe_script()["run"]["entry_point"] == "/bin/ls"
    assert not Run("/bin/ls").needs_shell


def test_a_shell_in_front_gets_everything_as_arguments() -> None:
    command = Run("/bin/ls", "-l", env={"A": 1, "B": PurePosixPath("/b")}, cwd=PurePosixPath("/golem/work"))
    assert command.needs_shell
    run = command.to_exe_script()["run"]
    assert run["entry_point"] == "/bin/sh"
    script = 'cd "$1" || exit 126; shift; export A="${1}" B="${2}"; shift 2; exec "$@"'
    assert run["args"] == ["-c", script, "/bin/sh", "/golem/work", "1", "/b", "/bin/ls", "-l"]
    assert (command.program, command.args) == ("/bin/ls", ("-l",))


def test_it_is_a_value_like_any_other() -> None:
    command = Run("/bin/x", env={"A": "1", "B": "2"}, cwd="/tmp")
    assert command == Run("/bin/x", env={"B": "2", "A": "1"}, cwd="/tmp")
    assert hash(command) == hash(Run("/bin/x", env={"B": "2", "A": "1"}, cwd="/tmp"))
    assert command != Run("/bin/x", env={"A": "1", "B": "3"}, cwd="/tmp")
    assert command != Run("/bin/x", env={"A": "1", "B": "2"})
    for copied in (pickle.loads(pickle.dumps(command)), copy.deepcopy(command)):
        assert copied == command
        assert copied.to_exe_script() == command.to_exe_script()
    with pytest.raises(TypeError):
        command.env["A"] = "2"  # type: ignore[index]


def test_values_are_never_shown() -> None:
    command = Run("/bin/x", env={"TOKEN": SECRET}, cwd="/tmp")
    assert repr(command) == "Run('/bin/x', env={'TOKEN': '…'}, cwd='/tmp')"
    for copied in (command, pickle.loads(pickle.dumps(command))):
        assert SECRET not in f"{copied} {copied.env} {copied.env!r}"
    assert command.env["TOKEN"] == SECRET


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"1A": SECRET}, "'1A', which no shell takes"),
        ({"": SECRET}, "'', which no shell takes"),
        ({"A-B": SECRET}, "which no shell takes"),
        ({"É": SECRET}, "which no shell takes"),
        ({f"TOKEN={SECRET}": 1}, "'TOKEN=…', which no shell takes"),
        ({3: SECRET}, "3, which no shell takes"),
        ({"UID": SECRET}, "'UID', which shells keep for themselves"),
        ({"A": SECRET + "\0"}, "the value of 'A' in env is text with a NUL"),
        ({"A": SECRET + "\ud800"}, "or no Unicode"),
        ({"A": [SECRET]}, "the value of 'A' in env is list: give text"),
        ({"A": True}, "is bool"),
        ({"A": None}, "is NoneType"),
        ([f"A={SECRET}"], "env is no mapping"),
    ],
)
def test_a_wrong_environment_is_an_error_that_shows_no_value(env: Any, words: str) -> None:
    with pytest.raises(BadCommand) as caught:
        Run("/bin/x", env=env)
    assert words in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__context__


@pytest.mark.parametrize("cwd", ["work", "", 3, b"/tmp", "/a\0b"])
def test_a_working_folder_is_an_absolute_path(cwd: Any) -> None:
    with pytest.raises(BadCommand, match="cwd"):
        Run("/bin/x", cwd=cwd)


def test_shell_scripts_have_them_too() -> None:
    command = Run.shell('echo "$A in $PWD"', env={"A": "x y"}, cwd="/usr")
    assert executed(command, ["/bin/sh"]).stdout == b"x y in /usr\n"


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NASTY = st.sampled_from(
    ["", "'", '"', "$A", "`id`", "\\", "\n", "a\n\n", "*", "-n", "--", "é\x81\x85", "A=b", "}", "${", "!"]
)
WORDS = st.one_of(TEXTS, NASTY)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}Q", fullmatch=True)


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
@settings(max_examples=60, deadline=None, database=None)
@given(env=st.dictionaries(NAMES, WORDS, min_size=1, max_size=12), args=st.lists(WORDS, max_size=12))
def test_a_real_shell_hands_on_every_value_and_argument(
    shell: list[str], env: Mapping[str, str], args: list[str]
) -> None:
    told = executed(Run("/usr/bin/env", "-0", env=env, cwd="/usr"), shell)
    assert told.stderr == b""
    given_on = dict(line.split("=", 1) for line in told.stdout.decode().split("\0") if line)
    assert {name: given_on.get(name) for name in env} == env
    command = Run("/usr/bin/printf", "%s\\0", *args, env=env)
    assert executed(command, shell).stdout.decode().split("\0")[:-1] == (args or [""])
    run = command.to_exe_script()["run"]
    assert without_environment([run["entry_point"], *run["args"]]) == (command.program, *command.args)


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
@pytest.mark.parametrize("name", ["a b", "it's", '"q"', "$(id)", "-P", "..", "é", "a\nb", "*"])
def test_a_real_shell_enters_a_folder_of_any_name(shell: list[str], name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    told = executed(Run("/bin/ls", "-a", cwd=folder.resolve()), shell)
    assert told.returncode == 0
    (folder / "inside").touch()
    assert b"inside" in executed(Run("/bin/ls", cwd=folder), shell).stdout


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
@pytest.mark.parametrize("env", [None, {"A": "1"}])
def test_without_the_folder_nothing_is_run(shell: list[str], env: Any) -> None:
    told = executed(Run("/bin/echo", "hello", cwd="/no/such folder", env=env), shell)
    assert told.returncode == 126
    assert told.stdout == b""
    assert b"/no/such folder" in told.stderr


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_the_exit_code_is_that_of_the_program(shell: list[str]) -> None:
    assert executed(Run.shell("exit 7", env={"A": "1"}), shell).returncode == 7
    missing = executed(Run("/no/such/program", env={"A": "1"}), shell)
    assert missing.returncode == 127
    assert b"/no/such/program" in missing.stderr


@pytest.mark.parametrize(
    "words",
    [("/bin/date",), ("/bin/sh", "-c", 'exec "$@"'), ("/bin/sh", "-c", "date", "a", "b", "c")],
)
def test_a_command_without_the_librarys_shell_stays_unchanged(words: tuple[str, ...]) -> None:
    assert without_environment(words) == words

"""Commands: what they accept, how they look on the wire, and how they refuse."""

from __future__ import annotations

import copy
import enum
import json
import pickle
from collections.abc import Iterator
from decimal import Decimal
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from simple_golem.errors import BadCommand, BadCommandList
from simple_golem.model.commands.commands import (
    Command,
    Deploy,
    Run,
    Sign,
    Start,
    Terminate,
    Transfer,
    as_commands,
    batch_of,
)
from simple_golem.model.commands.results import Result, Results


class Colour(str, enum.Enum):
    red = "red"


class Level(enum.IntEnum):
    high = 3


ONE_OF_EACH: list[Command] = [
    Run("/bin/echo", "it's", "a\nb"),
    Run("ls", absolute=False),
    Run("/opt/my tool/x", absolute=False),
    Deploy(),
    Deploy(
        volumes=["/data"],
        env={"A": "1"},
        net=[{"id": "n", "nodes": {"192.168.0.1": "0x1"}}],
        hosts={"h": "192.168.0.3"},
        hostname="me",
    ),
    Deploy(volumes={"/big": {"storage": {"size": "10GiB"}}}),
    Start(),
    Start("--fast", 2),
    Terminate(),
    Sign(),
    Transfer("container:/data/in", "http://127.0.0.1/out"),
]


def test_a_run_asks_for_all_its_output_as_text() -> None:
    assert Run("/bin/sh", "-c", "echo hi").to_exe_script() == {
        "run": {
            "entry_point": "/bin/sh",
            "args": ["-c", "echo hi"],
            "capture": {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}},
        }
    }


def test_every_other_command_has_an_object_on_the_wire() -> None:
    assert Deploy().to_exe_script() == {"deploy": {}}
    assert Start("a").to_exe_script() == {"start": {"args": ["a"]}}
    assert Terminate().to_exe_script() == {"terminate": {}}
    assert Sign().to_exe_script() == {"sign": {}}
    assert Transfer("container:/a", "gftp://0x1/b").to_exe_script() == {
        "transfer": {"from": "container:/a", "to": "gftp://0x1/b"}
    }


def test_a_deploy_with_everything_reads_as_the_daemon_wants_it() -> None:
    assert json.loads(json.dumps(ONE_OF_EACH[4].to_exe_script())) == {
        "deploy": {
            "volumes": ["/data"],
            "env": {"A": "1"},
            "net": [{"id": "n", "nodes": {"192.168.0.1": "0x1"}}],
            "hosts": {"h": "192.168.0.3"},
            "hostname": "me",
        }
    }


@pytest.mark.parametrize("command", ONE_OF_EACH, ids=repr)
def test_a_command_is_a_value(command: Command) -> None:
    pasted = eval(repr(command))
    for twin in (pasted, copy.deepcopy(command), pickle.loads(pickle.dumps(command))):
        assert twin == command
        assert hash(twin) == hash(command)


def test_different_commands_are_different() -> None:
    assert len(set(ONE_OF_EACH)) == len(ONE_OF_EACH)
    terminate: Command = Terminate()
    assert terminate != Sign()


def test_a_command_can_not_be_changed() -> None:
    volumes = ["/data"]
    deploy = Deploy(volumes=volumes, env={"A": "1"})
    volumes.append("/more")
    assert deploy.volumes == ("/data",)
    with pytest.raises(AttributeError):
        deploy.hostname = "x"  # type: ignore[misc]
    with pytest.raises(TypeError, match="can't be changed"):
        deploy.env["B"] = "2"  # type: ignore[index]
    with pytest.raises(TypeError, match="can't be changed"):
        deploy.env.update(B="2")  # type: ignore[attr-defined]


def test_the_wire_form_is_a_new_one_each_time() -> None:
    command = Run("/bin/ls")
    command.to_exe_script()["run"]["capture"].clear()
    assert command.to_exe_script()["run"]["capture"]


def test_numbers_and_paths_become_text() -> None:
    args = (
        3,
        0.5,
        Decimal("1E+2"),
        PurePosixPath("/a/b"),
        PureWindowsPath("a\\b"),
        Colour.red,
        Level.high,
        "",
    )
    assert Run(PurePosixPath("/bin/ls"), *args) == Run(
        "/bin/ls", "3", "0.5", "100", "/a/b", "a/b", "red", "3", ""
    )


def test_a_shell_line_is_a_run_of_the_shell() -> None:
    assert Run.shell("ls -l / | wc") == Run("/bin/sh", "-c", "ls -l / | wc")
    with pytest.raises(BadCommand, match=r"Run\.shell\('ls -l /'\)"):
        Run.shell("  ")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("ls -l /",), "Run('/bin/ls', '-l', '/'), or Run.shell('ls -l /')"),
        (("ls",), "Run('/bin/ls'), or Run.shell('ls')"),
        (("ls", "-l", "a b"), "Run('/bin/ls', '-l', 'a b'), or Run.shell(\"ls -l 'a b'\")"),
        (("/bin/ls -l",), "Run('/bin/ls', '-l'), or Run.shell('/bin/ls -l')"),
        (("./server", "--port", 80), "Run('/golem/work/server', '--port', '80')"),
        (("ls | wc",), "no shell reads this line; write Run.shell('ls | wc')"),
        (("echo it's",), "Run('/bin/echo', \"it's\")"),
        (("",), "the program is missing"),
        ((" ",), "the program is missing"),
    ],
)
def test_a_program_without_its_path_is_refused_with_how_to_write_it(
    words: tuple[str, ...], advice: str
) -> None:
    with pytest.raises(BadCommand) as caught:
        Run(*words)
    assert advice in str(caught.value)


def test_runtimes_that_take_names_get_names() -> None:
    assert Run("set speed", absolute=False).to_exe_script()["run"]["entry_point"] == "set speed"
    with pytest.raises(BadCommand, match="missing"):
        Run("", absolute=False)


def test_a_blank_in_a_path_is_allowed_beside_arguments() -> None:
    assert Run("/opt/my tool/x", "a").program == "/opt/my tool/x"


@pytest.mark.parametrize(
    ("arg", "advice"),
    [
        (None, "only text, numbers and paths"),
        (["-l"], r"with a star: \*\['-l'\]"),
        ({"a": 1}, "only text"),
        (b"x", "decode"),
        (True, "the word it should be"),
        ("a\0b", "NUL"),
        ("\udc80", "no Unicode text"),
    ],
)
def test_an_argument_that_is_no_text_is_refused(arg: object, advice: str) -> None:
    with pytest.raises(BadCommand, match=advice):
        Run("/bin/ls", arg)
    with pytest.raises(BadCommand, match=advice):
        Start(arg)


@pytest.mark.parametrize("program", [None, 5, b"/bin/ls", ["/bin/ls"], True])
def test_a_program_that_is_no_text_is_refused(program: object) -> None:
    with pytest.raises(BadCommand, match="one by one"):
        Run(program)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        {"volumes": "/data"},
        {"volumes": ["data"]},
        {"volumes": [5]},
        {"volumes": None},
        {"volumes": {"/d": {"size": object}}},
        {"env": ["A=1"]},
        {"env": {"A": None}},
        {"env": {"A=": "1"}},
        {"env": {"": "1"}},
        {"env": {5: "1"}},
        {"net": {"id": "n"}},
        {"net": ["n"]},
        {"net": ""},
        {"hosts": "h"},
        {"hostname": 1.5j},
    ],
    ids=repr,
)
def test_a_deploy_that_can_not_be_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(BadCommand, match=next(iter(arguments))):
        Deploy(**arguments)  # type: ignore[arg-type]


def test_the_parts_of_a_deploy_must_be_named() -> None:
    with pytest.raises(TypeError):
        Deploy(["/data"])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "urls", [("/a", "http://x"), ("container:/a", "b"), ("", "http://x"), ("file:", "x:y")]
)
def test_a_transfer_needs_two_urls(urls: tuple[str, str]) -> None:
    with pytest.raises(BadCommand, match=r"Transfer\.(source|target)"):
        Transfer(*urls)


def test_a_list_a_tuple_one_command_and_none_are_commands() -> None:
    one = Run("/bin/ls")
    assert as_commands([one, one]) == (one, one)
    assert as_commands((one,)) == (one,)
    assert as_commands(one) == (one,)
    assert as_commands([]) == as_commands(None) == ()


def iter_commands() -> Iterator[Command]:
    yield Run("/bin/ls")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("ls", r"'ls', .* Run\.shell\('ls'\)"),
        ([Run("/bin/ls"), "ls"], r"'ls' is no command; write Run\.shell"),
        ([[Run("/bin/ls")]], "one flat list"),
        (iter_commands(), "strike out `yield` and `async`, return a list"),
        (Results([Result()]), "has run its commands already"),
        (Result(), "has run its commands already"),
        (Run, r"write Run\("),
        ({Run("/bin/ls")}, "return a list"),
        (5, "return a list"),
        (False, "return a list"),
        ("", "return a list"),
    ],
)
def test_anything_else_is_no_list_of_commands(value: object, advice: str) -> None:
    with pytest.raises(BadCommandList, match=advice):
        as_commands(value)


def test_execute_takes_commands_one_by_one() -> None:
    one = Run("/bin/ls")
    assert batch_of((one, one)) == (one, one)
    with pytest.raises(BadCommandList, match=r"one by one: execute\(\*commands\)"):
        batch_of(([one],))
    with pytest.raises(BadCommandList, match=r"was given 'ls', .*Run\.shell"):
        batch_of((one, "ls"))

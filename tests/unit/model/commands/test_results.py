"""Results: read from the daemon's answers, and read by people."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone

import pytest

from simple_golem.errors import CommandFailed, GolemError, NoBytes, NotOneResult
from simple_golem.model.commands.commands import Command, Run
from simple_golem.model.commands.failure import command_failed, with_advice
from simple_golem.model.commands.results import Result, Results
from simple_golem.model.commands.transfers import Download, Upload

ENTRY = {
    "index": 1,
    "result": "Ok",
    "stdout": "hi\n",
    "stderr": None,
    "message": None,
    "isBatchFinished": False,
    "eventDate": "2026-01-31T12:00:00.123456789Z",
}


def test_a_result_is_read_from_the_daemons_answer() -> None:
    command = Run("/bin/ls")
    assert Result.from_wire(ENTRY, command) == Result(
        stdout="hi\n",
        index=1,
        command=command,
        finished_at=datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone.utc),
    )


def test_output_is_always_text() -> None:
    result = Result.from_wire({**ENTRY, "stdout": None, "stderr": [195, 164, 255]})
    assert (result.stdout, result.stderr) == ("", "ä\ufffd")


def test_output_that_makes_no_sense_is_no_error() -> None:
    result = Result.from_wire({**ENTRY, "stdout": [104, 256, -1, 105, "x", None], "stderr": {"a": 1}})
    assert (result.stdout, result.stderr) == ("h??i??", "")


def test_bytes_are_there_where_they_were_asked_for() -> None:
    entry = {**ENTRY, "stdout": [0, 255, 10], "stderr": None}
    result = Result.from_wire(entry, Run("/bin/a", binary=True))
    assert (result.stdout_bytes, result.stderr_bytes) == (b"\x00\xff\n", b"")
    assert result.stdout == "\x00\ufffd\n"
    assert Results([result]).stdout_bytes == b"\x00\xff\n"
    assert Results([result]).stderr_bytes == b""


def test_without_having_been_asked_for_there_are_no_bytes() -> None:
    result = Result.from_wire(ENTRY, Run("/bin/a"))
    with pytest.raises(NoBytes, match=r"stdout_bytes.*binary=True"):
        _ = result.stdout_bytes
    with pytest.raises(NoBytes, match="stderr_bytes"):
        _ = Results([result]).stderr_bytes


def test_a_result_made_in_a_unit_test_has_bytes_either_way() -> None:
    assert Result(stdout="\u00e4").stdout_bytes == b"\xc3\xa4"
    assert Result(output_bytes=(b"\xff", b"")).stdout_bytes == b"\xff"


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Result(), 0),
        (Result(success=False, message="ExeScript command exited with code 3"), 3),
        (Result(success=False, message="ExeScript command exited with code -9"), -9),
        (Result(success=False, message="Busy: another command runs"), None),
        (Result(success=False), None),
    ],
)
def test_the_exit_code_is_read_from_the_message(result: Result, code: int | None) -> None:
    assert result.exit_code == code


def test_an_error_of_the_daemon_is_no_success() -> None:
    assert not Result.from_wire({**ENTRY, "result": "Error", "message": "x"}).success


def test_a_result_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        Result("text")  # type: ignore[call-arg]


def test_the_output_of_a_single_result_can_be_read_directly() -> None:
    results = Results([Result(stdout="out", stderr="err", success=False, message="exited with code 2")])
    assert (results.stdout, results.stderr, results.exit_code, results.success) == ("out", "err", 2, False)


@pytest.mark.parametrize("attribute", ["stdout", "stderr", "exit_code", "may_be_cut"])
def test_with_several_results_one_must_be_chosen(attribute: str) -> None:
    with pytest.raises(NotOneResult, match=rf"2 results; say which: results\[0\]\.{attribute}"):
        getattr(Results([Result(), Result()]), attribute)
    with pytest.raises(NotOneResult, match="no command was run"):
        getattr(Results(), attribute)
    assert issubclass(NotOneResult, AttributeError)


def test_results_succeed_if_all_commands_did() -> None:
    results = Results([Result(), Result(index=1)])
    assert results.success
    assert results.check() is results
    assert Results().success
    assert Results().check() == ()
    assert not Results([Result(), Result(success=False)]).success


def test_the_check_of_results_raises_the_error_of_their_batch() -> None:
    commands = (Run("/bin/true"), Run("/bin/false"), Run("/bin/date"))
    failed = Result(index=1, success=False, stderr="no\n", message="exited with code 1", command=commands[1])
    error = command_failed([Result(), failed], commands, "prov-1 (0x12)")
    results = Results.up_to(error)
    assert results == (Result(), failed)
    assert not results.success
    for _ in range(2):
        with pytest.raises(CommandFailed) as caught:
            results.check()
        assert caught.value is error
    copied = pickle.loads(pickle.dumps(results))
    with pytest.raises(CommandFailed, match=r"Run\('/bin/false'\) failed on prov-1"):
        copied.check()


def test_results_of_a_unit_test_can_be_checked_too() -> None:
    results = Results([Result(), Result(index=1, success=False, command=Run("/bin/x"), message="no")])
    with pytest.raises(CommandFailed, match=r"Run\('/bin/x'\) failed on a provider: no") as caught:
        results.check()
    assert caught.value.results == results


def test_results_are_a_tuple_whose_repr_can_be_pasted() -> None:
    results = Results([Result(stdout="a"), Result(index=1, command=Run("/bin/ls"))])
    assert isinstance(results, tuple)
    assert eval(repr(results)) == results
    assert [result.index for result in results] == [0, 1]


def test_a_failed_command_is_an_error_that_names_command_provider_and_reason() -> None:
    commands = (Run("/bin/true"), Run("/bin/false"))
    stderr = "".join(f"line {number}\n" for number in range(9))
    failed = Result(index=1, success=False, stderr=stderr, message="exited with code 1")
    error = command_failed([Result(), failed], commands, "prov-1 (0x12)")
    assert isinstance(error, CommandFailed)
    assert isinstance(error, GolemError)
    assert str(error).splitlines() == [
        "Run('/bin/false') failed on prov-1 (0x12): exit code 1",
        *(f"  stderr: line {number}" for number in range(4, 9)),
    ]
    assert (error.command, error.exit_code, error.provider) == (commands[1], 1, "prov-1 (0x12)")
    assert error.results == (Result(), failed)


NO_INTERNET = (
    " (a machine knows only the names of its private network, and has no way to the internet unless its "
    "payload asks for addresses: vm.manifest(…, outbound=['https://…']))"
)
NO_PATH = (
    " (if the image has nosuch: programs get no PATH of the image, so write the whole path of nosuch, or "
    "env={'PATH': '/usr/local/bin:/usr/bin:/bin'})"
)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("sh: 1: nosuch: not found", NO_PATH),
        ("bash: line 1: nosuch: command not found", NO_PATH),
        ("sh: nosuch: not found", NO_PATH),
        ("/bin/sh: exec: nosuch: not found", NO_PATH),
        ("env: \u2018nosuch\u2019: No such file or directory", NO_PATH),
        ("/usr/bin/env: 'nosuch': No such file or directory", NO_PATH),
        ("env: can't execute 'nosuch': No such file or directory", NO_PATH),
        ("sh: 1: ./nosuch: not found", ""),
        ("sh: 1: /usr/nosuch: not found", ""),
        ("cat: nosuch: No such file or directory", ""),
        ("wget: bad address 'example.org'", NO_INTERNET),
        ("wget: unable to resolve host address 'example.org'", NO_INTERNET),
        ("curl: (6) Could not resolve host: example.org", NO_INTERNET),
        (
            "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
            NO_INTERNET,
        ),
        ("ping: sendto: Network is unreachable", NO_INTERNET),
    ],
)
def test_the_last_line_of_a_failed_command_has_advice_where_the_cause_is_clear(
    line: str, advice: str
) -> None:
    command = Run("/bin/x")
    for code, shown in ((127, f"{line}{advice}"), (1, line if advice == NO_PATH else f"{line}{advice}")):
        failed = Result(success=False, stderr=f"{line}\n{line}\n", message=f"exited with code {code}")
        lines = str(command_failed([failed], [command], "p")).splitlines()[1:]
        assert lines == [f"  stderr: {line}", f"  stderr: {shown}"]
    assert with_advice(line) == f"{line}{advice}"


def test_a_failure_without_an_exit_code_shows_the_providers_own_words() -> None:
    error = command_failed([Result(success=False, message="Busy: wait")], [Run("/bin/ls")], "p")
    assert str(error) == "Run('/bin/ls') failed on p: Busy: wait"
    assert error.exit_code is None
    silent = command_failed([Result(success=False, index=7)], [Run("/bin/ls")], "p")
    assert str(silent) == "a command failed on p: the provider does not say why"


@pytest.mark.parametrize(
    ("command", "message", "advice"),
    [
        (
            Download("/golem/output", "x"),
            "Is a directory (os error 21)",
            "; there it is a folder: end",
        ),
        (
            Upload("x", "/golem/input"),
            "Is a directory (os error 21)",
            "; there it is a folder: name",
        ),
        (Upload("x", "/tmp/x"), "path not found in container", "; files go to and come from volumes of"),
        (Upload("x", "/etc/x"), "Read-only file system (os error 30)", "; write into a volume of the image"),
        (Upload("x", "/golem/work/x"), "the provider's own words", ""),
        (Run("/bin/ls"), "Is a directory (os error 21)", ""),
    ],
)
def test_a_transfer_that_fails_says_what_to_do(command: Command, message: str, advice: str) -> None:
    text = str(command_failed([Result(success=False, message=message)], [command], "p"))
    assert text.startswith(f"{command!r} failed on p: {message}{advice}")
    assert ("; " in text) is bool(advice)


def test_control_characters_of_a_provider_are_not_printed() -> None:
    failed = Result(success=False, stderr="\x1b[2Jgone\r\n" + "x" * 5000, message="\x1b]0;title\x07")
    text = str(command_failed([failed], [Run("/bin/ls", "y" * 5000)], "p"))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text) < 1200

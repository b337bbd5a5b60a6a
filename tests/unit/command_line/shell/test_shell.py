"""`simple-golem shell` on a network in memory, whose machine runs commands really."""

from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Command, Golem
from simple_golem.command_line import main as cli
from simple_golem.command_line.shell.remote_line import RemoteLine
from simple_golem.command_line.shell.remote_shell import RemoteShell
from simple_golem.command_line.shell.scripts import FOLLOW, PREPARE
from simple_golem.model.commands.results import Results
from simple_golem.testing import FakeProvider, FakeRequest, FakeYagna
from tests.helpers.host_machine import SHELL, HostMachine
from tests.helpers.typing_user import CTRL_C, CTRL_D, TypingUser
from tests.unit.conftest import eventually

TOOL = [sys.executable, "-m", "simple_golem.command_line.main"]
IGNORES_TERM = "trap '' TERM; echo begun; while :; do sleep 0.1; done"


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> HostMachine:
    """A machine whose `/bin/sh` is the one of this machine, or the program that a test asks for."""
    name = getattr(request, "param", "sh")
    shell = shutil.which(name)
    if shell is None:
        pytest.skip(f"there is no {name} on this machine")
    return HostMachine(tmp_path, SHELL if name == "sh" else Path(shell).resolve())


# Scripts of the shell run by what is /bin/sh in most images.
in_each_shell = pytest.mark.parametrize("machine", ["sh", "bash", "busybox"], indirect=True)


@pytest.fixture
def provider(machine: HostMachine) -> FakeProvider:
    return FakeProvider("prov-1", machine, loses_output=True)


@pytest.fixture
def fake(provider: FakeProvider) -> Iterator[FakeYagna]:
    with FakeYagna([provider]) as fake:
        yield fake
        assert fake.leftovers() == []


@pytest.fixture
def environment(fake: FakeYagna, tmp_path: Path) -> dict[str, str]:
    home = {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": str(tmp_path / "state")}
    return {**os.environ, **fake.environment, **home}


@pytest.fixture
def user(environment: dict[str, str], tmp_path: Path) -> Iterator[TypingUser]:
    with TypingUser([*TOOL, "shell"], environment) as user:
        user.wait_for(f"prov-1:{tmp_path}/golem/work$ ")
        yield user


@dataclass
class Ran:
    """What a run of the tool has written, and its status."""

    status: int
    stdout: str
    stderr: str

    @property
    def told(self) -> list[str]:
        """What it says beside the output of the commands, without what it says in each run."""
        lines = [line.removeprefix("simple-golem: ") for line in self.stderr.splitlines()]
        assert lines[0] == "renting a machine"
        assert lines[-1].startswith("it cost 0.0")
        return lines[2:-1]


Piped = Callable[..., Ran]


@pytest.fixture
def piped(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs the tool with a script as its standard input."""
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)

    def run(script: str, *options: str) -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(script))
        status = cli.main(["shell", *options])
        return Ran(status, *capsys.readouterr())

    return run


def test_a_session_at_a_terminal(user: TypingUser, tmp_path: Path) -> None:
    user.type("mkdir results; cd results\n")
    user.wait_for(f"prov-1:{tmp_path}/golem/work/results$ ")
    user.type("pwd; echo from stderr >&2\n")
    assert user.wait_for("$ ") == (
        f"pwd; echo from stderr >&2\n{tmp_path}/golem/work/results\nfrom stderr\n"
        f"prov-1:{tmp_path}/golem/work/results"
    )
    user.type(" echo not remembered\n")
    user.wait_for("$ ")
    user.type("(exit 7)\n")
    user.wait_for("\nsimple-golem: exit code 7\n")
    user.wait_for("$ ")
    user.type("echo code $?; cd\n")
    user.wait_for("\ncode 7\n")
    user.wait_for(f"prov-1:{tmp_path}/golem/work$ ")
    user.type("(exit 7)\n")
    user.wait_for("$ ")
    user.type(CTRL_D)
    user.wait_for("it cost 0.0")
    assert user.status() == 7
    assert user.seen.count("exit code") == 2
    history = tmp_path / "state" / "simple_golem" / "shell-history"
    assert history.read_text().splitlines() == [
        "mkdir results; cd results",
        "pwd; echo from stderr >&2",
        "(exit 7)",
        "echo code $?; cd",
        "(exit 7)",
    ]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


@pytest.mark.parametrize(("no_color", "is_dim"), [("", True), ("1", False)])
def test_an_exit_code_stands_back_where_the_terminal_has_colours(
    environment: dict[str, str], no_color: str, is_dim: bool
) -> None:
    with TypingUser([*TOOL, "shell"], {**environment, "NO_COLOR": no_color}, "xterm") as user:
        user.wait_for("$ ")
        user.type("(exit 7)\n")
        user.wait_for(
            "\x1b[2msimple-golem: exit code 7\x1b[0m\n" if is_dim else "simple-golem: exit code 7\n"
        )
        user.wait_for("$ ")
        user.type(CTRL_D)
        assert user.status() == 7


def test_lines_of_an_earlier_session_come_with_the_arrow(environment: dict[str, str], tmp_path: Path) -> None:
    history = tmp_path / "state" / "simple_golem" / "shell-history"
    history.parent.mkdir(parents=True)
    history.write_text("echo first\necho second\n")
    with TypingUser([*TOOL, "shell"], environment) as user:
        user.wait_for("$ ")
        user.type("\x10\x10\n")  # Ctrl-P: the line before
        user.wait_for("\nfirst\n")
        user.wait_for("$ ")
        user.type(CTRL_D)
        assert user.status() == 0


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


@in_each_shell
def test_ctrl_c_ends_the_command_and_not_the_machine(user: TypingUser, tmp_path: Path) -> None:
    user.type("sh -c 'echo $$ >pid; echo begun; exec sleep 1000'\n")
    user.wait_for("\nbegun\n")
    process = int((tmp_path / "golem" / "work" / "pid").read_text())
    user.type(CTRL_C)
    user.wait_for("^C: the command is asked to end (SIGTERM); press Ctrl-C again to kill it")
    user.wait_for("the command has ended, with exit code 143")
    eventually(lambda: not is_running(process))
    user.wait_for("$ ")
    user.type("half a line")
    user.wait_for("half a line")
    user.wait_until_it_reads()
    user.type(CTRL_C)
    user.wait_for("$ ")
    user.type("echo still there\n")
    user.wait_for("\nstill there\n")
    user.wait_for("$ ")
    user.type(CTRL_D)
    assert user.status() == 0


def test_a_second_ctrl_c_kills_the_command_and_a_third_one_ends_the_machine(user: TypingUser) -> None:
    user.type(f"{IGNORES_TERM}\n")
    user.wait_for("\nbegun\n")
    user.type(CTRL_C)
    user.wait_for("press Ctrl-C again to kill it")
    user.type(CTRL_C)
    user.wait_for("the command is killed (SIGKILL); Ctrl-C once more ends the machine")
    user.wait_for("the command has ended, with exit code 137")
    user.wait_for("$ ")
    user.type(CTRL_D)
    assert user.status() == 137


def test_ctrl_c_is_heard_although_the_machine_does_not_answer(user: TypingUser, machine: HostMachine) -> None:
    user.type("echo begun; sleep 20\n")
    user.wait_for("\nbegun\n")
    machine.answering.clear()
    for shown in ("press Ctrl-C again to kill it", "Ctrl-C once more ends the machine"):
        user.type(CTRL_C)
        user.wait_for(shown)
    user.type(CTRL_C)
    user.wait_for("it cost 0.0")
    assert user.status() == -signal.SIGINT
    machine.answering.set()


def test_a_provider_does_not_control_the_terminal(user: TypingUser) -> None:
    user.type("printf 'a\\033]0;title\\007b\\tc\\303\\244\\n'\n")
    user.wait_for("\na�]0;title�b\tcä\n")
    user.type("exit 5\n")
    assert user.status() == 5


@in_each_shell
def test_without_a_terminal_it_is_a_script(piped: Piped, tmp_path: Path) -> None:
    lines = ["cd ..", "pwd", "", "seq 1 20000", "ls nothing 2>&1 | wc -l", "printf 'no end'; (exit 9)"]
    run = piped("\n".join(lines))
    numbers = "".join(f"{n}\n" for n in range(1, 20001))
    assert run.stdout == f"{tmp_path}/golem\n{numbers}1\nno end"
    assert run.told == []
    assert run.status == 9


def test_exit_ends_a_script_and_mistakes_of_the_shell_do_not(piped: Piped) -> None:
    run = piped("if true; then\nno-such-program\necho on\nexit 4\necho never\n")
    assert "Syntax error" in run.stdout
    assert "no-such-program: not found" in run.stdout
    assert run.stdout.endswith("\non\n")
    assert run.status == 4


@in_each_shell
def test_a_working_folder_that_was_removed_is_left(piped: Piped, tmp_path: Path) -> None:
    work = tmp_path / "golem" / "work"
    run = piped("mkdir a; cd a\nrmdir ../a\npwd\npwd\n")
    assert run.stdout == f"{work}\n"
    assert run.told == [f"there is no folder {work}/a any more; back to {work}"]
    assert run.status == 0


@in_each_shell
def test_cd_minus_goes_to_the_previous_folder(piped: Piped, tmp_path: Path) -> None:
    work = tmp_path / "golem" / "work"
    run = piped("mkdir a b\ncd a\ncd ../b\ncd -\npwd\ncd -\ncd - >/dev/null\npwd\n")
    assert run.stdout.splitlines() == [f"{work}/{name}" for name in "aaba"]
    assert run.told == []


@in_each_shell
def test_cd_alone_goes_to_the_first_folder(piped: Piped, tmp_path: Path) -> None:
    run = piped("mkdir a; cd a\ncd\npwd\ncd -\nHOME=/usr; cd; pwd\ncd; pwd\n")
    work = tmp_path / "golem" / "work"
    assert run.stdout.splitlines() == [f"{work}", f"{work}/a", "/usr", f"{work}"]
    assert run.told == []


@in_each_shell
def test_each_line_knows_the_exit_code_of_the_one_before(piped: Piped) -> None:
    run = piped("echo $?\nexit_code() { return 3; }; exit_code\n\necho $?; false\nget\necho $?\necho $?\n")
    assert run.stdout.splitlines() == ["0", "3", "1", "0"]
    assert run.told == ["write get REMOTE [LOCAL]; a folder of the machine ends with /"]
    assert run.status == 0


def test_help_shows_what_the_shell_understands_itself(piped: Piped) -> None:
    run = piped("(exit 3)\nhelp\n")
    assert [line.split()[0] for line in run.told] == ["put", "get", "Ctrl-C", "Ctrl-D,", "help"]
    assert run.stdout == ""
    assert run.status == 0


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("sh", "a  b "),
        ("sh", " a"),
        ("sh", "a\nb"),
        ("sh", "a\n"),
        ("sh", "a\\b"),
        ("bash", "ü\n"),
        ("busybox", "ü\n"),
    ],
    indirect=["machine"],
)
def test_a_working_folder_can_have_any_name(piped: Piped, tmp_path: Path, name: str) -> None:
    here = tmp_path / "golem" / "work" / name
    here.mkdir()
    other = here / name
    other.mkdir()
    quoted = name.replace("\n", "\\n").replace("\\b", "\\\\b")
    go = f"n=$(printf '{quoted}.'); cd \"${{n%.}}\""
    run = piped(f"{go}\n{go}\npwd\ncd -\npwd\n")
    assert run.stdout == f"{other}\n{here}\n{here}\n"
    assert run.told == []
    assert run.status == 0


def test_a_line_that_is_too_long_is_told_without_the_script_of_the_shell(piped: Piped) -> None:
    run = piped(f"echo {'a' * 200_000}\necho on\n")
    assert run.stdout == "on\n"
    (told,) = run.told
    assert told == (
        "a line can have 131071 bytes, and this one has 200005: "
        "write them to a file, and copy it to the machine with put"
    )


def test_a_line_that_can_not_begin_is_told_without_the_script_of_the_shell(
    piped: Piped, machine: HostMachine
) -> None:
    run = piped("rm -rf .simple-golem-shell; echo x >.simple-golem-shell\necho never\n")
    told = run.told[-1]
    assert told.startswith("the line could not begin on the machine: ")
    assert "setsid" not in told
    assert run.status == 1


@pytest.mark.parametrize("fails", ["exec ./x", "trap - EXIT; exit 126"])
def test_exit_code_126_is_not_taken_for_a_working_folder_that_is_gone(
    piped: Piped, tmp_path: Path, fails: str
) -> None:
    run = piped(f"mkdir a; cd a; true >x\n{fails}\npwd\n{fails}\n")
    assert f"{tmp_path}/golem/work/a" in run.stdout.splitlines()
    assert run.told == []
    assert run.status == 126


@pytest.mark.parametrize(
    ("prepared", "followed"),
    [
        ("nonsense", ""),
        ("/golem/work\nnonsense\n", ""),
        ("/golem/work\n/\n", ""),
        ("/golem/work\n/\n", "nonsense"),
        ("/golem/work\n/\n", "-5 0 0\n"),
        ("/golem/work\n/\n", "1 0 0 0\n\n"),
        ("/golem/work\n/\n", "0 0 9\n/\n"),  # a folder that is not there in full
        ("/golem/work\n/\n", "99999 0 2\n/\n"),  # output that never comes
    ],
)
def test_a_machine_whose_answers_make_no_sense_ends_the_shell_with_an_error(
    piped: Piped, provider: FakeProvider, prepared: str, followed: str
) -> None:
    def answer(command: dict[str, Any]) -> str:
        script = command["run"]["args"][1]
        return prepared if script == PREPARE else followed if script == FOLLOW else ""

    provider.answers = answer
    run = piped("echo hello\n")
    assert run.status == 2
    assert "the machine of prov-1 does not answer as a machine does" in run.stderr
    assert run.stdout == ""


def test_long_output_comes_also_without_a_volume(piped: Piped, provider: FakeProvider) -> None:
    provider.volumes = ()
    run = piped("seq 1 3000\n")
    assert run.stdout.splitlines() == [str(n) for n in range(1, 3001)]
    assert run.told == []


def test_the_output_of_a_line_takes_no_room_once_the_next_one_begins(piped: Piped) -> None:
    run = piped("head -c 1000000 /dev/zero\n: next\ncd .simple-golem-shell; ls *.out; cat *.out | wc -c\n")
    files, size = run.stdout[1_000_000:].splitlines()
    assert files == "3.out"
    assert int(size) < 100


def test_a_line_that_removes_its_own_files_does_not_end_the_shell(piped: Piped) -> None:
    run = piped("rm -rf .simple-golem-shell; sleep 0.2\necho on\n")
    assert run.stdout == "on\n"
    (told,) = run.told
    assert told.startswith("the files of this command in ")
    assert run.status == 0


def test_ctrl_c_before_a_line_was_sent(fake: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    written: list[bytes] = []
    told: list[str] = []
    with Golem(budget=1) as golem:
        machine = golem.rent(20)
        shell = RemoteShell(machine, written.append, told.append, told.append)
        execute = machine.execute

        def interrupted_once(*commands: Command, **options: Any) -> Results:
            monkeypatch.setattr(machine, "execute", execute)
            raise KeyboardInterrupt

        monkeypatch.setattr(machine, "execute", interrupted_once)
        assert shell.run("echo hello", interruptible=True) == 130
        assert shell.run("echo hello", interruptible=True) == 0
    assert b"".join(written) == b"hello\n"
    assert told[1] == "the command has ended, with exit code 130"


def test_ctrl_c_between_two_batches(fake: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    real = RemoteLine.has_ended

    def interrupted_once(line: RemoteLine) -> bool:
        monkeypatch.setattr(RemoteLine, "has_ended", real)
        raise KeyboardInterrupt

    told: list[str] = []
    with Golem(budget=1) as golem:
        shell = RemoteShell(golem.rent(20), [].append, told.append, told.append)
        monkeypatch.setattr(RemoteLine, "has_ended", property(interrupted_once))
        assert shell.run("echo hello", interruptible=True) == 0
    assert told[-1] == "the command has ended, with exit code 0"


def test_output_from_before_ctrl_c_is_not_fetched_but_for_its_end(
    fake: FakeYagna, provider: FakeProvider, machine: HostMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    provider.volumes = ()  # so each batch brings little
    written: list[bytes] = []
    told: list[str] = []
    with Golem(budget=1) as golem:
        rented = golem.rent(20)
        shell = RemoteShell(rented, written.append, told.append, told.append)
        execute = rented.execute
        batches = 0

        def interrupted(*commands: Command, **options: Any) -> Results:
            nonlocal batches
            batches += 1
            if batches == 2:
                fake.wait_for((machine.work / "written").exists)
                raise KeyboardInterrupt
            results = execute(*commands, **options)
            if batches == 3:
                # The signal was sent. Until the command has ended, there is more to fetch.
                fake.wait_for(lambda: list((machine.work / ".simple-golem-shell").glob("*.code")), 20)
            return results

        monkeypatch.setattr(rented, "execute", interrupted)
        assert shell.run("seq 1 100000; true >written; sleep 1000", interruptible=True) == 143
        (file,) = (machine.work / ".simple-golem-shell").glob("*.out")
        output = file.read_bytes()
    fetched = b"".join(written)
    assert output.startswith(fetched[:1000])
    assert output.endswith(fetched[-1000:])
    assert told[-1] == (
        "the command has ended, with exit code 143; "
        f"{len(output) - len(fetched)} bytes of its output were not fetched"
    )
    assert len(fetched) < len(output) / 10
    assert batches < 10


def test_put_and_get_copy_files(piped: Piped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "my notes.txt").write_text("notes")
    lines = [
        "put 'my notes.txt' /golem/work/a/",
        "put 'my notes.txt' /golem/work/b",
        "get /golem/work/a/../b copy",
        "get '//golem/work/a/my notes.txt' ..",
        "put",
        "put 'my notes.txt",
        "put nothing",
        "get /",
        "get /golem/work/nothing",
    ]
    monkeypatch.chdir(here)
    run = piped("\n".join(lines))
    assert (here / "copy").read_text() == "notes"
    assert (tmp_path / "my notes.txt").read_text() == "notes"
    usage, unclosed, missing_here, root, missing_there = run.told
    assert root == "get: name a file or a folder below /"
    assert usage == "write put LOCAL [REMOTE]; a folder of the machine ends with /"
    assert unclosed == "put: No closing quotation"
    assert missing_here == f"put nothing: {here}/nothing does not exist"
    assert missing_there.startswith("get /golem/work/nothing failed on prov-1 (0x")
    assert run.status == 1


def invoices_accepted(fake: FakeYagna) -> list[FakeRequest]:
    return [one for one in fake.requests if "/invoices/" in one.path and one.path.endswith("/accept")]


def test_a_machine_that_is_lost_ends_the_shell(
    environment: dict[str, str], fake: FakeYagna, provider: FakeProvider, tmp_path: Path
) -> None:
    with TypingUser([*TOOL, "shell"], environment) as user:
        user.wait_for("$ ")
        provider.terminate_agreement()
        # The end of a session does not wait for the invoice of a machine that is lost.
        fake.wait_for(
            lambda: invoices_accepted(fake) and not any("invoice" in one for one in fake.leftovers())
        )
        user.type("echo hello\n")
        user.wait_for("it cost")
        user.wait_for("the machine is lost, and no other one is rented: ")
        assert user.status() == 2


def test_without_an_offer_it_says_what_is_on_the_market(piped: Piped) -> None:
    run = piped("echo hello\n", "--timeout", "2", "--max-price-per-hour", "0.000001", "--budget", "0.5")
    assert run.status == 2
    assert run.stdout == ""
    assert "your price limits refuse all of them: --max-price-per-hour is 0.000001, and" in run.stderr
    assert "it cost 0 tGLM" in run.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_without_input_or_output_nothing_is_rented(environment: dict[str, str], closed: str) -> None:
    ran = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *TOOL, "shell"],
        env=environment,
        input=b"echo hello\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"is closed: run simple-golem shell without <&- or >&-" in ran.stderr
    assert b"renting a machine" not in ran.stderr
    assert b"Traceback" not in ran.stderr
    assert ran.returncode == 2


def test_output_without_a_reader_ends_the_machine(environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = subprocess.run(
            [*TOOL, "shell"],
            env=environment,
            input=b"echo hello\nsleep 600\n",
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert ran.stderr.decode().splitlines()[-1].startswith("simple-golem: it cost")
    assert b"Traceback" not in ran.stderr
    assert ran.returncode == 141


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "lots"], "write e.g. --budget=1 or --budget='0.5'"),
        (["--timeout=-1"], "--timeout"),
        (["--max-price-per-hour", "cheap"], "simple-golem: --max-price-per-hour is 'cheap': "),
        (["--image", "no such tag"], "simple-golem: --image is 'no such tag': "),
        (["--min-cpu-threads", "0"], "simple-golem: --min-cpu-threads is 0: "),
        (["--budget", "0.000001"], "give a larger --budget\n"),
    ],
)
def test_wrong_options_are_told_before_anything_is_rented(
    piped: Piped, options: list[str], message: str
) -> None:
    run = piped("echo hello\n", *options)
    assert run.status == 2
    assert message in run.stderr
    assert run.stdout == ""
    assert "Strategy" not in run.stderr

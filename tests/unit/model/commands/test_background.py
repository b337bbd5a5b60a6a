"""Programs in the background: how they are started, by real shells, and which scripts do it wrongly."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Run
from simple_golem.errors import BadCommand
from simple_golem.model.commands.background import warn_of_background
from tests.unit.conftest import eventually

SHELLS = {"sh": ["/bin/sh"], "bash": ["/bin/bash", "--posix"]}
each_shell = pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)


def executed(command: Run, shell: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*shell, *command.words[1:]], env={}, capture_output=True, timeout=10)


@each_shell
def test_a_program_goes_on_with_its_output_in_the_log(shell: list[str], tmp_path: Path) -> None:
    log, go = tmp_path / "new folder" / "it's a log", tmp_path / "go"
    loop = 'echo "$0 $1"; until test -e "$1"; do sleep 0.01; done; echo end; echo error >&2; exec sleep 60'
    # The command ends, and its output is closed, while the program is under way.
    started = executed(Run.background("/bin/sh", "-c", loop, "a  b", go, log=log), shell)
    pid = int(started.stdout)
    try:
        assert (started.returncode, started.stderr) == (0, b"")
        eventually(lambda: log.read_text() == f"a  b {go}\n")
        assert loop.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()  # it is the program itself
        go.touch()
        eventually(lambda: log.read_text() == f"a  b {go}\nend\nerror\n")
    finally:
        os.kill(pid, signal.SIGKILL)


@each_shell
def test_a_second_program_appends_to_the_log(shell: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    for number in (1, 2):
        executed(Run.background("/bin/echo", number, log=log), shell)
        eventually(lambda number=number: len(log.read_text().splitlines()) == number)
    assert log.read_text() == "1\n2\n"


@each_shell
def test_it_has_an_environment_and_a_working_folder(shell: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = Run.background("/bin/sh", "-c", 'echo "$A" "$PWD"', log=log, env={"A": "x y"}, cwd="/usr")
    assert executed(command, shell).returncode == 0
    eventually(lambda: log.read_text() == "x y /usr\n")
    missing = executed(Run.background("/bin/true", log=log, cwd="/no/such/folder"), shell)
    assert missing.returncode == 126


@each_shell
def test_a_missing_program_or_an_impossible_log_is_a_failed_command(shell: list[str], tmp_path: Path) -> None:
    missing = executed(Run.background("/no/such/server", log=tmp_path / "log"), shell)
    assert (missing.returncode, missing.stdout) == (127, b"")
    assert b"/no/such/server: not found" in missing.stderr
    (tmp_path / "file").touch()
    for log in (tmp_path / "file" / "log", tmp_path):
        impossible = executed(Run.background("/bin/true", log=log), shell)
        assert (impossible.returncode, impossible.stdout) == (126, b"")
        assert str(log).encode() in impossible.stderr or b"file" in impossible.stderr


def test_it_is_a_value_like_any_other() -> None:
    assert Run.background("/bin/x", "a", log="/l") == Run.background("/bin/x", "a", log="/l")
    assert Run.background("/bin/x") == Run.background("/bin/x", log="/golem/work/log")
    assert Run.background("server", absolute=False).words[-1] == "server"


@pytest.mark.parametrize(
    "written",
    [
        "Run.background('/bin/x')",
        "Run.background('/bin/x', 'a', log='/l')",
        "Run.background('server', absolute=False)",
        "Run.background('/bin/x', cwd='/usr')",
    ],
)
def test_it_is_shown_as_it_is_written(written: str) -> None:
    command = eval(written, {"Run": Run})
    assert repr(command) == written


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        (("server --port 1",), {}, "Run.shell"),
        (("server",), {}, "absolute path"),
        (("/bin/x",), {"log": "log"}, "log is 'log': give the absolute path"),
        (("/bin/x",), {"log": "/golem/work/"}, "give the absolute path of a file"),
        (("/bin/x",), {"log": 3}, "log is 3"),
        (("/bin/x",), {"log": "/a\0b"}, "NUL"),
        (("/bin/x", True), {}, "'true'"),
        (("/bin/x",), {"cwd": "work"}, "cwd"),
    ],
)
def test_what_can_not_work_is_refused(args: Any, options: Any, words: str) -> None:
    with pytest.raises(BadCommand, match=words):
        Run.background(*args, **options)


@pytest.mark.parametrize(
    "script",
    [
        "server &",
        "server&",
        "server & echo $!",
        "server --port 80 & sleep 1 > /dev/null",
        "cd /x > /dev/null && server &",
        "nohup server &",
        "server | tee log &",
        "(server &)",
        "( cd /x; server & ); sleep 1",
        "if true; then server & fi",
        "for i in 1 2; do server $i & done",
        "{ server; } &",
        "while true; do server; done &",
        "echo x > /tmp/x; server &",
        "echo x > /tmp/x\nserver &\necho done",
        "cat < /etc/passwd &",
        "echo 'a > b' &",
        "server & # > log",
        'echo "2>&1" \\> x &',
        "cat > /tmp/conf <<EOF\na > b\nEOF\nserver &",
    ],
)
def test_a_program_in_the_background_without_a_redirection_is_warned_of(
    script: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_background(script)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "Run.background" in record.message
    assert "/golem/work" not in record.message.replace(repr(script), "")  # not each image has this folder
    assert repr(script)[:50] in record.message


@pytest.mark.parametrize(
    "script",
    [
        "server > log 2>&1 &",
        "server >/dev/null 2>&1 & echo $!",
        "server >> log &",
        "server &> log &",
        "server >& log &",
        "server >| log &",
        "cd /x && server > log 2>&1 &",
        "server 2>&1 | cat > log &",
        "(server; other) > log &",
        "(server & other &) > log 2>&1",
        "{ server & } > log",
        "for i in 1 2; do server $i & done > log",
        "date > f; while sleep 1; do date > f; done &",
        "a & b & wait",
        "server & wait $!",
        "a && b || c",
        "a 2>&1",
        "echo 'a & b'",
        'echo "a & b"',
        "echo a \\& b",
        "echo $((3 & 1))",
        "echo x # a & b",
        "cat > f <<EOF\na & b\nEOF",
        "cat > f <<'END'\na & b\n  END\necho",
        "case $x in a) server > log & ;; esac",
        "it's unclosed",
        "echo )",
    ],
)
def test_scripts_that_do_it_rightly_or_not_at_all_are_not_warned_of(
    script: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_background(script)
    assert caplog.records == []

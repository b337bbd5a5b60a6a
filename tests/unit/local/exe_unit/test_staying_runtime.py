"""A runtime that stays after its start, and is told by messages what to run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.local.exe_unit.own_runtime import OwnRuntime
from simple_golem.local.exe_unit.runtime import CommandError
from tests.helpers import staying_program


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_text(f"#!/usr/bin/env python3\n{Path(staying_program.__file__).read_text()}")
    path.chmod(0o755)
    return path


@pytest.fixture
def runtime(program: Path, tmp_path: Path) -> Iterator[OwnRuntime]:
    unused: Any = None
    runtime = OwnRuntime(program, unused, lambda: Path("/image.gvmi"), tmp_path)
    yield runtime
    runtime.close()


class Said:
    """The output of a command."""

    def __init__(self) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()

    def __call__(self, kind: str, data: bytes) -> None:
        getattr(self, kind).extend(data)


def do(runtime: OwnRuntime, name: str, said: Said | None = None, **details: object) -> tuple[bytes, bytes]:
    said = said or Said()
    runtime.execute(name, details, said, print)
    return bytes(said.stdout), bytes(said.stderr)


def test_it_is_started_once_and_runs_what_messages_say(runtime: OwnRuntime) -> None:
    do(runtime, "deploy")
    said = Said()
    do(runtime, "start", said, args=["--dir", "x"])
    # What belongs to no program is the output of its start.
    assert bytes(said.stdout) == b'{"arguments": ["--dir", "x"]}'
    assert do(runtime, "run", entry_point="/bin/echo", args=["a b", ""]) == (b"echo a b \n", b"")
    assert do(runtime, "run", entry_point="/bin/echo", args=["x" * 200_000]) == (
        b"echo " + b"x" * 200_000 + b"\n",
        b"",
    )
    assert runtime.cpu_seconds() > 0


@pytest.mark.parametrize(
    ("entry_point", "message", "code"),
    [
        ("fail", "ExeScript command exited with code 7", 7),
        ("die", "ExeScript command exited with code -1", -1),
        ("/", "Runtime error: Invalid binary name", -1),
        (
            "refuse",
            'Runtime error: Error { code: Internal, message: "not \\"that\\"", context: {} }',
            -1,
        ),
    ],
)
def test_a_program_that_fails_has_the_message_of_the_real_exe_unit(
    runtime: OwnRuntime, entry_point: str, message: str, code: int
) -> None:
    do(runtime, "deploy")
    do(runtime, "start")
    with pytest.raises(CommandError) as failed:
        do(runtime, "run", entry_point=entry_point)
    assert (str(failed.value), failed.value.return_code) == (message, code)
    assert do(runtime, "run", entry_point="echo") == (b"echo\n", b"")


def test_a_runtime_that_ends_ends_its_command_with_its_code_and_all_later_ones(runtime: OwnRuntime) -> None:
    do(runtime, "deploy")
    do(runtime, "start")
    for _ in range(2):
        with pytest.raises(CommandError, match="ExeScript command exited with code 5"):
            do(runtime, "run", entry_point="quit")


def test_a_runtime_that_ends_at_its_start_has_failed_with_its_code(
    runtime: OwnRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    do(runtime, "deploy")
    with caplog.at_level(logging.INFO), pytest.raises(CommandError, match="exited with code 1"):
        do(runtime, "start", args=["broken"])
    assert "it is broken" in caplog.text


def test_what_is_no_message_ends_it(tmp_path: Path) -> None:
    unused: Any = None
    path = tmp_path / "odd"
    deployed = '{"valid": {"Ok": ""}, "startMode": "blocking"}'
    no_message = r"printf '\004\377\377\377\377'; sleep 60"
    path.write_text(f"#!/bin/sh\ncase $3 in deploy) echo '{deployed}';; *) {no_message};; esac\n")
    path.chmod(0o755)
    runtime = OwnRuntime(path, unused, lambda: None, tmp_path)
    do(runtime, "deploy")
    with pytest.raises(CommandError, match="exited with code 1"):
        do(runtime, "start")
    runtime.close()


def test_nothing_runs_before_the_start(runtime: OwnRuntime) -> None:
    do(runtime, "deploy")
    with pytest.raises(CommandError, match="Runtime error: START command not run"):
        do(runtime, "run", entry_point="echo")


def test_the_end_of_the_activity_asks_it_to_end_and_ends_the_command_that_runs(
    runtime: OwnRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    do(runtime, "deploy")
    do(runtime, "start")
    said, failures = Said(), []

    def run() -> None:
        try:
            do(runtime, "run", said, entry_point="wait")
        except CommandError as error:
            failures.append(error)

    running = threading.Thread(target=run)
    running.start()
    deadline, scope = Deadline(20), Scope()
    while not said.stdout:
        assert not deadline.passed
        scope.wait(0.02)
    with caplog.at_level(logging.INFO):
        runtime.close()
    running.join(10)
    assert not running.is_alive()
    assert [str(error) for error in failures] == ["ExeScript command exited with code 1"]
    assert "asked to end" in caplog.text


def test_it_can_be_deployed_again_after_a_terminate(runtime: OwnRuntime) -> None:
    for _ in range(2):
        do(runtime, "deploy")
        do(runtime, "start")
        assert do(runtime, "run", entry_point="echo") == (b"echo\n", b"")
        runtime.stop()

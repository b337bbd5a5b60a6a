"""Which programs in the background have ended: the question to the instance, answered by real shells."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from simple_golem import Run
from simple_golem.engine.activity.background_programs import BackgroundPrograms
from simple_golem.model.commands.results import Result

each_shell = pytest.mark.parametrize("shell", [["/bin/sh"], ["/bin/bash", "--posix"]], ids=["sh", "bash"])


def ended_process() -> int:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def answer(programs: BackgroundPrograms, shell: list[str]) -> str:
    question = programs.question
    assert question is not None
    done = subprocess.run(
        [*shell, *question.words[1:]], capture_output=True, text=True, timeout=10, check=True
    )
    assert done.stderr == ""
    return done.stdout


@each_shell
def test_the_log_of_each_program_that_has_ended_is_shown(shell: list[str], tmp_path: Path) -> None:
    log, empty, missing = tmp_path / "it's a log", tmp_path / "empty", tmp_path / "missing"
    log.write_text("".join(f"line {number}\n" for number in range(1, 8)))
    empty.touch()
    programs = BackgroundPrograms()
    programs.note(
        [
            Result(stdout=f"{pid}\n", command=Run.background(f"/bin/{name}", "x", log=path))
            for name, path, pid in [
                ("ended", log, ended_process()),
                ("silent", missing, ended_process()),
                ("alive", empty, os.getpid()),
            ]
        ]
    )
    assert answer(programs, shell).splitlines() == [
        f"/bin/ended has ended; the end of its log {log}:",
        *(f"line {number}" for number in range(3, 8)),
        f"/bin/silent has ended; its log {missing} is empty",
    ]


def test_only_the_latest_programs_are_asked_about() -> None:
    programs = BackgroundPrograms()
    assert programs.question is None
    programs.note([Result(stdout=f"{pid}\n", command=Run.background("/bin/x")) for pid in range(9)])
    assert programs.question is not None
    assert programs.question.words[4::3] == ("6", "7", "8")


def test_other_commands_and_failed_ones_are_not_remembered() -> None:
    programs = BackgroundPrograms()
    started = Run.background("/bin/x")
    programs.note(
        [
            Result(stdout="7\n", command=Run("/bin/echo", 7)),
            Result(stdout="no number", command=started),
            Result(stdout="7\n", command=started, success=False),
        ]
    )
    assert programs.question is None

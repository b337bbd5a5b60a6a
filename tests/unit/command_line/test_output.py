"""Output that can't be written: the command ends without a traceback, and its status says it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from simple_golem.command_line.main import main
from simple_golem.engine.payment.journal import FOLDER_VARIABLE
from simple_golem.testing import FakeYagna

COMMANDS = (
    ("offers", "--seconds", "0.2"),
    ("offers", "--seconds", "0.2", "--json"),
    ("status",),
    ("status", "--json"),
    ("cleanup",),
    ("doctor",),
    ("doctor", "--json"),
    ("local", "logs"),
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with FakeYagna() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        assert fake.leftovers() == []


def without_a_reader() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


def on_a_full_disk() -> TextIO:
    return open("/dev/full", "w", encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("opened", "lost", "said"),
    [
        (without_a_reader, 141, ""),
        (on_a_full_disk, 1, "simple-golem: the output can't be written: No space left on device\n"),
    ],
)
def test_a_command_whose_output_is_lost_ends_without_a_traceback(
    fake: FakeYagna,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    opened: Callable[[], TextIO],
    lost: int,
    said: str,
) -> None:
    with opened() as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert main(command) in ((lost, 1) if command[0] == "doctor" else (lost,))
        assert sys.stdout is output
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_closed_output_is_for_nobody(
    fake: FakeYagna,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    status = main(command)
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdout", None)
    assert main(command) == status
    monkeypatch.setattr(sys, "stderr", None)
    assert main(command) == status
    assert capsys.readouterr().out == ""

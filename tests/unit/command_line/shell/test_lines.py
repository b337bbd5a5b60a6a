"""The history of the shell."""

from __future__ import annotations

import readline
import stat
from pathlib import Path

import pytest

from simple_golem.command_line.shell.lines import History


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "simple_golem" / "shell-history"


def told(text: str) -> None:
    raise AssertionError(text)


def test_the_history_keeps_the_latest_lines_for_this_user_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("".join(f"echo {n}\n" for n in range(1100)))
    path.chmod(0o644)
    history = History(told)
    history.add("echo on")
    History(told).add("echo ü")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "echo 101"
    assert lines[-3:] == ["echo 1099", "echo on", "echo ü"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_history_that_can_not_be_kept_is_told_once(path: Path) -> None:
    said: list[str] = []
    path.parent.write_text("a file where the folder should be")
    history = History(said.append)
    history.add("echo 1")
    history.add("echo 2")
    (line,) = said
    assert line.startswith("the history is not kept: ")


def test_a_history_that_can_not_be_read_is_told_once(path: Path) -> None:
    said: list[str] = []
    path.mkdir(parents=True)
    History(said.append).add("echo 1")
    (line,) = said
    assert line.startswith("the history is not kept: ")


def test_damaged_lines_of_the_history_are_left_out(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"echo 1\n\0\0\necho \xff\necho 2\0\n")
    History(told).add("echo 3")
    assert [readline.get_history_item(n + 1) for n in range(readline.get_current_history_length())] == [
        "echo 1",
        "echo \ufffd",
        "echo 3",
    ]


def test_a_history_that_can_not_be_looked_for_is_told_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("XDG_STATE_HOME", f"/{'a' * 300}")  # no file system has so long a name
    History(said.append).add("echo 1")
    (line,) = said
    assert line.startswith("the history is not kept: ")

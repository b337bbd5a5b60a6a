"""Locks on files: against another process, and within this one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.background.file_lock import FileLock, is_locked, locked
from simple_golem.background.threads import EngineThread

HOLD = """
import sys
from pathlib import Path
from simple_golem.background.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_ends_with_its_process_even_if_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        assert is_locked(path)
        with pytest.raises(BlockingIOError):
            FileLock(path, wait=False)
        other.kill()
        other.wait(20)
        FileLock(path).release()
    assert not is_locked(path)


def test_a_lock_is_checked_without_making_its_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert not is_locked(path)
    assert not path.exists()


def test_a_lock_is_released_once(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    lock = FileLock(path)
    assert is_locked(path)
    lock.release()
    other = FileLock(path, wait=False)
    lock.release()
    assert is_locked(path)
    other.release()


def test_a_second_one_waits_until_the_first_is_released(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    entered, order = Scope(), list[str]()

    def second() -> None:
        entered.cancel()
        with locked(path):
            order.append("second")

    with locked(path):
        waiting = EngineThread("waiting", second).start()
        assert entered.wait(20)
        assert not waiting.join(0.05)
        order.append("first")
    assert waiting.join(20)
    assert order == ["first", "second"]


def test_an_error_leaves_nothing_locked(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with pytest.raises(ValueError, match="no"), locked(path):
        raise ValueError("no")
    assert not is_locked(path)


def test_a_lock_that_can_only_be_read_tells_whether_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    open_file = os.open

    def read_only(name: Path, how: int, *mode: int) -> int:
        if how & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(errno.EACCES, "Permission denied", str(name))
        return open_file(name, how, *mode)

    with locked(path), monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)
        patched.setattr(os, "open", read_only)
        assert is_locked(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)
        patched.setattr(os, "open", read_only)
        assert not is_locked(path)


def test_a_lock_that_can_not_be_read_counts_as_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    path.touch()

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert is_locked(path)

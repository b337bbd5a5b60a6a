"""Ports and their locks; the folders of networks that are up, and of those that died."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from simple_golem.background.file_lock import FileLock, is_locked, locked
from simple_golem.errors import LocalNetworkError
from simple_golem.local.machine.folders import StateFolder, cache_folder, runtime_folder
from simple_golem.local.machine.ports import CANDIDATES, hold_ports


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_ports_have_four_digits_and_leave_yagnas_own_alone() -> None:
    assert all(1000 <= port <= 9999 for port in CANDIDATES)
    assert not {7464, 7465} & set(CANDIDATES)


@pytest.fixture
def free() -> Iterator[list[int]]:
    """Three ports on which nobody listens: that of a socket which is only bound goes to no other program."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]


def test_no_port_is_held_twice(tmp_path: Path, free: list[int]) -> None:
    first = hold_ports(2, tmp_path, free)
    assert [port.number for port in first] == free[:2]
    with pytest.raises(LocalNetworkError, match="only 1 were found"):
        hold_ports(2, tmp_path, free)
    assert [port.number for port in hold_ports(1, tmp_path, free)] == free[2:]


def test_a_released_port_can_be_held_again(tmp_path: Path, free: list[int]) -> None:
    (port,) = hold_ports(1, tmp_path, free[:1])
    port.release()
    port.release()
    assert hold_ports(1, tmp_path, free[:1])[0].number == free[0]


def test_a_port_somebody_listens_on_is_left_alone(tmp_path: Path, free: list[int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert [port.number for port in hold_ports(1, tmp_path, [taken, free[0]])] == free[:1]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "from pathlib import Path; from simple_golem.background.file_lock import FileLock; "
        f"lock = FileLock(Path({str(path)!r})); print(); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_locked(path)
        holder.kill()
    assert not is_locked(path)


def test_a_lock_is_free_after_the_with(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        assert is_locked(path)
        with pytest.raises(BlockingIOError):
            FileLock(path, wait=False)
    assert not is_locked(path)


def test_nothing_is_made_by_asking_for_a_lock(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_next_network_removes_what_a_dead_one_left() -> None:
    alive = StateFolder()
    dead = runtime_folder() / "networks" / "net-dead"
    dead.mkdir()
    (dead / "lock").touch()
    new = StateFolder()
    assert not dead.exists()
    assert alive.path.exists()
    assert new.path != alive.path
    alive.remove()
    new.remove()
    assert not alive.path.exists()


def test_a_runtime_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = runtime_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(LocalNetworkError, match="is not yours"):
        runtime_folder()


def test_the_cache_is_in_the_users_cache_folder_or_beside_the_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" / "simple_golem"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder() == runtime_folder() / "cache"

"""Where a download goes: what is replaced as a whole, what is written to, and what is refused."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.files.download_target import PartialFile, StreamTarget, open_target
from simple_golem.errors import BadLocalFile


def download(path: Path, content: bytes, scope: Scope) -> None:
    """What a batch does with its target."""
    target = open_target(path, "Download")
    target.file.write(content)
    target.file.close()
    target.keep(scope)
    target.discard()


def test_a_partial_file_has_another_name_until_it_is_kept(tmp_path: Path, scope: Scope):
    target = tmp_path / "x"
    target.write_text("old")
    partial = PartialFile(target, "Download")
    partial.file.write(b"new")
    assert target.read_text() == "old"
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".part"}
    partial.file.close()
    partial.keep(scope)
    partial.discard()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["\U0001f600" * 62, "漢" * 84, "a" * 255, "😀a" * 50], ids=len)
def test_a_partial_file_of_a_long_name_has_one_that_is_no_longer(tmp_path: Path, name: str, scope: Scope):
    partial = PartialFile(tmp_path / name, "Download")
    partial.file.close()
    partial.keep(scope)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_partial_file_that_is_discarded_leaves_nothing(tmp_path: Path, scope: Scope):
    partial = PartialFile(tmp_path / "x", "Download")
    partial.file.close()
    partial.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_partial_file_is_as_readable_as_any_other(tmp_path: Path, scope: Scope):
    (tmp_path / "other").write_text("")
    partial = PartialFile(tmp_path / "x", "Download")
    partial.file.close()
    partial.keep(scope)
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, scope: Scope):
    path = tmp_path / "script"
    path.write_text("old")
    path.chmod(0o750)
    download(path, b"new", scope)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


@pytest.mark.parametrize("exists", [True, False])
def test_through_a_link_the_file_that_it_names_is_replaced(tmp_path: Path, scope: Scope, exists: bool):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if exists:
        (folder / "file").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(folder / "file")
    download(link, b"new", scope)
    assert link.is_symlink()
    assert (folder / "file").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "link"]
    assert os.listdir(folder) == ["file"]


def test_a_link_to_nowhere_and_links_in_a_circle_are_refused(tmp_path: Path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "no" / "file")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(BadLocalFile, match="a folder that does not exist"):
        open_target(tmp_path / "nowhere", "Download")
    with pytest.raises(BadLocalFile, match="can't be written"):
        open_target(tmp_path / "circle", "Download")


def test_a_device_is_written_to_and_stays_a_device(scope: Scope):
    before = os.stat("/dev/null")
    download(Path("/dev/null"), b"x" * 200_000, scope)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert os.stat("/dev/null").st_ino == before.st_ino


def test_a_full_device_is_an_error(scope: Scope):
    with pytest.raises(BadLocalFile, match="/dev/full can't be written: No space left on device"):
        download(Path("/dev/full"), b"x", scope)


def test_a_pipe_is_written_to_whole_and_stays_a_pipe(tmp_path: Path, scope: Scope):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = os.urandom(300_000)  # a pipe holds 64 KiB
    read: list[bytes] = []
    handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    target = open_target(pipe, "Download")

    def reader() -> None:
        with os.fdopen(handle, "rb") as stream:
            read.append(stream.read())

    thread = threading.Thread(target=reader)
    thread.start()
    target.file.write(content)
    target.file.close()
    target.keep(scope)
    thread.join(10)
    assert read == [content]
    assert pipe.is_fifo()


def test_a_pipe_that_nobody_reads_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadLocalFile, match="start that program first"):
        open_target(tmp_path / "pipe", "Download")


def test_writing_to_a_pipe_that_nobody_empties_can_be_cancelled(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    handle = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    scope = Scope()
    target = open_target(tmp_path / "pipe", "Download")
    assert isinstance(target, StreamTarget)
    target.file.write(bytes(200_000))
    target.file.close()
    timer = threading.Timer(0.1, scope.cancel, ["stopped"])
    timer.start()
    with pytest.raises(ScopeEnded):
        target.keep(scope)
    timer.join()
    os.close(handle)


def test_a_read_only_file_a_socket_and_a_folder_are_refused(tmp_path: Path):
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "kept").chmod(0o444)
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, words in (("kept", "read-only"), ("socket", "is a socket"), ("folder", "is a folder")):
            with pytest.raises(BadLocalFile, match=words):
                open_target(tmp_path / name, "Download")
    assert sorted(os.listdir(tmp_path)) == ["folder", "kept", "socket"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_nothing_is_left_in_the_folder_for_temporary_files(
    tmp_path: Path, scope: Scope, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    download(Path("/dev/null"), b"x", scope)
    target = open_target(Path("/dev/null"), "Download")
    target.discard()
    assert os.listdir(tmp_path) == []


def test_a_socket_is_no_target(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(BadLocalFile, match="is a socket; name a file"):
            open_target(tmp_path / "socket", "Download")


def test_a_name_that_became_a_folder_meanwhile_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    target = open_target(tmp_path / "x", "Download")
    target.file.close()
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(BadLocalFile, match="x can't be written"):
        target.keep(Scope())
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_temporary_file_that_can_not_be_removed_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = open_target(tmp_path / "x", "Download")
    assert isinstance(target, PartialFile)
    target.path.unlink()
    target.path.mkdir()
    target.discard()
    assert "could not be removed" in caplog.text


def test_a_download_to_a_pipe_needs_a_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "none"))
    with pytest.raises(BadLocalFile, match="none/pipe can't be written"):
        open_target(tmp_path / "pipe", "Download")
    assert os.read(reader, 1) == b""  # nobody has it open for writing
    os.close(reader)

"""The archives of whole folders on the provider's side, made and unpacked by real shells."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from simple_golem import Run
from simple_golem.engine.files.folders import pack, unpack
from simple_golem.model.commands.commands import Command

SHELLS = {"sh": ["/bin/sh"], "bash": ["/bin/bash", "--posix"]}
each_shell = pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
each_name = pytest.mark.parametrize("name", ["plain", 'it\'s a "$HOME"\n*'])


def executed(command: Command, shell: list[str]) -> subprocess.CompletedProcess[bytes]:
    assert isinstance(command, Run)
    return subprocess.run([*shell, *command.words[1:]], capture_output=True, timeout=10)


@each_shell
@each_name
def test_a_folder_goes_there_and_back(shell: list[str], name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / name
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("content")
    target.mkdir()
    archive = target / "archive.tar"
    assert executed(pack(str(archive), str(source)), shell).returncode == 0
    assert executed(unpack(str(archive), str(target)), shell).returncode == 0
    assert sorted(path.name for path in target.rglob("*")) == ["file", "sub"]


@each_shell
def test_files_belong_to_who_unpacks_them(shell: list[str], tmp_path: Path) -> None:
    """In a volume of a real provider no file can be given away, and tar would fail that tries it."""
    (tmp_path / "file").touch()
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        member = tar.gettarinfo(tmp_path / "file", "./other")
        member.uid = member.gid = 12345
        member.uname = member.gname = ""  # tar believes a name more than a number
        tar.addfile(member)
    assert executed(unpack(str(archive), str(tmp_path)), shell).returncode == 0
    assert (tmp_path / "other").stat().st_uid == (tmp_path / "file").stat().st_uid


@each_shell
def test_an_archive_that_can_not_be_unpacked_is_removed(shell: list[str], tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"no archive" * 1000)
    failed = executed(unpack(str(archive), str(tmp_path)), shell)
    assert failed.returncode not in (0, None)
    assert b"tar" in failed.stderr
    assert list(tmp_path.iterdir()) == []


@each_shell
def test_an_archive_that_could_not_be_made_is_removed(shell: list[str], tmp_path: Path) -> None:
    failed = executed(pack(str(tmp_path / "archive.tar"), str(tmp_path / "none")), shell)
    assert failed.returncode != 0
    assert b"none" in failed.stderr
    assert list(tmp_path.iterdir()) == []

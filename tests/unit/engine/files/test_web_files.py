"""Files from the web: what is run around the transfer, by real shells."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Run, UploadFromUrl
from simple_golem.engine.files import web_files
from simple_golem.model.commands.commands import Command

URL = "https://golem.test/x"
SHELLS = {"sh": ["/bin/sh"], "bash": ["/bin/bash", "--posix"]}
each_shell = pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
each_name = pytest.mark.parametrize("name", ["plain", "-rf", 'it\'s a "$HOME"\n*'])
CONTENT = b"some content\n"
HASH = hashlib.sha256(CONTENT).hexdigest()


def executed(command: Command, shell: list[str]) -> subprocess.CompletedProcess[bytes]:
    assert isinstance(command, Run)
    return subprocess.run([*shell, *command.words[1:]], env={}, capture_output=True, timeout=10)


def test_only_what_can_be_checked_is_checked() -> None:
    plain = UploadFromUrl(URL, "/golem/work/x")
    assert web_files.steps(plain) == [web_files.remove(plain), plain]
    for command in (UploadFromUrl(URL, "/x", size=0), UploadFromUrl(URL, "/x", sha256=HASH)):
        assert web_files.steps(command) == [web_files.remove(command), command, web_files.check(command)]


@each_shell
@each_name
def test_what_is_there_is_removed(shell: list[str], name: str, tmp_path: Path) -> None:
    command = UploadFromUrl(URL, tmp_path / name)
    assert executed(web_files.remove(command), shell).returncode == 0
    (tmp_path / name).write_bytes(CONTENT)
    (tmp_path / "other").touch()
    assert executed(web_files.remove(command), shell).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    (tmp_path / name).mkdir()
    refused = executed(web_files.remove(command), shell)
    assert refused.returncode != 0
    assert b"s a directory" in refused.stderr


@each_shell
@each_name
@pytest.mark.parametrize(
    "options", [{"size": len(CONTENT)}, {"sha256": HASH.upper()}, {"size": len(CONTENT), "sha256": HASH}]
)
def test_a_file_that_is_right_stays(shell: list[str], name: str, options: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(CONTENT)
    checked = executed(web_files.check(UploadFromUrl(URL, tmp_path / name, **options)), shell)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert (tmp_path / name).read_bytes() == CONTENT


@each_shell
@each_name
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 5}, "it has 13 bytes, not 5; the server may have sent an error page"),
        ({"size": 0}, "it has 13 bytes, not 0"),
        ({"sha256": "0" * 64}, f"its SHA-256 is {HASH}, not {'0' * 64}"),
        ({"size": 13, "sha256": "0" * 64}, "its SHA-256 is"),
        ({"size": 14, "sha256": HASH}, "it has 13 bytes"),
    ],
)
def test_a_file_that_is_wrong_is_removed_and_told(
    shell: list[str], name: str, options: Any, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(CONTENT)
    checked = executed(web_files.check(UploadFromUrl(URL, tmp_path / name, **options)), shell)
    assert checked.returncode == 1
    assert words in checked.stderr.decode()
    assert list(tmp_path.iterdir()) == []


@each_shell
def test_a_file_that_is_not_there_is_a_failure(shell: list[str], tmp_path: Path) -> None:
    command = UploadFromUrl(URL, tmp_path / "none", sha256=HASH)
    assert executed(web_files.check(command), shell).returncode == 1


@each_shell
def test_an_empty_file_may_be_right(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    command = UploadFromUrl(URL, tmp_path / "empty", size=0, sha256=hashlib.sha256(b"").hexdigest())
    assert executed(web_files.check(command), shell).returncode == 0

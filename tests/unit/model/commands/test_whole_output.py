"""Whole output by way of files: what is sent, run by real shells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from simple_golem import Run
from simple_golem.model.commands import whole_output

SHELLS = {"sh": ["/bin/sh"], "bash": ["/bin/bash", "--posix"]}
each_shell = pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)


def executed(command: Run, shell: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*shell, *command.words[1:]], env={}, capture_output=True, timeout=10)


def brought(command: Run, shell: list[str], folder: Path) -> tuple[bytes, bytes, int]:
    """Run a command with its output in files; returns stdout, stderr and the exit code."""
    began = executed(whole_output.begin(command, str(folder)), shell)
    assert (began.returncode, began.stdout) == (0, b"")
    stdout, stderr = ((folder / name).read_bytes() for name in whole_output.STREAMS)
    ended = executed(whole_output.end(str(folder)), shell)
    assert (ended.stdout, ended.stderr) == (b"", b"")
    assert not folder.exists()
    return stdout, stderr, ended.returncode


@each_shell
@pytest.mark.parametrize("name", ["plain", 'it\'s a "$HOME"\n*'])
def test_everything_comes_and_nothing_stays(shell: list[str], name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    folder = tmp_path / name / "output"
    command = Run.shell("head -c 300000 /dev/zero; echo 'a  b' >&2; exit 3")
    assert brought(command, shell, folder) == (bytes(300000), b"a  b\n", 3)
    assert list((tmp_path / name).iterdir()) == []


@each_shell
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (Run("/bin/true"), 0),
        (Run.shell("exit 255"), 255),
        (Run.shell("kill -9 $$"), 137),
        (Run("/no/such/program"), 127),
        (Run("/etc/passwd"), 126),
        (Run("/bin/true", cwd="/no/such/folder"), 126),
    ],
)
def test_the_exit_code_is_that_of_the_command(
    shell: list[str], command: Run, code: int, tmp_path: Path
) -> None:
    _, stderr, told = brought(command, shell, tmp_path / "output")
    assert told == code
    assert bool(stderr) is (code in (126, 127))


@each_shell
def test_arguments_and_environment_go_through(shell: list[str], tmp_path: Path) -> None:
    command = Run("/usr/bin/printf", "%s|", "", "a b", "$HOME", "it's", env={"folder": "x", "A": "'"})
    assert brought(command, shell, tmp_path / "output")[0] == b"|a b|$HOME|it's|"
    shown = brought(Run("/usr/bin/env", env={"code": "7", "A": "'"}), shell, tmp_path / "output")[0]
    assert {b"code=7", b"A='"} <= set(shown.splitlines())


@each_shell
def test_a_command_removes_the_output_of_an_abandoned_one(shell: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "output"
    executed(whole_output.begin(Run.shell("echo old"), str(folder)), shell)
    (folder / "more").touch()
    assert brought(Run.shell("echo new"), shell, folder) == (b"new\n", b"", 0)


@each_shell
def test_a_volume_that_can_not_be_written_says_so(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    began = executed(whole_output.begin(Run("/bin/true"), str(tmp_path / "file" / "output")), shell)
    assert began.returncode == 125
    assert b"mkdir" in began.stderr


@each_shell
def test_a_lost_exit_code_is_no_success(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    assert executed(whole_output.end(str(tmp_path / "output")), shell).returncode == 125
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "code").touch()
    assert executed(whole_output.end(str(tmp_path / "output")), shell).returncode == 125


def test_both_steps_can_be_recognised() -> None:
    command = Run("/bin/x", "a", cwd="/tmp")
    assert whole_output.begun(whole_output.begin(command, "/f").words) == ("/f", command.words)
    assert whole_output.ended(whole_output.end("/f").words) == "/f"
    assert whole_output.begun(command.words) is None
    assert whole_output.ended(command.words) is None


@pytest.mark.parametrize(
    ("answer", "volume"),
    [
        (
            '{"vols": [{"name": "a", "path": "/golem/input"}, {"name": "b", "path": "/golem/work"}]}',
            "/golem/work",
        ),
        (
            '{"vols": [{"name": "a", "path": "/data"}, {"name": "b", "path": "/golem/output"}]}',
            "/golem/output",
        ),
        ('{"vols": [{"name": "a", "path": "/data"}, {"name": "b", "path": "/more"}]}', "/data"),
        ('{"vols": []}', None),
        ('{"vols": [{"path": 3}]}', None),
        ('{"vols": [{}]}', None),
        ('{"vols": null}', None),
        ("[]", None),
        ("3", None),
        ("", None),
    ],
)
def test_the_volume_is_that_of_the_deploys_answer(answer: str, volume: str | None) -> None:
    assert whole_output.volume_for_output(answer) == volume


def test_the_folder_is_in_the_volume() -> None:
    assert whole_output.output_folder("/golem/work") == "/golem/work/.simple-golem-output"
    assert whole_output.output_folder("/golem/work/") == "/golem/work/.simple-golem-output"

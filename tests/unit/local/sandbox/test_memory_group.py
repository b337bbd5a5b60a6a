"""Control groups for the memory of sandboxes, in folders that look like the kernel's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from simple_golem.local.sandbox import sandbox as sandbox_module
from simple_golem.local.sandbox.memory_group import MemoryGroup, delegated_group
from simple_golem.local.sandbox.sandbox import Limits, Sandbox

OWN = "user.slice/app.slice/terminal.scope"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A process in a group three levels down; only the group above it lets its children limit memory."""
    root, proc = tmp_path / "cgroup", tmp_path / "proc"
    (root / OWN).mkdir(parents=True)
    for group in (root, *root.rglob("*")):
        (group / "cgroup.procs").touch()
        (group / "cgroup.subtree_control").write_text("cpu\n")
    (root / "user.slice/app.slice/cgroup.subtree_control").write_text("cpu memory pids\n")
    proc.mkdir()
    (proc / "cgroup").write_text(f"4:memory:/old\n0::/{OWN}\n")
    (proc / "mountinfo").write_text(
        "29 23 0:26 / /proc rw,nosuid - proc proc rw\n"
        f"30 23 0:26 / {root} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
    )
    return proc


def parent(proc: Path) -> Path:
    return proc.parent / "cgroup/user.slice/app.slice"


def test_the_nearest_group_that_lets_its_children_limit_memory_is_found(proc: Path) -> None:
    assert delegated_group(proc) == parent(proc)


def test_without_version_2_or_the_memory_controller_there_is_none(proc: Path) -> None:
    (parent(proc) / "cgroup.subtree_control").write_text("cpu\n")
    assert delegated_group(proc) is None
    (proc / "cgroup").write_text("4:memory:/old\n")
    assert delegated_group(proc) is None
    assert delegated_group(proc / "none") is None


def test_a_group_of_somebody_else_is_no_way_to_those_above(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everywhere.
    foreign = proc.parent / "cgroup" / OWN / "cgroup.procs"
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != foreign and allowed(path, mode))
    assert delegated_group(proc) is None


def test_a_group_has_its_limit_and_is_removed(proc: Path) -> None:
    group = MemoryGroup.make(64, parent(proc))
    assert group is not None
    assert (group.path / "memory.max").read_text() == str(64 << 20)
    assert group.kills() == 0
    (group.path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    assert group.kills() == 2
    for file in group.path.iterdir():  # in the kernel's folder they go by themselves
        file.unlink()
    group.remove()
    assert not group.path.exists()


def test_what_killed_networks_have_left_is_removed_and_that_of_others_is_not(proc: Path) -> None:
    old, others = parent(proc) / "simple-golem-99999999-ab", parent(proc) / f"simple-golem-{os.getpid()}-ab"
    old.mkdir()
    others.mkdir()
    assert MemoryGroup.make(64, parent(proc)) is not None
    assert (old.exists(), others.exists()) == (False, True)


def test_where_no_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    assert MemoryGroup.make(64, None) is None
    assert MemoryGroup.make(64, tmp_path / "none") is None


def test_a_sandbox_joins_its_group_and_else_each_process_is_limited(
    proc: Path, monkeypatch: pytest.MonkeyPatch, python_roots: Sequence[Path]
) -> None:
    monkeypatch.setattr(sandbox_module, "_PARENT_GROUP", parent(proc))
    with Sandbox(python_roots, limits=Limits(memory_mib=64)) as sandbox:
        assert sandbox._group is not None
        assert (sandbox._group.path / "cgroup.procs").read_text() == "0"
        assert data_limit(sandbox) == "unlimited\n"
        assert sandbox.usage().memory_kills == 0
    monkeypatch.setattr(sandbox_module, "_PARENT_GROUP", None)
    with Sandbox(python_roots, limits=Limits(memory_mib=64)) as sandbox:
        assert data_limit(sandbox) == "65536\n"


PROGRAM = "python3 -c 'import time; x = bytearray({} << 20); time.sleep(3)'"


@pytest.mark.skipif(delegated_group() is None, reason="this user can make no control groups (version 2) here")
def test_the_kernel_limits_the_memory_of_all_processes_together(python_roots: Sequence[Path]) -> None:
    with Sandbox(python_roots, limits=Limits(memory_mib=100)) as sandbox:
        group = sandbox._group
        assert group is not None
        assert shell(sandbox, PROGRAM.format(50)) == (0, "")
        assert sandbox.usage().memory_kills == 0
        assert shell(sandbox, PROGRAM.format(200))[0] == 128 + 9
        assert sandbox.usage().memory_kills == 1
        one = PROGRAM.format(45)
        assert shell(sandbox, f"{one} & {one} & {one} & wait")[0] == 0
        assert sandbox.usage().memory_kills == 2
        assert shell(sandbox, "echo still here") == (0, "still here\n")
    assert not group.path.exists()


# The first process of a kernel that runs as a program: what it mounts and says is that kernel's.
FIRST_PROCESS = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME={home} TMPDIR={folder}/memory
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs {folder}/memory
mount -t cgroup2 none /sys/fs/cgroup
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
cd {root}
{python} -B -m pytest -q -p no:cacheprovider {file} -k all_processes_together > {folder}/said 2>&1
echo o > /proc/sysrq-trigger
sleep 60
"""


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.skipif(shutil.which("linux.uml") is None, reason="apt install user-mode-linux")
def test_the_same_in_a_kernel_that_has_control_groups_of_version_2(
    tmp_path: Path, python_roots: Sequence[Path]
) -> None:
    (tmp_path / "memory").mkdir()
    first = tmp_path / "first"
    root = Path(__file__).parents[4]
    first.write_text(
        FIRST_PROCESS.format(
            folder=tmp_path, home=Path.home(), root=root, python=sys.executable, file=__file__
        )
    )
    first.chmod(0o755)
    disk = ["rootfstype=hostfs", "rootflags=/", "rw", f"init={first}"]
    kernel = subprocess.Popen(
        ["linux.uml", "mem=1500M", *disk, "con=null", "con0=fd:0,fd:1", "quiet"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        kernel.wait(360)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(kernel.pid, signal.SIGKILL)
        kernel.wait()
    said = (tmp_path / "said").read_text()
    assert "1 passed" in said, said


def shell(sandbox: Sandbox, line: str) -> tuple[int, str]:
    output = bytearray()
    code = sandbox.popen(["/bin/sh", "-c", line]).wait(output.extend, lambda data: None)
    return code, output.decode()


def data_limit(sandbox: Sandbox) -> str:
    output = bytearray()
    process = sandbox.popen(["/bin/sh", "-c", "ulimit -d"])
    assert process.wait(output.extend, output.extend) == 0
    return output.decode()

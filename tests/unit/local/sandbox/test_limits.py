"""What the processes of a sandbox may use: processor threads, memory, and room for files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from simple_golem.local.sandbox import sandbox as sandbox_module
from simple_golem.local.sandbox.sandbox import Limits, Sandbox, _some_cpus
from simple_golem.local.sandbox.sandbox_maker import SandboxMaker

VOLUMES = ("/golem/output", "/golem/work")


@pytest.fixture(scope="module")
def maker() -> Iterator[SandboxMaker]:
    maker = SandboxMaker()
    yield maker
    maker.close()


@pytest.fixture(scope="module")
def sandbox(maker: SandboxMaker, python_roots: Sequence[Path]) -> Iterator[Sandbox]:
    limits = Limits(disk_mib=200, memory_mib=128, cpu_threads=1)
    with pytest.MonkeyPatch.context() as patch:
        # As on a machine without control groups.
        patch.setattr(sandbox_module, "_PARENT_GROUP", None)
        with Sandbox(python_roots, volumes=VOLUMES, limits=limits, maker=maker) as sandbox:
            yield sandbox


def sh(sandbox: Sandbox, script: str) -> tuple[int, str]:
    output = bytearray()
    process = sandbox.popen(["/bin/sh", "-c", script])
    code = process.wait(output.extend, output.extend)
    return code, output.decode()


def test_the_number_of_threads_is_that_of_the_offer(sandbox: Sandbox) -> None:
    assert sh(sandbox, "nproc") == (0, "1\n")


def test_sandboxes_share_the_threads_of_the_machine_evenly() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    assert _some_cpus(None) == _some_cpus(len(cpus)) == _some_cpus(1000) == cpus
    assert sorted(cpu for _ in cpus for cpu in _some_cpus(1)) == cpus


MEMORY = "python3 -c 'bytearray({} << 20)'"


def test_a_process_gets_no_more_memory_than_the_offer_says(sandbox: Sandbox) -> None:
    assert sh(sandbox, MEMORY.format(60)) == (0, "")
    code, said = sh(sandbox, MEMORY.format(140))
    assert (code, said.splitlines()[-1]) == (1, "MemoryError")


@pytest.mark.parametrize("folder", ["/root", "/tmp", "/dev/shm"])
def test_outside_the_volumes_there_is_room_for_half_of_the_memory(sandbox: Sandbox, folder: str) -> None:
    assert sh(sandbox, f"head -c {50 << 20} /dev/zero > {folder}/file")[0] == 0
    code, said = sh(sandbox, f"head -c {20 << 20} /dev/zero > {folder}/more")
    assert code
    assert "No space left on device" in said
    sh(sandbox, f"rm {folder}/file {folder}/more")


def test_a_volume_has_room_of_its_own(sandbox: Sandbox) -> None:
    assert sh(sandbox, f"head -c {100 << 20} /dev/zero > /golem/work/file") == (0, "")
    code, said = sh(sandbox, f"head -c {110 << 20} /dev/zero > /golem/output/file")
    assert code
    assert "No space left on device" in said
    sh(sandbox, "rm /golem/*/file")


def test_without_limits_all_of_the_machine_is_there(
    maker: SandboxMaker, python_roots: Sequence[Path]
) -> None:
    with Sandbox(python_roots, maker=maker) as sandbox:
        assert sh(sandbox, "nproc") == (0, f"{len(os.sched_getaffinity(0))}\n")
        assert sh(sandbox, "ulimit -d") == (0, "unlimited\n")

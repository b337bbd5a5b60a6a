"""The process that makes sandboxes: several of them, its end, and what it can't do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import LocalNetworkError
from simple_golem.local.sandbox.sandbox import Sandbox
from simple_golem.local.sandbox.sandbox_maker import SandboxMaker
from tests.helpers.unprivileged_user import ROOT, run_by_nobody


def output_of(sandbox: Sandbox, *argv: str) -> tuple[int, str]:
    pieces: list[bytes] = []
    code = sandbox.popen(list(argv)).wait(pieces.append, pieces.append)
    return code, b"".join(pieces).decode()


def gone(pid: int) -> bool:
    deadline = Deadline(10)
    while Path(f"/proc/{pid}").exists():
        if deadline.passed:
            return False
        Scope().wait(0.02)
    return True


def test_sandboxes_of_one_maker_have_nothing_in_common_and_live_on_without_it(
    python_roots: Sequence[Path],
) -> None:
    maker = SandboxMaker()
    with (
        Sandbox(python_roots, volumes=["/golem/work"], hostname="one", maker=maker) as one,
        Sandbox(python_roots, volumes=["/golem/work"], hostname="other", maker=maker) as other,
    ):
        assert output_of(one, "/bin/sh", "-c", "echo mine > /golem/work/x; hostname") == (0, "one\n")
        maker.close()
        assert output_of(other, "/bin/sh", "-c", "ls /golem/work; hostname") == (0, "other\n")
        one.close()
        assert output_of(other, "/bin/cat", "/golem/work/x")[0] == 1
        pids = [one.pid, other.pid]
    assert all(pid is not None and gone(pid) for pid in pids)


def test_a_maker_that_has_ended_says_what_to_do() -> None:
    maker = SandboxMaker()
    Sandbox(maker=maker).close()
    os.kill(maker._process.pid, signal.SIGKILL)
    maker._process.wait(10)
    with pytest.raises(LocalNetworkError, match="start the network again"):
        Sandbox(maker=maker)
    maker.close()


def test_a_request_that_is_too_long_is_refused_and_harms_nothing(python_roots: Sequence[Path]) -> None:
    maker = SandboxMaker()
    hosts = {f"host-{number}": "127.0.0.1" for number in range(100_000)}
    with pytest.raises(LocalNetworkError, match="settings are too long"):
        Sandbox(hosts=hosts, maker=maker)
    with Sandbox(python_roots, maker=maker) as sandbox:
        assert output_of(sandbox, "/bin/echo", "fine") == (0, "fine\n")
    maker.close()


def test_a_maker_that_can_not_fork_says_so_and_goes_on() -> None:
    # With no processes left to this user, who is another one than root: root has no limit.
    program = (
        "import resource\n"
        "from simple_golem.errors import LocalNetworkError\n"
        "from simple_golem.local.sandbox.sandbox import Sandbox\n"
        "from simple_golem.local.sandbox.sandbox_maker import SandboxMaker\n"
        "maker = SandboxMaker()\n"
        "Sandbox(maker=maker).close()\n"
        "number = maker._process.pid\n"
        "before = resource.prlimit(number, resource.RLIMIT_NPROC)\n"
        "resource.prlimit(number, resource.RLIMIT_NPROC, (0, before[1]))\n"
        "try:\n"
        "    Sandbox(maker=maker)\n"
        "except LocalNetworkError as error:\n"
        "    print(error)\n"
        "resource.prlimit(number, resource.RLIMIT_NPROC, before)\n"
        "Sandbox(maker=maker).close()\n"
        "maker.close()\n"
        "print('went on')\n"
    )
    ended = run_by_nobody(program)
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1] == "went on"
    assert "fork" in ended.stdout


def test_sandboxes_end_with_the_process_that_made_them() -> None:
    program = (
        "import time\n"
        "from simple_golem.local.sandbox.sandbox import Sandbox\n"
        "from simple_golem.local.sandbox.sandbox_maker import SandboxMaker\n"
        "maker = SandboxMaker()\n"
        "sandboxes = [Sandbox(maker=maker) for _ in range(2)]\n"
        "print(maker._process.pid, *[sandbox.pid for sandbox in sandboxes], flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        pids = [int(number) for number in owner.stdout.readline().split()]
        assert len(pids) == 3
        owner.kill()
    assert all(gone(pid) for pid in pids)


def test_commands_that_can_not_be_started_end_alone(python_roots: Sequence[Path]) -> None:
    with Sandbox(python_roots) as sandbox:
        for argv in ([], ["/no/such/program"], ["/no/such/\udcff"], ["/" + "x" * 100_000], ["/etc/hosts"]):
            pieces: list[bytes] = []
            assert sandbox.popen(argv).wait(pieces.append, pieces.append) == 9
            assert pieces == []
        assert output_of(sandbox, "/bin/echo", "fine") == (0, "fine\n")

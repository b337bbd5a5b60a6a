"""The process that owns a network, before there is one."""

from __future__ import annotations

import subprocess
import sys


def test_a_starter_that_ends_before_its_plan_leaves_nothing() -> None:
    program = "from simple_golem.local.supervisor.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

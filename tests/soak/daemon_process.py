"""A daemon in memory in a process of its own: what it takes does not count for the measured process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def daemon_process(providers: int) -> Iterator[Mapping[str, str]]:
    """Start a daemon; yields the variables by which it is found, and `SOAK_DAEMON_PID`."""
    command = [sys.executable, "-m", "simple_golem.testing", "--providers", str(providers)]
    with subprocess.Popen(
        command,
        env=own_environment(),
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().strip() for _ in range(3)]
            yield {**dict(line.split("=", 1) for line in lines), "SOAK_DAEMON_PID": str(process.pid)}
        finally:
            process.stdin.close()


def own_environment() -> dict[str, str]:
    """The environment for a child: without the variables that would have its coverage measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}

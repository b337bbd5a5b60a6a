"""A daemon in memory in a process of its own: what it takes does not count for the measured process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.unmeasured import own_environment

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


def rows_of(
    module: str, environment: Mapping[str, str], *arguments: object, timeout: float
) -> list[dict[str, Any]]:
    """Run a module to its end; returns the JSON lines that it prints.

    Raises:
        RuntimeError: it has failed; the message has its stderr.
    """
    ran = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if ran.returncode:
        raise RuntimeError(f"{module} has ended with {ran.returncode}: {ran.stderr}")
    return [json.loads(line) for line in ran.stdout.splitlines()]

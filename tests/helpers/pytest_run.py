"""A run of pytest in a process of its own, with the plugin of simple_golem, as a user has it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# The lines of the summary are not cut.
WIDE = {"COLUMNS": "400"}


def run_pytest(folder: Path, *options: str, timeout: float = 100.0) -> subprocess.CompletedProcess[str]:
    """Run pytest on the tests in a folder; returns its exit status and its output."""
    if not entry_points(group="pytest11", name="simple_golem"):
        pytest.fail("the plugin is not installed: pip install -e '.[dev]' makes it known to pytest")
    foreign = ("PYTEST_", "YAGNA_")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *options],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if not name.startswith(foreign)}, **WIDE},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def outcomes(run: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of the summary, such as `PASSED test_it.py::test_it`, in the order of their words."""
    words = ("PASSED", "FAILED", "ERROR", "SKIPPED")
    summary = run.stdout.rpartition("short test summary info")[2]
    return sorted(line for line in summary.splitlines() if line.startswith(words))

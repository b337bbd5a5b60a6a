"""The library without what Windows does not have: it is imported, and a whole session runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELLO = """
from tests.helpers import as_on_windows

import os, signal, sys

assert sys.modules["fcntl"] is None and not hasattr(os, "fork") and not hasattr(signal, "SIGHUP")

from simple_golem import Download, Golem, Service, Upload
from simple_golem.testing import FakeProvider, FakeYagna

class Hello(Service):
    def run(self):
        self.answer = self.shell("echo hello").stdout

with FakeYagna([FakeProvider(answers=lambda command: "hello\\n") for _ in range(2)]) as fake:
    os.environ.update(fake.environment)
    with Golem(budget=1) as golem:
        print(golem.rent().shell("echo hello"))
        cluster = golem.run_service(Hello)
        cluster.wait(20)
        print(cluster.instances[0].service.answer.strip(), cluster.instances[0].state)
    with Golem(budget=1) as golem, golem.pool(1) as pool:
        print(list(pool.map(lambda machine, n: n + 1, range(3))))
    assert fake.leftovers() == [], fake.leftovers()
"""


def test_a_session_needs_nothing_that_windows_does_not_have(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELLO],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SIMPLE_GOLEM_STATE": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["hello", "hello terminated", "[1, 2, 3]"]
    assert done.returncode == 0

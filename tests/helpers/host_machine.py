"""A fake provider whose machine is this one: its commands really run, with `/golem` in a folder of a test."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import Any

from simple_golem.testing import CommandAnswer

_SECONDS = 20
_GOLEM = re.compile(r"(?<![\w.-])/golem/")


class HostMachine:
    """Answers commands by running them in `folder/golem/work`.

    Attributes:
        work: this folder.
        answering: whether it answers; if not, its commands wait.
    """

    def __init__(self, folder: Path) -> None:
        self._golem = f"{folder}/golem/"
        self.work = folder / "golem" / "work"
        self.work.mkdir(parents=True)
        self.answering = threading.Event()
        self.answering.set()

    def __call__(self, command: dict[str, Any]) -> CommandAnswer:
        self.answering.wait(_SECONDS)
        details = command["run"]
        words = [_GOLEM.sub(self._golem, word) for word in (details["entry_point"], *details["args"])]
        done = subprocess.run(
            words,
            cwd=self.work,
            env={"PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        return CommandAnswer(done.stdout, done.stderr, done.returncode)

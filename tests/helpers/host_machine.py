"""A fake provider whose machine is this one: its commands really run, with `/golem` in a folder of a test."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import Any

from simple_golem.testing import CommandAnswer

_SECONDS = 20
SHELL = Path("/bin/sh")
_GOLEM = re.compile(r"(?<![\w.-])/golem/")


class HostMachine:
    """Answers commands by running them in `folder/golem/work`.

    Args:
        folder: a folder of the test.
        shell: what takes the place of `/bin/sh`: a program that is a shell if it is called `sh`; with busybox
            all programs are those of busybox.

    Attributes:
        work: this folder.
        answering: whether it answers; if not, its commands wait.
    """

    def __init__(self, folder: Path, shell: Path = SHELL) -> None:
        self._golem = f"{folder}/golem/"
        self.work = folder / "golem" / "work"
        self.work.mkdir(parents=True)
        self._shell, self._path = str(SHELL), "/usr/bin:/bin"
        if shell != SHELL:
            programs = folder / "programs"
            programs.mkdir()
            (programs / "sh").symlink_to(shell)
            self._shell = str(programs / "sh")
            if shell.name == "busybox":
                subprocess.run([shell, "--install", "-s", programs], check=True, timeout=_SECONDS)
                self._path = str(programs)
        self.answering = threading.Event()
        self.answering.set()

    def __call__(self, command: dict[str, Any]) -> CommandAnswer:
        self.answering.wait(_SECONDS)
        details = command["run"]
        words = [
            _GOLEM.sub(self._golem, word.replace(str(SHELL), self._shell))
            for word in (details["entry_point"], *details["args"])
        ]
        done = subprocess.run(
            words,
            cwd=self.work,
            env={"PATH": self._path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        return CommandAnswer(done.stdout, done.stderr, done.returncode)

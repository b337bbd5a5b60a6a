"""Commands in local activities, as processes of this machine: a test can wait until they really run."""

from __future__ import annotations

import os
import secrets
import signal
import time
import uuid
from pathlib import Path

from simple_golem import Run
from simple_golem.background.cancellation import Deadline
from tests.network.helpers.processes import parents_of_all

SECONDS = 20.0


class LongCommand:
    """A command that sleeps for months, and is found again among all processes of this machine."""

    def __init__(self) -> None:
        self._number = str(10_000_000 + secrets.randbelow(80_000_000))

    @property
    def line(self) -> str:
        """The command as a line of shell."""
        return f"sleep {self._number}"

    @property
    def run(self) -> Run:
        return Run("/bin/sleep", self._number)

    def processes(self) -> int:
        """How many run now."""
        return sum(words[-1] == self._number.encode() for words in _command_lines().values())

    def wait_until_running(self, count: int = 1) -> None:
        """Block until exactly so many run."""
        until = Deadline(SECONDS)
        while (running := self.processes()) != count:
            assert not until.passed, f"{running} run, not {count}"
            time.sleep(0.02)


class Talker:
    """A command that writes `tick`, and `tock` to its stderr, until a signal ends it."""

    def __init__(self) -> None:
        self._mark = f"mark-{uuid.uuid4().hex}"
        self.script = (
            f": {self._mark}; trap 'printf \"the\\nend\"; exit 0' USR1; "
            "while true; do echo tick; echo tock >&2; sleep 0.02; done"
        )

    def command(self, **options: object) -> Run:
        return Run.shell(self.script, **options)  # type: ignore[arg-type]

    def tell(self, instances: int = 1) -> None:
        """Tell all the commands that run, which are as many as the instances, to end."""
        until = Deadline(SECONDS)
        while len(mine := _shells_with(self._mark, that_hear=signal.SIGUSR1)) < instances:
            assert not until.passed, f"{len(mine)} of {instances} run"
            time.sleep(0.02)
        for process in mine:
            os.kill(process, signal.SIGUSR1)


def wait_until_script_runs(mark: str) -> None:
    """Block until a shell runs a script that contains `mark`."""
    until = Deadline(SECONDS)
    while not _shells_with(mark):
        assert not until.passed, f"no script with {mark!r} runs"
        time.sleep(0.02)


def _shells_with(mark: str, that_hear: int | None = None) -> list[int]:
    """The shells whose script contains a mark; only those that handle a signal, if one is given."""
    found = [
        process
        for process, words in _command_lines().items()
        if words[:2] == [b"sh", b"-c"] and mark.encode() in words[2]
    ]
    if that_hear is not None:
        found = [process for process in found if _hears(process, that_hear)]
    # A child that has not become another program yet looks like its shell.
    parents = parents_of_all()
    return [process for process in found if parents.get(process) not in found]


def _hears(process: int, number: int) -> bool:
    """Whether a process handles a signal; not if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    status = dict(line.split(":", 1) for line in lines)
    return bool(int(status["SigCgt"], 16) >> (number - 1) & 1)


def _command_lines() -> dict[int, list[bytes]]:
    """The words of each process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue  # it has ended
    return found

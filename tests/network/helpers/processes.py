"""The command line tool as a process of its own, and what became of everything it started."""

from __future__ import annotations

import codecs
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from simple_golem.background.cancellation import Deadline, Scope

TOOL = (sys.executable, "-m", "simple_golem.command_line.main")
ROOT = Path(__file__).parents[3]
# A busy machine needs half a minute to start a network.
WAIT_SECONDS = 90.0


class Tool:
    """`simple-golem …` as a shell runs it on a terminal, all its output in one text."""

    def __init__(self, *arguments: str, **more: str) -> None:
        self.terminal, theirs = pty.openpty()
        self.text = ""
        # A character may come in two pieces.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._shell = subprocess.Popen(
            [sys.executable, "-c", _SHELL, *TOOL, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env=environment(**more),
            cwd=ROOT,
        )
        os.close(theirs)

    @property
    def pid(self) -> int:
        """The tool's own."""
        return _descendants(self._shell.pid)[1]

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait_for(self, text: str) -> None:
        """Read the output until it has `text`."""
        deadline = Deadline(WAIT_SECONDS)
        while text not in self.text:
            if deadline.passed:
                self.hang_up()  # nothing is left running
                raise AssertionError(f"no {text!r} in {self.text!r}")
            self._read()

    def _read(self) -> bool:
        try:
            chunk = os.read(self.terminal, 4096)
        except OSError:  # the other end is closed: everybody has gone
            return False
        self.text += self._decoder.decode(chunk)
        return True

    def press_ctrl_c(self) -> None:
        os.write(self.terminal, b"\x03")

    def close_terminal(self) -> None:
        os.close(self.terminal)

    def hang_up(self) -> None:
        """Close the terminal as its window does, with all that runs in it; blocks until the shell is gone."""
        self.close_terminal()
        self._shell.wait(WAIT_SECONDS)

    def text_at_end(self) -> str:
        """Wait for its end; returns all that it has written."""
        self.wait_for("]status")
        return self.text

    def end(self) -> int:
        """Wait for its end, and for that of the terminal; returns its status as `subprocess` has it."""
        self.wait_for("]status")
        os.write(self.terminal, b"\n")
        while self._read():
            pass
        self.close_terminal()
        self._shell.wait(WAIT_SECONDS)
        return int(self.text.partition("status[")[2].partition("]")[0])


# Leads a session with a terminal, outlives what it runs, and hears Ctrl-C without minding, as a shell does.
_SHELL = """
import fcntl, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, lambda *ignored: None)
print(f"status[{subprocess.Popen(sys.argv[1:]).wait()}]status")
sys.stdin.readline()
"""


def environment(**more: str) -> Mapping[str, str]:
    """The environment of this process, with this very package to be found."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


class Family:
    """All descendants of a process, as they were at one moment."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        births = {member: _birth(member) for member in _descendants(pid)}
        # Some may have ended while they were being counted.
        self.members = {member: birth for member, birth in births.items() if birth is not None}

    def programs(self) -> list[str]:
        return [_command_line(member) for member in self.members]

    def children(self) -> dict[int, str]:
        """The command line of each direct child."""
        return {child: _command_line(child) for child, its in parents_of_all().items() if its == self._pid}

    def survivors(self, seconds: float = WAIT_SECONDS) -> list[str]:
        """Wait until all have ended; returns those that have not in time."""
        deadline, scope = Deadline(seconds), Scope()
        while left := [member for member, birth in self.members.items() if birth == _birth(member)]:
            if deadline.passed:
                return [_command_line(member) for member in left]
            scope.wait(0.05)
        return []


def _descendants(pid: int) -> list[int]:
    parents = parents_of_all()
    found = [pid]
    for parent in found:
        found.extend(child for child, its_parent in parents.items() if its_parent == parent)
    return found


def parents_of_all() -> dict[int, int]:
    """The parent of every process (the kernel's lists of children lack some while others end)."""
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(pid)] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    return parents


def _birth(pid: int) -> str | None:
    """When a process began, in the kernel's own ticks; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:200]
    except OSError:
        return ""

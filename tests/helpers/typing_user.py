"""A user at a terminal: types lines and keys, and waits for what the terminal shows."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CTRL_C, CTRL_D = "\x03", "\x04"
_SECONDS = 30.0
# So wide that no line is shown in pieces.
_ROWS_AND_COLUMNS = (24, 1000)
# Makes the terminal on its standard input the one whose Ctrl-C it gets.
_WITH_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class TypingUser:
    """Runs a program on a terminal of its own; use it in a `with` statement."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], terminal: str = "dumb"
    ) -> None:
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *_ROWS_AND_COLUMNS, 0, 0))
        self._program = subprocess.Popen(
            [sys.executable, "-c", _WITH_TERMINAL, *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "TERM": terminal},
            start_new_session=True,
        )
        os.close(theirs)
        # What comes may end within a letter, or within the end of a line.
        self._letters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held_back = ""
        self._unread = ""
        self.seen = ""

    def __enter__(self) -> TypingUser:
        return self

    def __exit__(self, *error: object) -> None:
        self._program.kill()
        self._program.wait()
        os.close(self._terminal)

    def type(self, text: str) -> None:
        """Press keys; a line ends with `\\n`."""
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str, timeout: float = _SECONDS) -> str:
        """Block until the terminal shows a text; returns what came before it, from the last one on."""
        deadline = time.monotonic() + timeout
        while text not in self._unread:
            if not self._read(deadline):
                raise AssertionError(f"the terminal does not show {text!r} but {self.seen!r}")
        before, _, self._unread = self._unread.partition(text)
        return before

    def wait_until_it_reads(self) -> None:
        """Block until the program does nothing but wait for keys.

        Python's readline overlooks a signal that comes while it handles a key, until the next one.
        """
        deadline, before = time.monotonic() + _SECONDS, ""
        # A program that waits is asleep, and uses no processor time.
        while (now := self._activity()) != before or not now.startswith("S"):
            if time.monotonic() > deadline:
                raise AssertionError(f"the program goes on: {now}")
            before = now
            time.sleep(0.05)

    def _activity(self) -> str:
        """The state of the program's main thread, and how often it has run."""
        status = Path(f"/proc/{self._program.pid}/status").read_text()
        wanted = ("State", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
        lines = dict(line.split(":", 1) for line in status.splitlines())
        return " ".join(lines[name].strip() for name in wanted)

    def status(self, timeout: float = _SECONDS) -> int:
        """Block until the program has ended; returns its exit status."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self._program.wait(max(deadline - time.monotonic(), 0.1))

    def _read(self, deadline: float) -> bool:
        """Read what the terminal shows next; False at the end of the program, or of the time."""
        readable, _, _ = select.select([self._terminal], [], [], max(deadline - time.monotonic(), 0))
        if not readable:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # the program has closed its side
            return False
        text = self._held_back + self._letters.decode(data)
        self._held_back = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n")
        self._unread += text
        self.seen += text
        return True

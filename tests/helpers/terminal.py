"""A terminal for a program of a test, and what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

COLUMNS = 80


def run_in_terminal(
    script: str, environment: Mapping[str, str] | None = None, timeout: float = 60.0
) -> tuple[int, str]:
    """Run a Python script on a pseudo-terminal; returns its exit code and its output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    # The terminal must be read meanwhile: a program that writes much would block.
    program = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", **(environment or {})},
    )
    os.close(theirs)
    written = b""
    try:
        while piece := _read(ours):
            written += piece
        return program.wait(timeout), written.decode()
    finally:
        program.kill()
        program.wait()
        os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the program has closed its side
        return b""


def seen(written: str) -> list[str]:
    """The lines that the screen shows at the end."""
    lines: list[list[str]] = [[]]
    column = 0
    for character in written:
        if character == "\r":
            column = 0
        elif character == "\n":
            lines.append([])
            column = 0
        else:
            line = lines[-1]
            line += [" "] * (column + 1 - len(line))
            line[column] = character
            column += 1
    return ["".join(line).rstrip() for line in lines if "".join(line).strip()]

"""A terminal that a program of a test runs in, and what is to be seen on it."""

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
    """Run a Python script with its output on a pseudo-terminal; returns its exit code and all it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    # The terminal's own reader: else a program that writes much would wait for ever.
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
    except OSError:  # the program has closed its end
        return b""


def seen(written: str) -> list[str]:
    """The lines on the screen in the end, without what was overwritten."""
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

"""Waits for the end of processes, and ends those that do not end by themselves."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Sequence

_BOUND = (
    "import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def bound_to_parent(command: Sequence[str]) -> list[str]:
    """A command line that runs a program which is killed when the thread ends that has started it."""
    return [sys.executable, "-I", "-S", "-c", _BOUND, *command]


def has_ended(handle: int, seconds: float) -> bool:
    """Block until a process has ended, or for `seconds`; returns whether it has ended.

    Args:
        handle: the descriptor from `os.pidfd_open`. It stays valid when the kernel reuses the process id.
        seconds: the longest time to block.
    """
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def await_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Block until a child process has ended; kill it if it has not ended after `seconds`."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

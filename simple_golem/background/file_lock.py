"""Operating-system locks on files: they end with the process that holds them, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    # Of a range that nobody writes to, since Windows keeps others from reading what is locked.
    _FAR = 1 << 30

    def _lock(file: int, wait: bool) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError("another process holds the lock") from error
else:
    import fcntl

    def _lock(file: int, wait: bool) -> None:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """A lock on a file, held from its making until `release` or the end of the process.

    Raises:
        BlockingIOError: another process holds it, and `wait` is False.
    """

    def __init__(self, path: Path, *, wait: bool = True) -> None:
        """Make the file if need be and lock it; blocks with `wait` until the lock is free."""
        # Not inherited by child processes, which would keep the lock after the end of this one.
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._file, wait)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of it; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path` inside a `with`; blocks until it is free."""
    lock = FileLock(path)
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of `path`; makes no file."""
    if not path.exists():
        return False
    try:
        FileLock(path, wait=False).release()
    except BlockingIOError:
        return True
    return False

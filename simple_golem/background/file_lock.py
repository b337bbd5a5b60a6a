"""Locks of the operating system on files; a lock ends with the process that holds it, in whatever way.

Why not the package `filelock`: these are two calls of the standard library, and `filelock` makes the file
even to ask whether another process holds the lock, which would bring back a journal that was just removed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .forks import leave_to_parent

if sys.platform == "win32":  # pragma: no cover - tests run on Linux
    import msvcrt

    # Windows lets no other process read the locked bytes, so these are beyond the end of each file.
    _LOCKED_OFFSET = 1 << 30

    def _lock(file: int, wait: bool) -> None:
        os.lseek(file, _LOCKED_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError("another process holds the lock") from error
else:
    import fcntl

    def _lock(file: int, wait: bool) -> None:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """A lock on a file, held from the construction until `release` or the end of the process."""

    def __init__(self, path: Path, *, wait: bool = True, make: bool = True) -> None:
        """Lock a file.

        Args:
            path: the file.
            wait: whether to block until the lock is free, without limit.
            make: whether the file is made if it does not exist. If not, it need not be writable.

        Raises:
            BlockingIOError: another process holds the lock, and `wait` is False.
            FileNotFoundError: there is no such file, and `make` is False.
        """
        how = os.O_RDWR if make or os.access(path, os.W_OK) else os.O_RDONLY
        # Child processes do not keep the file: they would hold the lock after the end of this process.
        self._file: int | None = os.open(path, how | (os.O_CREAT if make else 0), 0o600)
        leave_to_parent(self, FileLock.release)
        try:
            _lock(self._file, wait)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path` in a `with` statement; blocks until the lock is free."""
    lock = FileLock(path)
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of `path`; the file is not made.

    One that this user may not read counts as held: nobody knows, and what lives must be left alone.
    """
    try:
        FileLock(path, wait=False, make=False).release()
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False

"""The ends of a transfer inside an activity."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, Protocol

from .gftp import CHUNK_BYTES


class ActivityFiles(Protocol):
    """The files of an activity: those of a sandbox, or of a runtime of the user's own."""

    def open_file(self, path: str, mode: Literal["r", "w", "a"], volume: str | None = None) -> int:
        """Open a regular file in a volume; returns a descriptor. Raises OSError if it can't be opened."""


class ContainerSource:
    """Reads a file of the activity."""

    def __init__(self, files: ActivityFiles, path: str, volume: str) -> None:
        """Open the file, which is in a volume; raises OSError if there is no such file."""
        self._file = files.open_file(path, "r", volume)
        self.size: int | None = os.fstat(self._file).st_size

    def chunks(self) -> Iterator[bytes]:
        while data := os.read(self._file, CHUNK_BYTES):
            yield data

    def close(self) -> None:
        os.close(self._file)


class ContainerSink:
    """Writes a file of the activity."""

    def __init__(self, files: ActivityFiles, path: str, volume: str, offset: int = 0) -> None:
        """Open the file, which is in a volume; raises OSError if it can't be written.

        Args:
            files: those of the activity.
            path: the file.
            volume: the volume that it is in.
            offset: where to write in a file that is there; 0: it is replaced.
        """
        self._file = files.open_file(path, "a" if offset else "w", volume)
        os.lseek(self._file, offset, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]

    def finish(self) -> None:
        """Nothing to do: the root of an activity is in memory."""

    def close(self) -> None:
        os.close(self._file)


def length_of(files: ActivityFiles, path: str, volume: str) -> int:
    """Return the length of a file in bytes; 0 if it can't be read."""
    try:
        source = ContainerSource(files, path, volume)
    except OSError:
        return 0
    source.close()
    return source.size or 0

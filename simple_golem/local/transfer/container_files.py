"""Files in the private root of an activity, as an end of a transfer."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..sandbox.sandbox import Sandbox
from .gftp import CHUNK_BYTES


class ContainerSource:
    """Reads a file of the container."""

    def __init__(self, sandbox: Sandbox, path: str) -> None:
        """Raises OSError when there is no such file."""
        self._file = sandbox.open_file(path, "r")
        self.size: int | None = os.fstat(self._file).st_size

    def chunks(self) -> Iterator[bytes]:
        while data := os.read(self._file, CHUNK_BYTES):
            yield data

    def close(self) -> None:
        os.close(self._file)


class ContainerSink:
    """Writes a file of the container anew."""

    def __init__(self, sandbox: Sandbox, path: str) -> None:
        """Raises OSError when it can't be written."""
        self._file = sandbox.open_file(path, "w")

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]

    def finish(self) -> None:
        """All is there: the root of an activity is memory."""

    def close(self) -> None:
        os.close(self._file)

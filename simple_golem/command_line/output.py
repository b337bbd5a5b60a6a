"""What the tool writes to, and what happens when it can't be written to: the one place for that."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, TextIO, cast

# What a shell says of a program that SIGPIPE has ended, as `cat` is by `cat file | head -1`.
_NO_READER_STATUS = 141
_NOT_WRITTEN_STATUS = 1


class OutputLost(OSError):
    """Standard output can't be written to any more: a pipe has no reader, or the disk is full.

    It is raised once. What is written later is dropped.
    """


class ToolOutput:
    """Guards standard output and standard error, until the `with` block ends.

    If standard output can't be written to, the write raises `OutputLost`, so that the command ends. Standard
    error has only advice: what can't be written there is dropped.
    """

    def __enter__(self) -> ToolOutput:
        self._before = sys.stdout, sys.stderr
        self._opened = ExitStack()
        self._output = _Guarded(sys.stdout or self._nowhere(), raises=True)
        self._advice = _Guarded(sys.stderr or self._nowhere(), raises=False)
        sys.stdout, sys.stderr = cast(TextIO, self._output), cast(TextIO, self._advice)
        return self

    def __exit__(self, *_: object) -> None:
        # The last output is written here.
        with suppress(OutputLost):
            self._output.flush()
        if self._output.lost and not isinstance(self._output.lost, BrokenPipeError):
            self._advice.write(f"simple-golem: the output can't be written: {self._output.lost.strerror}\n")
        self._advice.flush()
        sys.stdout, sys.stderr = self._before
        self._opened.close()

    def _nowhere(self) -> TextIO:
        # It also keeps the numbers 1 and 2 from files and connections that are opened later.
        return self._opened.enter_context(open(os.devnull, "w", encoding="utf-8"))

    @property
    def status(self) -> int:
        """The exit status that says whether all output was written: 0 if it was."""
        if self._output.lost is None:
            return 0
        return _NO_READER_STATUS if isinstance(self._output.lost, BrokenPipeError) else _NOT_WRITTEN_STATUS


class _Guarded:
    """A stream that may have no reader. It writes `?` for what its encoding does not have."""

    def __init__(self, stream: Any, raises: bool) -> None:
        self._stream = stream
        self._raises = raises
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        self.attempt(lambda: self._write(text))
        return len(text)

    def flush(self) -> None:
        self.attempt(self._stream.flush)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:
            self._stream.write(text.encode(error.encoding, "replace").decode(error.encoding))

    @property
    def buffer(self) -> _GuardedBytes:
        return _GuardedBytes(self, self._stream.buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def attempt(self, write: Callable[[], object]) -> None:
        """Call what writes to the stream, unless an earlier write has failed."""
        if self.lost is not None:
            return
        try:
            write()
        except OSError as error:
            self.lost = error
            self._forget()
            if self._raises:
                raise OutputLost(error.errno, error.strerror) from error

    def _forget(self) -> None:
        """Send to nowhere what is still in a buffer: Python writes it when the process ends."""
        with suppress(io.UnsupportedOperation):
            number = self._stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


class _GuardedBytes:
    def __init__(self, guard: _Guarded, stream: Any) -> None:
        self._guard = guard
        self._stream = stream

    def write(self, data: bytes) -> int:
        self._guard.attempt(lambda: self._stream.write(data))
        return len(data)

    def flush(self) -> None:
        self._guard.attempt(self._stream.flush)

"""Output of a command that is given out line by line, and what it can be given to."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable, Iterable
from typing import TypeAlias

from ...errors import BadCommand

# A longer line is given out in pieces of this many characters, so that no line is waited for without end.
LONGEST_LINE = 8192


class OutputLine(str):
    """A line that a command wrote, without its end; text that knows where it comes from.

    Attributes:
        instance: name of the instance.
        is_stderr: whether the command wrote it to its standard error.
    """

    instance: str
    is_stderr: bool

    def __new__(cls, text: str, instance: str, is_stderr: bool = False) -> OutputLine:
        line = super().__new__(cls, text)
        line.instance = instance
        line.is_stderr = is_stderr
        return line

    def __getnewargs__(self) -> tuple[str, str, bool]:  # type: ignore[override]
        # For pickle and copy: what `__new__` is called with.
        return str(self), self.instance, self.is_stderr

    @property
    def printable(self) -> str:
        """The line with its instance before it, and with nothing in it that would disturb a terminal."""
        text = "".join(character if character.isprintable() else " " for character in self)
        return f"{self.instance}: {text}"


Stream: TypeAlias = bool | logging.Logger | Callable[[OutputLine], object]
"""What `Run(..., stream=…)` takes: whether to print, a logger, or what is called with each line."""


def checked_stream(stream: object) -> Stream:
    """Return what lines can be given to, else raise `BadCommand`."""
    if isinstance(stream, (bool, logging.Logger)):
        return stream
    if callable(stream) and not isinstance(stream, type):
        return stream
    raise BadCommand(
        f"stream is {stream!r}: give True to print each line, a function that takes a line, "
        "or a logging.Logger"
    )


class LineCutter:
    """Cuts bytes that come in pieces of any size into lines of text; what is no UTF-8 becomes `\\ufffd`."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._begun = ""

    def feed(self, data: bytes) -> Iterable[str]:
        """Return the lines that `data` ends, without their ends."""
        return self._cut(self._decoder.decode(data))

    def end(self) -> Iterable[str]:
        """Return what was written after the last end of a line; what comes next is a line of its own."""
        lines = self._cut(self._decoder.decode(b"", final=True))
        rest, self._begun = self._begun, ""
        self._decoder.reset()
        return [*lines, rest] if rest else lines

    def _cut(self, text: str) -> list[str]:
        *ended, self._begun = (self._begun + text).split("\n")
        lines = [piece for line in ended for piece in _pieces(line.removesuffix("\r"))]
        if len(self._begun) > LONGEST_LINE:
            whole = (len(self._begun) - 1) // LONGEST_LINE * LONGEST_LINE
            lines += _pieces(self._begun[:whole])
            self._begun = self._begun[whole:]
        return lines


def _pieces(line: str) -> Iterable[str]:
    return [line[at : at + LONGEST_LINE] for at in range(0, len(line), LONGEST_LINE)] or [line]

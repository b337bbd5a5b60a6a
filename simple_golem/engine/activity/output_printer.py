"""Where the lines of a command go that is run with `stream=…`: the terminal, the log, or a function.

The only place in the library that writes to the user's standard output, and only where the user asked for it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import TextIO

from ...errors import NotRunning
from ...model.commands.output import OutputLine, Stream

logger = logging.getLogger(__name__)

# The lines of several instances come side by side: none may begin in the middle of another.
_one_line_at_a_time = threading.Lock()
_here = threading.local()


def refuse_while_giving_out() -> None:
    """An error for who runs a command while it is called with the output of one, which it would wait for."""
    if getattr(_here, "is_giving", False):
        raise NotRunning(
            "a function that is called with the output of a command can't run commands itself: the command "
            "has not ended. Let it put the line into a list or a queue"
        )


class OutputPrinter:
    """Gives the lines of one command to whom they are for; whatever that raises harms nobody else.

    Attributes:
        given: how many lines so far.
        busy: whether one is being given at this moment.
        closed: whether no more are to be given.
    """

    def __init__(self, stream: Stream, instance: str) -> None:
        self._stream = stream
        self._instance = instance
        self._failed = False
        self.given = 0
        self.busy = False
        self.closed = False

    def give(self, lines: Iterable[str], is_stderr: bool) -> None:
        """Give out lines, one after the other; blocks for as long as the user's function takes."""
        for text in lines:
            if self.closed:
                return
            self.busy = _here.is_giving = True
            try:
                self._give(OutputLine(text, self._instance, is_stderr))
            except Exception as error:
                # One traceback says it; a million lines of output must not become a million of them.
                logger.log(
                    logging.DEBUG if self._failed else logging.ERROR,
                    "%s: stream=%r raised an error for the line %r; the command goes on",
                    self._instance,
                    self._stream,
                    text[:100],
                    exc_info=error,
                )
                self._failed = True
            finally:
                self.busy = _here.is_giving = False
                self.given += 1

    def _give(self, line: OutputLine) -> None:
        if isinstance(self._stream, logging.Logger):
            self._stream.info("%s", line.printable)
        elif callable(self._stream):
            self._stream(line)
        else:
            _print(line.printable, sys.stderr if line.is_stderr else sys.stdout)


def _print(line: str, to: TextIO | None) -> None:
    if to is None:  # a program without a terminal, such as one of pythonw
        return
    encoding = getattr(to, "encoding", None) or "utf-8"
    text = f"{line}\n".encode(encoding, errors="replace").decode(encoding)
    with _one_line_at_a_time:
        to.write(text)
        to.flush()

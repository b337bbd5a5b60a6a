"""Where the lines of a command with `stream=…` go: to the terminal, the log, or a function.

The only place in the library that writes to the user's standard output, and only where the user asked for it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import TextIO

from ...background.forks import in_child, user_code
from ...errors import NotRunning
from ...model.commands.output import OutputLine, Stream

logger = logging.getLogger(__name__)

# Several instances print at the same time: no line may begin in the middle of another.
_one_line_at_a_time = threading.Lock()
_here = threading.local()


@in_child
def _begin_again_in_child() -> None:
    global _one_line_at_a_time
    _one_line_at_a_time = threading.Lock()
    _here.is_giving = False


def refuse_while_giving_out() -> None:
    """Refuse a function that runs a command while it receives the output of one: it would wait for itself.

    Raises:
        NotRunning: this thread is inside such a function.
    """
    if getattr(_here, "is_giving", False):
        raise NotRunning(
            "a function that receives the output of a command can't run commands itself, since that command "
            "has not ended. Let it put the line into a list or a queue"
        )


class OutputPrinter:
    """Passes the lines of one command on; an error of the user's function is logged and ends nothing.

    Attributes:
        given: how many lines were passed on.
        busy: whether one is being passed on at this moment.
        closed: set from outside to pass on no more lines.
    """

    def __init__(self, stream: Stream, instance: str) -> None:
        self._stream = stream
        self._instance = instance
        self._failed = False
        self.given = 0
        self.busy = False
        self.closed = False

    def give(self, lines: Iterable[str], is_stderr: bool) -> None:
        """Pass lines on, one after the other; blocks for as long as the user's function takes."""
        for text in lines:
            if self.closed:
                return
            self.busy = _here.is_giving = True
            try:
                self._give(OutputLine(text, self._instance, is_stderr))
            except BaseException as error:
                # One traceback is enough: a million lines of output must not become a million tracebacks.
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
            with user_code():
                self._stream(line)
        else:
            _print(line.printable, sys.stderr if line.is_stderr else sys.stdout)


def _print(line: str, to: TextIO | None) -> None:
    if to is None:  # a program without a terminal, such as one that pythonw runs
        return
    encoding = getattr(to, "encoding", None) or "utf-8"
    text = f"{line}\n".encode(encoding, errors="replace").decode(encoding)
    with _one_line_at_a_time:
        to.write(text)
        to.flush()

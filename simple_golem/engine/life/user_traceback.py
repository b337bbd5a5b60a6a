"""The part of a traceback that lies in the user's code: what a log shows of a failure."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, TracebackType
from typing import NamedTuple

from ...errors import GolemError

logger = logging.getLogger(__name__)

_MOST_PLACES = 5
_PACKAGE = str(Path(__file__).resolve().parents[2]) + os.sep
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
# Held by the thread that has switched the garbage collection off, so that each finds it as the user left it.
_collecting = threading.Lock()


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def place_of(error: BaseException) -> Place | None:
    """Return the line of the user's code that an error comes from; None if it comes from no such line.

    Where the user has called another package, it is the line with that call.
    """
    traces = list(_users_own(error.__traceback__))
    own = [one for one in traces if not _is_library(one.tb_frame.f_code)] or traces
    return Place(own[-1].tb_frame.f_code.co_filename, own[-1].tb_lineno) if own else None


def user_places(error: BaseException) -> list[str]:
    """Return the lines of the user's code that an error went through, each with its file and function."""
    own = [one for one in _users_own(error.__traceback__) if not _is_library(one.tb_frame.f_code)]
    frames = traceback.StackSummary.extract((one.tb_frame, one.tb_lineno) for one in own)
    return [
        f"{one.filename}:{one.lineno} in {one.name}{f': {one.line}' if one.line else ''}"
        for one in frames[-_MOST_PLACES:]
    ]


def error_lines(error: BaseException) -> list[str]:
    """Return type and message of an error, line by line, even if its `__str__` fails."""
    first, *more = _message(error).splitlines() or [""]
    name = type(error).__name__
    return [f"{name}: {first}" if first else name, *more]


def user_lines(error: BaseException) -> str:
    """Return the traceback of `error` without the lines of this package, and its message."""
    frames = traceback.StackSummary.extract(
        (one.tb_frame, one.tb_lineno) for one in _users_own(error.__traceback__)
    )
    return "".join([*traceback.format_list(frames), error_text(error)]).rstrip()


def whereabouts(thread_ident: int | None) -> str:
    """Return the innermost line outside this package that a thread executes at present."""
    with _no_garbage_collection():
        frame = sys._current_frames().get(thread_ident or 0)
    summary = traceback.extract_stack(frame) if frame is not None else []
    own = [entry for entry in summary if not entry.filename.startswith(_PACKAGE)]
    mine = [entry for entry in own if f"{os.sep}threading.py" not in entry.filename]
    if not mine:
        return "an unknown place"
    last = mine[-1]
    return f"{last.filename}:{last.lineno} ({last.line})"


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect no garbage meanwhile.

    Before Python 3.11.9, a collection inside of `sys._current_frames` may wait for a lock which that call
    holds, for ever and with the GIL (cpython issue 106883): the whole process stands still, and hears no
    Ctrl-C.
    """
    with _collecting:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


def error_text(error: BaseException | None) -> str:
    """Return type and message of an error, even if its `__str__` fails; empty for None."""
    if error is None:
        return ""
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def first_line(error: BaseException) -> str:
    """Return type and message of an error in one line, even if its `__str__` fails.

    Of a message that ends its first line with a colon, it has the last line as well.
    """
    first, *more = error_lines(error)
    last = more[-1].strip() if more else ""
    return f"{first} {last}" if first.endswith(":") and last else first


def is_own_code(code: CodeType) -> bool:
    """Whether it is code of the user: neither of this package nor of another one."""
    return not (code.co_filename.startswith(_PACKAGE) or _is_library(code))


def without_frames(error: GolemError) -> GolemError:
    """Return an error of this package, to be raised for a caller whom its inner frames tell nothing.

    They are logged at DEBUG. Its causes stay, each with the lines of the user's code only.
    """
    logger.debug("an error that the script receives, with its causes", exc_info=error)
    for one in _causes(error):
        keep_user_lines(one)
        if not isinstance(one, GolemError):
            one.__suppress_context__ = True  # what other packages have caught on their way
    return error


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found


def keep_user_lines(error: BaseException) -> None:
    """Remove the frames of this package from the traceback of `error`."""
    kept: TracebackType | None = None
    for trace in reversed(list(_users_own(error.__traceback__))):
        kept = TracebackType(kept, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
    error.__traceback__ = kept


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever the user's class raises
        return "its __str__ fails"


def _users_own(trace: TracebackType | None) -> Iterator[TracebackType]:
    """Iterate over a traceback, without this package, nor what this package calls of other packages."""
    in_package = False
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(_PACKAGE):
            in_package = True
        elif not (in_package and _is_library(code)):
            in_package = False
            yield trace
        trace = trace.tb_next


def _is_library(code: CodeType) -> bool:
    name = code.co_filename
    return name.startswith((_STANDARD_LIBRARY, "<frozen ")) or any(part in name for part in _INSTALLED)

"""The part of a traceback that lies in the user's code: what a log shows of a failure."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_PACKAGE = str(Path(__file__).resolve().parents[2]) + os.sep


def user_lines(error: BaseException) -> str:
    """Return the traceback of `error` without the lines of this package, and its message."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_PACKAGE)
    ]
    lines = traceback.format_list(frames)
    lines += traceback.format_exception_only(type(error), error)
    return "".join(lines).rstrip()


def whereabouts(thread_ident: int | None) -> str:
    """Return the innermost line outside this package that a thread executes at present."""
    frame = sys._current_frames().get(thread_ident or 0)
    summary = traceback.extract_stack(frame) if frame is not None else []
    own = [entry for entry in summary if not entry.filename.startswith(_PACKAGE)]
    mine = [entry for entry in own if f"{os.sep}threading.py" not in entry.filename]
    if not mine:
        return "an unknown place"
    last = mine[-1]
    return f"{last.filename}:{last.lineno} ({last.line})"


def error_text(error: BaseException | None) -> str:
    """Return type and message of an error, even if its `__str__` fails; empty for None."""
    if error is None:
        return ""
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def keep_user_lines(error: BaseException) -> None:
    """Remove the frames of this package from the traceback of `error`."""
    kept: TracebackType | None = None
    for trace in reversed(list(_walk(error.__traceback__))):
        if not trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            kept = TracebackType(kept, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
    error.__traceback__ = kept


def _walk(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next

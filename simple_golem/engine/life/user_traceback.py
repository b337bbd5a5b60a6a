"""Whose lines an error comes from: what a log shows a user of a failure in their own code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_PACKAGE = str(Path(__file__).resolve().parents[2]) + os.sep


def user_lines(error: BaseException) -> str:
    """The traceback of `error` with the user's own lines alone, and its message."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_PACKAGE)
    ]
    lines = traceback.format_list(frames)
    lines += traceback.format_exception_only(type(error), error)
    return "".join(lines).rstrip()


def whereabouts(thread_ident: int | None) -> str:
    """The innermost line outside this package at which a thread is at present."""
    frame = sys._current_frames().get(thread_ident or 0)
    summary = traceback.extract_stack(frame) if frame is not None else []
    own = [entry for entry in summary if not entry.filename.startswith(_PACKAGE)]
    mine = [entry for entry in own if f"{os.sep}threading.py" not in entry.filename]
    if not mine:
        return "a place unknown"
    last = mine[-1]
    return f"{last.filename}:{last.lineno} ({last.line})"


def error_text(error: BaseException | None) -> str:
    """The text of an error, also of one whose own `__str__` fails."""
    if error is None:
        return ""
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def keep_user_lines(error: BaseException) -> None:
    """Drop this package's own frames from the traceback of `error`, so that it shows the user's alone."""
    kept: TracebackType | None = None
    for trace in reversed(list(_walk(error.__traceback__))):
        if not trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            kept = TracebackType(kept, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
    error.__traceback__ = kept


def _walk(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next

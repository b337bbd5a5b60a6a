"""The options of a shell command, for all methods that are called `shell`."""

from __future__ import annotations

from typing import TypedDict

from .output import Stream


class ShellOptions(TypedDict, total=False):
    """What `Run.shell` takes besides the script; `Run` explains each."""

    binary: bool
    keep_first: int | None
    keep_last: int | None
    stream: Stream

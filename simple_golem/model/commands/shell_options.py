"""The options of a shell command, for all methods that are called `shell`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TypedDict

from .output import Stream


class ShellOptions(TypedDict, total=False):
    """What `Run.shell` takes besides the script; `Run` explains each."""

    env: Mapping[str, object] | None
    cwd: str | PurePath | None
    binary: bool
    keep_first: int | None
    keep_last: int | None
    keep_all: bool
    stream: Stream

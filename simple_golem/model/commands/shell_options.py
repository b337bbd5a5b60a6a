"""What all methods have in common that are called `shell`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, TypedDict

from .commands import Run, checked_script
from .environment import SHELL
from .output import Stream

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ShellOptions(TypedDict, total=False):
    """What `Run.shell` takes besides the script; `Run` explains each."""

    env: Mapping[str, object] | None
    cwd: str | PurePath | None
    binary: bool
    keep_first: int | None
    keep_last: int | None
    keep_all: bool
    stream: Stream


def shell_command(script: str, **options: Unpack[ShellOptions]) -> Run:
    """Return what `Run.shell(script, **options)` does, with its whole output where that is possible.

    Without `keep_all` it goes through files as well, if the image has a volume, unless `keep_first`,
    `keep_last` or `stream` says what is wanted. `keep_all=False` leaves that out.

    Raises:
        BadCommand: the script, or an option, makes no sense.
    """
    command = Run(SHELL, "-c", checked_script(script), **options)
    if "keep_all" not in options and not command.has_own_limit:
        object.__setattr__(command, "wants_whole", True)
    return command

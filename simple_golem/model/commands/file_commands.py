"""The bases of the commands that bring files to a provider and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ...errors import BadCommand
from .commands import Command


class FileCommand(Command):
    """A transfer between this machine and the provider's; which URL it goes by, its batch decides.

    Attributes:
        remote: the absolute path on the provider's side.
    """

    __slots__ = ()

    remote: str

    def to_exe_script(self) -> dict[str, Any]:
        raise BadCommand(
            f"{self!r} has no form of its own in an ExeScript: its file is published as its batch is sent"
        )

    def __repr__(self) -> str:
        values = [getattr(self, item.name) for item in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(map(shown, values))})"


class DownloadCommand(FileCommand):
    """The base of those that bring a file back."""

    __slots__ = ()


def shown(value: object, limit: int = 120) -> str:
    """Return a value as a message shows it."""
    # A path is shown whole: it is what one looks for.
    if isinstance(value, str):
        return repr(value)
    text = repr(value[:limit] if isinstance(value, bytes) else value)
    return text if len(text) <= limit else text[: limit - 1] + "…"

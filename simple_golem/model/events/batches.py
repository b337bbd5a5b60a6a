"""What an instance does: the methods of its service, its batches, and their transfers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..commands.commands import Command
from ..commands.results import Result
from .event import InstanceEvent


@dataclass(frozen=True, slots=True)
class MethodCalled(InstanceEvent):
    """A method of the service is called: deploy, start, run or shutdown."""

    is_frequent: ClassVar[bool] = True
    method: str

    def _text(self) -> str:
        return f"{self.instance}: {self.method}()"


@dataclass(frozen=True, slots=True)
class BatchStarted(InstanceEvent):
    """Commands are sent to the provider as one batch."""

    is_frequent: ClassVar[bool] = True
    commands: Sequence[Command]

    def _text(self) -> str:
        return f"{self.instance}: {_listed(self.commands)} begun"


@dataclass(frozen=True, slots=True)
class BatchEnded(InstanceEvent):
    """A batch has ended; `failure` says why it failed, None if it did not."""

    is_frequent: ClassVar[bool] = True
    commands: Sequence[Command]
    results: Sequence[Result]
    failure: str | None

    def _text(self) -> str:
        return f"{self.instance}: {_listed(self.commands)} {self.failure or 'done'}"


@dataclass(frozen=True, slots=True)
class TransferProgress(InstanceEvent):
    """A part of a file was transferred; sent repeatedly, and at the end.

    Attributes:
        command: the command that transfers it.
        transferred: bytes transferred so far.
        total: the size of the file in bytes; None if only the provider knows it.
    """

    is_frequent: ClassVar[bool] = True
    command: Command
    transferred: int
    total: int | None

    def _text(self) -> str:
        whole = "" if self.total is None else f" of {self.total}"
        return f"{self.instance}: {self.command!r}: {self.transferred}{whole} bytes"


def _listed(commands: Sequence[Command]) -> str:
    first = repr(commands[0]) if commands else "nothing"
    more = f" and {len(commands) - 1} more" if len(commands) > 1 else ""
    return first + more

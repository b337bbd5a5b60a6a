"""What commands answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import NotOneResult
from .commands import Command
from .wire_time import parse_time

_EXIT_CODE = re.compile(r"exited with code (-?\d+)")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one command answered; all fields are optional, so that a unit test can make one.

    Attributes:
        stdout, stderr: what the program wrote, always text.
        success: False if the command failed.
        message: the provider's own words, None if it said nothing.
        index: place of the command in its batch, from 0.
        command: the command itself.
        finished_at: when it ended, by the provider's clock.
    """

    stdout: str = ""
    stderr: str = ""
    success: bool = True
    message: str | None = None
    index: int = 0
    command: Command | None = None
    finished_at: datetime | None = None

    @property
    def exit_code(self) -> int | None:
        """0 for success, the program's exit code where the provider told it, else None."""
        if self.success:
            return 0
        found = _EXIT_CODE.search(self.message or "")
        return int(found.group(1)) if found else None

    @classmethod
    def from_wire(cls, entry: Mapping[str, Any], command: Command | None = None) -> Result:
        """Read one entry of the daemon's list of batch results.

        Raises:
            KeyError, ValueError: the entry is not of the daemon's form.
        """
        ended = entry.get("eventDate")
        return cls(
            stdout=_text(entry.get("stdout")),
            stderr=_text(entry.get("stderr")),
            success=entry["result"] == "Ok",
            message=entry.get("message"),
            index=entry["index"],
            command=command,
            finished_at=None if ended is None else parse_time(ended),
        )


class Results(tuple[Result, ...]):
    """What a batch answered: a tuple of `Result`s.

    With exactly one of them, `stdout`, `stderr`, `exit_code` and `success` can be read from it directly.
    """

    @property
    def stdout(self) -> str:
        """What the one command wrote to its standard output."""
        return self._only("stdout").stdout

    @property
    def stderr(self) -> str:
        """What the one command wrote to its standard error."""
        return self._only("stderr").stderr

    @property
    def exit_code(self) -> int | None:
        """The exit code of the one command, None if the provider did not tell it."""
        return self._only("exit_code").exit_code

    @property
    def success(self) -> bool:
        """Whether the one command succeeded."""
        return self._only("success").success

    def _only(self, attribute: str) -> Result:
        if len(self) == 1:
            return self[0]
        if not self:
            raise NotOneResult(f"there are no results, so no `{attribute}`: no command was run")
        raise NotOneResult(f"there are {len(self)} results; say which: results[0].{attribute}")

    def __repr__(self) -> str:
        return f"Results([{', '.join(map(repr, self))}])"


def _text(output: str | list[int] | None) -> str:
    if output is None:
        return ""
    if isinstance(output, str):
        return output
    return bytes(output).decode("utf-8", errors="replace")

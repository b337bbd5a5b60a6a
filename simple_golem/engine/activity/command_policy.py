"""What the payload of a service means for its commands."""

from __future__ import annotations

from ...errors import BadCommand
from ...model.commands.commands import Command, Run
from ...model.payload.payload import Payload
from ...model.payload.shell import shell_refusal


class CommandPolicy:
    """Says for one life which commands can be run.

    Args:
        payload: what the provider runs; None if it is not known.
    """

    def __init__(self, payload: Payload | None) -> None:
        self._payload = payload

    def check(self, commands: tuple[Command, ...]) -> None:
        """Refuse what this payload can't run.

        Raises:
            BadCommand: a command needs a shell, and there is none.
        """
        for command in commands:
            if isinstance(command, Run) and command.needs_shell:
                refusal = "" if self._payload is None else shell_refusal(self._payload, command)
                if refusal:
                    raise BadCommand(f"{command!r}: `env` and `cwd` are set by /bin/sh, and {refusal}")

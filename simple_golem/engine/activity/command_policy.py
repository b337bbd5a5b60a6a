"""What the class and the payload of a service mean for its commands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...errors import BadCommand
from ...model.commands.background import warn_of_background
from ...model.commands.commands import Command, Deploy, Run
from ...model.commands.environment import SHELL
from ...model.commands.results import CUT_BYTES, Result
from ...model.commands.transfers import UploadFromUrl
from ...model.commands.whole_output import output_folder
from ...model.payload.payload import Payload, refuse_lost_environment
from ...model.payload.shell import shell_refusal
from ...model.service.service import Service, payload_for

logger = logging.getLogger(__name__)


class CommandPolicy:
    """Says for one life which commands can be run, and how.

    Args:
        service: the user's object.
        is_new_advice: whether some advice is given for the first time.
    """

    def __init__(self, service: Service, is_new_advice: Callable[[str], bool]) -> None:
        self._service = service
        self._class_name = type(service).__name__
        self._is_new_advice = is_new_advice
        self._payload: Payload | None = payload_for(service)

    def folders(
        self, commands: Sequence[Command], volume: str | None, deploying: bool
    ) -> Sequence[str | None]:
        """Check the commands of a batch; returns for each the folder for its whole output, None without it.

        Args:
            commands: what is to be run.
            volume: the volume that whole output can be put into.
            deploying: whether the volumes are not there yet.

        Raises:
            BadCommand: a command can't be run with this payload.
            BadPayload: a command sets an environment that the runtime loses.
        """
        by_class = self._service.keep_all and not deploying
        by_shell = volume is not None and not deploying
        whole = [isinstance(one, Run) and _is_whole(one, by_class, by_shell) for one in commands]
        for command, is_whole in zip(commands, whole, strict=True):
            if isinstance(command, Deploy) and self._payload is not None:
                refuse_lost_environment(self._payload, command)
            if isinstance(command, UploadFromUrl) and command.is_checked:
                self._require_shell(command, "`size` and `sha256` are checked by", Run.shell("wc"))
            if isinstance(command, Run) and (is_whole or command.needs_shell):
                self._check(command, volume, is_whole)
            if isinstance(command, Run) and not is_whole and _is_script(command):
                warn_of_background(command.args[-1])
        return [output_folder(volume) if is_whole and volume else None for is_whole in whole]

    def _check(self, command: Run, volume: str | None, is_whole: bool) -> None:
        what = "whole output needs" if is_whole else "`env` and `cwd` are set by"
        by_shell = Run("/bin/sh", "-c", "", *command.words) if is_whole else command
        self._require_shell(command, what, by_shell)
        if is_whole and volume is None:
            raise BadCommand(
                f"{command!r}: whole output needs a volume, and the image has none: write keep_first or "
                "keep_last, or have deploy() return [Deploy(volumes=['/golem/work']), Start()]"
            )

    def _require_shell(self, command: Command, what: str, by_shell: Run) -> None:
        refusal = "" if self._payload is None else shell_refusal(self._payload, by_shell)
        if refusal:
            raise BadCommand(f"{command!r}: {what} /bin/sh, and {refusal}")

    def may_run(self, script: Run) -> bool:
        """Whether nothing is known that forbids a command of the library itself, which `/bin/sh` runs."""
        return self._payload is None or not shell_refusal(self._payload, script)

    def advise(self, results: Iterable[Result]) -> None:
        """Warn once in a session, for each class, of output that may not be whole."""
        cut = next((result for result in results if result.may_be_cut), None)
        if cut is not None and self._is_new_advice(f"{self._class_name}: the output may be cut"):
            logger.warning(
                "%s: the output of %.200r may not be whole: a virtual machine loses up to 64 KiB of its end "
                "where a program writes more than %d bytes, without an error. Write Run(…, keep_all=True), "
                "or keep_all = True in the class",
                self._class_name,
                cut.command,
                CUT_BYTES,
            )


def _is_script(command: Run) -> bool:
    return command.program == SHELL and len(command.args) == 2 and command.args[0] == "-c"


def _is_whole(command: Run, by_class: bool, by_shell: bool) -> bool:
    if command.keep_all or (by_shell and command.wants_whole):
        return True
    return by_class and not command.has_own_limit


def loses_output(offer: Mapping[str, Any]) -> bool:
    """Whether the runtime of an offer may lose the end of a command's output, as virtual machines do."""
    return str(offer.get("golem.runtime.name", "")).startswith("vm")

"""The error that a failed command becomes, in the engine and in a unit test alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from ...errors import CommandFailed
from ..base.printable import printable
from .commands import Command, Run
from .file_commands import DownloadCommand, FileCommand

# A virtual machine tells so of a killed program, and of one that could not be started (seen).
UNCLEAR_EXIT_CODE = 9
NO_SUCH_FILE = "No such file or directory"

# What the system of the provider says of a file's place, and what that means here.
_ADVICE = {
    "Is a directory": "there it is a folder: end its path with / to bring all of it, or name a file in it",
    "File exists": "there it is a file",
    "Read-only file system": (
        "write into a volume of the image (in golem/alpine: /golem/work), or ask for one: Deploy(volumes=[…])"
    ),
    NO_SUCH_FILE: "there is nothing of this name there",
    "not found in container": (
        "files go to and come from volumes of the image only (in golem/alpine: /golem/input, /golem/work, "
        "/golem/output); another image has others or none: ask for one by Deploy(volumes=[…])"
    ),
}
_ADVICE_FOR_UPLOADS = {"Is a directory": "there it is a folder: name the file in it that is to be written"}
_NOT_FOUND_EXIT_CODE = 127
# As dash, bash, busybox, and the `env` of the GNU and of busybox say it.
_NOT_FOUND = re.compile(
    r"\b(?:env: [^\w/]*|env: can't execute '|(?:ba|da|k)?sh: (?:.*: )?)([\w.+-]+)[^\w/:]*: "
    r"(?:No such file or directory|not found|command not found)$"
)
# As the C library, wget, curl and busybox say it.
_NO_INTERNET = re.compile(
    "Temporary failure in name resolution|Name or service not known|Could not resolve host|"
    "unable to resolve host|bad address '|Network is unreachable"
)
_MOST_LINES = 5
_MOST_CHARACTERS = 300


class FailedResult(Protocol):
    """A result, as the error of its batch needs it."""

    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...
    @property
    def success(self) -> bool: ...
    @property
    def message(self) -> str | None: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def index(self) -> int: ...
    @property
    def command(self) -> Command | None: ...


def command_failed(
    results: Sequence[FailedResult], commands: Sequence[Command], provider: str, explanation: str = ""
) -> CommandFailed:
    """Build the error of a batch whose last result is a failure.

    Args:
        results: the results of the batch so far, the failed one last.
        commands: all commands of the batch.
        provider: name and id of the provider, as people should read it.
        explanation: the cause of the failure, if more is known than the provider says.

    Returns:
        The error, to be raised by the caller.
    """
    failed = results[-1]
    command = failed.command
    if command is None and 0 <= failed.index < len(commands):
        command = commands[failed.index]
    what = "a command" if command is None else _cut(repr(command))
    if failed.exit_code is not None:
        why = f"exit code {failed.exit_code}"
    else:
        why = printable(failed.message or "", _MOST_CHARACTERS) or "the provider does not say why"
    if explanation:
        why += f": {explanation}"
    elif isinstance(command, FileCommand):
        why += _advice(command, f"{failed.message} {failed.stderr}")
    elif isinstance(command, Run) and failed.exit_code == UNCLEAR_EXIT_CODE:
        why += _possible_causes(command, has_output=bool(failed.stdout or failed.stderr))
    lines = _last_lines(failed.stderr, failed.exit_code == _NOT_FOUND_EXIT_CODE)
    message = f"{what} failed on {provider}: {why}{lines}"
    return CommandFailed(message, command=command, results=results, provider=provider)


def _possible_causes(command: Run, has_output: bool) -> str:
    program = command.words[0]
    if has_output:
        return f": {program} was killed (SIGKILL), perhaps for want of memory, or chose this exit code itself"
    return (
        f": a virtual machine says so if there is no {program} in the image, if it can't be executed (no "
        "permission, or no interpreter), if the working folder of the image is missing, if it was killed "
        "(SIGKILL), perhaps for want of memory, or if it chose this exit code itself"
    )


def _advice(command: FileCommand, said: str) -> str:
    known = _ADVICE if isinstance(command, DownloadCommand) else {**_ADVICE, **_ADVICE_FOR_UPLOADS}
    return next((f"; {advice}" for sign, advice in known.items() if sign in said), "")


def _last_lines(stderr: str, is_not_found: bool) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()][-_MOST_LINES:]
    shown = [printable(line, _MOST_CHARACTERS) for line in lines]
    for number, line in reversed(list(enumerate(shown))):
        if advice := _advice_on(line, is_not_found):
            shown[number] += advice
            break
    return "".join(f"\n  stderr: {line}" for line in shown)


def with_advice(line: str) -> str:
    """Return a line that a program wrote as its last one, with what to do about it, if that is known."""
    return line + _advice_on(line, is_not_found=True)


def _advice_on(line: str, is_not_found: bool) -> str:
    if _NO_INTERNET.search(line):
        return (
            " (a machine knows only the names of its private network, and has no way to the internet unless "
            "its payload asks for addresses: vm.manifest(…, outbound=['https://…']))"
        )
    found = _NOT_FOUND.search(line) if is_not_found else None
    if found is None:
        return ""
    name = found[1]
    return (
        f" (if the image has {name}: programs get no PATH of the image, so write the whole path of {name}, "
        "or env={'PATH': '/usr/local/bin:/usr/bin:/bin'})"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"

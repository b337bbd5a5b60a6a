"""Where the error of a command leaves its cause open, the instance is asked with one cheap command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeGuard

from ...background.cancellation import Scope, ScopeEnded
from ...errors import CommandFailed, GolemError
from ...model.commands.commands import Command, Run
from ...model.commands.environment import SHELL
from ...model.commands.failure import NO_SUCH_FILE, UNCLEAR_EXIT_CODE, command_failed
from ...model.commands.file_commands import DownloadCommand
from ...model.commands.results import Result, results_so_far
from ...model.commands.transfers import Download, UploadFromUrl
from .activity import Activity

logger = logging.getLogger(__name__)

# The second one often hides the first (seen).
_SIGNS_OF_NO_FILE = (NO_SUCH_FILE, "receiver is gone")
_ANSWER_SECONDS = 10.0

_WHAT_IS_THE_PROGRAM = """\
test -e "$1" || { echo missing; exit; }
test ! -d "$1" || { echo folder; exit; }
test -x "$1" || { echo locked; exit; }
read -r first second rest <"$1"
case $first in '#!') ;; '#!'*) second=${first#??} ;; *) second= ;; esac
test -z "$second" || test -x "$second" || { echo "interpreter $second"; exit; }
echo there
"""
_WHAT_IS_THE_FILE = """\
test ! -L "$1" || test -e "$1" || { echo dangling; exit; }
test -e "$1" || { echo missing; exit; }
real=$(readlink -f "$1") || exit 0
test "$real" = "$1" || echo link
"""

_OF_PROGRAM = {
    "missing": "there is no {path} in this image",
    "folder": "{path} is a folder in this image",
    "locked": "{path} can't be executed in this image: it lacks the permission (chmod +x)",
    "interpreter": "{path} needs the interpreter {detail!r}, and there is none in this image",
    "there": "{path} is in this image and can be executed: it was killed (SIGKILL), perhaps for want of "
    "memory, or it chose this exit code itself",
}
_OF_FILE = {
    "link": "it is there, but by way of a symbolic link, which the provider's machine can't follow if it is "
    "absolute or leads to another volume; copy the file first: Run('/bin/cp', '-L', {path!r}, …)",
    "dangling": "it is a symbolic link to something that is not there",
    "missing": "there is nothing of this name there",
}
_NO_SHELL = "/bin/sh fails in the same way: the image has no shell, or its working folder is missing"
_NO_SHELL_FOR_URL = (
    "it needs /bin/sh, which removes a file that is there, and the image has none: fetch the file on your "
    "machine, and send it by Upload"
)


class _Question(NamedTuple):
    """A command that is run, and what its answer means.

    Attributes:
        command: prints one word, perhaps with details.
        path: what it is about.
        meanings: by that word.
        if_no_shell: what it means where the image has no shell.
    """

    command: Run
    path: str
    meanings: dict[str, str]
    if_no_shell: str = _NO_SHELL

    def meaning(self, said: str) -> str:
        word, _, detail = said.removesuffix("\n").partition(" ")
        return self.meanings.get(word, "").format(path=self.path, detail=detail)


@contextmanager
def explained(
    activity: Activity, scope: Scope, unsent: Scope, may_run: Callable[[Run], bool]
) -> Iterator[None]:
    """Say in the error of a command that fails inside the `with` statement what its cause was, if unclear.

    Blocks for that by one short command, for ten seconds at most.

    Args:
        activity: where the command has failed.
        scope, unsent: end the wait for the answer.
        may_run: whether the payload allows a command.
    """
    try:
        yield
    except CommandFailed as error:
        results = results_so_far(error)
        question = _question(results[-1]) if results else None
        if question is None or not may_run(question.command):
            raise
        explanation = _ask(activity, question, scope, unsent)
        if not explanation:
            raise
        raise command_failed(results, (), error.provider, explanation) from error.__cause__


def _question(failed: Result) -> _Question | None:
    command = failed.command
    is_unclear = failed.exit_code == UNCLEAR_EXIT_CODE and not (failed.stdout or failed.stderr)
    if isinstance(command, UploadFromUrl) and is_unclear:
        return _Question(_script("exit 0", command.remote), command.remote, {}, _NO_SHELL_FOR_URL)
    if isinstance(command, Run):
        program = command.words[0]
        if is_unclear and program.startswith("/"):
            return _Question(_script(_WHAT_IS_THE_PROGRAM, program), program, _OF_PROGRAM)
    elif _is_file(command) and any(sign in (failed.message or "") for sign in _SIGNS_OF_NO_FILE):
        return _Question(_script(_WHAT_IS_THE_FILE, command.remote), command.remote, _OF_FILE)
    return None


def _is_file(command: Command | None) -> TypeGuard[DownloadCommand]:
    is_folder = isinstance(command, Download) and command.is_folder
    return isinstance(command, DownloadCommand) and not is_folder


def _script(script: str, path: str) -> Run:
    return Run(SHELL, "-c", script, SHELL, path)


def _ask(activity: Activity, question: _Question, scope: Scope, unsent: Scope) -> str:
    """Return what the instance says; `""` if it says nothing of use."""
    try:
        results = activity.run([question.command], scope, unsent, _ANSWER_SECONDS)
    except CommandFailed as error:
        return question.if_no_shell if error.exit_code == UNCLEAR_EXIT_CODE else ""
    except (GolemError, ScopeEnded) as error:
        logger.debug("%s could not be asked about %s: %s", activity.provider, question.path, error)
        return ""
    return question.meaning(results[0].stdout)

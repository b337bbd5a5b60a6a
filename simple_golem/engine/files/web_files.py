"""Files that a provider fetches from the web by itself.

A real provider goes on where a file that is there ends. It does not look at the status of the answer: the
page that says "not found" becomes the file, and the transfer succeeds (both seen).
"""

from __future__ import annotations

from ...model.commands.commands import Command, Run
from ...model.commands.environment import SHELL
from ...model.commands.transfers import UploadFromUrl

_REMOVE = 'rm -f "$1"'
_CHECK = """\
fail() { rm -f "$1"; echo "$1: $2; the server may have sent an error page" >&2; exit 1; }
size=$(wc -c <"$1") || exit 1
test -z "$2" || test "$size" -eq "$2" || fail "$1" "it has $((size)) bytes, not $2"
test -z "$3" && exit
sum=$(sha256sum <"$1") || exit 1
test "${sum%% *}" = "$3" || fail "$1" "its SHA-256 is ${sum%% *}, not $3"
"""


def remove(command: UploadFromUrl) -> Command:
    """The command that removes what is there under the name of the file."""
    return Run(SHELL, "-c", _REMOVE, SHELL, command.remote)


def check(command: UploadFromUrl) -> Command:
    """The command that compares the file with its size and hash; it removes a file that differs."""
    size = "" if command.size is None else command.size
    return Run(SHELL, "-c", _CHECK, SHELL, command.remote, size, command.sha256 or "")


def steps(command: UploadFromUrl) -> list[Command]:
    """What is sent for the command."""
    return [remove(command), command, *([check(command)] if command.is_checked else [])]

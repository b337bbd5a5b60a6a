"""Programs that go on in the background after their command has ended.

In a virtual machine the output of a command is closed at its end. A program that still writes to it is killed
by its next write (seen), so its output has to go to a file.
"""

from __future__ import annotations

import logging
import re
from pathlib import PurePath

from ...errors import BadCommand
from .environment import SHELL
from .texts import text_of

logger = logging.getLogger(__name__)

DEFAULT_LOG = "/golem/work/log"

_START = (
    'command -v "$2" >/dev/null || { echo "$2: not found" >&2; exit 127; }; '
    'mkdir -p "${1%/*}/" && true >>"$1" || exit 126; '
    '(shift; exec "$@") >>"$1" 2>&1 </dev/null & echo $!'
)

# What is no script that is run here: text after <<, arithmetic, quoted text, comments.
_TEXT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1([^\n]*)\n.*?^\s*\2$", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"""\$\(\(.*?\)\)|\\.|'[^']*'|"(?:\\.|[^"\\])*"|(?<!\S)\#[^\n]*""", re.DOTALL)
_PIECES = re.compile(r"&&|\|\||[<>]&|&>|>\||[;&|\n(){}<>]|[^\s;&|(){}<>]+")
_OPENING = {"(", "{", "do", "then", "case"}
_CLOSING = {")", "}", "done", "fi", "esac"}
_SEPARATORS = {";", "\n", "&", "&&", "||", "|"}
_REDIRECTIONS = {">", ">&", "&>", ">|"}


def background_words(words: tuple[str, ...], log: object) -> tuple[str, ...]:
    """Return what starts a program in the background and prints its process id.

    Args:
        words: the program and its arguments.
        log: the absolute path of the file that its stdout and stderr are appended to.

    Raises:
        BadCommand: the path is none.
    """
    if not isinstance(log, (str, PurePath)):
        raise BadCommand(f"Run.background: log is {log!r}: give the absolute path of a file")
    path = text_of(log, "Run.background: log")
    if not path.startswith("/") or path.endswith("/"):
        raise BadCommand(
            f"Run.background: log is {path!r}: give the absolute path of a file, such as {DEFAULT_LOG!r}"
        )
    return (SHELL, "-c", _START, SHELL, path, *words)


def words_in_background(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """Return the log and the words of which `background_words` has made these; None if it has not."""
    if words[:4] != (SHELL, "-c", _START, SHELL):
        return None
    return words[4], words[5:]


class _Group:
    """Commands between brackets, or such as `do` and `done`.

    Attributes:
        redirected: whether the output of the present command is redirected.
        redirected_inside: whether anything in the present command is.
        leaves: whether something in the present command goes on in the background with its output.
        any_redirected, any_left: the same of all commands before.
    """

    def __init__(self) -> None:
        self.redirected = self.redirected_inside = self.leaves = False
        self.any_redirected = self.any_left = False

    def end_command(self, in_background: bool) -> None:
        left = in_background and not (self.redirected or self.redirected_inside)
        self.any_left = self.any_left or left or (self.leaves and not self.redirected)
        self.any_redirected = self.any_redirected or self.redirected or self.redirected_inside
        self.redirected = self.redirected_inside = self.leaves = False


def warn_of_background(script: str) -> None:
    """Warn of a shell script that leaves a program in the background whose output is not redirected."""
    if leaves_output_open(script):
        logger.warning(
            "Run.shell(%.120r): a program in the background is killed by its next output after the command "
            "has ended: start it by Run.background('/its/path', …, log='/path/of/a/log'), or write "
            "`… > /dev/null 2>&1 &`, or the path of a log in a folder of the image in place of /dev/null",
            script,
        )


def leaves_output_open(script: str) -> bool:
    """Whether a shell script leaves a program in the background whose output is not redirected.

    It reads the script as far as is needed for the usual ways to write this, and says no if in doubt.
    """
    pieces = _PIECES.findall(_QUOTED.sub("_", _TEXT.sub(r"\3", script)))
    if "&" not in pieces or "wait" in pieces:
        return False
    groups = [_Group()]
    for piece in pieces:
        group = groups[-1]
        if piece in _SEPARATORS:
            group.end_command(in_background=piece == "&")
        elif piece in _REDIRECTIONS:
            group.redirected = True
        elif piece in _OPENING:
            groups.append(_Group())
        elif piece in _CLOSING and len(groups) > 1:
            group.end_command(in_background=False)
            groups.pop()
            groups[-1].redirected_inside |= group.any_redirected
            groups[-1].leaves |= group.any_left
    for group in groups:
        group.end_command(in_background=False)
    return any(group.any_left for group in groups)

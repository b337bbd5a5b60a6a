"""The environment and the working folder of a program.

Real exe-units ignore an environment, and know no working folder: a shell in front of the program sets both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath, PurePosixPath

from ...errors import BadCommand
from ..base.frozen import FrozenDict
from .texts import short, text_of

SHELL = "/bin/sh"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Shells set these by themselves, or do not let anybody set them (tried with bash and dash).
_NAMES_OF_SHELLS = re.compile(
    "_|BASHOPTS|BASHPID|BASH_COMMAND|BASH_SUBSHELL|BASH_VERSINFO|DIRSTACK|EPOCHREALTIME|EPOCHSECONDS|EUID|"
    "FUNCNAME|GROUPS|HISTCMD|LINENO|OPTIND|PPID|RANDOM|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID"
)
_IN_FRONT = re.compile(r'(cd "\$1" \|\| exit 126; shift; )?(?:export \S.*; shift ([0-9]+); )?exec "\$@"')


class Environment(FrozenDict):
    """Environment variables by name; their values may be secrets, and are not shown."""

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, "…"))

    def __reduce__(self) -> tuple[type[Environment], tuple[dict[str, str]]]:
        return Environment, (dict(self),)


def checked_environment(env: object, what: str) -> Environment:
    """Return environment variables that a shell can set; None is none.

    Args:
        env: the values by name: text, numbers and paths.
        what: the command, for the message.

    Raises:
        BadCommand: a name or a value can't be used; the message never shows a value.
    """
    if env is None:
        return Environment()
    if not isinstance(env, Mapping):
        raise BadCommand(f"{what}: env is no mapping: give a dict, e.g. env={{'NAME': 'value'}}")
    return Environment((_name(name, what), _value(name, value, what)) for name, value in env.items())


def _name(name: object, what: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        # Somebody may have written NAME=value, and the value is not to be seen.
        first, is_one, _ = name.partition("=") if isinstance(name, str) else (name, "", "")
        shown = f"{first}=…" if is_one else name
        raise BadCommand(
            f"{what}: env has the name {short(shown)}, which no shell takes: it may have letters, digits "
            "and _, and does not begin with a digit"
        )
    if _NAMES_OF_SHELLS.fullmatch(name):
        raise BadCommand(f"{what}: env has the name {name!r}, which shells keep for themselves; take another")
    return str.__str__(name)


def _value(name: str, value: object, what: str) -> str:
    try:
        return text_of(value, "a value")
    except BadCommand:
        pass  # its message shows the value
    kind = "text with a NUL character, or no Unicode" if isinstance(value, str) else type(value).__name__
    raise BadCommand(f"{what}: the value of {name!r} in env is {kind}: give text, a number or a path")


def checked_folder(cwd: object, what: str) -> str | None:
    """Return the path of a working folder; None is that of the image.

    Raises:
        BadCommand: it is no absolute path.
    """
    if cwd is None:
        return None
    if not isinstance(cwd, (str, PurePath)):
        raise BadCommand(f"{what}: cwd is {short(cwd)}: give the absolute path of a folder")
    folder = text_of(cwd, f"{what}: cwd")
    if not folder.startswith("/"):
        absolute = PurePosixPath("/golem/work", folder).as_posix()
        raise BadCommand(f"{what}: cwd is {folder!r}: give an absolute path, such as {absolute!r}")
    return folder


def with_environment(words: tuple[str, ...], env: Mapping[str, str], cwd: str | None) -> tuple[str, ...]:
    """Return a program and its arguments with a shell in front that sets environment and working folder.

    All that is not the library's own text goes to the shell as arguments: it is never read as script.
    """
    steps: list[str] = []
    given: list[str] = []
    if cwd is not None:
        steps += ['cd "$1" || exit 126', "shift"]
        given.append(cwd)
    if env:
        sets = " ".join(f'{name}="${{{place}}}"' for place, name in enumerate(env, 1))
        steps += [f"export {sets}", f"shift {len(env)}"]
        given += env.values()
    if not steps:
        return words
    return (SHELL, "-c", "; ".join([*steps, 'exec "$@"']), SHELL, *given, *words)


def without_environment(words: Sequence[str]) -> tuple[str, ...]:
    """Undo `with_environment`: return the program and its arguments alone."""
    if tuple(words[:2]) != (SHELL, "-c") or len(words) < 5:
        return tuple(words)
    in_front = _IN_FRONT.fullmatch(words[2])
    if in_front is None:
        return tuple(words)
    return tuple(words[4 + bool(in_front[1]) + int(in_front[2] or 0) :])

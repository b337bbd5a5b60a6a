"""Whole output of a command: a shell puts it into files, which are brought back and removed.

A real VM loses what is still on its way when a program ends: of its output, up to 64 KiB (seen).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .commands import Run
from .environment import SHELL

STREAMS = ("stdout", "stderr")

_FOLDER = ".simple-golem-output"
_PREFERRED = ("/golem/work", "/golem/output", "/golem/input")
# One batch runs at a time: what is there is of one that was given up.
_BEGIN = (
    'rm -rf "$1" && mkdir -p "$1" || exit 125; '
    '(shift; exec "$@") >"$1/stdout" 2>"$1/stderr"; echo $? >"$1/code"'
)
_END = 'read -r code <"$1/code"; rm -rf "$1"; exit "${code:-125}"'


def output_folder(volume: str) -> str:
    """Return where in a volume the files are."""
    return f"{volume.rstrip('/')}/{_FOLDER}"


def begin(command: Run, folder: str) -> Run:
    """Return what runs a command with its output in files; it succeeds whatever the command does."""
    return Run(SHELL, "-c", _BEGIN, SHELL, folder, *command.words)


def end(folder: str) -> Run:
    """Return what removes the files, and ends with the exit code of the command."""
    return Run(SHELL, "-c", _END, SHELL, folder)


def remove(folder: str) -> Run:
    """Return what only removes the files."""
    return Run("/bin/rm", "-rf", folder)


def begun(words: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """Undo `begin`: return the folder, and the program with its arguments; None if it is something else."""
    if tuple(words[:4]) != (SHELL, "-c", _BEGIN, SHELL):
        return None
    return words[4], tuple(words[5:])


def ended(words: Sequence[str]) -> str | None:
    """Undo `end`: return the folder; None if it is something else."""
    return words[4] if tuple(words[:4]) == (SHELL, "-c", _END, SHELL) else None


def volume_for_output(deployed: str) -> str | None:
    """Return the volume that output is put into, from what `Deploy` answered; None if there is none."""
    try:
        volumes = json.loads(deployed)["vols"]
        paths = [one["path"] for one in volumes if isinstance(one["path"], str)]
    except (ValueError, TypeError, LookupError):
        return None
    preferred = [path for path in _PREFERRED if path in paths]
    return next(iter([*preferred, *paths]), None)

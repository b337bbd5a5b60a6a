"""`put` and `get`: the lines of the shell that copy files."""

from __future__ import annotations

import os
import posixpath
import shlex

from ...errors import BadCommand
from ...model.commands.file_commands import FileCommand
from ...model.commands.transfers import Download, Upload

_USAGE = {"put": "put LOCAL [REMOTE]", "get": "get REMOTE [LOCAL]"}


def file_command(line: str, folder: str) -> FileCommand | None:
    """Return what a line copies; None if it does not begin with `put` or `get`.

    Args:
        line: the line.
        folder: the working folder on the machine, where remote paths begin.

    Raises:
        BadCommand: it is such a line, but can't be understood.
    """
    name = line.split()[0] if line.strip() else ""
    if name not in _USAGE:
        return None
    paths = _paths(line, name)
    return _put(folder, *paths) if name == "put" else _get(folder, *paths)


def _paths(line: str, name: str) -> list[str]:
    try:
        paths = shlex.split(line)[1:]
    except ValueError as error:
        raise BadCommand(f"{name}: {error}") from error
    if not 1 <= len(paths) <= 2 or "" in paths:
        raise BadCommand(f"write {_USAGE[name]}; a folder of the machine ends with /")
    return paths


def _put(folder: str, local: str, remote: str = "./") -> Upload:
    path = os.path.expanduser(local)
    if remote.endswith("/") or posixpath.basename(remote) in (".", ".."):
        remote = posixpath.join(remote, os.path.basename(os.path.abspath(path)))
    return Upload(path, _absolute(folder, remote))


def _get(folder: str, remote: str, local: str = ".") -> Download:
    path = os.path.expanduser(local)
    source = _absolute(folder, remote)
    if source == "/":
        raise BadCommand("get: name a file or a folder below /")
    if os.path.isdir(path):
        path = os.path.join(path, posixpath.basename(source))
    return Download(f"{source}/" if remote.endswith("/") else source, path)


def _absolute(folder: str, path: str) -> str:
    # Python keeps two slashes at the beginning, as POSIX allows.
    return "/" + posixpath.normpath(posixpath.join(folder, path)).lstrip("/")

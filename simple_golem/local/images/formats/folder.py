"""Folders as images."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..root_writer import RootWriter

_PIECE_BYTES = 1 << 20


def is_root(folder: Path) -> bool:
    """Whether a folder is a root file system; otherwise its files are for `/golem`."""
    return os.path.lexists(folder / "bin" / "sh") or (folder / "usr" / "bin").is_dir()


def copy_folder(
    folder: Path, below: str, writer: RootWriter, without: Sequence[str] = (), *, scripts_run: bool = False
) -> None:
    """Copy what a folder contains.

    Args:
        folder: the folder.
        below: the path in the image where its files go.
        writer: writes them.
        without: patterns of the names that are left out, such as `*.pyc`.
        scripts_run: True: each script can be executed, and all can be read: a wheel keeps no modes.
    """
    for place, mode, modified in entries(folder, without):
        path = f"{below}/{place.relative_to(folder)}"
        if stat.S_ISDIR(mode):
            writer.folder(path, mode | 0o755 if scripts_run else mode)
        elif stat.S_ISLNK(mode):
            writer.link(path, os.readlink(place))
        elif stat.S_ISREG(mode):
            if scripts_run:
                mode |= 0o755 if _is_script(place) else 0o644
            writer.file(path, mode, _pieces(place), modified)


def copy_file(file: Path, path: str, writer: RootWriter) -> None:
    """Copy one file of this machine to a path in an image."""
    found = file.stat()
    writer.file(path, found.st_mode, _pieces(file), found.st_mtime)


def entries(folder: Path, without: Sequence[str] = ()) -> Iterator[tuple[Path, int, float]]:
    """Yield all in a folder, folders before what they contain: the place, the mode, the last change."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _fits(name, without))
        for name in sorted([*folders, *(name for name in files if not _fits(name, without))]):
            found = os.lstat(os.path.join(place, name))
            yield Path(place, name), found.st_mode, found.st_mtime


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_script(place: Path) -> bool:
    with open(place, "rb") as file:
        return file.read(2) == b"#!"


def _pieces(place: Path) -> Iterator[bytes]:
    with open(place, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece

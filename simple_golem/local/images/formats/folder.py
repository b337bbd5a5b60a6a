"""Folders as images."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..root_writer import RootWriter

_PIECE_BYTES = 1 << 20


def is_root(folder: Path) -> bool:
    """Whether a folder is a root file system; otherwise its files are for `/golem`."""
    return os.path.lexists(folder / "bin" / "sh") or (folder / "usr" / "bin").is_dir()


def copy_folder(folder: Path, below: str, writer: RootWriter) -> None:
    """Copy what a folder contains.

    Args:
        folder: the folder.
        below: the path in the image where its files go.
        writer: writes them.
    """
    for place, mode, modified in entries(folder):
        path = f"{below}/{place.relative_to(folder)}"
        if stat.S_ISDIR(mode):
            writer.folder(path, mode)
        elif stat.S_ISLNK(mode):
            writer.link(path, os.readlink(place))
        elif stat.S_ISREG(mode):
            writer.file(path, mode, _pieces(place), modified)


def entries(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Yield all in a folder, folders before what they contain: the place, the mode, the last change."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            found = os.lstat(os.path.join(place, name))
            yield Path(place, name), found.st_mode, found.st_mtime


def _pieces(place: Path) -> Iterator[bytes]:
    with open(place, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece

"""Whole folders, which go as one tar file that the image's own `tar` packs or unpacks.

The exe-unit has a `format` of its own for that, but not in every version that providers run, and one that
lacks it says nothing.
"""

from __future__ import annotations

import logging
import os
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ..errors import BadLocalFile, TransferFailed
from ..model.commands import Command, Run
from ..scope import Scope

logger = logging.getLogger(__name__)

_UNPACK = 'tar -xf "$0" -C "$1" && rm -f "$0"'
_PACK = 'tar -cf "$0" -C "$1" .'
_BLOCK = 256 * 1024


def unpack(archive: str, folder: str) -> Command:
    """The command that unpacks an archive into a folder, on the provider's side."""
    return Run("/bin/sh", "-c", _UNPACK, archive, folder)


def pack(archive: str, folder: str) -> Command:
    """The command that packs a folder, on the provider's side; the archive may lie in it."""
    return Run("/bin/sh", "-c", _PACK, archive, folder)


def remove(archive: str) -> Command:
    """The command that removes an archive there."""
    return Run("/bin/rm", "-f", archive)


def packed(folder: Path, what: str, scope: Scope) -> tuple[BinaryIO, int]:
    """Pack a folder of this machine into a temporary file that has no name; returns it and its size.

    Raises:
        BadLocalFile: something in it can't be read, or there is no room for the file.
        ScopeEnded: `scope` was cancelled.
    """
    archive = tempfile.TemporaryFile()  # noqa: SIM115 - who sends it closes it
    try:
        # Busybox knows this format's long names, not those of the newer one.
        with tarfile.open(
            fileobj=cast(BinaryIO, _Listening(archive, scope)),
            mode="w",
            format=tarfile.GNU_FORMAT,
            dereference=True,
        ) as tar:
            _add(tar, folder, ".", ())
        return archive, archive.seek(0, 2)
    except (OSError, tarfile.TarError) as error:
        archive.close()
        raise BadLocalFile(f"{what}: {folder} can't be packed: {error}") from error
    except BaseException:
        archive.close()
        raise


class _Listening:
    """A file that is written to as long as its scope lasts."""

    def __init__(self, file: BinaryIO, scope: Scope) -> None:
        self._file = file
        self._scope = scope

    def write(self, data: bytes) -> int:
        self._scope.check()
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


def _add(tar: tarfile.TarFile, path: Path, name: str, above: tuple[tuple[int, int], ...]) -> None:
    """Add a file, or a folder with what is in it; `above` are the folders that it lies in."""
    member = tar.gettarinfo(path, name)
    if member is None or not (member.isfile() or member.isdir()):
        logger.warning("%s is neither a file nor a folder, and left out", path)
        return
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    if member.isfile():
        with path.open("rb") as file:
            tar.addfile(member, file)
        return
    itself = path.stat()
    here = (itself.st_dev, itself.st_ino)
    if here in above:
        logger.warning("%s is a link to a folder that it lies in, and left out", path)
        return
    tar.addfile(member)
    for one in sorted(os.listdir(path)):
        _add(tar, path / one, f"{name}/{one}", (*above, here))


def unpack_here(archive: Path, folder: Path, scope: Scope) -> None:
    """Unpack what came from a provider into a folder of this machine, in which only whole files appear.

    Raises:
        TransferFailed: it is no archive, or one that would write elsewhere.
        BadLocalFile: something can't be written.
        ScopeEnded: `scope` was cancelled.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name[:80]}.") as beside:
        try:
            with tarfile.open(archive, mode="r:") as tar:
                for member in tar:
                    scope.check()
                    _unpack_member(tar, member, Path(beside), scope)
            _move(Path(beside), folder, scope)
        except tarfile.TarError as error:
            raise TransferFailed(f"what the provider packed for {folder} can't be read: {error}") from error
        except OSError as error:
            raise BadLocalFile(f"{folder} can't be written: {error}") from error


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, scope: Scope) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise TransferFailed(f"the provider packed {member.name!r}, which would be written elsewhere")
    target = folder.joinpath(*name.parts)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        logger.warning("%s is neither a file nor a folder, and left out", member.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        while block := content.read(_BLOCK):
            scope.check()
            file.write(block)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _move(source: Path, target: Path, scope: Scope) -> None:
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        scope.check()
        if path.is_dir():
            _move(path, target / path.name, scope)
        else:
            path.replace(target / path.name)

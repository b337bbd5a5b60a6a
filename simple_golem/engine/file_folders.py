"""Whole folders, which go as one tar file that the image's own `tar` packs or unpacks.

The exe-unit has a `format` of its own for that, but not in every version that providers run, and one that
lacks it says nothing.
"""

from __future__ import annotations

import logging
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..errors import BadLocalFile, TransferFailed
from ..model.commands import Command, Run

logger = logging.getLogger(__name__)

_UNPACK = 'tar -xf "$0" -C "$1" && rm -f "$0"'
_PACK = 'tar -cf "$0" -C "$1" .'


def unpack(archive: str, folder: str) -> Command:
    """The command that unpacks an archive into a folder, on the provider's side."""
    return Run("/bin/sh", "-c", _UNPACK, archive, folder)


def pack(archive: str, folder: str) -> Command:
    """The command that packs a folder, on the provider's side; the archive may lie in it."""
    return Run("/bin/sh", "-c", _PACK, archive, folder)


def remove(archive: str) -> Command:
    """The command that removes an archive there."""
    return Run("/bin/rm", "-f", archive)


def packed(folder: Path, what: str) -> tuple[BinaryIO, int]:
    """Pack a folder of this machine into a temporary file that has no name; returns it and its size.

    Raises:
        BadLocalFile: something in it can't be read, or there is no room for the file.
    """
    archive = tempfile.TemporaryFile()  # noqa: SIM115 - who sends it closes it
    try:
        # Busybox knows this format's long names, not those of the newer one.
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT, dereference=True) as tar:
            tar.add(folder, arcname=".", filter=_anybodys)
    except (OSError, tarfile.TarError) as error:
        archive.close()
        raise BadLocalFile(f"{what}: {folder} can't be packed: {error}") from error
    return archive, archive.seek(0, 2)


def _anybodys(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (member.isfile() or member.isdir()):
        logger.warning("%s is neither a file nor a folder, and left out", member.name)
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpack_here(archive: Path, folder: Path) -> None:
    """Unpack what came from a provider into a folder of this machine, in which only whole files appear.

    Raises:
        TransferFailed: it is no archive, or one that would write elsewhere.
        BadLocalFile: something can't be written.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name[:80]}.") as beside:
        try:
            with tarfile.open(archive, mode="r:") as tar:
                for member in tar:
                    _unpack_member(tar, member, Path(beside))
            _move(Path(beside), folder)
        except tarfile.TarError as error:
            raise TransferFailed(f"what the provider packed for {folder} can't be read: {error}") from error
        except OSError as error:
            raise BadLocalFile(f"{folder} can't be written: {error}") from error


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
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
        shutil.copyfileobj(content, file, 1024 * 1024)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _move(path, target / path.name)
        else:
            path.replace(target / path.name)

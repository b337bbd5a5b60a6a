"""Whole folders are transferred as one tar archive, which the image's own `tar` packs or unpacks.

The exe-unit could do that itself (`format` of a transfer), but not in each version that providers run, and a
version without it ignores the `format` silently.
"""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ...background.cancellation import Scope
from ...errors import BadLocalFile, TransferFailed
from ...model.commands.commands import Command, Run

logger = logging.getLogger(__name__)

# With -o, the user who unpacks files owns them: in a volume of a real provider, owners can't be changed.
_UNPACK = 'tar -o -xf "$0" -C "$1"; code=$?; rm -f "$0"; exit $code'
_PACK = 'tar -cf "$0" -C "$1" . || { code=$?; rm -f "$0"; exit $code; }'
_BLOCK_BYTES = 256 * 1024


def unpack(archive: str, folder: str) -> Command:
    """The command that unpacks an archive into a folder on the provider's side, and removes the archive."""
    return Run("/bin/sh", "-c", _UNPACK, archive, folder)


def pack(archive: str, folder: str) -> Command:
    """The command that packs a folder on the provider's side; the archive may be in that folder."""
    return Run("/bin/sh", "-c", _PACK, archive, folder)


def remove(archive: str) -> Command:
    """The command that removes an archive on the provider's side."""
    return Run("/bin/rm", "-f", archive)


def packed(folder: Path, what: str, scope: Scope) -> tuple[BinaryIO, int]:
    """Pack a folder of this machine into a temporary file without a name; blocks until that is done.

    Args:
        folder: what is packed.
        what: the command, for the message.
        scope: cancelling it stops the packing.

    Returns:
        The open file, and its size in bytes. The caller closes it.

    Raises:
        BadLocalFile: a file in the folder can't be read, or the disk is full.
        ScopeEnded: `scope` was cancelled.
    """
    archive = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        # Busybox supports the long names of this format, but not those of the newer one.
        with tarfile.open(
            fileobj=cast(BinaryIO, _CancellableFile(archive, scope)),
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


class _CancellableFile:
    """A file that can be written to until its scope is cancelled."""

    def __init__(self, file: BinaryIO, scope: Scope) -> None:
        self._file = file
        self._scope = scope

    def write(self, data: bytes) -> int:
        self._scope.check()
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


def _add(tar: tarfile.TarFile, path: Path, name: str, above: tuple[tuple[int, int], ...]) -> None:
    """Add a file, or a folder with its contents; `above` are the device and inode of each folder above it."""
    member = tar.gettarinfo(path, name)
    if member is None or not (member.isfile() or member.isdir()):
        logger.warning("%s is left out: it is neither a file nor a folder", path)
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
        logger.warning("%s is left out: it is a link to a folder that contains it", path)
        return
    tar.addfile(member)
    for one in sorted(os.listdir(path)):
        _add(tar, path / one, f"{name}/{one}", (*above, here))


def unpack_here(archive: Path, folder: Path, scope: Scope) -> None:
    """Unpack an archive from a provider into a folder of this machine; blocks until that is done.

    Everything is unpacked beside the archive first, so that only complete files appear in the folder.

    Args:
        archive: on the same file system as `folder`, with room beside it for its contents.
        folder: where the contents go; it is made if it does not exist.
        scope: cancelling it stops the unpacking.

    Raises:
        TransferFailed: the file is not an archive, or it would write outside the folder.
        BadLocalFile: a file can't be written.
        ScopeEnded: `scope` was cancelled.
    """
    try:
        # A `TemporaryDirectory` would also be removed at the end of each child that is forked meanwhile.
        beside = Path(tempfile.mkdtemp(dir=archive.parent, prefix=".simple-golem-"))
        try:
            with tarfile.open(archive, mode="r:") as tar:
                _Unpacking(tar, beside, scope).run()
            _move(beside, folder, scope)
        finally:
            shutil.rmtree(beside)
    except OSError as error:
        raise BadLocalFile(f"{folder} can't be written: {error}") from error
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError, EOFError) as error:
        # The archive may be hostile, and tarfile raises these errors for some damaged ones.
        raise TransferFailed(f"the provider's archive for {folder} can't be read: {error}") from error


class _Unpacking:
    """Unpacks one archive into an empty folder; never writes outside it."""

    def __init__(self, tar: tarfile.TarFile, folder: Path, scope: Scope) -> None:
        self._tar = tar
        self._folder = folder
        self._scope = scope
        self._links: list[tuple[Path, tarfile.TarInfo]] = []

    def run(self) -> None:
        for member in self._tar:
            self._scope.check()
            self._unpack(member)
        # Links are made last, so that no file is written through a link.
        for target, member in self._links:
            self._scope.check()
            self._link(target, member)

    def _unpack(self, member: tarfile.TarInfo) -> None:
        target = self._place(member.name)
        if target is None:
            raise TransferFailed(f"the provider packed {member.name!r}, which is outside the folder")
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            self._links.append((target, member))
        elif member.islnk():
            self._copy(member, target)
        elif member.isfile():
            self._write(cast(BinaryIO, self._tar.extractfile(member)), target)
            target.chmod(0o755 if member.mode & 0o100 else 0o644)
        else:
            logger.warning("%s is left out: it is neither a file nor a folder nor a link", member.name)

    def _place(self, name: str) -> Path | None:
        """The path for a name in the archive; None if that is outside the folder."""
        path = PurePosixPath(name)
        # On Windows one part can be a path with several parts.
        if path.is_absolute() or any(part == ".." or Path(part).name != part for part in path.parts):
            return None
        return self._folder.joinpath(*path.parts)

    def _copy(self, member: tarfile.TarInfo, target: Path) -> None:
        """Copy the earlier file that a hard link names: the copy becomes a file of its own."""
        first = self._place(member.linkname)
        if first is None or not first.is_file():
            logger.warning(
                "%s is left out: it is a link to %s, which is not in the archive",
                member.name,
                member.linkname,
            )
            return
        with first.open("rb") as content:
            self._write(content, target)
        target.chmod(first.stat().st_mode & 0o777)

    def _write(self, content: BinaryIO, target: Path) -> None:
        with content, target.open("wb") as file:
            while block := content.read(_BLOCK_BYTES):
                self._scope.check()
                file.write(block)

    def _link(self, target: Path, member: tarfile.TarInfo) -> None:
        """Make a symbolic link, unless it could point out of the folder."""
        parts = PurePosixPath(member.linkname).parts
        plain = [part for part in parts if part != ".."]
        up = len(parts) - len(plain)
        depth = len(target.relative_to(self._folder).parts) - 1
        if self._place("/".join(plain)) is None or parts[:up] != ("..",) * up or up > depth:
            logger.warning(
                "%s is left out: it is a link to %s, outside the folder", member.name, member.linkname
            )
            return
        try:
            target.symlink_to(member.linkname)
        except (OSError, NotImplementedError) as error:  # Windows requires a privilege for links
            logger.warning(
                "%s is left out: a link to %s can't be made here: %s",
                member.name,
                member.linkname,
                error,
            )


def _move(source: Path, target: Path, scope: Scope) -> None:
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        scope.check()
        if path.is_dir() and not path.is_symlink():
            _move(path, target / path.name, scope)
        else:
            path.replace(target / path.name)

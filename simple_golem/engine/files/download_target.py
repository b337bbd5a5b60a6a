"""Where a download goes on this machine: a file that is replaced as a whole, a pipe, or a device."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import select
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO

from ...background.cancellation import Scope
from ...errors import BadLocalFile
from .local_files import reason_of

logger = logging.getLogger(__name__)

_COPY_BYTES = 64 * 1024
# While nobody reads from the pipe, the scope is checked this often.
_PIPE_POLL_SECONDS = 0.2


class PartialFile:
    """A file that gets its name when it is complete; until then it has a temporary name.

    Attributes:
        target: its final path.
        path: its temporary path.
        file: the open file.
    """

    def __init__(self, target: Path, what: str, place: Path | None = None) -> None:
        """Make an empty file.

        Args:
            target: its final path; if that is a link, the file that the link names is replaced.
            what: the command, for the message.
            place: the folder for the temporary file; the folder of `target` by default.

        Raises:
            BadLocalFile: the file can't be made there.
        """
        try:
            self.target = target.resolve()
            name = f".{_beginning(self.target.name)}.{secrets.token_hex(4)}.part"
            self.path = (place or self.target.parent) / name
            handle = os.open(
                self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666
            )
        except (OSError, UnicodeError, RuntimeError) as error:  # RuntimeError: a circle of links
            raise BadLocalFile(f"{what}: {target} can't be written: {reason_of(error)}") from error
        # Unbuffered, so that a full disk is reported with the chunk that did not fit.
        self.file: BinaryIO = os.fdopen(handle, "r+b", buffering=0)

    def keep(self, scope: Scope) -> None:
        """Give the closed file its name, and the mode of the file that it replaces.

        Raises:
            BadLocalFile: that is not possible; the old file stays as it is.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                self.path.chmod(stat.S_IMODE(self.target.stat().st_mode))
            self.path.replace(self.target)
        except OSError as error:
            self.discard()
            raise BadLocalFile(f"{self.target} can't be written: {reason_of(error)}") from error

    def discard(self) -> None:
        """Close the file, and remove it if it has not got its name."""
        self.file.close()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s could not be removed: %s", self.path, error)


class StreamTarget:
    """A pipe or a device: a download is written to it when it is complete and checked.

    Attributes:
        target: the pipe or device.
        file: the open temporary file that holds the download until then.
    """

    def __init__(self, target: Path, what: str) -> None:
        """Open the pipe or device.

        Raises:
            BadLocalFile: it can't be written, or no program reads from the pipe.
        """
        self.target = target
        try:
            self._handle = os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            reason = reason_of(error)
            if error.errno == errno.ENXIO:
                reason = "no program reads from this pipe; start that program first"
            raise BadLocalFile(f"{what}: {target} can't be written: {reason}") from error
        try:
            self._partial = PartialFile(Path(tempfile.gettempdir(), target.name), what)
        except BadLocalFile:
            os.close(self._handle)
            raise
        self.file = self._partial.file
        self._is_open = True

    def keep(self, scope: Scope) -> None:
        """Write everything to the target; blocks for as long as the program that reads from it takes.

        Raises:
            BadLocalFile: the target accepted only a part.
            ScopeEnded: `scope` was cancelled.
        """
        try:
            with self._partial.path.open("rb") as content:
                while piece := content.read(_COPY_BYTES):
                    self._write(piece, scope)
        except OSError as error:
            raise BadLocalFile(f"{self.target} can't be written: {reason_of(error)}") from error
        finally:
            self.discard()

    def _write(self, piece: bytes, scope: Scope) -> None:
        rest = memoryview(piece)
        while rest:
            scope.check()
            if not select.select([], [self._handle], [], _PIPE_POLL_SECONDS)[1]:
                continue
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._handle, rest) :]

    def discard(self) -> None:
        """Close the target and remove the temporary file, with everything that was not written yet."""
        self._partial.discard()
        if self._is_open:
            self._is_open = False
            os.close(self._handle)


def open_target(path: Path, what: str) -> PartialFile | StreamTarget:
    """Open what a downloaded file is written to.

    Args:
        path: the path that the user gave, absolute.
        what: the command, for the message.

    Raises:
        BadLocalFile: it is a folder, a socket or a read-only file, or can't be written; nothing has changed.
    """
    check_target(path, what, is_folder=False)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return PartialFile(path, what)
    except OSError as error:
        raise BadLocalFile(f"{what}: {path} can't be written: {reason_of(error)}") from error
    if stat.S_ISSOCK(mode):
        raise BadLocalFile(f"{what}: {path} is a socket; name a file")
    if not stat.S_ISREG(mode):
        return StreamTarget(path, what)
    # The superuser could write it all the same, but a read-only file is meant to stay as it is.
    if not mode & 0o222 or not os.access(path, os.W_OK):
        raise BadLocalFile(f"{what}: {path} is read-only; name another file, or make it writable first")
    return PartialFile(path, what)


def check_target(path: Path, what: str, *, is_folder: bool) -> None:
    """Raise `BadLocalFile` unless a file, or a folder, can have this name."""
    if path.is_dir() and not is_folder:
        raise BadLocalFile(
            f"{what}: {path} is a folder; name a file in it, or, to download a whole folder, write a / at "
            "the end of its path on the provider's side"
        )
    if path.exists() and not path.is_dir() and is_folder:
        raise BadLocalFile(f"{what}: {path} is a file, but a folder is downloaded")
    if not path.parent.is_dir():
        raise BadLocalFile(f"{what}: the folder {path.parent} does not exist; make it first")
    linked = Path(os.path.realpath(path)).parent
    if not linked.is_dir():
        raise BadLocalFile(f"{what}: {path} is a link into {linked}, a folder that does not exist")


def _beginning(name: str) -> str:
    # A file name may have 255 bytes at most.
    return os.fsencode(name)[:80].decode(errors="ignore")

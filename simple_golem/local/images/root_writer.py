"""Writes the files of an image to a folder; an archive may be hostile, and nothing outside changes."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import BadImage

_MOST_LINKS = 40
# What the first process of a sandbox mounts something on.
_MOUNT_POINTS = ("proc", "sys", "dev", "etc", "tmp", "run", "var", "root", "home")
_MOUNT_FILES = ("etc/hosts", "etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Limits:
    """What an image may contain at most.

    Attributes:
        content: the bytes of all files together.
        entries: the number of files, folders and links.
        depth: the number of folders on the way to an entry.
    """

    content: int = 20 << 30
    entries: int = 2_000_000
    depth: int = 100


class RootWriter:
    """Fills a folder with the files of an image, which all belong to this user.

    Paths are those inside the image. Links lead inside the folder only. Devices are left out, and a program
    loses the flags that would give it the rights of its owner.
    """

    def __init__(
        self, root: Path, limits: Limits | None = None, check: Callable[[], object] = lambda: None
    ) -> None:
        """Make the folder, which must not exist.

        Args:
            root: the folder.
            limits: what the image may contain; None: the usual limits.
            check: called often; an exception of it breaks off.
        """
        self._check = check
        root.mkdir(mode=0o700)
        self._root = str(root)
        self._limits = limits or Limits()
        self._content = 0
        self._entries = 0
        # Folders get their modes at the end: until then their owner must be able to write to them.
        self._modes: dict[str, int] = {}
        # What the current layer has made, which its own whiteouts leave alone.
        self._made: set[str] = set()

    def begin_layer(self) -> None:
        """The next entries belong to a new layer."""
        self._made = set()

    def folder(self, path: str, mode: int) -> None:
        """Make a folder; one that exists gets the mode."""
        place = self._place(path)
        if os.path.islink(place) or not os.path.isdir(place):
            self._remove(place)
            os.mkdir(place, 0o700)
        self._modes[place] = stat.S_IMODE(mode) & 0o1777 | 0o700
        self._made.add(place)

    def file(self, path: str, mode: int, content: Iterable[bytes], modified: float = 0.0) -> None:
        """Make a file; pieces of zeros only become holes."""
        place = self._place(path)
        self._remove(place)
        with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            size = 0
            for piece in content:
                self._count(len(piece))
                size += len(piece)
                if piece.count(0) == len(piece):
                    file.seek(len(piece), os.SEEK_CUR)
                else:
                    file.write(piece)
            file.truncate(size)
            os.fchmod(file.fileno(), stat.S_IMODE(mode) & 0o777 | 0o400)
        with suppress(OverflowError):  # a time that no file can have
            os.utime(place, (modified, modified))
        self._made.add(place)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link. It may lead anywhere: inside an activity there is nothing but the image."""
        place = self._place(path)
        self._remove(place)
        try:
            os.symlink(target, place)
        except (OSError, ValueError) as error:
            raise BadImage(f"the link {path} of the image can't be made: {error}") from error
        self._made.add(place)

    def hard_link(self, path: str, target: str) -> None:
        """Make a further name of a file that the image has."""
        place, existing = self._place(path), self._place(target, count=False)
        if not stat.S_ISREG(_mode(existing)) and not stat.S_ISLNK(_mode(existing)):
            raise BadImage(f"{path} is a name of {target}, which the image does not have")
        if place != existing:
            self._remove(place)
            os.link(existing, place, follow_symlinks=False)
        self._made.add(place)

    def remove(self, path: str) -> None:
        """Remove what earlier layers have at a path."""
        place = self._place(path)
        if place not in self._made and not any(made.startswith(f"{place}/") for made in self._made):
            self._remove(place)

    def clear(self, path: str) -> None:
        """Remove what earlier layers have in a folder."""
        place = self._place(path)
        if os.path.isdir(place) and not os.path.islink(place):
            for name in os.listdir(place):
                self.remove(f"{path}/{name}")

    def finish(self, folders: Iterable[str] = (), *, is_whole: bool = True) -> None:
        """Add what an activity needs, where nothing is, and set the modes of all folders.

        Args:
            folders: paths of further folders that it needs.
            is_whole: False: these files lie over those of another image, which has what it needs.
        """
        for path in (*(_MOUNT_POINTS if is_whole else ()), *folders):
            with suppress(BadImage, OSError):  # a link, or a file, is in the way
                place = self._place(path, count=False)
                if not os.path.lexists(place):
                    os.mkdir(place, 0o755)
        for path in _MOUNT_FILES if is_whole else ():
            with suppress(BadImage, OSError):
                os.close(os.open(self._place(path, count=False), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        for place, mode in self._modes.items():
            if os.path.isdir(place) and not os.path.islink(place):
                os.chmod(place, mode)

    def _place(self, path: str, *, count: bool = True) -> str:
        """The place of a path on this machine; makes its folders, and follows links inside the root."""
        self._check()
        if count:
            self._entries += 1
            if self._entries > self._limits.entries:
                raise BadImage(f"the image has more than {self._limits.entries} files")
        names = [name for name in path.split("/") if name not in ("", ".")]
        if ".." in names or "\0" in path or len(names) > self._limits.depth:
            raise BadImage(f"the image has a file at {path[:200]!r}, which no image may have")
        if not names:
            return self._root
        *folders, last = names
        return f"{self._inner_folder(folders)}/{last}"

    def _inner_folder(self, names: list[str]) -> str:
        """The folder where a path leads inside the root; makes what is missing."""
        inside: list[str] = []
        left, links = list(names), 0
        while left:
            name = left.pop(0)
            if name in ("", "."):
                continue
            if name == "..":
                del inside[-1:]
                continue
            place = "/".join((self._root, *inside, name))
            if os.path.islink(place):
                target, links = os.readlink(place), links + 1
                if links > _MOST_LINKS:
                    raise BadImage(f"the links of the image's /{'/'.join(names)} have no end")
                if target.startswith("/"):
                    inside = []
                left = [*target.split("/"), *left]
                continue
            if not os.path.isdir(place):
                self._remove(place)
                os.mkdir(place, 0o700)
                self._modes[place] = 0o755
            inside.append(name)
        return "/".join((self._root, *inside))

    def _remove(self, place: str) -> None:
        if place == self._root:
            raise BadImage("the image has something else than a folder at its root")
        if os.path.isdir(place) and not os.path.islink(place):
            shutil.rmtree(place)
        else:
            with suppress(FileNotFoundError):
                os.unlink(place)

    def _count(self, size: int) -> None:
        self._check()
        self._content += size
        if self._content > self._limits.content:
            raise BadImage(f"the image has more than {self._limits.content >> 20} MiB of files")


def _mode(place: str) -> int:
    try:
        return os.lstat(place).st_mode
    except OSError:
        return 0

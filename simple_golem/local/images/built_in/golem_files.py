"""Images that are one of the small roots, with files in `/golem`."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ..formats.archive import unpack_files
from ..formats.folder import copy_folder, entries
from ..image_cache import ImageCache, UnpackedImage
from ..image_config import ImageConfig
from ..root_writer import RootWriter
from .small_root import SmallRoot


@dataclass(frozen=True, slots=True)
class GolemFiles:
    """A small root, and files in `/golem`.

    Attributes:
        root: the root.
        settings: the settings of the image.
        folder: the folder of the files, or an archive of them; None: there are none.
    """

    root: SmallRoot
    settings: ImageConfig
    folder: Path | None = None

    def __str__(self) -> str:
        return str(self.root) if self.folder is None else f"{self.root}, {self.folder}"

    @property
    def file(self) -> None:
        """There is no file with this image."""
        return None

    @property
    def size(self) -> int:
        """The size of the files in `/golem`, or of their archive, in bytes."""
        if self.folder is None:
            return 0
        if self.folder.is_file():
            return self.folder.stat().st_size
        return sum(place.stat().st_size for place, mode, _ in entries(self.folder) if stat.S_ISREG(mode))

    def hash(self, cache: ImageCache) -> str:
        """Return a hash that changes with the names, modes, sizes and times of the files."""
        if self.folder is None:
            return ""
        return cache.hash_of(self.folder) if self.folder.is_file() else state_of(self.folder)

    def unpacked(self, cache: ImageCache) -> UnpackedImage:
        """Return the image in the cache; makes it if it is not there.

        Raises:
            LocalNetworkError: it can't be made.
        """
        roots = self.root.unpacked(cache).roots
        work_folder = self.settings.work_folder
        if work_folder not in ("/", *self.settings.volumes):
            key = f"folder-{hashlib.sha256(work_folder.encode()).hexdigest()[:40]}"
            roots = (*cache.unpacked(key, self._make_work_folder, is_whole=False).roots, *roots)
        if self.folder is not None:
            roots = (*cache.unpacked(f"files-{self.hash(cache)}", self._unpack, is_whole=False).roots, *roots)
        return UnpackedImage(roots, self.settings)

    def config(self, unpacked: UnpackedImage) -> ImageConfig:
        return self.settings

    def _make_work_folder(self, writer: RootWriter) -> ImageConfig:
        """The working folder is part of an image, as in one that Docker has made."""
        writer.folder(self.settings.work_folder, 0o755)
        return ImageConfig()

    def _unpack(self, writer: RootWriter) -> ImageConfig:
        assert self.folder is not None
        if self.folder.is_file():
            unpack_files(str(self.folder), "golem", writer)
        else:
            copy_folder(self.folder, "golem", writer, scripts_run=True)
        return self.settings


def state_of(folder: Path) -> str:
    """A hash of the names, modes, sizes and times of all files in a folder."""
    state = hashlib.sha3_224(os.fsencode(folder))
    for place, mode, modified in entries(folder):
        size = place.lstat().st_size
        state.update(os.fsencode(f"{place}\0{mode}\0{size}\0{modified}\0"))
    return state.hexdigest()

"""What `--image` names: a file of Golem, an archive, or a folder; its content says which."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ...errors import BadImage
from .formats.archive import unpack_archive
from .formats.folder import copy_folder, entries, is_root
from .formats.gvmi import BadMetadata, read_metadata
from .formats.squashfs import MAGIC, unpack_squashfs
from .image_cache import ImageCache, UnpackedImage
from .image_config import ImageConfig
from .root_writer import RootWriter


class SourceKind(Enum):
    """The kinds of images."""

    GVMI = "Golem image"
    ARCHIVE = "archive"
    ROOT = "root folder"
    GOLEM_FILES = "folder for /golem"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A file or folder with an image.

    Attributes:
        path: where it is.
        kind: what it is.
    """

    path: Path
    kind: SourceKind

    @classmethod
    def at(cls, path: Path) -> ImageSource:
        """Find out what is at a path.

        Raises:
            BadImage: there is nothing, or it is no image.
        """
        if path.is_dir():
            return cls(path, SourceKind.ROOT if is_root(path) else SourceKind.GOLEM_FILES)
        try:
            with open(path, "rb") as file:
                magic = file.read(len(MAGIC))
        except OSError as error:
            raise BadImage(f"there is no image {path}: {error.strerror}") from error
        if magic == MAGIC:
            return cls(path, SourceKind.GVMI)
        if tarfile.is_tarfile(path):
            return cls(path, SourceKind.ARCHIVE)
        raise BadImage(f"{path} is no image: it is neither a .gvmi, nor a tar archive, nor a folder")

    def unpacked(self, cache: ImageCache) -> UnpackedImage:
        """Return the image in the cache; unpack it first if it is not there.

        Raises:
            BadImage: the image is damaged, or there is no room for it.
        """
        return cache.unpacked(self.hash(cache), self._unpack)

    def hash(self, cache: ImageCache) -> str:
        """Return the sha3-224 of a file; of a folder, a hash that changes with its files.

        Blocks to read the file, once: about a second for 300 MB.
        """
        return cache.hash_of(self.path) if self.path.is_file() else _state_of(self.path)

    @property
    def size(self) -> int:
        """The size of the file, or of all files of the folder, in bytes."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(place.stat().st_size for place, _, _ in entries(self.path) if place.is_file())

    def config(self, unpacked: UnpackedImage) -> ImageConfig:
        """Return the settings of the image; raises `BadMetadata` as the real runtime does."""
        if self.kind is not SourceKind.GVMI:
            return unpacked.config
        with open(self.path, "rb") as file:
            return read_metadata(file)

    def _unpack(self, writer: RootWriter) -> ImageConfig:
        """Unpack the image; returns its settings as far as they can be read.

        Raises:
            BadImage: the image is damaged.
        """
        if self.kind is SourceKind.ARCHIVE:
            return unpack_archive(str(self.path), writer)
        if self.kind is SourceKind.ROOT:
            copy_folder(self.path, "", writer)
            return ImageConfig()
        with open(self.path, "rb") as file:
            unpack_squashfs(file, writer)
            try:
                return read_metadata(file)
            except BadMetadata:
                return ImageConfig()


def _state_of(folder: Path) -> str:
    """A hash of the names, modes, sizes and times of all files in a folder."""
    state = hashlib.sha3_224(os.fsencode(folder))
    for place, mode, modified in entries(folder):
        size = place.lstat().st_size
        state.update(os.fsencode(f"{place}\0{mode}\0{size}\0{modified}\0"))
    return state.hexdigest()

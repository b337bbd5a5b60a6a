"""What `--image` names: a file of Golem, an archive, or a root file system; its content says which."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ...errors import BadImage
from .built_in.golem_files import GolemFiles, state_of
from .built_in.small_root import SmallRoot
from .formats.archive import is_for_golem, unpack_archive
from .formats.folder import copy_folder, entries, is_root
from .formats.gvmi import BadMetadata, read_metadata
from .formats.squashfs import MAGIC, unpack_squashfs
from .image_cache import ImageCache, UnpackedImage
from .image_config import ImageConfig
from .root_writer import RootWriter

# What a folder, or an archive, for `/golem` lies on.
_BASE = SmallRoot(with_python=True)
_SETTINGS = ImageConfig("/golem/work", volumes=("/golem/input", "/golem/output", "/golem/work"))


class SourceKind(Enum):
    """The kinds of images."""

    GVMI = "Golem image"
    ARCHIVE = "archive"
    ROOT = "root folder"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A file or folder with an image.

    Attributes:
        path: where it is.
        kind: what it is.
    """

    path: Path
    kind: SourceKind

    def __str__(self) -> str:
        return str(self.path)

    @property
    def file(self) -> Path | None:
        """The file with this image; None if it is a folder."""
        return self.path if self.path.is_file() else None

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
        return cache.hash_of(self.path) if self.path.is_file() else state_of(self.path)

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


def source_at(path: Path) -> ImageSource | GolemFiles:
    """Find out what is at a path.

    Raises:
        BadImage: there is nothing, or it is no image.
    """
    if path.is_dir():
        return ImageSource(path, SourceKind.ROOT) if is_root(path) else GolemFiles(_BASE, _SETTINGS, path)
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise BadImage(f"there is no image {path}: {error.strerror}") from error
    if magic == MAGIC:
        return ImageSource(path, SourceKind.GVMI)
    if tarfile.is_tarfile(path):
        if is_for_golem(str(path)):
            return GolemFiles(_BASE, _SETTINGS, path)
        return ImageSource(path, SourceKind.ARCHIVE)
    raise BadImage(f"{path} is no image: it is neither a .gvmi, nor a tar archive, nor a folder")

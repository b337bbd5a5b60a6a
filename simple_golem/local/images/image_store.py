"""The images of local providers, by their tags and hashes."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ...errors import BadImage
from ...model.base.similar import nearest_of
from .built_in.golem_files import GolemFiles
from .built_in.small_root import SmallRoot
from .image_cache import ImageCache, UnpackedImage
from .image_config import ImageConfig
from .image_source import ImageSource, SourceKind, source_at

_HASH = re.compile(r"[0-9a-f]{56}")


class Source(Protocol):
    """Where an image comes from."""

    @property
    def file(self) -> Path | None:
        """The file with the image; None: there is none."""

    @property
    def size(self) -> int:
        """The size of the file, or of all files, in bytes."""

    def hash(self, cache: ImageCache) -> str:
        """Return the hash of the image."""

    def unpacked(self, cache: ImageCache) -> UnpackedImage:
        """Return the image in the cache; unpack it first if it is not there.

        Raises:
            LocalNetworkError: it can't be unpacked.
        """

    def config(self, unpacked: UnpackedImage) -> ImageConfig:
        """Return the settings of the image; raises `BadMetadata` as the real runtime does."""


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image of the local registry.

    Attributes:
        hash: the sha3-224 of the image, 56 hexadecimal digits.
        tag: the image's name; None if it has only a hash.
        source: where it comes from.
    """

    hash: str
    tag: str | None
    source: Source

    def __str__(self) -> str:
        return f"{self.tag} ({self.hash})" if self.tag else self.hash


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ALPINE = ImageConfig(
    "/golem/work", volumes=("/golem/input", "/golem/output", "/golem/work"), environment=(_PATH,)
)
# What an activity without an image runs on.
NO_IMAGE = GolemFiles(SmallRoot(), _ALPINE)
BUILT_IN = (
    # The hash in Golem's registry is not known here: no page that can be read offline names it. This one is
    # that of the tag. The volumes are those that scripts for the image use; WORKDIR: golem-js, the image of
    # its example hello-world.
    LocalImage(hashlib.sha3_224(b"golem/alpine:latest").hexdigest(), "golem/alpine:latest", NO_IMAGE),
    # yapapi, examples/hello-world: hello.py has the hash, and Dockerfile the settings.
    LocalImage(
        "d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376",
        "golem/hello-world:latest",
        GolemFiles(SmallRoot(), ImageConfig("/golem/work", volumes=("/golem/input",), environment=(_PATH,))),
    ),
    # yapapi, examples/simple-service-poc: simple_service.py has the hash, and Dockerfile the settings.
    LocalImage(
        "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488",
        "golem/simple-service:latest",
        GolemFiles(
            SmallRoot(with_python=True),
            ImageConfig(volumes=("/golem/in", "/golem/out"), entry_point=("sh",), environment=(_PATH,)),
            Path(__file__).parent / "simple-service",
        ),
    ),
)


class ImageStore:
    """Finds an image by its tag or its hash."""

    def __init__(self, images: Iterable[LocalImage] = BUILT_IN, cache: ImageCache | None = None) -> None:
        """Args:
        images: the images.
        cache: where they are unpacked; None: the user's cache.
        """
        self._images = tuple(images)
        self._cache = cache or ImageCache()
        self._lock = threading.Lock()
        self._unpacked: dict[Source, UnpackedImage] = {}
        # The URL of the registry that serves these images; set by the registry.
        self.served_at: str | None = None

    def serves(self, url: str) -> bool:
        """Whether a URL leads to the registry of these images; without a registry every URL does.

        The registry names an address with https, too, as the real one does, though it can't serve it.
        """
        return self.served_at is None or urlsplit(url).netloc == urlsplit(self.served_at).netloc

    @property
    def downloads(self) -> Path:
        """The folder for the files of images."""
        return self._cache.files

    def add_download(self, hash: str, file: Path) -> LocalImage:
        """Add an image that was downloaded; its file is moved to the folder of downloads.

        Raises:
            BadImage: the file is no image.
        """
        source_at(file)
        kept = self.downloads / hash
        file.rename(kept)
        image = LocalImage(hash, None, source_at(kept))
        with self._lock:
            self._images = (*self._images, image)
        return image

    def unpacked(self, source: Source) -> UnpackedImage:
        """Return an unpacked image; blocks for seconds if it is not in the cache.

        Raises:
            LocalNetworkError: it can't be unpacked.
        """
        with self._lock:
            if source not in self._unpacked:
                self._unpacked[source] = source.unpacked(self._cache)
            return self._unpacked[source]

    def unpack(self) -> None:
        """Unpack all images that are not in the cache; blocks for seconds for each of them.

        Raises:
            BadImage: an image is damaged, or there is no room for it.
        """
        for image in self._images:
            try:
                self.unpacked(image.source)
            except BadImage as error:
                raise BadImage(f"the image {image}: {error}") from error

    @classmethod
    def with_options(cls, options: Iterable[str] = (), cache: ImageCache | None = None) -> ImageStore:
        """Make a store of the built-in images and of additional ones, which replace built-in ones.

        Blocks to read files of images that it has not seen before: a second for about 300 MB.

        Args:
            options: the additional images, each as `TAG_OR_HASH=PATH`, as on the command line.
            cache: remembers hashes; None: the user's.

        Raises:
            BadImage: an option does not have this form, or there is no image at its path.
        """
        images, cache = list(BUILT_IN), cache or ImageCache()
        for option in options:
            name, equals, path = option.partition("=")
            if not (name and equals and path):
                raise BadImage(f"the image {option}: write it as TAG_OR_HASH=PATH")
            try:
                source = source_at(Path(path).expanduser().resolve())
                images = _with_image(images, name, source, cache)
            except (BadImage, OSError) as error:
                raise BadImage(f"the image {option}: {error}") from error
        return cls(images, cache)

    def lookup(self, *, hash: str | None = None, tag: str | None = None) -> LocalImage | None:
        """Return the image with this hash or tag; None if there is none."""
        for image in self._images:
            if (hash is not None and image.hash == hash.lower()) or (tag is not None and image.tag == tag):
                return image
        return None

    def missing(self, name: str) -> str:
        """The error message for an image that is not in the store."""
        known = ", ".join(str(image) for image in self._images)
        meant = nearest_of(name, [image.tag for image in self._images if image.tag is not None])
        guess = f": did you mean {meant}? There" if meant is not None else "; there"
        return f"no image {name} here{guess} are: {known}. Add it with --image {name}=PATH"

    def __iter__(self) -> Iterator[LocalImage]:
        return iter(self._images)


def _with_image(images: list[LocalImage], name: str, source: Source, cache: ImageCache) -> list[LocalImage]:
    """`images` with the content of the image `name` replaced, or with a new image added."""
    lowered, found = name.lower(), source.hash(cache)
    is_hash = _HASH.fullmatch(lowered) is not None
    if is_hash and isinstance(source, ImageSource) and source.kind is SourceKind.GVMI and found != lowered:
        raise BadImage(f"the hash of this file is {found}")
    if any(name == image.tag or lowered == image.hash for image in images):
        return [
            replace(image, source=source) if name == image.tag or lowered == image.hash else image
            for image in images
        ]
    return [*images, LocalImage(lowered, None, source) if is_hash else LocalImage(found, name, source)]

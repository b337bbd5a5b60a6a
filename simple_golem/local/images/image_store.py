"""The images of local providers, by their tags and hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import BadImage
from .image_cache import ImageCache
from .image_source import ImageSource, SourceKind

_BUILT_IN_FOLDER = Path(__file__).parent
_HASH = re.compile(r"[0-9a-f]{56}")


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image of the local registry.

    Attributes:
        hash: the sha3-224 of the image, 56 hexadecimal digits.
        tag: the image's name; None if it has only a hash.
        folder: the files for the activity's `/golem`; None: the image has no files of its own.
        source: the file or folder with its root file system; None: the root shows the host's programs.
    """

    hash: str
    tag: str | None = None
    folder: Path | None = None
    source: ImageSource | None = None

    @property
    def size(self) -> int:
        """The size of the file, or of all files of the folder, in bytes."""
        if self.source is not None:
            return self.source.size
        if self.folder is None:
            return 0
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def __str__(self) -> str:
        return f"{self.tag} ({self.hash})" if self.tag else self.hash


# With the hashes that these images have in Golem's own registry.
BUILT_IN = (
    LocalImage("529f7fdaf1cf46ce3126eb6bbcd3b213c314fe8fe884914f5d1106d4", "golem/alpine:latest"),
    LocalImage("d646d7b93083d817846c2ae5c62c72ca0507782385a2e29291a3d376", "golem/hello-world:latest"),
    LocalImage(
        "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488",
        "golem/simple-service:latest",
        _BUILT_IN_FOLDER / "simple-service",
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
        self.cache = cache or ImageCache()

    def unpack(self) -> None:
        """Unpack all images that are not in the cache; blocks for seconds for each of them.

        Raises:
            BadImage: an image is damaged, or there is no room for it.
        """
        for image in self._images:
            if image.source is not None:
                try:
                    image.source.unpacked(self.cache)
                except BadImage as error:
                    raise BadImage(f"the image {image} from {image.source.path}: {error}") from error

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
                raise BadImage(f"--image {option}: write it as TAG_OR_HASH=PATH")
            try:
                source = ImageSource.at(Path(path).expanduser().resolve())
                images = _with_image(images, name, source, cache)
            except (BadImage, OSError) as error:
                raise BadImage(f"--image {option}: {error}") from error
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
        return f"no image {name} here; there are: {known}. Add it with --image {name}=PATH"

    def __iter__(self) -> Iterator[LocalImage]:
        return iter(self._images)


def _with_image(
    images: list[LocalImage], name: str, source: ImageSource, cache: ImageCache
) -> list[LocalImage]:
    """`images` with the content of the image `name` replaced, or with a new image added."""
    lowered, found = name.lower(), source.hash(cache)
    is_hash = _HASH.fullmatch(lowered) is not None
    if is_hash and source.kind is SourceKind.GVMI and found != lowered:
        raise BadImage(f"the hash of this file is {found}")
    content = _content(source)
    if any(name == image.tag or lowered == image.hash for image in images):
        return [
            replace(image, **content) if name == image.tag or lowered == image.hash else image
            for image in images
        ]
    return [*images, LocalImage(lowered, None, **content) if is_hash else LocalImage(found, name, **content)]


def _content(source: ImageSource) -> Mapping[str, Any]:
    if source.kind is SourceKind.GOLEM_FILES:
        return {"folder": source.path, "source": None}
    return {"folder": None, "source": source}

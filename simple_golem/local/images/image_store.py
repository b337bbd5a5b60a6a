"""The images of local providers: folders whose files are copied to an activity's `/golem`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import BadImage

_BUILT_IN_FOLDER = Path(__file__).parent
_HASH = re.compile(r"[0-9a-f]{56}")


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image of the local registry.

    Attributes:
        hash: the sha3-224 of the image, 56 hexadecimal digits.
        tag: the image's name; None if it has only a hash.
        folder: the files for the activity's `/golem`; None: the image has no files of its own.
    """

    hash: str
    tag: str | None = None
    folder: Path | None = None

    @property
    def size(self) -> int:
        """The size of all files of the folder, in bytes."""
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

    def __init__(self, images: Iterable[LocalImage] = BUILT_IN) -> None:
        self._images = tuple(images)

    @classmethod
    def with_options(cls, options: Iterable[str] = ()) -> ImageStore:
        """Make a store of the built-in images and of additional ones, which replace built-in ones.

        Args:
            options: the additional images, each as `TAG_OR_HASH=FOLDER`, as on the command line.

        Raises:
            BadImage: an option does not have this form, or its folder does not exist.
        """
        images = list(BUILT_IN)
        for option in options:
            name, equals, folder = option.partition("=")
            if not (name and equals and folder):
                raise BadImage(f"--image {option}: write it as TAG_OR_HASH=FOLDER")
            images = _with_image(images, name, _checked_folder(option, folder))
        return cls(images)

    def lookup(self, *, hash: str | None = None, tag: str | None = None) -> LocalImage | None:
        """Return the image with this hash or tag; None if there is none."""
        for image in self._images:
            if (hash is not None and image.hash == hash.lower()) or (tag is not None and image.tag == tag):
                return image
        return None

    def missing(self, name: str) -> str:
        """The error message for an image that is not in the store."""
        known = ", ".join(str(image) for image in self._images)
        return f"no image {name} here; there are: {known}. Add it with --image {name}=FOLDER"

    def __iter__(self) -> Iterator[LocalImage]:
        return iter(self._images)


def _checked_folder(option: str, folder: str) -> Path:
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        raise BadImage(f"--image {option}: there is no folder {path}")
    return path


def _with_image(images: list[LocalImage], name: str, folder: Path) -> list[LocalImage]:
    """`images` with the folder of the image `name` replaced, or with a new image added."""
    lowered = name.lower()
    if any(name == image.tag or lowered == image.hash for image in images):
        return [
            replace(image, folder=folder) if name == image.tag or lowered == image.hash else image
            for image in images
        ]
    if _HASH.fullmatch(lowered):
        return [*images, LocalImage(lowered, None, folder)]
    return [*images, LocalImage(hashlib.sha3_224(name.encode()).hexdigest(), name, folder)]

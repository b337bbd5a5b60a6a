"""The file of an image that the registry serves."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path

from .image_store import ImageStore, LocalImage


def file_of(image: LocalImage, images: ImageStore) -> Path:
    """Return the file of an image; one that is none is packed first, as a tar archive of its root.

    Raises:
        LocalNetworkError: it can't be unpacked.
    """
    if image.source.file is not None:
        return image.source.file
    unpacked = images.unpacked(image.source)
    known_by = hashlib.sha256(repr(unpacked.roots).encode()).hexdigest()[:40]
    packed = images.downloads / f"{known_by}.tar"
    if not packed.exists():
        with tempfile.TemporaryDirectory(dir=images.downloads) as folder:
            aside = Path(folder, "image.tar")
            with tarfile.open(aside, "w") as archive:
                for root in reversed(unpacked.roots):
                    archive.add(root, ".")
            aside.rename(packed)
    return packed

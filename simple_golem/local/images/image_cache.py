"""Unpacks each image once, to a folder of the cache that all activities share and none writes to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...background.file_lock import locked
from ...errors import BadImage
from ..machine.folders import cache_folder, step_for
from .image_config import ImageConfig
from .root_writer import RootWriter

# Part of each name: a new version of this package unpacks again if it does it in another way.
_FORMAT = "2"
_PIECE_BYTES = 1 << 20
_KEPT_SECONDS = 30 * 86400.0

# Unpacks an image, and returns its settings.
Unpack = Callable[[RootWriter], ImageConfig]


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """An image in the cache.

    Attributes:
        roots: the folders that make up its root file system; the first ones lie over the later ones.
        config: its settings.
    """

    roots: tuple[Path, ...]
    config: ImageConfig


class ImageCache:
    """The unpacked images of this user."""

    def __init__(self, folder: Path | None = None, check: Callable[[], object] = lambda: None) -> None:
        """Use a folder, and make it if it is missing.

        Args:
            folder: None: the one in the user's cache.
            check: called often while an image is unpacked; an exception of it breaks off.
        """
        self._check = check
        self._folder = cache_folder() / "images" if folder is None else folder
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def files(self) -> Path:
        """The folder for the files of images."""
        folder = self._folder / "files"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def unpacked(self, key: str, unpack: Unpack, *, is_whole: bool = True) -> UnpackedImage:
        """Return an image; unpack it first if it is not here.

        Blocks while another process unpacks the same image.

        Args:
            key: what the image is known by, such as its hash.
            unpack: unpacks the image.
            is_whole: False: these files lie over those of another image.

        Raises:
            BadImage: the image can't be unpacked; nothing of it is left.
        """
        place = self._folder / f"{key}-{_FORMAT}"
        if not place.exists():
            with locked(self._folder / f"{key}.lock"):
                if not place.exists():
                    self._unpack(place, unpack, is_whole)
                    self._remove_old(place)
        os.utime(place)
        settings = json.loads((place / "config.json").read_text(encoding="utf-8"))
        return UnpackedImage((place / "root",), ImageConfig.of(settings))

    def _unpack(self, place: Path, unpack: Unpack, is_whole: bool) -> None:
        aside = Path(tempfile.mkdtemp(prefix="unpacking-", dir=self._folder))
        try:
            writer = RootWriter(aside / "root", check=self._check)
            config = unpack(writer)
            writer.finish(config.volumes, is_whole=is_whole)
            (aside / "config.json").write_text(json.dumps(config.to_wire()), encoding="utf-8")
            aside.rename(place)
        except OSError as error:
            step = step_for(error, "XDG_CACHE_HOME")
            raise BadImage(f"the image can't be unpacked to {self._folder}: {error}{step}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _remove_old(self, new: Path) -> None:
        """Remove the images that nobody has asked for in a month."""
        oldest = time.time() - _KEPT_SECONDS
        for config in self._folder.glob("*/config.json"):
            if config.parent != new and config.parent.stat().st_mtime < oldest:
                shutil.rmtree(config.parent, ignore_errors=True)

    def hash_of(self, file: Path) -> str:
        """Return the sha3-224 of a file; it is computed again only if the file has changed."""
        found = file.stat()
        known_by = f"{file} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"
        memo = self._folder / f"hash-{hashlib.sha256(os.fsencode(known_by)).hexdigest()[:32]}"
        if memo.exists():
            return memo.read_text(encoding="ascii")
        computed = hashlib.sha3_224()
        with open(file, "rb") as opened:
            while piece := opened.read(_PIECE_BYTES):
                computed.update(piece)
        # Another thread of this process may hash the same file.
        written = memo.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        written.write_text(computed.hexdigest(), encoding="ascii")
        written.rename(memo)
        return computed.hexdigest()

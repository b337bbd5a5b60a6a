"""Fetches the image of an activity from its URL and checks its hash, as a provider does that never had it."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

from ...background.cancellation import Scope
from ...errors import BadImage
from ..images.image_store import ImageStore, LocalImage
from ..transfer.web_files import Web, WebError, WebSource

_PACKAGE = re.compile(r"hash:(?:sha3|sha3-224):([0-9a-fA-F]+):(.+)", re.DOTALL)
_TRIES = 3


class NoImage(Exception):
    """The image can't be had; the requestor gets the message."""


def image_of(package: str, images: ImageStore, web: Web, scope: Scope) -> LocalImage:
    """Return the image that a demand asks for; blocks to download it unless the registry has it.

    Args:
        package: `hash:sha3:<hash>:<url>`, as in the demand.
        images: the images of the registry. A downloaded one is added.
        web: the web as the provider reaches it.
        scope: the scope of the activity.

    Raises:
        NoImage: the URL is not reachable, the hash is another one, or it is no image.
    """
    parsed = _PACKAGE.fullmatch(package)
    if parsed is None:
        raise NoImage("Invalid url: hash required")
    wanted, url = parsed[1].lower(), parsed[2]
    image = images.lookup(hash=wanted)
    if images.serves(url):
        if image is None:
            raise NoImage(images.missing(wanted))
        return image
    with tempfile.TemporaryDirectory(dir=images.downloads) as folder:
        file = Path(folder, "image")
        found = _download(url, file, web, scope)
        if found != wanted:
            raise NoImage(
                "Incorrect hash provided or downloaded image is corrupted: "
                f"calculated hash {found} differs from the expected one {wanted}"
            )
        if image is not None:
            return image
        try:
            return images.add_download(wanted, file)
        except BadImage as error:
            raise NoImage(str(error)) from error


def _download(url: str, file: Path, web: Web, scope: Scope) -> str:
    """Download a file; returns its sha3-224."""
    for attempt in range(_TRIES):
        try:
            source = WebSource(web, url, scope)
            break
        except WebError as error:
            if error.lasting or attempt == _TRIES - 1 or scope.cancelled:
                raise NoImage(str(error)) from error
    found = hashlib.sha3_224()
    try:
        with open(file, "wb") as opened:
            for piece in source.chunks():
                found.update(piece)
                opened.write(piece)
    except WebError as error:
        raise NoImage(str(error)) from error
    finally:
        source.close()
    return found.hexdigest()

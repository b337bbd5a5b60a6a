"""The compressions of a squashfs; none returns more bytes than it is allowed to."""

from __future__ import annotations

import importlib
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from ....errors import BadImage

# Returns the content of compressed bytes; the second argument is the largest possible size.
Decompress = Callable[[bytes, int], bytes]


def decompression(number: int) -> Decompress:
    """Return the function for a compression, by its number in a squashfs.

    Raises:
        BadImage: there is no such compression, or its package is not installed; the message says which.
    """
    if number in _BUILT_IN:
        return _BUILT_IN[number]
    if number not in _OF_PACKAGES:
        raise BadImage(f"no compression of a squashfs has the number {number}")
    package, module, make = _OF_PACKAGES[number]
    try:
        return make(importlib.import_module(module))
    except ImportError as error:
        raise BadImage(f"the compression of this image needs a package: pip install {package}") from error


def _gzip(data: bytes, most: int) -> bytes:
    return zlib.decompressobj().decompress(data, most)


def _xz(data: bytes, most: int) -> bytes:
    return lzma.LZMADecompressor().decompress(data, most)


def _lzo(module: Any) -> Decompress:
    return lambda data, most: bytes(module.lzo.decompress(data, False, most))


def _lz4(module: Any) -> Decompress:
    return lambda data, most: bytes(module.lz4.decompress(data, most))


def _zstd(module: Any) -> Decompress:
    return lambda data, most: bytes(module.ZstdDecompressor().decompress(data, most))


_BUILT_IN: dict[int, Decompress] = {1: _gzip, 2: _xz, 4: _xz}
_OF_PACKAGES: dict[int, tuple[str, str, Callable[[Any], Decompress]]] = {
    3: ("dissect.util", "dissect.util.compression", _lzo),
    5: ("dissect.util", "dissect.util.compression", _lz4),
    6: ("backports.zstd", "backports.zstd", _zstd),
}

"""Images of Golem: a squashfs, and behind it the crc32, the settings and their length in 8 digits."""

from __future__ import annotations

import json
import zlib
from typing import BinaryIO

from ..image_config import ImageConfig

_LENGTH_BYTES, _CRC_BYTES = 8, 4


class BadMetadata(Exception):
    """The settings of an image can't be read; the message is that of the real runtime."""


def read_metadata(file: BinaryIO) -> ImageConfig:
    """Read the settings of an open image.

    Raises:
        BadMetadata: there are none, or they are damaged.
    """
    size = file.seek(0, 2)
    length = _length(_tail(file, size, _LENGTH_BYTES, _LENGTH_BYTES))
    before = _CRC_BYTES + length + _LENGTH_BYTES
    crc = int.from_bytes(_tail(file, size, before, _CRC_BYTES), "little")
    text = _tail(file, size, length + _LENGTH_BYTES, length)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise BadMetadata("stream did not contain valid UTF-8") from error
    if zlib.crc32(text) != crc:
        raise BadMetadata("Invalid ContainerConfig crc32 sum")
    try:
        return ImageConfig.of(json.loads(text))
    except ValueError as error:
        raise BadMetadata(str(error)) from error


def _length(digits: bytes) -> int:
    try:
        text = digits.decode()
    except UnicodeDecodeError as error:
        raise BadMetadata(
            f"invalid utf-8 sequence of {error.end - error.start} bytes from index {error.start}"
        ) from error
    number = text.removeprefix("+")
    if not (number.isascii() and number.isdigit()):
        raise BadMetadata("invalid digit found in string")
    return int(number)


def _tail(file: BinaryIO, size: int, from_end: int, count: int) -> bytes:
    if from_end > size:
        raise BadMetadata("Invalid argument (os error 22)")
    file.seek(size - from_end)
    return file.read(count)

"""FlexBuffers, the format of the messages on the daemon's service bus.

Why this is not left to the library `flatbuffers`: 40 KiB of a command's output, a vector of numbers, are
written in 0.012 ms here and in 123 ms there; a chunk of a file, 40 KiB in a blob, in 0.015 ms here and in
0.08 ms there (CPython 3.11). Importing the library also imports numpy where that is
installed. The tests compare the two.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

_NULL, _INT, _UINT, _FLOAT, _KEY, _STRING = 0, 1, 2, 3, 4, 5
_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT = 6, 7, 8
_MAP, _VECTOR, _VECTOR_UINT, _BLOB, _BOOL = 9, 10, 12, 25, 26
# Vectors whose values all have one type: that type, and their length where the type fixes it.
_OF_ONE_TYPE: dict[int, tuple[int, int | None]] = {
    11: (_INT, None),
    _VECTOR_UINT: (_UINT, None),
    13: (_FLOAT, None),
    14: (_KEY, None),
    15: (_KEY, None),  # of strings without their lengths, so that they are read like keys
    **{16 + 3 * more + of: (_INT + of, 2 + more) for more in range(3) for of in range(3)},
    36: (_BOOL, None),
}
_IN_PLACE = (_NULL, _INT, _FLOAT, _BOOL)

_UNSIGNED = {1: struct.Struct("<B"), 2: struct.Struct("<H"), 4: struct.Struct("<I"), 8: struct.Struct("<Q")}
_SIGNED = {1: struct.Struct("<b"), 2: struct.Struct("<h"), 4: struct.Struct("<i"), 8: struct.Struct("<q")}
_REAL = {4: struct.Struct("<f"), 8: struct.Struct("<d")}

# Codes of `struct` by type and width.
_NUMBER_CODES = {_INT: {1: "b", 2: "h", 4: "i", 8: "q"}, _UINT: {1: "B", 2: "H", 4: "I", 8: "Q"}}

# The writer uses words of 8 bytes for everything but arrays: that is simple, and always aligned.
_WORD = 8
_PADDING = bytes(_WORD)

# Limits, since the sender may be hostile: how deep values are nested, and how many values (and bytes of text)
# each byte of a message may become.
_DEEPEST = 32
_MOST_EXPANDED = 16


class BadFlexBuffer(ValueError):
    """Some bytes are not a FlexBuffer, or hold a type that is not supported."""


def decode(data: bytes) -> Any:
    """Return the value that a FlexBuffer holds: None, bool, int, float, str, bytes, list or dict.

    Raises:
        BadFlexBuffer: the bytes are not a FlexBuffer, or one that would become far larger than the message.
    """
    try:
        width = data[-1]
        return _Reader(data).value(len(data) - 2 - width, width, data[-2], 0)
    except (LookupError, ValueError, ArithmeticError, struct.error) as error:
        if isinstance(error, BadFlexBuffer):
            raise
        raise BadFlexBuffer(f"{len(data)} bytes are not a FlexBuffer: {error!r}") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MOST_EXPANDED * len(data)

    def _spend(self, size: int) -> None:
        """Count what is read: many offsets may point to one place, so that a few bytes become gigabytes."""
        self._left -= size
        if self._left < 0:
            raise BadFlexBuffer(
                f"{len(self._data)} bytes would become more than {_MOST_EXPANDED} times as many"
            )

    def value(self, at: int, parent_width: int, packed: int, depth: int) -> Any:
        kind, width = packed >> 2, 1 << (packed & 3)
        self._spend(1)
        if at < 0 or depth > _DEEPEST:
            raise BadFlexBuffer("an offset points out of the buffer, or values are nested too deep")
        if kind == _NULL:
            return None
        if kind == _INT:
            return _SIGNED[parent_width].unpack_from(self._data, at)[0]
        if kind == _UINT:
            return _UNSIGNED[parent_width].unpack_from(self._data, at)[0]
        if kind == _FLOAT:
            return _REAL[parent_width].unpack_from(self._data, at)[0]
        if kind == _BOOL:
            return _UNSIGNED[parent_width].unpack_from(self._data, at)[0] != 0
        return self._target(self._followed(at, parent_width), kind, width, depth)

    def _followed(self, at: int, width: int) -> int:
        target: int = at - _UNSIGNED[width].unpack_from(self._data, at)[0]
        if target < 0:
            raise BadFlexBuffer("an offset points out of the buffer")
        return target

    def _target(self, at: int, kind: int, width: int, depth: int) -> Any:
        data = self._data
        if kind == _KEY:
            return self._key(at)
        if kind == _INDIRECT_INT:
            return _SIGNED[width].unpack_from(data, at)[0]
        if kind == _INDIRECT_UINT:
            return _UNSIGNED[width].unpack_from(data, at)[0]
        if kind == _INDIRECT_FLOAT:
            return _REAL[width].unpack_from(data, at)[0]
        if kind in _OF_ONE_TYPE:
            return self._of_one_type(at, kind, width, depth)
        size = self._size(at, width)
        if kind == _STRING:
            return data[at : at + size].decode()
        if kind == _BLOB:
            return data[at : at + size]
        if kind == _MAP:
            return self._map(at, size, width, depth)
        if kind == _VECTOR:
            return self._items(at, size, width, depth)
        raise BadFlexBuffer(f"a value has the type {kind}, which is not supported")

    def _of_one_type(self, at: int, kind: int, width: int, depth: int) -> list[Any]:
        of, length = _OF_ONE_TYPE[kind]
        size = self._size(at, width) if length is None else length
        if of in _NUMBER_CODES:
            self._spend(size)
            return list(struct.unpack_from(f"<{size}{_NUMBER_CODES[of][width]}", self._data, at))
        return [self.value(at + index * width, width, of << 2, depth + 1) for index in range(size)]

    def _size(self, at: int, width: int) -> int:
        if at < width:
            raise BadFlexBuffer("a size stands before the beginning of the buffer")
        size: int = _UNSIGNED[width].unpack_from(self._data, at - width)[0]
        if at + size > len(self._data):
            raise BadFlexBuffer("a size goes beyond the end of the buffer")
        self._spend(size)
        return size

    def _key(self, at: int) -> str:
        end = self._data.index(b"\0", at)
        self._spend(end - at)
        return self._data[at:end].decode()

    def _items(self, at: int, size: int, width: int, depth: int) -> list[Any]:
        types = at + size * width
        return [
            self.value(at + index * width, width, self._data[types + index], depth + 1)
            for index in range(size)
        ]

    def _map(self, at: int, size: int, width: int, depth: int) -> dict[str, Any]:
        if at < 3 * width:
            raise BadFlexBuffer("keys stand before the beginning of the buffer")
        keys_at = self._followed(at - 3 * width, width)
        keys_width = _UNSIGNED[width].unpack_from(self._data, at - 2 * width)[0]
        values = self._items(at, size, width, depth)
        return {
            self._key(self._followed(keys_at + index * keys_width, keys_width)): value
            for index, value in enumerate(values)
        }


def encode(value: object) -> bytes:
    """Return a value as a FlexBuffer.

    Args:
        value: None, bool, int, float, str, bytes, an array of unsigned numbers, or a list or map of such.

    Raises:
        TypeError: a value has another type.
        OverflowError: a number needs more than 64 bits, or the length of an array is larger than its numbers
            can be.
    """
    writer = _Writer()
    return writer.finished(*writer.write(value))


class _Writer:
    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, value: object) -> tuple[float, int]:
        """Write a value; returns its place, or the value itself if the parent stores it, and its type."""
        if value is None:
            return 0, _packed(_NULL)
        if isinstance(value, bool):
            return value, _packed(_BOOL)
        if isinstance(value, int):
            return value, _packed(_INT)
        if isinstance(value, float):
            return value, _packed(_FLOAT)
        if isinstance(value, str):
            return self._sized(value.encode(), b"\0"), _packed(_STRING)
        if isinstance(value, bytes):
            return self._sized(value, b""), _packed(_BLOB)
        if isinstance(value, list):
            return self._values([self.write(one) for one in value]), _packed(_VECTOR)
        if isinstance(value, dict):
            return self._map(value), _packed(_MAP)
        if isinstance(value, array) and value.typecode in "BHIL":
            return self._numbers(value), _packed(_VECTOR_UINT, value.itemsize)
        raise TypeError(f"{type(value).__name__} can't be written as a FlexBuffer")

    def _sized(self, content: bytes, end: bytes) -> int:
        self._align()
        self._word(len(content))
        at = len(self._data)
        self._data += content
        self._data += end
        return at

    def _numbers(self, numbers: array[int]) -> int:
        self._align()
        # The size in front is as wide as each number.
        self._data += len(numbers).to_bytes(numbers.itemsize, "little")
        at = len(self._data)
        if sys.byteorder == "big":
            numbers = numbers[:]
            numbers.byteswap()
        self._data += numbers.tobytes()
        return at

    def _map(self, value: dict[str, Any]) -> int:
        keys, values = [], []
        for key in sorted(value):
            keys.append(len(self._data))
            self._data += key.encode() + b"\0"
        for key in sorted(value):
            values.append(self.write(value[key]))
        self._align()
        self._word(len(keys))
        keys_at = len(self._data)
        for key_at in keys:
            self._offset(key_at)
        self._offset(keys_at)
        self._word(_WORD)
        return self._values(values)

    def _values(self, values: list[tuple[float, int]]) -> int:
        self._align()
        self._word(len(values))
        at = len(self._data)
        for place, packed in values:
            self._put(place, packed)
        self._data += bytes(packed for _place, packed in values)
        return at

    def finished(self, root: float, packed: int) -> bytes:
        self._align()
        self._put(root, packed)
        self._data += bytes((packed, _WORD))
        return bytes(self._data)

    def _put(self, place: float, packed: int) -> None:
        kind = packed >> 2
        if kind == _FLOAT:
            self._data += _REAL[_WORD].pack(place)
        elif kind in _IN_PLACE:
            self._data += int(place).to_bytes(_WORD, "little", signed=True)
        else:
            self._offset(int(place))

    def _align(self) -> None:
        self._data += _PADDING[: -len(self._data) % _WORD]

    def _word(self, number: int) -> None:
        self._data += _UNSIGNED[_WORD].pack(number)

    def _offset(self, target: int) -> None:
        self._word(len(self._data) - target)


def _packed(kind: int, width: int = _WORD) -> int:
    return kind << 2 | width.bit_length() - 1

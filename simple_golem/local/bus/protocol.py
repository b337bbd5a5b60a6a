"""The wire format of yagna's service bus: protobuf packets in frames, with flexbuffers as payload.

The nine messages use two of protobuf's wire types only. Encoding them takes 60 lines here; the package
`protobuf` would need a compiler and generated code.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

from ...yagna.service_bus.flexbuffers import decode, encode

# A longer frame is an error; the daemon's own limit is far below.
LONGEST_FRAME = 1 << 30

_LENGTH = struct.Struct(">I")
_VARINT, _LENGTH_DELIMITED = 0, 2


class Packet:
    """The base of all packets; the fields of a subclass are numbered from 1, in their order."""

    number: ClassVar[int]


@dataclass(frozen=True, slots=True)
class Hello(Packet):
    number: ClassVar[int] = 1
    name: str = ""
    version: str = ""
    instance_id: bytes = b""


@dataclass(frozen=True, slots=True)
class RegisterRequest(Packet):
    number: ClassVar[int] = 2
    service_id: str = ""


@dataclass(frozen=True, slots=True)
class RegisterReply(Packet):
    number: ClassVar[int] = 3
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class UnregisterRequest(Packet):
    number: ClassVar[int] = 4
    service_id: str = ""


@dataclass(frozen=True, slots=True)
class UnregisterReply(Packet):
    number: ClassVar[int] = 5
    code: int = 0


@dataclass(frozen=True, slots=True)
class CallRequest(Packet):
    number: ClassVar[int] = 6
    caller: str = ""
    address: str = ""
    request_id: str = ""
    data: bytes = b""
    no_reply: bool = False


@dataclass(frozen=True, slots=True)
class CallReply(Packet):
    """A reply, or a part of one.

    Attributes:
        code: 0 for success; 400 or 500 for an error, with its text in `data`.
        partial: whether more parts will follow.
    """

    number: ClassVar[int] = 7
    request_id: str = ""
    code: int = 0
    partial: bool = False
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Ping(Packet):
    number: ClassVar[int] = 14


@dataclass(frozen=True, slots=True)
class Pong(Packet):
    number: ClassVar[int] = 15


_PACKETS: dict[int, type[Packet]] = {
    packet.number: packet
    for packet in (
        Hello,
        RegisterRequest,
        RegisterReply,
        UnregisterRequest,
        UnregisterReply,
        CallRequest,
        CallReply,
        Ping,
        Pong,
    )
}


def to_frame(packet: Packet) -> bytes:
    """Encode a packet, with its length first."""
    body = field_of(packet.number, _message(packet))
    return _LENGTH.pack(len(body)) + body


def frame_length(header: bytes) -> int:
    """Return the length of the packet that follows the four bytes of `header`."""
    length: int = _LENGTH.unpack(header)[0]
    if length > LONGEST_FRAME:
        raise ValueError(f"a frame of {length} bytes is too long")
    return length


def from_frame(body: bytes) -> Packet | None:
    """Decode the packet in a frame; None for a packet of an unknown kind.

    Raises:
        ValueError: the bytes are not a packet.
    """
    for number, value in fields_of(body):
        kind = _PACKETS.get(number)
        if kind is not None and isinstance(value, bytes):
            return _parsed(kind, value)
    return None


def to_payload(value: object) -> bytes:
    """Encode a value (None, bool, int, float, str, bytes, list, dict) as flexbuffers."""
    return encode(value)


def from_payload(data: bytes) -> object:
    """Decode the value in a payload, which a daemon may have compressed.

    Raises:
        BadFlexBuffer: the payload is not valid flexbuffers.
    """
    data = inflated(data)
    return decode(data) if data else None


def inflated(data: bytes) -> bytes:
    """Decompress a payload, if it is compressed."""
    try:
        return zlib.decompress(data)
    except zlib.error:
        return data  # not compressed: so it is in the central mode of the daemon's net


def _message(packet: Packet) -> bytes:
    parts = []
    for number, field in enumerate(fields(packet), start=1):  # type: ignore[arg-type]
        value = getattr(packet, field.name)
        if value:  # protobuf leaves out fields with their default value
            parts.append(field_of(number, value.encode() if isinstance(value, str) else value))
    return b"".join(parts)


def field_of(number: int, value: bytes | int) -> bytes:
    """Encode a field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(int(value))
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(value)) + value


def _parsed(kind: type[Packet], body: bytes) -> Packet:
    known = dict(enumerate(fields(kind), start=1))  # type: ignore[arg-type]
    values: dict[str, object] = {}
    for number, value in fields_of(body):
        if number in known:
            values[known[number].name] = _like(known[number].default, value)
    return kind(**values)


def _like(default: object, value: bytes | int) -> bytes | int | str:
    """Convert a value to the type of its field."""
    if isinstance(value, bytes) and isinstance(default, (bytes, str)):
        return value.decode() if isinstance(default, str) else value
    if isinstance(value, int) and isinstance(default, int):
        return bool(value) if isinstance(default, bool) else value
    raise ValueError("a field has the wrong type")


def fields_of(body: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Decode the fields of a protobuf message: the number and the value of each.

    Raises:
        ValueError: the bytes are no message.
    """
    at = 0
    while at < len(body):
        key, at = _read_varint(body, at)
        if key & 7 == _VARINT:
            value, at = _read_varint(body, at)
            yield key >> 3, value
        elif key & 7 == _LENGTH_DELIMITED:
            length, at = _read_varint(body, at)
            if at + length > len(body):
                raise ValueError("a field is longer than its message")
            yield key >> 3, body[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {key & 7} is not supported")


def varint(value: int) -> bytes:
    """Encode a number as protobuf does."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(body) or shift > 63:
            raise ValueError("a number does not end")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7

"""The messages between an exe-unit and a runtime that stays: protobuf, each with its length before it.

They are those of runtime.proto in yagna's runtime-api. The fields that an exe-unit does not use are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from ..bus.protocol import LONGEST_FRAME, field_of, fields_of, varint

_HELLO, _RUN, _SHUTDOWN = 2, 10, 12
_ERROR, _STATUS = 3, 20
_ERROR_CODES = ("Internal", "NotFound", "BadRequest")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request.

    Attributes:
        number: of the request.
        error: the error as a real exe-unit shows it; None: it has succeeded.
    """

    number: int
    error: str | None


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What has happened to a process of the runtime.

    Attributes:
        pid: the runtime's own number of the process.
        running: whether it still runs.
        return_code: with what it has ended.
        stdout: a piece of output.
        stderr: likewise.
    """

    pid: int
    running: bool
    return_code: int
    stdout: bytes
    stderr: bytes


def hello(number: int, version: str) -> bytes:
    """The request that begins a conversation."""
    return _request(number, _HELLO, field_of(1, version.encode()))


def run_process(number: int, program: str, arguments: list[str]) -> bytes:
    """The request to run a program; the first argument is its name."""
    parts = [field_of(1, program.encode()), *(field_of(2, argument.encode()) for argument in arguments)]
    return _request(number, _RUN, b"".join(parts))


def shutdown(number: int) -> bytes:
    """The request to end."""
    return _request(number, _SHUTDOWN, b"")


def read_message(stream: IO[bytes]) -> Answer | ProcessStatus | None:
    """Read the next message; blocks for it.

    Returns:
        The message; None for an event that an exe-unit does not use.

    Raises:
        EOFError: the runtime has closed the stream.
        ValueError: the bytes are no message.
    """
    return _parsed(_exactly(stream, _length(stream)))


def _request(number: int, command: int, body: bytes) -> bytes:
    message = field_of(1, number) + field_of(command, body)
    return varint(len(message)) + message


def _length(stream: IO[bytes]) -> int:
    length = shift = 0
    while shift < 35:
        (byte,) = _exactly(stream, 1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 and length <= LONGEST_FRAME:
            return length
    raise ValueError("a message of a runtime is too long")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the runtime has closed its stdout")
    return data


def _parsed(message: bytes) -> Answer | ProcessStatus | None:
    fields = dict(fields_of(message))
    if fields.get(1):
        status = fields.get(_STATUS)
        return _status(status) if isinstance(status, bytes) else None
    error = fields.get(_ERROR)
    return Answer(_number(fields.get(2)), _error(error) if isinstance(error, bytes) else None)


def _status(body: bytes) -> ProcessStatus:
    fields = dict(fields_of(body))
    code = _number(fields.get(3)) & 0xFFFFFFFF
    return ProcessStatus(
        pid=_number(fields.get(1)),
        running=bool(fields.get(2)),
        return_code=code - (1 << 32) if code >> 31 else code,
        stdout=_bytes(fields.get(4)),
        stderr=_bytes(fields.get(5)),
    )


def _error(body: bytes) -> str:
    fields = dict(fields_of(body))
    code, text = _number(fields.get(1)), _bytes(fields.get(2)).decode(errors="replace")
    name = _ERROR_CODES[code] if code < len(_ERROR_CODES) else str(code)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'Error {{ code: {name}, message: "{quoted}", context: {{}} }}'


def _number(value: bytes | int | None) -> int:
    return value if isinstance(value, int) else 0


def _bytes(value: bytes | int | None) -> bytes:
    return value if isinstance(value, bytes) else b""

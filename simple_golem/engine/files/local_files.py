"""This machine's ends of transfers: what is read from, and what is written to, in chunks of any order."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ...errors import BadLocalFile, GolemError

logger = logging.getLogger(__name__)

# The daemon's WebSocket takes frames of 64 KiB at most; exe-units ask for 40.
_LARGEST_CHUNK = 60 * 1024
# Chunks come some at a time and in any order; more than these ahead of a missing one are too many.
_MOST_WAITING = 64

Progress = Callable[[int, int | None], object]


class Refusal(Exception):
    """What an exe-unit asked for can't be done; the engine's own.

    Attributes:
        kind: the name the protocol has for it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class FileEnd(Protocol):
    """One end of a transfer, called by the thread that serves all of them.

    Attributes:
        trouble: what went wrong on this machine, None as long as nothing did.
    """

    trouble: GolemError | None

    def asked(self, component: str, payload: Any) -> dict[str, Any] | None:
        """Do what an exe-unit asks for, and return the answer, or raise `Refusal`."""

    def close(self) -> None:
        """Let go of the file; whoever asks later is refused."""


class SourceEnd:
    """What is sent: an open file, in any order, as often as it is asked for."""

    def __init__(self, file: BinaryIO, name: str, size: int, on_progress: Progress) -> None:
        self.trouble: GolemError | None = None
        self._file = file
        self._name = name
        self._size = size
        self._on_progress = on_progress
        self._furthest = 0
        self._lock = threading.Lock()

    def asked(self, component: str, payload: Any) -> dict[str, Any] | None:
        if component == "GetMetadata":
            return {"fileSize": self._size}
        if component == "GetChunk":
            return self._chunk(_number(payload, "offset"), _number(payload, "size"))
        raise Refusal("InternalError", f"a file that is read can't answer {component}")

    def _chunk(self, offset: int, size: int) -> dict[str, Any]:
        wanted = min(size, self._size - offset)
        if offset < 0 or wanted < 0 or wanted > _LARGEST_CHUNK:
            raise Refusal("ReadError", f"{size} bytes at {offset} of {self._size} can't be read")
        with self._lock:
            try:
                self._file.seek(offset)
                content = self._file.read(wanted)
            except (OSError, ValueError) as error:
                raise self._failed(f"{self._name} can't be read: {reason_of(error)}") from error
        if len(content) != wanted:
            raise self._failed(f"{self._name} became shorter while it was sent")
        self._furthest = max(self._furthest, offset + wanted)
        self._on_progress(self._furthest, self._size)
        return {"offset": offset, "content": content}

    def _failed(self, message: str) -> Refusal:
        self.trouble = BadLocalFile(message)
        return Refusal("ReadError", message)

    def close(self) -> None:
        with self._lock:
            self._file.close()


class SinkEnd:
    """What is received: written in order, whatever order it comes in, and hashed on the way.

    Attributes:
        finished: whether the sender said that this was all, and its hash is that of what has come.
    """

    def __init__(self, file: BinaryIO, name: str, on_progress: Progress) -> None:
        self.trouble: GolemError | None = None
        self.finished = False
        self._file = file
        self._name = name
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._hash = hashlib.sha3_256()
        self._written = 0
        self._waiting: dict[int, bytes] = {}

    def asked(self, component: str, payload: Any) -> dict[str, Any] | None:
        with self._lock:
            if component == "UploadChunk":
                chunk = _field(payload, "chunk")
                self._take(_number(chunk, "offset"), _content(chunk))
            elif component == "UploadFinished":
                self._finish(_hash(payload))
            else:
                raise Refusal("InternalError", f"a file that is written can't answer {component}")
        return None

    def _take(self, offset: int, content: bytes) -> None:
        self.finished = False
        if offset == 0 and self._written:
            self._begin()  # the provider tries again, from the beginning
        if offset < self._written:
            return  # it comes a second time; the hash will tell whether it was the same
        self._waiting[offset] = content
        if len(self._waiting) > _MOST_WAITING:
            raise Refusal("WriteError", f"the chunk at {self._written} is missing")
        try:
            self._write_what_fits()
        except (OSError, ValueError) as error:
            message = f"{self._name} can't be written: {reason_of(error)}"
            self.trouble = BadLocalFile(message)
            raise Refusal("WriteError", message) from error
        self._on_progress(self._written, None)

    def _write_what_fits(self) -> None:
        while (content := self._waiting.pop(self._written, None)) is not None:
            self._file.seek(self._written)
            rest = memoryview(content)
            while rest:  # an unbuffered file takes as much as it can
                rest = rest[self._file.write(rest) :]
            self._hash.update(content)
            self._written += len(content)
            if not content:
                return

    def _finish(self, sent_hash: str | None) -> None:
        if self._waiting:
            raise Refusal("IntegrityError", f"the chunk at {self._written} is missing")
        if sent_hash is not None and sent_hash.lower() != self._hash.hexdigest():
            raise Refusal("IntegrityError", "what came has another hash than what was sent")
        try:
            self._file.truncate(self._written)
            self._file.flush()
        except (OSError, ValueError) as error:
            message = f"{self._name} can't be written: {reason_of(error)}"
            self.trouble = BadLocalFile(message)
            raise Refusal("WriteError", message) from error
        self.finished = True
        self._on_progress(self._written, self._written)

    def close(self) -> None:
        with self._lock:
            try:
                self._file.close()
            except OSError as error:  # a full disk may show only here
                self.finished = False
                self.trouble = self.trouble or BadLocalFile(
                    f"{self._name} can't be written: {reason_of(error)}"
                )


class Memory(io.BytesIO):
    """A file in memory whose content outlives its closing."""

    content = b""

    def close(self) -> None:
        if not self.closed:
            self.content = self.getvalue()
        super().close()


# --- what a provider sends: anything at all ---------------------------------------------------------------


def _field(payload: object, name: str) -> object:
    if not isinstance(payload, dict) or name not in payload:
        raise Refusal("InternalError", f"{name!r} is missing in what was asked for")
    return payload[name]


def _number(payload: object, name: str) -> int:
    value = _field(payload, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal("InternalError", f"{name!r} is no number")
    return value


def _content(chunk: object) -> bytes:
    value = _field(chunk, "content")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, list) or not all(isinstance(one, int) and 0 <= one < 256 for one in value):
        raise Refusal("InternalError", "the content of a chunk is no bytes")
    return bytes(value)


def _hash(payload: object) -> str | None:
    value = payload.get("hash") if isinstance(payload, dict) else None
    if value is not None and not isinstance(value, str):
        raise Refusal("IntegrityError", "the hash is no text")
    return value


def found(local: str, what: str) -> Path:
    """Return the absolute path of something on this machine that may be there, and may be looked at.

    Raises:
        BadLocalFile: that can't be found out.
    """
    try:
        path = Path(local).absolute()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
        return path
    except (OSError, UnicodeError) as error:
        raise BadLocalFile(f"{what}: {local} can't be reached: {reason_of(error)}") from error


def open_to_send(path: Path, what: str) -> tuple[BinaryIO, int]:
    """Open a file of this machine; returns it and its size in bytes.

    Raises:
        BadLocalFile: it is not there, no file, or can't be read.
    """
    try:
        if not path.is_file():
            kind = "is neither a file nor a folder" if path.exists() else "is not there"
            raise BadLocalFile(f"{what}: {path} {kind}")
        file = path.open("rb")
        size = os.fstat(file.fileno()).st_size
        if not size and file.read(1):
            file.close()
            raise BadLocalFile(
                f"{what}: {path} does not say how long it is: read it, and send that with UploadBytes"
            )
    except OSError as error:
        if isinstance(error, BadLocalFile):
            raise
        raise BadLocalFile(f"{what}: {path} can't be read: {reason_of(error)}") from error
    return file, size


def reason_of(error: Exception) -> str:
    """What the system says of an error, without the path, which the caller names."""
    return getattr(error, "strerror", None) or str(error)

"""This machine's end of a transfer: a file that is read, or written, in chunks of any order."""

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

# The daemon's WebSocket accepts frames of 64 KiB at most; exe-units ask for 40 KiB.
_LARGEST_CHUNK = 60 * 1024
# Several chunks are on their way at once, in any order. If so many are ahead of a missing one, that is lost.
_MOST_AHEAD = 64

Progress = Callable[[int, int | None], object]


class Refusal(Exception):
    """A request of an exe-unit can't be fulfilled; internal, users never see it.

    Attributes:
        kind: the name of the error in the protocol.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class FileEnd(Protocol):
    """One end of a transfer, called by the thread that serves all of them.

    Attributes:
        trouble: the error of this machine that ended the transfer; None without one.
    """

    trouble: GolemError | None

    def answer(self, component: str, payload: Any) -> dict[str, Any] | None:
        """Fulfil one request of an exe-unit, and return the answer.

        Args:
            component: the name of the request, such as `GetChunk`.
            payload: its arguments.

        Raises:
            Refusal: the request can't be fulfilled.
        """

    def close(self) -> None:
        """Close the file; later requests are refused."""


class SourceEnd:
    """The source of an upload: an open file, of which any part may be asked for, any number of times."""

    def __init__(self, file: BinaryIO, name: str, size: int, on_progress: Progress) -> None:
        self.trouble: GolemError | None = None
        self._file = file
        self._name = name
        self._size = size
        self._on_progress = on_progress
        self._furthest = 0
        self._lock = threading.Lock()

    def answer(self, component: str, payload: Any) -> dict[str, Any] | None:
        if component == "GetMetadata":
            return {"fileSize": self._size}
        if component == "GetChunk":
            return self._chunk(_number(payload, "offset"), _number(payload, "size"))
        raise Refusal("InternalError", f"a file that is uploaded does not support {component}")

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
    """The target of a download: chunks come in any order, and are written and hashed in the right one.

    Attributes:
        finished: whether the sender has reported the end, with the hash of what has arrived.
    """

    def __init__(self, file: BinaryIO, name: str, on_progress: Progress) -> None:
        self.trouble: GolemError | None = None
        self.finished = False
        self._file = file
        self._name = name
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._start_over()

    def _start_over(self) -> None:
        self._hash = hashlib.sha3_256()
        self._written = 0
        self._ahead: dict[int, bytes] = {}

    def answer(self, component: str, payload: Any) -> dict[str, Any] | None:
        with self._lock:
            if component == "UploadChunk":
                chunk = _field(payload, "chunk")
                self._add_chunk(_number(chunk, "offset"), _content(chunk))
            elif component == "UploadFinished":
                self._check_and_flush(_hash(payload))
            else:
                raise Refusal("InternalError", f"a file that is downloaded does not support {component}")
        return None

    def _add_chunk(self, offset: int, content: bytes) -> None:
        self.finished = False
        if offset == 0 and self._written:
            self._start_over()  # the provider tries again, from the beginning
        if offset < self._written:
            return  # it comes a second time; the hash shows whether it was the same
        self._ahead[offset] = content
        if len(self._ahead) > _MOST_AHEAD:
            raise Refusal("WriteError", f"the chunk at {self._written} is missing")
        try:
            self._write_next_chunks()
        except (OSError, ValueError) as error:
            message = f"{self._name} can't be written: {reason_of(error)}"
            self.trouble = BadLocalFile(message)
            raise Refusal("WriteError", message) from error
        self._on_progress(self._written, None)

    def _write_next_chunks(self) -> None:
        while (content := self._ahead.pop(self._written, None)) is not None:
            self._file.seek(self._written)
            rest = memoryview(content)
            while rest:  # an unbuffered file may write less than it was given
                rest = rest[self._file.write(rest) :]
            self._hash.update(content)
            self._written += len(content)
            if not content:
                return

    def _check_and_flush(self, sent_hash: str | None) -> None:
        if self._ahead:
            raise Refusal("IntegrityError", f"the chunk at {self._written} is missing")
        if sent_hash is not None and sent_hash.lower() != self._hash.hexdigest():
            raise Refusal("IntegrityError", "the hash of what arrived differs from the hash of what was sent")
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
            except OSError as error:  # a full disk may be reported only here
                self.finished = False
                self.trouble = self.trouble or BadLocalFile(
                    f"{self._name} can't be written: {reason_of(error)}"
                )


class Memory(io.BytesIO):
    """A file in memory whose `content` can be read after closing."""

    content = b""

    def close(self) -> None:
        if not self.closed:
            self.content = self.getvalue()
        super().close()


# --- requests are checked, since a provider may send anything ---------------------------------------------


def _field(payload: object, name: str) -> object:
    if not isinstance(payload, dict) or name not in payload:
        raise Refusal("InternalError", f"{name!r} is missing in the request")
    return payload[name]


def _number(payload: object, name: str) -> int:
    value = _field(payload, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal("InternalError", f"{name!r} is not a number")
    return value


def _content(chunk: object) -> bytes:
    value = _field(chunk, "content")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, list) or not all(isinstance(one, int) and 0 <= one < 256 for one in value):
        raise Refusal("InternalError", "the content of a chunk is not bytes")
    return bytes(value)


def _hash(payload: object) -> str | None:
    value = payload.get("hash") if isinstance(payload, dict) else None
    if value is not None and not isinstance(value, str):
        raise Refusal("IntegrityError", "the hash is not text")
    return value


def found(local: str, what: str) -> Path:
    """Return the absolute path of a file or folder of this machine, which need not exist.

    Args:
        local: the path that the user gave.
        what: the command, for the message.

    Raises:
        BadLocalFile: the path can't be used, or a folder in it can't be entered.
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
        BadLocalFile: it does not exist, is not a file, or can't be read.
    """
    try:
        if not path.is_file():
            kind = "is neither a file nor a folder" if path.exists() else "does not exist"
            home = "; ~ means nothing here: write os.path.expanduser('~/…')" if "~" in path.parts else ""
            raise BadLocalFile(f"{what}: {path} {kind}{home}")
        file = path.open("rb")
        size = os.fstat(file.fileno()).st_size
        if not size and file.read(1):
            file.close()
            raise BadLocalFile(
                f"{what}: the size of {path} is unknown before it is read: read it, and send its content "
                "with UploadBytes"
            )
    except OSError as error:
        if isinstance(error, BadLocalFile):
            raise
        raise BadLocalFile(f"{what}: {path} can't be read: {reason_of(error)}") from error
    return file, size


def reason_of(error: Exception) -> str:
    """The system's message for an error, without the path, which the caller names."""
    return getattr(error, "strerror", None) or str(error)

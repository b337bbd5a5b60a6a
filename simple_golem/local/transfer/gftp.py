"""Golem's file transfer over the service bus (gftp), on the side of an exe-unit."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from ...background.cancellation import Scope
from ...errors import BusError
from ...yagna.service_bus.flexbuffers import BadFlexBuffer, decode, encode
from ..bus.bus import Bus, PendingCall
from ..bus.protocol import inflated

CHUNK_BYTES = 40 * 1024
CALLS_AT_ONCE = 8

_URL = re.compile(r"gftp://(0x[0-9a-fA-F]{40})/([^/?#]+)")
_ANSWER_TIMEOUT_SECONDS = 60.0


class GftpError(Exception):
    """A transfer over gftp failed.

    Attributes:
        lasting: True: the publisher refused, and would refuse again. False: it could not be reached.
    """

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


class GftpFile:
    """The file behind one gftp URL; reads or writes it in chunks, with several requests at a time."""

    def __init__(self, bus: Bus, node_id: str, url: str, scope: Scope) -> None:
        """Args:
            bus: the service bus.
            node_id: the node id of the caller.
            url: `gftp://<node id>/<hash>`.
            scope: cancelling it ends every wait.

        Raises:
            GftpError: the URL does not have this form.
        """
        parts = _URL.fullmatch(url)
        if parts is None:
            raise GftpError("Invalid url: Invalid gftp URL")
        self._address = f"/transfer/from/{node_id}/to/{parts[1].lower()}/gftp/{parts[2]}"
        self._bus, self._node_id, self._scope = bus, node_id, scope
        self._under_way: deque[PendingCall] = deque()
        self._hash = hashlib.sha3_256()
        self._written = 0

    def size(self) -> int:
        """Return the size of the published file in bytes; blocks for the answer."""
        answer = self._ask("GetMetadata", {})
        if not isinstance(answer, dict) or not isinstance(answer.get("fileSize"), int):
            raise GftpError(f"GSB error: the answer has no metadata of a file: {answer!r}")
        return int(answer["fileSize"])

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield the content of the published file, of `size` bytes, in order."""
        offsets = range(0, size, CHUNK_BYTES)
        for offset in offsets[:CALLS_AT_ONCE]:
            self._send("GetChunk", {"offset": offset, "size": CHUNK_BYTES})
        for index, offset in enumerate(offsets):
            content = _content_of(self._oldest_answer())
            if len(content) != min(CHUNK_BYTES, size - offset):
                raise GftpError(f"gftp error: the chunk at {offset} has {len(content)} bytes")
            if index + CALLS_AT_ONCE < len(offsets):
                self._send("GetChunk", {"offset": offsets[index + CALLS_AT_ONCE], "size": CHUNK_BYTES})
            yield content

    def write(self, data: bytes) -> None:
        """Send the next bytes; blocks while 8 chunks are unanswered."""
        for start in range(0, len(data), CHUNK_BYTES):
            piece = data[start : start + CHUNK_BYTES]
            while len(self._under_way) >= CALLS_AT_ONCE:
                self._oldest_answer()
            self._send("UploadChunk", {"chunk": {"offset": self._written, "content": piece}})
            # Hashed while the chunk is on its way.
            self._hash.update(piece)
            self._written += len(piece)

    def finish(self) -> None:
        """Send the hash of the file, as the end of the upload; blocks until the publisher confirms."""
        while self._under_way:
            self._oldest_answer()
        self._ask("UploadFinished", {"hash": self._hash.hexdigest()})

    def abandon(self) -> None:
        """Give up all unanswered requests."""
        while self._under_way:
            self._under_way.popleft().abandon("the transfer was given up")

    def _ask(self, message: str, payload: dict[str, Any]) -> Any:
        self._send(message, payload)
        return self._oldest_answer()

    def _send(self, message: str, payload: dict[str, Any]) -> None:
        try:
            self._under_way.append(
                self._bus.begin_call(
                    f"{self._address}/{message}",
                    encode(payload),
                    caller=self._node_id,
                    timeout=_ANSWER_TIMEOUT_SECONDS,
                )
            )
        except BusError as error:
            raise GftpError(f"GSB error: {error}", lasting=False) from error

    def _oldest_answer(self) -> Any:
        """Block for the answer to the oldest unanswered request."""
        pending = self._under_way.popleft()
        forget = self._scope.on_cancel(lambda: pending.abandon("the transfer was given up"))
        try:
            data = pending.data()
        except BusError as error:
            raise GftpError(f"GSB error: {error}", lasting=False) from error
        finally:
            forget()
        if not data:
            # The daemon answers with an empty payload if no service has this address.
            raise GftpError(f"GSB error: endpoint address not found: {self._address}")
        try:
            return _checked(decode(inflated(data)))
        except BadFlexBuffer as error:
            raise GftpError(f"GSB error: {error}") from error


def _checked(answer: object) -> object:
    if isinstance(answer, dict) and "Err" in answer:
        raise GftpError(f"gftp error: {_error_text(answer['Err'])}")
    return answer["Ok"] if isinstance(answer, dict) and "Ok" in answer else answer


def _content_of(answer: object) -> bytes:
    content = answer.get("content") if isinstance(answer, dict) else None
    if not isinstance(content, (bytes, bytearray)):
        raise GftpError("GSB error: the answer has no chunk of a file")
    return bytes(content)


def _error_text(error: object) -> str:
    """The text of a publisher's error, which is its kind, or a mapping of the kind to a text."""
    if isinstance(error, dict) and len(error) == 1:
        kind, text = next(iter(error.items()))
        return f"{kind}: {text}"
    return str(error)

"""Files on a web server, as an end of a transfer."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import requests

from ...background.cancellation import Scope
from ...yagna.transport.abandonable import AbandonableAdapter, abandonable
from .gftp import CHUNK_BYTES

_CONNECT_SECONDS = 10.0
_SILENT_SECONDS = 60.0


class WebError(Exception):
    """A web server was not there, refused, or broke off; the message is what a requestor is told."""


class WebSource:
    """Gets a file, redirects included."""

    def __init__(self, url: str, scope: Scope) -> None:
        """Raises WebError when the server does not give it."""
        self._open = ExitStack()
        session = self._open.enter_context(requests.Session())
        for scheme in ("http://", "https://"):
            session.mount(scheme, AbandonableAdapter(1))
        self._open.enter_context(abandonable(scope))
        try:
            timeouts = (_CONNECT_SECONDS, _SILENT_SECONDS)
            headers = {"Accept-Encoding": "identity"}
            self._response = session.get(url, stream=True, timeout=timeouts, headers=headers)
            self._open.callback(self._response.close)
        except (requests.RequestException, OSError) as error:
            self._open.close()
            raise WebError(f"HTTP error: {error}") from error
        if not self._response.ok:
            self._open.close()
            raise _refused(self._response.status_code, self._response.reason)
        length = self._response.headers.get("Content-Length")
        self.size = int(length) if length is not None and length.isdigit() else None

    def chunks(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_content(CHUNK_BYTES)
        except (requests.RequestException, OSError) as error:
            raise WebError(f"HTTP error: {error}") from error

    def close(self) -> None:
        self._open.close()


class WebSink:
    """Puts a file, as it comes, in pieces whose sum nobody knows before."""

    def __init__(self, url: str, scope: Scope) -> None:
        """Raises WebError when there is no server."""
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._forget = _nothing
        try:
            self._connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT_SECONDS)
            self._connection.connect()
            self._connection.sock.settimeout(_SILENT_SECONDS)
            self._forget = scope.on_cancel(self._break_off)
            self._connection.putrequest(
                "PUT", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
            )
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._connection.putheader("Content-Type", "application/octet-stream")
            self._connection.endheaders()
        except (http.client.HTTPException, ValueError, OSError) as error:
            raise WebError(f"HTTP error: connection error: {error}") from error

    def write(self, data: bytes) -> None:
        if data:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        self._send(b"0\r\n\r\n")
        try:
            response = self._connection.getresponse()
            response.read(CHUNK_BYTES)
        except (http.client.HTTPException, OSError) as error:
            raise WebError(f"HTTP error: {error}") from error
        if not 200 <= response.status < 300:
            raise _refused(response.status, response.reason)

    def close(self) -> None:
        self._forget()
        self._connection.close()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.send(data)
        except OSError as error:
            raise WebError(f"HTTP error: {error}") from error

    def _break_off(self) -> None:
        try:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself


def _refused(status: int, reason: str) -> WebError:
    side = "client" if status < 500 else "server"
    return WebError(f"HTTP error: {side} error: {status} {reason}")


def _nothing() -> None:
    return None

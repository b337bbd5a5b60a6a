"""The ends of a transfer on a web server."""

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
_READ_TIMEOUT_SECONDS = 60.0


class WebError(Exception):
    """A web server was not reachable, refused, or ended the connection; the requestor gets the message."""


class WebSource:
    """Reads a file with GET, and follows redirects.

    Like the real exe-unit it does not look at the status: the page of a 404 is the file.
    """

    def __init__(self, url: str, scope: Scope) -> None:
        """Send the request; blocks for the headers of the answer.

        Raises:
            WebError: the server is not reachable.
        """
        self._open = ExitStack()
        session = self._open.enter_context(requests.Session())
        for scheme in ("http://", "https://"):
            session.mount(scheme, AbandonableAdapter(1))
        self._open.enter_context(abandonable(scope))
        try:
            timeouts = (_CONNECT_SECONDS, _READ_TIMEOUT_SECONDS)
            headers = {"Accept-Encoding": "identity"}
            self._response = session.get(url, stream=True, timeout=timeouts, headers=headers)
            self._open.callback(self._response.close)
        except (requests.RequestException, OSError) as error:
            self._open.close()
            raise WebError(f"HTTP error: {error}") from error
        self.status = self._response.status_code
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
    """Writes a file with PUT, in chunks: the size is not known in advance."""

    def __init__(self, url: str, scope: Scope) -> None:
        """Connect and send the headers; blocks for 10 seconds at most.

        Raises:
            WebError: the server is not reachable.
        """
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._forget = _nothing
        try:
            self._connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT_SECONDS)
            self._connection.connect()
            self._connection.sock.settimeout(_READ_TIMEOUT_SECONDS)
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
            pass  # the connection has ended already


def _refused(status: int, reason: str) -> WebError:
    side = "client" if status < 500 else "server"
    return WebError(f"HTTP error: {side} error: {status} {reason}")


def _nothing() -> None:
    return None

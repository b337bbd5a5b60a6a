"""The WebSocket of a service on the daemon's bus."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from ...background.forks import leave_socket_to_parent
from ..transport.http import CONNECT_SECONDS
from .flexbuffers import BadFlexBuffer, decode, encode
from .gsb_call import GsbRequest, SocketLost

SUBPROTOCOL = "gsb+flexbuffers"
_READ_BYTES = 256 * 1024
# SO_LINGER of 0 seconds: closing sends a reset (RST) instead of an end (FIN).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class GsbSocket:
    """The WebSocket that brings the requests for one service; it does not block, so one thread serves many.

    Attributes:
        opened: whether the daemon has accepted it.
    """

    def __init__(self, url: str, app_key: str) -> None:
        """Connect; blocks for the connection only, 3 seconds at most.

        Args:
            url: `http://…` or `https://…`, of the service.
            app_key: of the daemon.

        Raises:
            SocketLost: there was no connection.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        try:
            self._socket = socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                context = ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)
        except OSError as error:
            raise SocketLost(f"no connection to {url}: {error}") from error
        self._socket.setblocking(False)
        leave_socket_to_parent(self._socket)
        self._unsent = bytearray()
        self._fragments: list[bytes] = []
        uri = parse_uri("ws" + url.removeprefix("http"))
        self._protocol = ClientProtocol(uri, subprotocols=[SUBPROTOCOL], max_size=None)  # type: ignore[list-item]
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Bearer {app_key}"
        self._protocol.send_request(request)
        self.opened = False
        self.flush()

    def fileno(self) -> int:
        """The socket's file descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes were not sent yet: call `flush` again when the socket is writable."""
        return len(self._unsent)

    def receive(self) -> list[GsbRequest]:
        """Read the requests that have come; does not block.

        Raises:
            SocketLost: the WebSocket has ended, the daemon refused it, or it sent what can't be read.
        """
        try:
            data = self._socket.recv(_READ_BYTES)
            while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                data += self._socket.recv(self._socket.pending())
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        except OSError as error:
            raise SocketLost(str(error)) from error
        if not data:
            raise SocketLost("the daemon closed the connection")
        self._protocol.receive_data(data)
        events = self._protocol.events_received()
        requests = [request for event in events for request in self._requests_in(event)]
        if self._protocol.state in (State.CLOSING, State.CLOSED):
            raise SocketLost(f"the daemon closed the WebSocket ({events[-1:]})")
        self.flush()
        return requests

    def _requests_in(self, event: object) -> list[GsbRequest]:
        if isinstance(event, Response):
            self._check_handshake()
            self.opened = True
            return []
        if not isinstance(event, Frame) or event.opcode not in (Opcode.BINARY, Opcode.CONT):
            return []
        self._fragments.append(bytes(event.data))
        if not event.fin:
            return []
        message = b"".join(self._fragments)
        self._fragments.clear()
        try:
            call = decode(message)
            call_id, component, payload = call["id"], call["component"], call["payload"]
        except (BadFlexBuffer, LookupError, TypeError) as error:
            # The daemon embeds messages that it has compressed itself without unpacking them, so they can't
            # be read, and without the id no answer is possible. Calls from other nodes are not affected.
            raise SocketLost(f"the daemon sent a message that can't be read: {error!r}") from error
        if not isinstance(call_id, str) or not isinstance(component, str):
            raise SocketLost(f"the daemon sent a request without id or component: {str(call)[:200]}")
        return [GsbRequest(call_id, component, payload)]

    def _check_handshake(self) -> None:
        error = self._protocol.handshake_exc
        if isinstance(error, InvalidStatus):
            raise SocketLost(str(error), error.response.status_code)
        if isinstance(error, (InvalidHandshake, WebSocketException, OSError)):
            raise SocketLost(str(error)) from error

    def answer(self, call_id: str, payload: Mapping[str, Any] | None) -> None:
        """Send the result of a request."""
        message = {"id": call_id, "payload": None if payload is None else dict(payload)}
        self._protocol.send_binary(encode(message))
        self.flush()

    def refuse(self, call_id: str, kind: str, message: str) -> None:
        """Send an error as the answer to a request."""
        self._protocol.send_binary(encode({"id": call_id, "error": {kind: message}}))
        self.flush()

    def flush(self) -> None:
        """Send as much as is possible without blocking.

        Raises:
            SocketLost: the connection has ended.
        """
        for part in self._protocol.data_to_send():
            self._unsent += part
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent)
                del self._unsent[:sent]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise SocketLost(str(error)) from error

    def close(self) -> None:
        """Reset the connection, so that the daemon refuses further calls.

        After an orderly end, from either side, the daemon expects the WebSocket to come back: it keeps the
        calls and leaves them unanswered (tried).
        """
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()

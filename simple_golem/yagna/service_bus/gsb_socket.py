"""The WebSocket of a service on the daemon's bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..transport.socket_lost import SocketLost
from ..transport.web_socket import WebSocket
from .flexbuffers import BadFlexBuffer, decode, encode
from .gsb_call import GsbRequest

SUBPROTOCOL = "gsb+flexbuffers"


class GsbSocket:
    """The WebSocket of one service; it does not block, so one thread serves many."""

    def __init__(self, url: str, app_key: str) -> None:
        """Connect; blocks for the connection only, 3 seconds at most.

        Args:
            url: `http://…` or `https://…`, of the service.
            app_key: of the daemon.

        Raises:
            SocketLost: there was no connection.
        """
        self._web_socket = WebSocket(url, app_key, SUBPROTOCOL)

    @property
    def opened(self) -> bool:
        """Whether the daemon has accepted it."""
        return self._web_socket.opened

    def fileno(self) -> int:
        """The socket's file descriptor, for a selector."""
        return self._web_socket.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes were not sent yet: call `flush` again when the socket is writable."""
        return self._web_socket.unsent

    def receive(self) -> list[GsbRequest]:
        """Read the requests that have come; does not block.

        Raises:
            SocketLost: the WebSocket has ended, the daemon refused it, or it sent what can't be read.
        """
        return [_request_in(message) for message in self._web_socket.receive()]

    def answer(self, call_id: str, payload: Mapping[str, Any] | None) -> None:
        """Send the result of a request."""
        self._web_socket.send(encode({"id": call_id, "payload": None if payload is None else dict(payload)}))

    def refuse(self, call_id: str, kind: str, message: str) -> None:
        """Send an error as the answer to a request."""
        self._web_socket.send(encode({"id": call_id, "error": {kind: message}}))

    def flush(self) -> None:
        """Send as much as is possible without blocking.

        Raises:
            SocketLost: the connection has ended.
        """
        self._web_socket.flush()

    def close(self) -> None:
        """Reset the connection, so that the daemon refuses further calls.

        After an orderly end, from either side, the daemon expects the WebSocket to come back: it keeps the
        calls and leaves them unanswered (tried).
        """
        self._web_socket.close(reset=True)


def _request_in(message: bytes) -> GsbRequest:
    try:
        call = decode(message)
        call_id, component, payload = call["id"], call["component"], call["payload"]
    except (BadFlexBuffer, LookupError, TypeError) as error:
        # The daemon embeds messages that it has compressed itself without unpacking them, so they can't
        # be read, and without the id no answer is possible. Calls from other nodes are not affected.
        raise SocketLost(f"the daemon sent a message that can't be read: {error!r}") from error
    if not isinstance(call_id, str) or not isinstance(component, str):
        raise SocketLost(f"the daemon sent a request without id or component: {str(call)[:200]}")
    return GsbRequest(call_id, component, payload)

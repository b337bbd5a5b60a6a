"""A WebSocket of the daemon that never blocks after its connection, so that one thread serves many.

Loaded late: `websockets` takes time to load, and few sessions need it.
"""

from __future__ import annotations

import logging
import socket

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from .daemon_socket import DaemonSocket
from .socket_lost import SocketLost

# No call on the bus and no piece of a connection is as long: a daemon must not fill the memory.
_MOST_MESSAGE_BYTES = 64 * 1024 * 1024
# What `websockets` logs is dropped: it logs the app key with the other headers.
NO_LOG = logging.Logger("no log", logging.CRITICAL + 1)


class WebSocket:
    """One WebSocket, from its request on.

    Attributes:
        opened: whether the daemon has accepted it.
        unanswered_pings: how many pings of this side have no answer yet.
        has_data_since_pong: whether messages have come after the answer to the last ping.
    """

    def __init__(self, url: str, app_key: str, subprotocol: str | None = None) -> None:
        """Connect; blocks for the connection only, 3 seconds at most.

        Args:
            url: `http://…` or `https://…`.
            app_key: of the daemon.
            subprotocol: the one to ask for, if any.

        Raises:
            SocketLost: there was no connection.
        """
        self._socket = DaemonSocket(url)
        self._fragments: list[bytes] = []
        uri = parse_uri("ws" + url.removeprefix("http"))
        subprotocols = None if subprotocol is None else [subprotocol]
        self._protocol = ClientProtocol(
            uri,
            subprotocols=subprotocols,  # type: ignore[arg-type]
            max_size=_MOST_MESSAGE_BYTES,
            logger=NO_LOG,
        )
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Bearer {app_key}"
        self._protocol.send_request(request)
        self.opened = False
        self.unanswered_pings = 0
        self.has_data_since_pong = False
        try:
            self.flush()
        except SocketLost:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The socket's file descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes were not sent yet: call `flush` again when the socket is writable."""
        return self._socket.unsent

    def receive(self) -> list[bytes]:
        """Read the whole messages that have come; does not block.

        Raises:
            SocketLost: the WebSocket has ended, or the daemon refused it.
        """
        data = self._socket.receive()
        if not data:
            return []
        self._protocol.receive_data(data)
        events = self._protocol.events_received()
        messages = [message for event in events for message in self._messages_in(event)]
        if self._protocol.state in (State.CLOSING, State.CLOSED):
            raise SocketLost(f"the daemon closed the WebSocket ({events[-1:]})")
        self.flush()
        return messages

    def _messages_in(self, event: object) -> list[bytes]:
        if isinstance(event, Response):
            self._check_handshake()
            self.opened = True
            return []
        if isinstance(event, Frame) and event.opcode is Opcode.PONG and self.unanswered_pings:
            self.unanswered_pings -= 1
        if not isinstance(event, Frame) or event.opcode not in (Opcode.BINARY, Opcode.CONT):
            return []
        self.has_data_since_pong = not self.unanswered_pings
        if event.fin and not self._fragments:
            return [bytes(event.data)]
        self._fragments.append(bytes(event.data))
        if not event.fin:
            return []
        message = b"".join(self._fragments)
        self._fragments.clear()
        return [message]

    def _check_handshake(self) -> None:
        error = self._protocol.handshake_exc
        if isinstance(error, InvalidStatus):
            body = bytes(error.response.body or b"").decode(errors="replace")
            raise SocketLost(str(error), error.response.status_code, body)
        if isinstance(error, (InvalidHandshake, WebSocketException, OSError)):
            raise SocketLost(str(error)) from error

    def send(self, message: bytes, *, with_ping: bool = False) -> None:
        """Send a message of bytes, or as much of it as is possible without blocking; `unsent` says the rest.

        Args:
            message: the bytes.
            with_ping: whether to `ping` after it, at the same time.

        Raises:
            SocketLost: the connection has ended.
        """
        self._protocol.send_binary(message)
        if with_ping:
            self.ping()
        self.flush()

    def ping(self) -> None:
        """Ask for an answer, which the daemon gives when it has taken all messages that were sent before.

        Raises:
            SocketLost: the connection has ended.
        """
        self.unanswered_pings += 1
        self.has_data_since_pong = False
        self._protocol.send_ping(b"")
        self.flush()

    def keep_alive(self) -> None:
        """Tell the daemon that this side is there: while nothing is read, its pings are not answered.

        Raises:
            SocketLost: the connection has ended.
        """
        self._protocol.send_pong(b"")
        self.flush()

    def flush(self) -> None:
        """Send as much as is possible without blocking.

        Raises:
            SocketLost: the connection has ended.
        """
        self._socket.send(b"".join(self._protocol.data_to_send()))

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection at once, so that whoever waits for it is woken; from any thread."""
        self._socket.shutdown(how)

    def close(self, *, reset: bool = False) -> None:
        """Close the connection; does not block.

        Args:
            reset: whether to send a reset (RST) instead of an end.
        """
        self._socket.close(reset=reset)

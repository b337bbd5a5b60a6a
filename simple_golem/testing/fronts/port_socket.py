"""The WebSocket of a connection to a port in a private network, from the daemon's side."""

from __future__ import annotations

import selectors
import socket
import time

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from ...yagna.transport.web_socket import NO_LOG
from ..daemon.network import PortConnection

# The real daemon's figures.
PING_SECONDS, PONG_SECONDS = 5.0, 15.0
_MOST_MESSAGE_BYTES = 65536
_PIECE_BYTES = 1166
# How long a message is on its way into the queue.
_QUEUEING_SECONDS = 0.02
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class PortSocket:
    """Passes bytes on between the WebSocket and a server, with the surprises of the real daemon.

    The end of the server is not shown, a reset is. A message that is too long ends the connection. The end of
    the client is not shown to the server. A message that comes soon after another one overtakes it, unless
    the order was confirmed meanwhile.
    """

    def __init__(self, connection: socket.socket, head: bytes, port: PortConnection) -> None:
        """Args: head: the bytes of the HTTP request that opens it."""
        self._connection = connection
        self._port_connection = port
        self._port = port.end
        self._protocol = ServerProtocol(max_size=None, logger=NO_LOG)
        self._protocol.receive_data(head)
        self._to_port = bytearray()
        # The message that is on its way into the queue, since when, and the confirmations before.
        self._latest = b""
        self._latest_at, self._confirmed_before = 0.0, 0
        self._port_ended = False
        self._last_ping = self._last_pong = time.monotonic()

    def serve(self) -> None:
        """Serve it until the client closes it, or the network ends; blocks."""
        try:
            self._serve()
        except OSError:
            pass  # one of the two ends has ended
        finally:
            self._port_connection.left()

    def _serve(self) -> None:
        (request,) = self._protocol.events_received()
        assert isinstance(request, Request)
        self._protocol.send_response(self._protocol.accept(request))
        self._flush()
        while self._protocol.state is State.OPEN and self._pass_on():
            self._flush()
        self._deliver_rest()

    def _pass_on(self) -> bool:
        """Wait for data and pass it on; whether the connection goes on."""
        wanted = (0 if self._port_ended else _READ) | (_WRITE if self._to_port else 0)
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, _READ)
            if wanted:
                selector.register(self._port, wanted)
            wait = _QUEUEING_SECONDS / 4 if self._latest else PING_SECONDS / 2
            ready = {key.fileobj: events for key, events in selector.select(wait)}
        self._queue_latest()
        port_events = ready.get(self._port, 0)
        if port_events & _WRITE:
            del self._to_port[: self._port.send(self._to_port)]
        if self._connection in ready and not self._receive():
            return False
        if port_events & _READ and not self._read_port():
            return False
        return self._ping()

    def _receive(self) -> bool:
        data = self._connection.recv(256 * 1024)
        if not data:
            return False
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if not isinstance(event, Frame):
                continue
            if event.opcode is Opcode.PONG:
                self._last_pong = time.monotonic()
            elif event.opcode is Opcode.BINARY:
                if len(event.data) > _MOST_MESSAGE_BYTES or not event.fin:
                    return False
                self._queue(bytes(event.data))
        return True

    def _queue(self, message: bytes) -> None:
        if self._latest and self._is_under_way():
            self._to_port += message
            return
        self._to_port += self._latest
        self._latest, self._latest_at = message, time.monotonic()
        self._confirmed_before = self._port_connection.confirmed

    def _is_under_way(self) -> bool:
        is_new = time.monotonic() - self._latest_at < _QUEUEING_SECONDS
        return is_new and self._port_connection.confirmed == self._confirmed_before

    def _queue_latest(self) -> None:
        if self._latest and not self._is_under_way():
            self._to_port += self._latest
            self._latest = b""

    def _read_port(self) -> bool:
        try:
            data = self._port.recv(_PIECE_BYTES)
        except ConnectionResetError:
            return False
        if data:
            # It passes through the queues, after the message that is on its way into one.
            self._to_port += self._latest
            self._latest = b""
            self._protocol.send_binary(data)
        self._port_ended = not data
        return True

    def _ping(self) -> bool:
        now = time.monotonic()
        if now - self._last_ping >= PING_SECONDS:
            self._last_ping = now
            self._protocol.send_ping(b"")
        return now - self._last_pong < PONG_SECONDS

    def _deliver_rest(self) -> None:
        """What the daemon has taken reaches the server, also after the end of the client."""
        self._port.setblocking(True)
        self._port.settimeout(PONG_SECONDS)
        self._port.sendall(self._to_port + self._latest)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._connection.sendall(data)

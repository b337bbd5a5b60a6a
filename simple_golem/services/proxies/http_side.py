"""One side of an HTTP proxy: a socket, and the state of HTTP on it."""

from __future__ import annotations

import socket as sockets
from dataclasses import dataclass
from typing import Any

import h11

_READ_BYTES = 65536


@dataclass(eq=False)
class HttpSide:
    """A socket and its protocol.

    Attributes:
        socket: it blocks, and has a timeout.
        protocol: of h11.
    """

    socket: sockets.socket
    protocol: h11.Connection

    def next_event(self) -> Any:
        """Block for the next event of h11.

        Raises:
            OSError: the connection is broken, or nothing came in time.
            h11.RemoteProtocolError: what has come is not HTTP.
        """
        while True:
            event = self.protocol.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.receive()

    def receive(self) -> None:
        """Block for bytes, and give them to the protocol; raises as `next_event` does."""
        self.protocol.receive_data(self.socket.recv(_READ_BYTES))

    def end_body(self) -> None:
        """Take the body that is being received as complete: it has no length, and nothing more comes."""
        self.protocol.receive_data(b"")

    def send(self, event: Any) -> None:
        """Send an event of h11; raises OSError if the connection is broken."""
        data = self.protocol.send(event)
        if data:
            self.socket.sendall(data)

"""Clients beyond the limit of a proxy, which are still read from: a reset would hide why they are refused."""

from __future__ import annotations

import selectors
import socket
import time

# A client sends the rest of its request all the same, and reads the refusal after that.
_LAST_READ_SECONDS = 5.0
_MOST_CLIENTS = 64
_READ_BYTES = 65536


class RefusedClients:
    """Reads from clients that were answered, until they have ended; nothing blocks. For one thread only."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        """Args: selector: waits for them; their data is this object."""
        self._selector = selector
        self._until: dict[socket.socket, float] = {}

    def add(self, client: socket.socket, answer: bytes) -> None:
        """Answer a client, which belongs to this object from now on."""
        try:
            client.setblocking(False)
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone
            client.close()
            return
        if len(self._until) >= _MOST_CLIENTS:
            self._end(next(iter(self._until)))
        self._until[client] = time.monotonic() + _LAST_READ_SECONDS
        self._selector.register(client, selectors.EVENT_READ, self)

    def seconds_left(self) -> float | None:
        """After how many seconds `end_late` is to be called; None: there is no client."""
        return max(0.0, min(self._until.values()) - time.monotonic()) if self._until else None

    def read(self, client: socket.socket) -> None:
        """Take what a client has sent, for which the selector has waited."""
        try:
            if client.recv(_READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # it has ended without waiting
        self._end(client)

    def end_late(self) -> None:
        """End those that have had their time."""
        now = time.monotonic()
        for client in [one for one, until in self._until.items() if until <= now]:
            self._end(client)

    def close(self) -> None:
        """End all."""
        for client in list(self._until):
            self._end(client)

    def _end(self, client: socket.socket) -> None:
        del self._until[client]
        self._selector.unregister(client)
        client.close()

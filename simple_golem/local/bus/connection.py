"""One connection to a service bus: sends and receives packets until one side ends it."""

from __future__ import annotations

import socket
from queue import SimpleQueue

from ...background.threads import EngineThread
from .protocol import Packet, frame_length, from_frame, to_frame

CONNECT_SECONDS = 5.0
_FLUSH_SECONDS = 1.0


class Link:
    """A connection with a thread that writes, so that sending never blocks the reading thread.

    The bus stops reading from a client that does not read: a thread that does both could block for ever.
    """

    def __init__(self, host: str, port: int, name: str) -> None:
        """Connect; blocks for 5 seconds at most.

        Args:
            host: the host of the bus.
            port: the port of the bus.
            name: the name of the client, for the thread.

        Raises:
            OSError: there is no bus at this address.
        """
        self._socket = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
        self._socket.settimeout(None)
        # Packets are small, and somebody waits for each: they must not be collected before they are sent.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming = self._socket.makefile("rb")
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._writer = EngineThread(f"{name}-writer", self._write)
        self._writer.start()

    def send(self, packet: Packet) -> None:
        """Queue a packet; never blocks. After the end of the connection the packet is dropped."""
        self._outgoing.put(to_frame(packet))

    def receive(self) -> Packet | None:
        """Block for the next packet; None for a packet of an unknown kind.

        Raises:
            ConnectionError: the connection has ended.
            TimeoutError: it is quiet, after `end_when_quiet`.
            ValueError: the bytes are not a packet.
        """
        return from_frame(self._read(frame_length(self._read(4))))

    def end_when_quiet(self, seconds: float) -> None:
        """Have `receive` raise an error when nothing has come for so long; for the reading thread."""
        self._socket.settimeout(seconds)

    def _read(self, length: int) -> bytes:
        data = self._incoming.read(length)
        if len(data) < length:
            raise ConnectionResetError("the service bus ended the connection")
        return data

    def _write(self) -> None:
        while (frame := self._outgoing.get()) is not None:
            try:
                self._socket.sendall(frame)
            except OSError:
                break  # the reader sees the same end, and reports it
        self.cut()

    def cut(self) -> None:
        """End the connection at once; packets in the queue are lost."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self) -> None:
        """Send the queued packets and end the connection; blocks for 2 seconds at most. Wakes the reader."""
        self._outgoing.put(None)
        if not self._writer.join(_FLUSH_SECONDS):
            self.cut()
            self._writer.join(_FLUSH_SECONDS)

    def dispose(self) -> None:
        """Close the descriptors; to be called by the reading thread, after `close`."""
        self._incoming.close()
        self._socket.close()

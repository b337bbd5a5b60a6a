"""One connection to a service bus: packets in, packets out, until either side ends it."""

from __future__ import annotations

import socket
from queue import SimpleQueue

from ...background.threads import EngineThread
from .protocol import Packet, frame_length, from_frame, to_frame

CONNECT_SECONDS = 5.0
_FLUSH_SECONDS = 1.0


class Link:
    """A connection with a writer of its own, so that whoever reads is never held up by a send.

    The bus stops reading from those who do not read from it: a reader that also writes could wait for ever.
    """

    def __init__(self, host: str, port: int, name: str) -> None:
        """Connect; blocks 5 seconds at most. Raises OSError when nobody answers."""
        self._socket = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
        self._socket.settimeout(None)
        # Packets are small, and each is waited for: they must not be held back to be sent together.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming = self._socket.makefile("rb")
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._writer = EngineThread(f"{name}-writer", self._write)
        self._writer.start()

    def send(self, packet: Packet) -> None:
        """Hand over a packet to be sent after those before it; never blocks. After the end it is dropped."""
        self._outgoing.put(to_frame(packet))

    def receive(self) -> Packet | None:
        """Block for the next packet; None for one of a kind that is of no use here.

        Raises:
            ConnectionError: the connection has ended.
            ValueError: what came is not of the bus.
        """
        return from_frame(self._read(frame_length(self._read(4))))

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
        """End the connection at once; what was handed over and not sent yet is lost."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self) -> None:
        """Send what was handed over, a second at most, and end the connection; wakes who reads."""
        self._outgoing.put(None)
        if not self._writer.join(_FLUSH_SECONDS):
            self.cut()
            self._writer.join(_FLUSH_SECONDS)

    def dispose(self) -> None:
        """Give the descriptors back; only for the one who reads, and after `close`."""
        self._incoming.close()
        self._socket.close()

"""A connection to the daemon that does not block, apart from being made; for what `requests` can't do."""

from __future__ import annotations

import contextlib
import socket
import ssl
from urllib.parse import urlsplit

from ...background.forks import leave_socket_to_parent
from .http import CONNECT_SECONDS
from .socket_lost import SocketLost
from .tcp_pair import reset_on_close

_READ_BYTES = 256 * 1024


class DaemonSocket:
    """Bytes to the daemon and back; used by one thread, but for `shutdown`."""

    def __init__(self, url: str) -> None:
        """Connect; blocks for the connection only, 3 seconds at most.

        Args:
            url: `http://…` or `https://…`.

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

    def fileno(self) -> int:
        """The file descriptor, for a selector."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes were not sent yet: call `send` again when the socket is writable."""
        return len(self._unsent)

    def receive(self) -> bytes:
        """Return what has come, `b""` if nothing has; does not block.

        Raises:
            SocketLost: the connection has ended.
        """
        try:
            data = self._socket.recv(_READ_BYTES)
            while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
                data += self._socket.recv(self._socket.pending())
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            raise SocketLost(str(error)) from error
        if not data:
            raise SocketLost("the daemon closed the connection")
        self._acknowledge()
        return data

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge at once: the daemon holds back what comes after a small message else.

        Both sides would wait for each other, for 40 ms (Nagle's algorithm, and delayed acknowledgements).
        """
        if hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def send(self, data: bytes = b"") -> None:
        """Send what waits and `data`, as much as is possible without blocking; `unsent` says the rest.

        Raises:
            SocketLost: the connection has ended.
        """
        self._unsent += data
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent)
                del self._unsent[:sent]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            raise SocketLost(str(error)) from error

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection at once, so that whoever waits for it is woken; from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(how)

    def close(self, *, reset: bool = False) -> None:
        """Close the connection; does not block.

        Args:
            reset: whether to send a reset (RST) instead of an end.
        """
        if reset:
            reset_on_close(self._socket)
        self._socket.close()

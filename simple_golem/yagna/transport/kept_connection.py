"""GETs, one after the other, on a connection that is kept and never blocks.

For a thread that serves many sockets, where an answer has to come quickly. Loaded late: few sessions need it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import h11

from .daemon_socket import DaemonSocket
from .socket_lost import SocketLost


class KeptConnection:
    """A connection to the daemon; one that the daemon has closed meanwhile is made again."""

    def __init__(self, api_url: str, app_key: str) -> None:
        """Connect nowhere yet.

        Args:
            api_url: the URL of the daemon's API.
            app_key: of the daemon.
        """
        self._api_url = api_url
        self._headers = [("Host", urlsplit(api_url).netloc), ("Authorization", f"Bearer {app_key}")]
        self._socket: DaemonSocket | None = None
        self._protocol = h11.Connection(h11.CLIENT)
        self._asked = ""
        self._status = 0
        self._was_used = False

    def fileno(self) -> int:
        """The file descriptor, for a selector; -1 while there is no connection."""
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes were not sent yet: call `flush` when the socket is writable."""
        return 0 if self._socket is None else self._socket.unsent

    def get(self, path: str) -> None:
        """Ask for a path; only after the answer to the request before. Blocks where a connection is made.

        Raises:
            SocketLost: there is no connection to the daemon.
        """
        self._asked = path
        if self._socket is not None:
            try:
                self._send()
                return
            except SocketLost:
                self.close()
        self._connect()

    def _connect(self) -> None:
        self._socket = DaemonSocket(self._api_url)
        self._protocol = h11.Connection(h11.CLIENT)
        self._was_used = False
        self._send()

    def _send(self) -> None:
        assert self._socket is not None
        request = h11.Request(method="GET", target=self._asked, headers=self._headers)
        data = self._protocol.send(request) or b""
        self._socket.send(data + (self._protocol.send(h11.EndOfMessage()) or b""))

    def flush(self) -> None:
        """Send what waits, as much as is possible without blocking.

        Raises:
            SocketLost: the connection has ended.
        """
        if self._socket is not None:
            self._socket.send()

    def receive(self) -> int | None:
        """Read what has come; returns the status when the answer is complete, else None; does not block.

        Raises:
            SocketLost: there will be no answer.
        """
        assert self._socket is not None
        try:
            return self._received(self._socket)
        except (SocketLost, h11.RemoteProtocolError) as error:
            was_used = self._was_used
            self.close()
            if not self._asked:
                return None
            if was_used and isinstance(error, SocketLost):
                self._connect()
                return None
            raise SocketLost(str(error)) from error

    def _received(self, carrier: DaemonSocket) -> int | None:
        data = carrier.receive()
        if not data:
            return None
        self._protocol.receive_data(data)
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                self._asked = ""
                self._was_used = True
                if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
                    self._protocol.start_next_cycle()
                else:
                    self.close()
                return self._status

    def close(self) -> None:
        """Close the connection, if there is one; does not block."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

"""Connections to a daemon that are kept open, on the HTTP of the standard library.

Nearly all that the library does is to ask a daemon on the same machine, and a pool of urllib3 takes twice the
processor time for that.
"""

from __future__ import annotations

import http.client
import io
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from urllib3.util import Timeout, wait_for_read


class NeverConnected(OSError):
    """Nobody was there to connect to, so nothing can have been sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, read to its end."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    content: io.BytesIO

    def read(self, most: int) -> bytes:
        """The next piece of it, as requests reads them."""
        return self.content.read(most)

    def close(self) -> None:
        """Nothing is held open for it."""


class Connections:
    """As many connections to one daemon as are needed at once; what is idle is used again."""

    def __init__(
        self, url: str, most_idle: int, lend: Callable[[Any], object], take_back: Callable[[], object]
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: of the daemon, or any below it: `http://HOST:PORT/…`.
            most_idle: how many are kept open.
            lend: called with the socket that a request is about to go over.
            take_back: called when the answer has been read, and others may use the socket.
        """
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or http.client.HTTP_PORT
        self._most_idle = most_idle
        self._lend, self._take_back = lend, take_back
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._closed = False

    def urlopen(
        self,
        method: str,
        url: str,
        body: str | None,
        headers: Mapping[str, str],
        timeout: Timeout,
        **_: object,
    ) -> Answer:
        """Make one request and read its answer, as an adapter of requests asks a pool of urllib3 to.

        Raises:
            NeverConnected: there was no connection.
            OSError: the connection broke, or no answer came in time.
        """
        connection = self._connection(timeout)
        try:
            self._lend(connection.sock)
            sent = self._send(connection, method, url, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except http.client.HTTPException as error:
            connection.close()
            raise ConnectionResetError(f"the connection broke: {error!r}") from error
        except BaseException:
            connection.close()
            raise
        self._take_back()
        if sent:
            self._keep(connection)
        else:
            connection.close()
        return Answer(answer.status, answer.reason, answer.headers, io.BytesIO(content))

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        body: str | None,
        headers: Mapping[str, str],
    ) -> bool:
        """Send a request; False if the daemon would not read it to its end, and may have said why."""
        try:
            connection.request(method, url, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _connection(self, timeout: Timeout) -> http.client.HTTPConnection:
        connection = self._idle_one() or self._new_one(timeout)
        connection.sock.settimeout(timeout.read_timeout)
        return connection

    def _idle_one(self) -> http.client.HTTPConnection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not wait_for_read(connection.sock, timeout=0):
                return connection
            # Nothing is awaited from it, so this is its end: a daemon ends those that are idle for seconds.
            connection.close()

    def _new_one(self, timeout: Timeout) -> http.client.HTTPConnection:
        seconds = timeout.connect_timeout
        assert seconds is None or isinstance(seconds, (int, float))
        connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        try:
            connection.connect()
        except OSError as error:
            raise NeverConnected(str(error)) from error
        return connection

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        # One that is to be closed after its answer has no socket any more.
        if connection.sock is not None and len(self._idle) < self._most_idle:
            self._idle.append(connection)
            if self._closed:
                self.close()
        else:
            connection.close()

    def close(self) -> None:
        """Close those that are idle, and from now on each one when its request is answered."""
        self._closed = True
        while (connection := self._idle_one()) is not None:
            connection.close()

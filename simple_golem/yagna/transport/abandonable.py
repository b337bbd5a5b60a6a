"""Requests that another thread can abandon: shutting their socket down ends them at once, wherever they wait.

Closing a `requests.Session` does not interrupt a request under way; `socket.shutdown` does.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from requests import Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from ...background.cancellation import Scope
from ...background.forks import in_child, leave_socket_to_parent

_thread = threading.local()


@in_child
def _abandon_nothing_in_child() -> None:
    _thread.call = None


class Carrier(Protocol):
    """What carries a request, such as a socket: shutting it down ends the request."""

    def shutdown(self, how: int, /) -> object: ...


class _Call:
    """One request that this thread has under way, and the socket that carries it."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._lock = threading.Lock()
        self._socket: Carrier | None = None

    def attach(self, carrier: Carrier) -> None:
        """From here on `carrier` carries the request; it is shut down at once if the scope has ended."""
        with self._lock:
            self._socket = carrier
        if self._scope.cancelled:
            self.abandon()

    def abandon(self) -> None:
        # The socket is shut down under the lock: `detach` waits, so no other request can own it meanwhile.
        with self._lock:
            carrier, self._socket = self._socket, None
            if carrier is None:
                return
            try:
                carrier.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the connection has ended by itself in this moment

    def detach(self, carrier: Carrier | None) -> None:
        """From here on `carrier` may carry another request."""
        with self._lock:
            if self._socket is carrier:
                self._socket = None

    def finish(self) -> None:
        """Forget the socket, whichever it is."""
        with self._lock:
            self._socket = None


@contextmanager
def abandonable(scope: Scope | None) -> Iterator[None]:
    """While this is open, cancelling `scope` abandons the request that this thread has under way."""
    if scope is None:
        yield
        return
    call, outer = _Call(scope), _current_call()
    _thread.call = call
    forget = scope.on_cancel(call.abandon)
    try:
        yield
    finally:
        forget()
        call.finish()
        _thread.call = outer


def attach_carrier(carrier: Carrier) -> None:
    """Have `carrier` shut down if the request that this thread has under way is abandoned."""
    call = _current_call()
    if call is not None:
        call.attach(carrier)


def _current_call() -> _Call | None:
    return getattr(_thread, "call", None)


class _Connection(HTTPConnection):
    """A connection that can be abandoned while it sends and while it waits for the answer.

    Attributes:
        answer_seconds: how long the daemon may take to read a request, and then to answer; None: any time.
        sent_whole: whether the daemon read the last request to its end.
    """

    answer_seconds: float | None = None
    sent_whole = True
    _parts: list[bytes] | None = None

    def connect(self) -> None:
        """Connect; blocks for as long as the connection may take."""
        super().connect()
        leave_socket_to_parent(self.sock)

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request; blocks until the daemon has read it."""
        if self.sock is None:
            self.connect()
        # urllib3 allows no more seconds to send a long body than to connect.
        self.timeout = self.answer_seconds
        attach_carrier(self.sock)
        self.sent_whole = False
        self._parts = []
        try:
            super().request(*args, **options)
            whole = b"".join(self._parts)
        finally:
            self._parts = None
        self.send(whole)
        self.sent_whole = True

    def send(self, data: Any) -> None:
        """Send a part of a request; `request` sends its parts, headers and body, at once."""
        if self._parts is None:
            super().send(data)
        else:
            self._parts.append(data)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    """The open connections to one daemon.

    Attributes:
        keeps_idle: False once the adapter is closed, when each connection ends with its request.
    """

    ConnectionCls = _Connection
    keeps_idle = True

    def _make_request(self, conn: Any, *request: Any, **options: Any) -> Any:
        conn.answer_seconds = options["timeout"].read_timeout
        return super()._make_request(conn, *request, **options)

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            call = _current_call()
            if call is not None:
                call.detach(conn.sock)
            if not (conn.sent_whole and self.keeps_idle):
                conn.close()
        super()._put_conn(conn)


class _SecurePool(_Pool, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _SecureConnection


class AbandonableAdapter(HTTPAdapter):
    """The transport to the daemon: a connection for each request at once, none waited for, no retries."""

    def __init__(self, most_idle: int) -> None:
        """Connect to nothing yet.

        Args:
            most_idle: how many idle connections to one daemon are kept open.
        """
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._closed = False
        super().__init__(pool_connections=4, pool_maxsize=most_idle, pool_block=False, max_retries=0)

    def get_connection_with_tls_context(self, request: Any, verify: Any, *others: Any, **more: Any) -> Any:
        """The pool for a URL: there are few, always with the same settings, so each is looked for once."""
        scheme, _, rest = request.url.partition("://")
        origin = scheme, rest.partition("/")[0]
        pool = self._pools.get(origin)
        if pool is None:
            pool = cast(_Pool, super().get_connection_with_tls_context(request, verify, *others, **more))
            pool.keeps_idle = not self._closed
            self._pools[origin] = pool
        return pool

    def request_url(self, request: Any, proxies: Any) -> str:
        """What stands in the first line of a request: there is never a proxy that needs the whole URL."""
        _, _, rest = request.url.partition("://")
        return f"/{rest.partition('/')[2]}"

    def close(self) -> None:
        """Close the idle connections; the others close when their request has ended."""
        self._closed = True
        self._pools.clear()
        super().close()

    def build_response(self, req: Any, resp: Any) -> Response:
        """Only what is read of an answer: requests itself also collects cookies and copies the headers."""
        answer = Response()
        answer.status_code, answer.reason = resp.status, resp.reason
        answer.headers = resp.headers  # of another class, and as indifferent to case
        answer.raw, answer.request, answer.url = resp, req, req.url
        return answer

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

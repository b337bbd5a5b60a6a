"""Requests that can be abandoned: shutting their socket down ends them at once, wherever they wait.

Closing a `requests.Session` does not interrupt a request under way; `socket.shutdown` does.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from requests import Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from ...background.cancellation import Scope
from .connections import Connections

_under_way = threading.local()


class _Call:
    """One request under way in this thread, and the socket that carries it."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def attach(self, carrier: socket.socket | None) -> None:
        with self._lock:
            self._socket = carrier
        if self._scope.cancelled:
            self.abandon()

    def abandon(self) -> None:
        # Shut under the lock, so that `finish` waits for it, and the socket is nobody else's meanwhile.
        with self._lock:
            carrier, self._socket = self._socket, None
            if carrier is None:
                return
            try:
                carrier.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself in this very moment

    def finish(self) -> None:
        """From here on the socket may carry somebody else's request."""
        with self._lock:
            self._socket = None


@contextmanager
def abandonable(scope: Scope | None) -> Iterator[None]:
    """While this is open, cancelling `scope` abandons the request that this thread has under way."""
    if scope is None:
        yield
        return
    call = _Call(scope)
    _under_way.call = call
    forget = scope.on_cancel(call.abandon)
    try:
        yield
    finally:
        forget()
        call.finish()
        _under_way.call = None


class _Plain(HTTPConnection):
    def getresponse(self) -> Any:
        _attach(self.sock)
        return super().getresponse()


class _Secure(HTTPSConnection):
    def getresponse(self) -> Any:
        _attach(self.sock)
        return super().getresponse()


def _attach(carrier: socket.socket | None) -> None:
    call: _Call | None = getattr(_under_way, "call", None)
    if call is not None:
        call.attach(carrier)


def _let_go() -> None:
    """The answer is read: the connection goes back to where other threads find it."""
    call: _Call | None = getattr(_under_way, "call", None)
    if call is not None:
        call.finish()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain

    def _put_conn(self, conn: Any) -> None:
        _let_go()
        super()._put_conn(conn)


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure

    def _put_conn(self, conn: Any) -> None:
        _let_go()
        super()._put_conn(conn)


class AbandonableAdapter(HTTPAdapter):
    """The transport of the session to the daemon: many connections, none of them waited for, no retries."""

    def __init__(self, connections: int) -> None:
        self._pools: dict[tuple[str, str], Any] = {}
        self._most_idle = connections
        super().__init__(pool_connections=4, pool_maxsize=connections, pool_block=False, max_retries=0)

    def get_connection_with_tls_context(self, request: Any, verify: Any, *others: Any, **more: Any) -> Any:
        """The pool for a URL: there are few, always with the same settings, so each is looked for once."""
        scheme, _, rest = request.url.partition("://")
        origin = scheme, rest.partition("/")[0]
        if origin not in self._pools:
            pool = self._pool_for(scheme, request, verify, *others, **more)
            # Of two that were made at once the first is everybody's.
            self._pools.setdefault(origin, pool)
        return self._pools[origin]

    def _pool_for(self, scheme: str, request: Any, verify: Any, *others: Any, **more: Any) -> Any:
        return super().get_connection_with_tls_context(request, verify, *others, **more)

    def close(self) -> None:
        """Close what is idle; what is under way ends by itself."""
        for pool in list(self._pools.values()):
            pool.close()
        super().close()

    def build_response(self, req: Any, resp: Any) -> Response:
        """What is read of an answer; no cookies."""
        answer = Response()
        answer.status_code, answer.reason = resp.status, resp.reason
        answer.headers = resp.headers  # of another class, and as indifferent to case
        answer.raw, answer.request, answer.url = resp, req, req.url
        return answer

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}


class WholeAnswers(AbandonableAdapter):
    """The same for answers that are read to their end at once, in less time."""

    def _pool_for(self, scheme: str, request: Any, verify: Any, *others: Any, **more: Any) -> Any:
        if scheme == "http":
            return Connections(request.url, self._most_idle, _attach, _let_go)
        return super()._pool_for(scheme, request, verify, *others, **more)

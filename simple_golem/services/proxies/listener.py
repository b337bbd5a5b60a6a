"""A local port at which a proxy takes connections, with a limit."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections.abc import Callable

from ...background.cancellation import Deadline, Scope
from ...background.forks import leave_socket_to_parent
from ...background.log_guard import guard_loggers
from ...background.threads import EngineThread, WorkerPool
from ...engine.network.place import MOST_PORT
from ...errors import BadLocalPort
from ...yagna.transport.tcp_pair import reset_on_close
from .refused import RefusedClients

logger = logging.getLogger(__name__)

_BACKLOG = 256
_JOIN_SECONDS = 2.0
# After an error such as too many open files.
_PAUSE_SECONDS = 0.1

Serve = Callable[[socket.socket, Deadline], object]


class Listener:
    """Takes connections, and has each served on a thread of a pool, until it is closed.

    Attributes:
        host, port: where it listens.
        scope: cancelled when it is closed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        serve: Serve,
        timeout: float | None,
        refusal: bytes,
        most_connections: int,
        most_threads: int,
    ) -> None:
        """Begin to listen; `start` begins to take connections.

        Args:
            host: an address of this machine.
            port: the local port; 0: any that is free.
            serve: called with each connection, on a thread of the pool, and with the deadline of `timeout`;
                `release` must be called at its end.
            timeout: seconds from the moment in which the connection was taken; None: without limit.
            refusal: what a connection beyond the limit is answered; `b""`: it is reset.
            most_connections: the limit.
            most_threads: the limit of threads.

        Raises:
            BadLocalPort: it can't listen there.
        """
        guard_loggers()  # a proxy's module is loaded by the program, perhaps after its Golem was opened
        self._socket = _bound(host, port)
        self._socket.setblocking(False)
        # The end of a listening socket wakes nobody on Windows and macOS.
        self._woken, self._wake = socket.socketpair()
        for one in (self._socket, self._woken, self._wake):
            leave_socket_to_parent(one)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self.scope = Scope()
        self._serve = serve
        self._timeout = timeout
        self._refusal = refusal
        self._most = most_connections
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        # Those that wait for a thread.
        self._waiting: set[socket.socket] = set()
        self._has_warned = False
        self._pool = WorkerPool(f"golem-proxy-{self.port}", most_threads)
        self._thread = EngineThread(f"golem-proxy-{self.port}", self._accept)

    def start(self) -> None:
        """Begin to take connections: those that came before wait until then."""
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def release(self, connection: socket.socket) -> None:
        """Count a connection no more."""
        with self._lock:
            self._open.discard(connection)

    def close(self) -> None:
        """Take no more connections, end all that are served by the pool, and join the threads.

        Blocks for 2 seconds at most.
        """
        left = Deadline(_JOIN_SECONDS)
        self.scope.cancel("the proxy was closed")
        with contextlib.suppress(OSError):  # a second call
            self._wake.send(b"w")
        self._thread.join(left.remaining())
        for one in (self._socket, self._woken, self._wake):
            one.close()
        with self._lock:
            connections = list(self._open)
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for stuck in self._pool.close(left.remaining()):
            logger.warning("%s did not end in time; it was left behind", stuck)
        with self._lock:
            never_served = list(self._waiting)
            self._waiting.clear()
        for one in never_served:
            self.release(one)
            one.close()

    # --- on its thread ---------------------------------------------------------------------------------

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in (self._socket, self._woken):
                selector.register(one, selectors.EVENT_READ)
            with contextlib.closing(RefusedClients(selector)) as refused:
                while not self.scope.cancelled:
                    for key, _ in selector.select(refused.seconds_left()):
                        if key.data is refused and isinstance(key.fileobj, socket.socket):
                            refused.read(key.fileobj)
                    refused.end_late()
                    self._accept_one(refused)

    def _accept_one(self, refused: RefusedClients) -> None:
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return  # something else has woken the thread, or the client is gone already
        except OSError as error:
            logger.warning("the proxy at %s can't take a connection: %s", self.address, error)
            self.scope.wait(_PAUSE_SECONDS)
            return
        self._take(connection, refused)

    def _take(self, connection: socket.socket, refused: RefusedClients) -> None:
        leave_socket_to_parent(connection)
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            is_free = len(self._open) < self._most
            if is_free:
                self._open.add(connection)
                self._waiting.add(connection)
        if is_free:
            self._pool.post(self._begin, connection, Deadline(self._timeout))
            return
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "the proxy at %s has %d connections, its limit, and refuses more: give it a larger "
                "max_connections",
                self.address,
                self._most,
            )
        if self._refusal:
            refused.add(connection, self._refusal)
        else:
            reset_on_close(connection)
            connection.close()

    # --- on a thread of the pool -----------------------------------------------------------------------

    def _begin(self, connection: socket.socket, deadline: Deadline) -> None:
        with self._lock:
            self._waiting.discard(connection)
        self._serve(connection, deadline)


def _bound(host: str, port: int) -> socket.socket:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= MOST_PORT:
        raise BadLocalPort(f"local_port is {port!r}: give a number up to {MOST_PORT}, or 0 for a free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise BadLocalPort(
            f"a proxy can't listen on {host}, port {port}: {error.strerror or error}; "
            "local_port=0 takes a free one"
        ) from error

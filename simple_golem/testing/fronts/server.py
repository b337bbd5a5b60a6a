"""A fake daemon as an HTTP server on loopback, with event streams and WebSockets."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from http.client import responses

from ...background.forks import leave_socket_to_parent
from ..daemon.files.bus import Service
from ..daemon.network import PortConnection
from ..request import (
    Call,
    ConnectionDropped,
    ConnectionRefused,
    FakeAnswer,
    FakeRequest,
    ReadTimedOut,
    Stream,
)
from .hang_ups import HangUps
from .port_socket import PortSocket
from .web_socket import ServiceSocket

logger = logging.getLogger(__name__)

AnswerFunction = Callable[[FakeRequest, Call], FakeAnswer]
_HOST = "127.0.0.1"
_MOST_HEAD_BYTES = 64 * 1024
_JOIN_SECONDS = 5.0


class LoopbackServer:
    """Listens on a port of loopback; each connection has a thread of its own, which ends with it.

    Attributes:
        port: the same as long as the server lives, also while it does not listen.
    """

    def __init__(self, answer: AnswerFunction, now: Callable[[], datetime], port: int = 0) -> None:
        """Begin to listen; does not block.

        Args:
            now: returns the date of each answer.
            port: 0: any that is free.
        """
        self._answer = answer
        self._now = now
        self._lock = threading.Lock()
        self._hang_ups = HangUps()
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._listener = _bound(port)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor: threading.Thread | None = None
        self.listen()

    def listen(self) -> None:
        """Take connections; a second call does nothing."""
        with self._lock:
            if self._acceptor is not None or self._closed:
                return
            self._listener.listen(1024)
            self._acceptor = threading.Thread(
                target=self._accept, args=(self._listener,), name="fake-yagna-server", daemon=True
            )
            self._acceptor.start()

    def refuse(self) -> None:
        """Break off every connection and refuse new ones, until `listen`."""
        with self._lock:
            acceptor, self._acceptor = self._acceptor, None
            if acceptor is not None:
                self._stop_listening()
                self._listener = _bound(self.port)
        if acceptor is not None:
            acceptor.join()
        self.hang_up()

    def hang_up(self) -> None:
        """Break off every connection."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything; blocks until the threads have ended."""
        with self._lock:
            self._closed = True
            acceptor, self._acceptor = self._acceptor, None
            self._stop_listening()
        if acceptor is not None:
            acceptor.join()
        self.hang_up()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(_JOIN_SECONDS)
        self._hang_ups.close()

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="fake-yagna-connection", daemon=True
            )
            leave_socket_to_parent(connection)
            with self._lock:
                self._connections.add(connection)
                self._threads.add(thread)
            thread.start()

    # --- the thread of a connection ---------------------------------------------------------------------

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Connection(connection, self._answer, self._now, self._hang_ups).serve()
        except OSError as error:
            logger.debug("a connection has ended: %s", error)
        finally:
            with self._lock:
                self._connections.discard(connection)
                self._threads.discard(threading.current_thread())


class _Connection:
    """One connection of a client, with one request after the other."""

    def __init__(
        self,
        connection: socket.socket,
        answer: AnswerFunction,
        now: Callable[[], datetime],
        hang_ups: HangUps,
    ) -> None:
        self._socket = connection
        self._answer = answer
        self._now = now
        self._hang_ups = hang_ups
        self._unread = bytearray()

    def serve(self) -> None:
        """Answer requests until the connection ends."""
        while (came := self._read()) is not None:
            request, head = came
            call = Call(on_wait=self._watch)
            try:
                answer = self._answer(request, call)
            except (ConnectionDropped, ConnectionRefused, ReadTimedOut):
                return
            finally:
                self._hang_ups.forget(self._socket)
            if answer.service is not None:
                _web_socket(self._socket, head, answer.service).serve()
                return
            if answer.stream is not None:
                self._send_stream(answer, answer.stream)
                return
            is_last = request.headers.get("connection", "").lower() == "close"
            length = f"content-length: {len(answer.body)}"
            self._socket.sendall(_head(answer, self._now(), length, is_last) + answer.body)
            if is_last:
                return

    def _watch(self, call: Call) -> None:
        self._hang_ups.watch(self._socket, call)

    def _read(self) -> tuple[FakeRequest, bytes] | None:
        """Block for the next request, and return it with its head; None if the connection has ended."""
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            if len(self._unread) > _MOST_HEAD_BYTES or not self._receive():
                return None
        head = bytes(self._unread[: end + 4])
        del self._unread[: end + 4]
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _version = line.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        size = int(headers.get("content-length", "0"))
        while len(self._unread) < size:
            if not self._receive():
                return None
        body = bytes(self._unread[:size])
        del self._unread[:size]
        return FakeRequest(method, target, headers, body), head

    def _receive(self) -> bool:
        data = self._socket.recv(256 * 1024)
        self._unread += data
        return bool(data)

    def _send_stream(self, answer: FakeAnswer, stream: Stream) -> None:
        try:
            self._socket.sendall(_head(answer, self._now(), "transfer-encoding: chunked"))
            for piece in stream:
                self._socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        except (ConnectionDropped, OSError) as error:
            logger.debug("an event stream has ended: %s", error)
        finally:
            self._hang_ups.forget(self._socket)
            stream.close()


def _web_socket(
    connection: socket.socket, head: bytes, service: Service | PortConnection
) -> ServiceSocket | PortSocket:
    if isinstance(service, PortConnection):
        return PortSocket(connection, head, service)
    return ServiceSocket(connection, head, service)


def _head(answer: FakeAnswer, now: datetime, length: str, is_last: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Said')}",
        *([] if answer.status == 204 else [length]),
        *([] if answer.content_type is None else [f"content-type: {answer.content_type}"]),
        *(["connection: close"] if is_last else []),
        f"date: {format_datetime(now, usegmt=True)}",
    ]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _bound(port: int) -> socket.socket:
    """Bind a port without listening: connections are refused, and no other process can take the port."""
    listener = socket.socket()
    leave_socket_to_parent(listener)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((_HOST, port))
    return listener

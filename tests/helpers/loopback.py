"""A small HTTP server on loopback that answers each request as a test says, also against the protocol."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPMessage, parse_headers
from io import BufferedReader
from types import TracebackType


@dataclass(frozen=True)
class Received:
    """A request; `connection` is the number of its connection, from 1."""

    method: str
    target: str
    headers: HTTPMessage = field(repr=False)
    body: bytes
    connection: int


# The bytes of the answer; None closes the connection without an answer.
Behaviour = Callable[["Loopback"], "bytes | None"]


def answer(
    status: int = 200,
    body: object = None,
    content_type: str = "application/json",
    extra: str = "",
) -> Behaviour:
    """Answer with `body`, as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers = f"Content-Type: {content_type}\r\nContent-Length: {len(content)}\r\n{extra}"
    head = f"HTTP/1.1 {status} Said\r\n{headers}\r\n"
    return lambda server: head.encode() + content


def hang_up(server: Loopback) -> bytes | None:
    """Read the request and close the connection without an answer."""
    return None


def silence(server: Loopback) -> bytes | None:
    """Read the request and send nothing until the server is closed."""
    server.silent.release()
    server.closing.wait()
    return None


class Loopback:
    """Uses the first behaviour for the first request, and so on; the last one for all later requests."""

    def __init__(self, *behaviours: Behaviour, listening: bool = True) -> None:
        self.received: list[Received] = []
        self.silent = threading.Semaphore(0)
        self.closing = threading.Event()
        self._behaviours = list(behaviours)
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()
        # Bound without listening: connections are refused, and nobody else can use the port.
        self._listener.bind(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._listens = False
        if listening:
            self.listen()

    def listen(self) -> None:
        if self._listens:
            return
        self._listens = True
        self._listener.listen()
        self._spawn(self._accept)

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self.closing.is_set():
                    connection.close()
                    return
                self._connections.append(connection)
                number = len(self._connections)
                self._spawn(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := self._read(stream, number)) is not None:
                    with self._lock:
                        self.received.append(request)
                        behaviour = self._behaviours[0]
                        if len(self._behaviours) > 1:
                            self._behaviours.pop(0)
                    reply = behaviour(self)
                    if reply is None:
                        return
                    connection.sendall(reply)
        except OSError:
            return  # the client has closed the connection

    def _read(self, stream: BufferedReader, number: int) -> Received | None:
        line = stream.readline().decode()
        if not line:
            return None
        method, target, _version = line.split()
        headers = parse_headers(stream)
        body = stream.read(int(headers.get("Content-Length", "0")))
        return Received(method, target, headers, body, number)

    def close(self) -> None:
        with self._lock:
            self.closing.set()
        if self._listens:
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is closed
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

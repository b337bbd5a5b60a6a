"""Faults on the wire, between a process and its daemon: a proxy on loopback."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

from tests.faults.plan import BEFORE, PAGE, SLOW_SECONDS, STATUSES, Fault, Plan

_TEXT = "HTTP/1.1 {} Not Now\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"
# How long a refusal lasts: a connection is refused before its request is known.
AWAY_SECONDS = 0.3
_JOIN_SECONDS = 5.0
# A WebSocket or a stream of events that is hit breaks after so many bytes: in the middle of a larger file.
CUT_AFTER_BYTES = 40_000
SLOW_PIECES = 3
_LENGTHS = (b"content-length:", b"transfer-encoding:")


class FaultProxy:
    """Listens in the daemon's place and passes everything on, but for the faults of a plan.

    Some faults differ from their names. With `REFUSED` the proxy breaks all connections, and then refuses new
    ones for a moment, as a daemon does that is restarted. A WebSocket or a stream of events that is opened
    breaks after some time, whichever fault comes after its request.
    """

    def __init__(self, daemon_url: str, plan: Plan) -> None:
        self.plan = plan
        parts = urlsplit(daemon_url)
        self._daemon = str(parts.hostname), int(parts.port or 80)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._listener = self._bound(0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._listen()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._lock:
            listener = self._listener
        _end(listener)
        self._break_all()
        for thread in list(self._threads):
            thread.join(_JOIN_SECONDS)

    # --- connections ------------------------------------------------------------------------------------

    def _bound(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        return listener

    def _listen(self) -> None:
        self._listener.listen(256)
        self._spawn(self._accept, self._listener)

    def _spawn(self, target: Callable[..., object], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="fault-proxy", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _go_away(self) -> None:
        """Break all connections, and refuse new ones for a moment."""
        with self._lock:
            if self._closed.is_set():
                return
            _end(self._listener)
            self._listener = self._bound(self.port)
        self._break_all()
        self._closed.wait(AWAY_SECONDS)
        with self._lock:
            if self._closed.is_set():
                _end(self._listener)
                return
        self._listen()

    def _break_all(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            _end(one)

    # --- one connection ---------------------------------------------------------------------------------

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(self._daemon) as daemon:
                for one in (client, daemon):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._sockets |= {client, daemon}
                try:
                    while not self._closed.is_set() and self._pass_on(client, daemon):
                        pass
                finally:
                    with self._lock:
                        self._sockets -= {client, daemon}
        except (OSError, ValueError):
            pass  # one side has ended it, or all were broken: `select` calls that a ValueError

    def _pass_on(self, client: socket.socket, daemon: socket.socket) -> bool:
        """Pass on one request and its answer; returns whether another one may follow."""
        request = _message(client)
        head = request.partition(b"\r\n\r\n")[0].lower()
        method, target, _ = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
        fault = self.plan.fault(method, target)
        if fault is Fault.REFUSED:
            self._go_away()
            return False
        if fault is Fault.RESET:
            _reset(client)
            return False
        if fault in STATUSES and fault in BEFORE:
            client.sendall(_in_place_of_an_answer(fault))
            return True
        daemon.sendall(request)
        if b"\nupgrade:" in head or b"text/event-stream" in head:
            length = _Length(CUT_AFTER_BYTES if fault is not None else None)
            self._spawn(_copy, client, daemon, length)
            _copy(daemon, client, length)
            return False
        answer = _message(daemon, client)
        if fault is Fault.LOST:
            _reset(client)
            return False
        if fault in STATUSES:
            client.sendall(_in_place_of_an_answer(fault))
            return True
        if fault is Fault.CUT:
            client.sendall(answer[: -(_body_bytes(answer) + 1) // 2 or -1])
            return False
        if fault is Fault.SHORT:
            client.sendall(_with_longer_length(answer))
            return False
        if fault is Fault.SLOW:
            self._send_slowly(client, answer)
            return True
        client.sendall(answer)
        return True

    def _send_slowly(self, client: socket.socket, answer: bytes) -> None:
        size = len(answer) // SLOW_PIECES + 1
        for at in range(0, len(answer), size):
            self._closed.wait(SLOW_SECONDS / SLOW_PIECES)
            client.sendall(answer[at : at + size])


class _Length:
    """How many bytes may still pass through a connection, in both directions together."""

    def __init__(self, most: int | None) -> None:
        self._left = most

    def takes(self, count: int) -> bool:
        """Count bytes that pass; returns False if these are too many."""
        if self._left is None:
            return True
        self._left -= count
        return self._left >= 0


def _in_place_of_an_answer(fault: Fault) -> bytes:
    kind, body = ("text/html", PAGE) if fault is Fault.PAGE else ("text/plain", b"not today")
    return _TEXT.format(STATUSES[fault], kind, len(body)).encode() + body


def _with_longer_length(answer: bytes) -> bytes:
    """An answer whose `Content-Length` says more than comes."""
    head, end, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(_LENGTHS)]
    return b"\r\n".join([*lines, b"Content-Length: %d" % (len(body) + 7)]) + end + body


def _body_bytes(message: bytes) -> int:
    return len(message.partition(b"\r\n\r\n")[2])


def _message(source: socket.socket, waiting: socket.socket | None = None) -> bytes:
    """Block for one whole request or answer.

    Args:
        source: from where.
        waiting: who waits for it.

    Raises:
        OSError: one of them has closed its connection.
    """
    data = b""
    while not _is_whole(data):
        if waiting is not None:
            ready, _, _ = select.select([source, waiting], [], [])
            if waiting in ready and not waiting.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError("nobody waits for the answer any more")
        if not (more := source.recv(65536)):
            raise ConnectionAbortedError("there is no more")
        data += more
    return data


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    fields = (line.partition(":") for line in head.decode("latin-1").lower().split("\r\n")[1:])
    headers = {name.strip(): value.strip() for name, _, value in fields}
    if headers.get("transfer-encoding") == "chunked":
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(headers.get("content-length", "0"))


def _copy(source: socket.socket, target: socket.socket, length: _Length) -> None:
    data = b""
    with contextlib.suppress(OSError):
        while (data := source.recv(16384)) and length.takes(len(data)):
            target.sendall(data)
    _end(target)
    if data:
        _end(source)


def _reset(one: socket.socket) -> None:
    """Close a connection with a reset."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()

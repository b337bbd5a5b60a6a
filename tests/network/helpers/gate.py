"""A gate between the library and the daemon, which meddles with event streams and accepts of notes."""

from __future__ import annotations

import socket
import threading
import time
from enum import Enum
from types import TracebackType
from urllib.parse import urlsplit

PINGS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\n:ping\n\r\n"
)
REFUSAL = (
    b"HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n"
    b'{"message": "no streams"}'
)
LISTS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"
BROKEN = PINGS + b"nonsense\r\n"


class Streams(Enum):
    """What becomes of an event stream."""

    PASS = b""
    SILENT = PINGS
    REFUSED = REFUSAL
    LISTED = LISTS
    BROKEN = BROKEN


def is_accept(line: bytes) -> bool:
    return line.startswith(b"POST") and b"/debitNotes/" in line and b"/accept" in line


class Gate:
    """Listens on loopback in the daemon's place; `streams` may be changed at any time."""

    def __init__(self, api_url: str, streams: Streams = Streams.PASS) -> None:
        self.streams = streams
        self.opened = 0
        self.executed = 0
        self._daemon = (urlsplit(api_url).hostname, urlsplit(api_url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._event_streams: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        # Each connection has two threads, which change all this.
        self._lock = threading.Lock()
        self._hold_next_accept = False
        self.held, self._release = threading.Event(), threading.Event()
        self._spawn(self._accept)

    def hold_next_accept(self) -> None:
        """Keep the next accept of a debit note, as if its provider did not answer, until `release`."""
        self._hold_next_accept = True

    def release(self) -> None:
        self._release.set()

    def wait_until_opened(self, times: int, seconds: float) -> None:
        """Block until so many event streams have been asked for."""
        until = time.monotonic() + seconds
        while self.opened < times:
            assert time.monotonic() < until, f"{self.opened} of {times} streams were asked for"
            time.sleep(0.01)

    def cut(self) -> None:
        """Break all event streams that are open."""
        with self._lock:
            streams, self._event_streams = self._event_streams, []
        for one in streams:
            shut(one)

    def _spawn(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                daemon = socket.create_connection(self._daemon)
            except OSError:  # it is down
                client.close()
                continue
            self._sockets += [client, daemon]
            self._spawn(self._forward, client, daemon)
            self._spawn(self._back, daemon, client)

    def _forward(self, client: socket.socket, daemon: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                line = data.partition(b"\r\n")[0]
                if is_accept(line) and self._is_to_be_held():
                    self.held.set()
                    self._release.wait(60)
                if line.startswith(b"POST") and b"/exec" in line:
                    with self._lock:
                        self.executed += 1
                if b"text/event-stream" in data:
                    streams = self.streams
                    with self._lock:
                        if streams is Streams.PASS:
                            self._event_streams.append(client)
                        self.opened += 1
                    if streams is not Streams.PASS:
                        client.sendall(streams.value)
                        continue
                daemon.sendall(data)
        except OSError:
            pass
        shut(daemon)

    def _is_to_be_held(self) -> bool:
        with self._lock:
            is_to_be_held, self._hold_next_accept = self._hold_next_accept, False
            return is_to_be_held

    def _back(self, daemon: socket.socket, client: socket.socket) -> None:
        try:
            while data := daemon.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        shut(client)

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.set()
        shut(self._listener)
        self._listener.close()
        # After its end no connection is added.
        self._threads[0].join(5)
        for one in self._sockets:
            shut(one)
        for thread in self._threads:
            thread.join(5)
        for one in self._sockets:
            one.close()


def shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is shut already

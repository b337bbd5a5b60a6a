"""Abandons waiting requests whose client closes the connection."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

from ..request import Call


class HangUps:
    """One thread that watches the sockets of waiting requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._watched: dict[socket.socket, Call] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="fake-yagna-hang-ups", daemon=True)
        self._thread.start()

    def watch(self, connection: socket.socket, call: Call) -> None:
        """Abandon `call` when the client closes the connection."""
        with self._lock:
            if self._closed:
                return
            self._watched[connection] = call
            self._selector.register(connection, selectors.EVENT_READ, call)
        self._wake()

    def forget(self, connection: socket.socket) -> None:
        """Stop watching a socket, if it is watched."""
        with self._lock:
            if self._watched.pop(connection, None) is not None:
                self._selector.unregister(connection)

    def close(self) -> None:
        """End the thread; blocks until it has ended."""
        with self._lock:
            self._closed = True
        self._wake()
        self._thread.join()
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"!")

    def _run(self) -> None:
        while not self._closed:
            for key, _mask in self._selector.select():
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                else:
                    self._look_at(key)

    def _look_at(self, key: selectors.SelectorKey) -> None:
        connection, call = key.fileobj, key.data
        assert isinstance(connection, socket.socket)
        assert isinstance(call, Call)
        with self._lock:
            # Its request may have ended meanwhile, and the number of its socket be another one's.
            if self._watched.get(connection) is not call:
                return
            del self._watched[connection]
            self._selector.unregister(connection)
            try:
                # There is something to read, so this does not block: the next request, or the end.
                hung_up = not connection.recv(1, socket.MSG_PEEK)
            except OSError:
                hung_up = True
        if hung_up:
            call.abandon("the client has hung up")

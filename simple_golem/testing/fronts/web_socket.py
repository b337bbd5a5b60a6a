"""The WebSocket of a service on the bus, from the daemon's side."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from ...yagna.service_bus.flexbuffers import BadFlexBuffer, decode, encode
from ...yagna.transport.web_socket import NO_LOG
from ..daemon.files.bus import Service

logger = logging.getLogger(__name__)

_SUBPROTOCOL = "gsb+flexbuffers"
_READ_BYTES = 256 * 1024


class ServiceSocket:
    """Serves one WebSocket: calls of the service go out, answers come in."""

    def __init__(self, connection: socket.socket, head: bytes, service: Service) -> None:
        """Args: head: the bytes of the HTTP request that opens it."""
        self._connection = connection
        self._service = service
        self._lock = threading.Lock()
        self._protocol = ServerProtocol(
            subprotocols=[_SUBPROTOCOL],  # type: ignore[list-item]
            max_size=None,
            logger=NO_LOG,
        )
        self._head = head
        self._fragments: list[bytes] = []

    def serve(self) -> None:
        """Serve it until it ends; blocks."""
        if not self._accept():
            return
        self._service.connected(self)
        sender = threading.Thread(target=self._send_calls, name="fake-yagna-service", daemon=True)
        sender.start()
        reset = True
        try:
            reset = self._receive_answers()
        finally:
            self._service.disconnected(self, reset=reset)
            sender.join()

    def _accept(self) -> bool:
        self._protocol.receive_data(self._head)
        requests = [event for event in self._protocol.events_received() if isinstance(event, Request)]
        if not requests:
            return False
        with self._lock:
            self._protocol.send_response(self._protocol.accept(requests[0]))
            self._flush()
        return self._protocol.state is State.OPEN

    def _receive_answers(self) -> bool:
        """Block until the WebSocket ends; returns whether that was without a close frame."""
        while True:
            try:
                data = self._connection.recv(_READ_BYTES)
            except OSError:
                return True
            if not data:
                return self._protocol.close_rcvd is None
            with self._lock:
                self._protocol.receive_data(data)
                events = self._protocol.events_received()
                self._flush()
            for event in events:
                if isinstance(event, Frame):
                    self._take(event)
            if self._protocol.close_rcvd is not None:
                return False

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.BINARY, Opcode.CONT):
            return
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return
        message = b"".join(self._fragments)
        self._fragments.clear()
        try:
            answer = decode(message)
        except BadFlexBuffer as error:
            logger.warning("a service answered what can't be read: %s", error)
            return
        if isinstance(answer, dict):
            self._service.answered(answer)

    def _send_calls(self) -> None:
        while (messages := self._service.take(self)) is not None:
            with self._lock:
                for message in messages:
                    self._protocol.send_binary(encode(dict(message)))
                self._flush()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _flush(self) -> None:
        with contextlib.suppress(OSError):
            for data in self._protocol.data_to_send():
                if data:
                    self._connection.sendall(data)

"""The requests of one client of an HTTP proxy, one after the other."""

from __future__ import annotations

import logging
import selectors
import socket
from typing import Any

import h11

from .http_headers import passed_on, wants_upgrade, with_client
from .http_side import HttpSide
from .upstreams import NoUpstream, Upstream, Upstreams, reset

logger = logging.getLogger(__name__)

_CAN_BE_REPEATED = {b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"}
_CLIENT_IDLE_SECONDS = 75.0
# A body without a length ends with its connection, which the daemon does not show.
_END_OF_BODY_SECONDS = 5.0
_READ_BYTES = 65536


class Broken(Exception):
    """The exchange with the instance failed.

    Attributes:
        status: the HTTP status for the client.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpExchange:
    """Serves one client; its methods block, on a thread of the proxy."""

    def __init__(
        self, client: socket.socket, client_host: str, upstreams: Upstreams, timeout: float | None
    ) -> None:
        """Args:
        client: the client's socket.
        client_host: its address.
        upstreams: the instances.
        timeout: seconds without a byte from the instance after which an exchange has failed.
        """
        client.settimeout(_CLIENT_IDLE_SECONDS)
        self._client = HttpSide(client, h11.Connection(h11.SERVER))
        self._client_host = client_host
        self._upstreams = upstreams
        self._timeout = timeout

    def serve(self) -> None:
        """Serve all requests of the client."""
        client = self._client
        try:
            while isinstance(request := client.next_event(), h11.Request):
                if not self._answer(request):
                    return
                if client.protocol.our_state is not h11.DONE or client.protocol.their_state is not h11.DONE:
                    return
                client.protocol.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, f"the request is not valid: {error}")
        except OSError as error:
            logger.debug("a client of a proxy is gone: %s", error)

    # --- one request -----------------------------------------------------------------------------------

    def _answer(self, request: h11.Request) -> bool:
        """Pass a request on and its answer back; whether the client can send another one."""
        try:
            upstream = self._upstreams.get()
        except NoUpstream as error:
            self._refuse(error.status, str(error))
            return False
        upstream.socket.settimeout(self._timeout)
        try:
            response, upstream = self._ask(request, upstream)
            if response.status_code == 101:
                self._switch(response, upstream)
                return False
            self._pass_back(response, request, upstream)
        except Broken as error:
            reset(upstream.socket)
            if self._client.protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._refuse(error.status, str(error))
            else:
                # A part of the answer is out: only an error tells the client that the rest is missing.
                reset(self._client.socket)
            return False
        except BaseException:
            reset(upstream.socket)
            raise
        self._upstreams.put_back(upstream)
        return True

    def _ask(self, request: h11.Request, upstream: Upstream) -> tuple[Any, Upstream]:
        """Send the request, and wait for the head of the answer; again, if an old connection is dead."""
        upgrades = wants_upgrade(request.headers)
        headers = with_client(passed_on(request.headers, upgrades=upgrades), self._client_host)
        head = h11.Request(method=request.method, target=request.target, headers=headers)
        has_body = False
        try:
            upstream.send(head)
            has_body = self._send_body(upstream)
            return self._head_of_answer(upstream), upstream
        except (OSError, h11.ProtocolError) as error:
            can_repeat = upstream.used_before and not has_body and request.method in _CAN_BE_REPEATED
            if isinstance(error, TimeoutError) or not can_repeat:
                raise self._broken(upstream, error) from error
        reset(upstream.socket)
        try:
            fresh = self._upstreams.get(fresh=True)
        except NoUpstream as error:
            raise Broken(error.status, str(error)) from error
        fresh.socket.settimeout(self._timeout)
        try:
            fresh.send(head)
            fresh.send(h11.EndOfMessage())
            return self._head_of_answer(fresh), fresh
        except (OSError, h11.ProtocolError) as error:
            reset(fresh.socket)
            raise self._broken(fresh, error) from error

    def _send_body(self, upstream: Upstream) -> bool:
        """Pass on the body of the request; whether there was one."""
        client, has_body = self._client, False
        if client.protocol.they_are_waiting_for_100_continue:
            client.send(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            event = client.next_event()
            if isinstance(event, h11.Data):
                has_body = True
                upstream.send(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                upstream.send(h11.EndOfMessage(headers=event.headers))
                return has_body
            else:
                raise ConnectionResetError("the client left before the end of its request")

    def _head_of_answer(self, upstream: Upstream) -> Any:
        while True:
            event = upstream.next_event()
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("it closed the connection without an answer")
            if isinstance(event, h11.Response) or event.status_code == 101:
                return event

    def _broken(self, upstream: Upstream, error: Exception) -> Broken:
        if isinstance(error, TimeoutError):
            return Broken(504, f"{upstream.place} did not answer within {self._timeout:g} seconds")
        return Broken(502, f"{upstream.place} did not answer: {error}")

    def _pass_back(self, response: h11.Response, request: h11.Request, upstream: Upstream) -> None:
        names = {name for name, _ in response.headers}
        has_no_length = not names & {b"content-length", b"transfer-encoding"} and request.method != b"HEAD"
        if has_no_length:
            upstream.socket.settimeout(_END_OF_BODY_SECONDS)
        self._client.send(
            h11.Response(
                status_code=response.status_code,
                headers=passed_on(response.headers),
                reason=response.reason,
            )
        )
        while True:
            try:
                event = upstream.next_event()
            except TimeoutError as error:
                if not has_no_length:
                    raise self._broken(upstream, error) from error
                upstream.end_body()
                continue
            except (OSError, h11.RemoteProtocolError) as error:
                raise self._broken(upstream, error) from error
            if isinstance(event, h11.Data):
                self._client.send(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                self._client.send(h11.EndOfMessage(headers=event.headers))
                return

    # --- another protocol ------------------------------------------------------------------------------

    def _switch(self, response: Any, upstream: Upstream) -> None:
        """Both sides speak another protocol, such as WebSocket: pass on all bytes until one side ends."""
        client = self._client
        client.send(
            h11.InformationalResponse(
                status_code=101, headers=passed_on(response.headers, upgrades=True), reason=response.reason
            )
        )
        client.socket.sendall(upstream.protocol.trailing_data[0])
        upstream.socket.sendall(client.protocol.trailing_data[0])
        client.socket.settimeout(None)
        upstream.socket.settimeout(None)
        with upstream.socket, selectors.DefaultSelector() as selector:
            selector.register(client.socket, selectors.EVENT_READ, upstream.socket)
            selector.register(upstream.socket, selectors.EVENT_READ, client.socket)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(_READ_BYTES)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)

    def _refuse(self, status: int, message: str) -> None:
        """Answer with an error in a plain sentence, and close the connection."""
        if self._client.protocol.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        self._client.socket.sendall(refusal(status, message))


def refusal(status: int, message: str) -> bytes:
    """Return a whole answer with an error."""
    body = f"{message}\n".encode()
    head = (
        f"HTTP/1.1 {status} Proxy Error\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body

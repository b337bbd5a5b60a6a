"""The requests of one client of an HTTP proxy, one after the other."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

import h11

from ...background.cancellation import Deadline
from .both_ways import pass_both_ways
from .http_headers import passed_on, wants_upgrade, with_client, with_host
from .http_side import HttpSide
from .upstreams import Failed, Upstream, Upstreams, reset

logger = logging.getLogger(__name__)

_CAN_BE_REPEATED = {b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"}
_CLIENT_IDLE_SECONDS = 75.0
# A body without a length ends with its connection, which the daemon does not show.
_END_OF_BODY_SECONDS = 5.0
_READ_BYTES = 65536
# A client that is refused sends the rest of its request all the same, and reads the refusal after that.
_LAST_READ_SECONDS = 5.0


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
                if client.protocol.their_state is h11.SEND_BODY:
                    self._read_rest()
                if client.protocol.our_state is not h11.DONE or client.protocol.their_state is not h11.DONE:
                    return
                client.protocol.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self._refuse(_of_client(error))
        except OSError as error:
            logger.debug("a client of a proxy is gone: %s", error)

    # --- one request -----------------------------------------------------------------------------------

    def _answer(self, request: h11.Request) -> bool:
        """Pass a request on and its answer back; whether the client can send another one."""
        try:
            _check(request)
            has_body = _has_body(request)
            if not has_body:
                self._next_of_client()  # the end of the request
            response, upstream = self._asked(request, has_body)
        except Failed as error:
            self._refuse(error)
            return False
        try:
            if response.status_code == 101:
                self._switch(response, upstream)
                return False
            self._pass_back(response, request, upstream)
        except Failed as error:
            logger.debug("half of an answer: %s", error)
            reset(upstream.socket)
            # A part of the answer is out: only an error tells the client that the rest is missing.
            reset(self._client.socket)
            return False
        except BaseException:
            reset(upstream.socket)
            raise
        self._upstreams.put_back(upstream)
        return True

    def _asked(self, request: h11.Request, has_body: bool) -> tuple[Any, Upstream]:
        """Send the request, and wait for the head of the answer; again, if an old connection is dead."""
        can_repeat = not has_body and request.method in _CAN_BE_REPEATED
        while True:
            upstream = self._upstreams.get(can_repeat=can_repeat)
            upstream.socket.settimeout(self._timeout)
            try:
                return self._ask(request, has_body, upstream), upstream
            except (OSError, h11.ProtocolError) as error:
                reset(upstream.socket)
                if isinstance(error, TimeoutError) or not (can_repeat and upstream.used_before):
                    raise self._of_instance(upstream, error) from error
            except BaseException:
                reset(upstream.socket)
                raise

    def _ask(self, request: h11.Request, has_body: bool, upstream: Upstream) -> Any:
        upgrades = wants_upgrade(request.headers)
        headers = with_client(passed_on(request.headers, upgrades=upgrades), self._client_host)
        headers = with_host(headers, f"{upstream.place.ip}:{self._upstreams.port}")
        upstream.send(h11.Request(method=request.method, target=request.target, headers=headers))
        if has_body:
            self._send_body(upstream)
        else:
            upstream.send(h11.EndOfMessage())
        return upstream.next_answer()

    def _send_body(self, upstream: Upstream) -> None:
        """Pass on the body of the request, until its end or an answer that refuses it."""
        if self._client.protocol.they_are_waiting_for_100_continue:
            self._to_client(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event := self._next_of_client(), h11.Data):
            if not upstream.send_body(h11.Data(data=bytes(event.data))):
                return
        upstream.send(h11.EndOfMessage(headers=event.headers))

    def _next_of_client(self) -> Any:
        """Return what comes next of a request; raises `Failed` if that is the client's mistake."""
        try:
            return self._client.next_event()
        except (h11.RemoteProtocolError, OSError) as error:
            raise _of_client(error) from error

    def _to_client(self, event: Any) -> None:
        try:
            self._client.send(event)
        except OSError as error:
            raise _of_client(error) from error

    def _of_instance(self, upstream: Upstream, error: Exception) -> Failed:
        if self._upstreams.closed:
            return Failed(503, "the proxy was closed")
        if isinstance(error, TimeoutError):
            return Failed(504, f"{upstream.place} did not answer within {self._timeout:g} seconds")
        return Failed(502, f"{upstream.place} did not answer: {error}")

    def _pass_back(self, response: h11.Response, request: h11.Request, upstream: Upstream) -> None:
        names = {name for name, _ in response.headers}
        has_no_length = not names & {b"content-length", b"transfer-encoding"} and request.method != b"HEAD"
        if has_no_length:
            upstream.socket.settimeout(_END_OF_BODY_SECONDS)
        headers = passed_on(response.headers)
        if self._client.protocol.their_state is h11.SEND_BODY:
            headers.append((b"connection", b"close"))
        self._client.send(
            h11.Response(status_code=response.status_code, headers=headers, reason=response.reason)
        )
        while True:
            try:
                event = upstream.next_event()
            except TimeoutError as error:
                if not has_no_length:
                    raise self._of_instance(upstream, error) from error
                upstream.end_body()
                continue
            except (OSError, h11.RemoteProtocolError) as error:
                raise self._of_instance(upstream, error) from error
            if isinstance(event, h11.Data):
                self._client.send(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                has_trailers = self._client.protocol.their_http_version != b"1.0"
                self._client.send(h11.EndOfMessage(headers=event.headers if has_trailers else []))
                return
            else:
                raise Failed(502, f"{upstream.place} broke off its answer")

    # --- another protocol ------------------------------------------------------------------------------

    def _switch(self, response: Any, upstream: Upstream) -> None:
        """Both sides speak another protocol, such as WebSocket: pass on all bytes until one side ends."""
        client = self._client
        client.send(
            h11.InformationalResponse(
                status_code=101, headers=passed_on(response.headers, upgrades=True), reason=response.reason
            )
        )
        with upstream.socket:
            pass_both_ways(
                client.socket,
                upstream.socket,
                upstream.protocol.trailing_data[0],
                client.protocol.trailing_data[0],
            )

    def _refuse(self, error: Failed) -> None:
        """Answer with an error in a plain sentence that the client can read, and end the connection."""
        if self._client.protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._client.socket.sendall(refusal(error.status, str(error)))
            self._read_rest()

    def _read_rest(self) -> None:
        """Read for a while what a client sends that was answered: otherwise it would get a reset."""
        client = self._client.socket
        client.shutdown(socket.SHUT_WR)
        left = Deadline(_LAST_READ_SECONDS)
        with contextlib.suppress(TimeoutError):
            while not left.passed:
                client.settimeout(max(left.remaining(), 0.01))
                if not client.recv(_READ_BYTES):
                    return


def _check(request: h11.Request) -> None:
    """Raise `Failed` if a request can't be passed on."""
    names = {name for name, _ in request.headers}
    if request.method == b"CONNECT":
        raise Failed(405, "CONNECT is for proxies to other hosts: this one leads to an instance only")
    if not request.http_version.startswith(b"1."):
        raise Failed(505, f"HTTP/{request.http_version.decode()} is not supported: use HTTP/1.1")
    if {b"content-length", b"transfer-encoding"} <= names:
        # Two servers that take different ones see different requests.
        raise Failed(400, "the request has both Content-Length and Transfer-Encoding: send one of them")


def _has_body(request: h11.Request) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0)
        for name, value in request.headers
    )


def _of_client(error: Exception) -> Failed:
    if isinstance(error, TimeoutError):
        return Failed(408, "the rest of the request did not come in time")
    if isinstance(error, h11.RemoteProtocolError):
        return Failed(error.error_status_hint, f"the request is not valid: {error}")
    return Failed(400, f"the client is gone: {error}")


def refusal(status: int, message: str) -> bytes:
    """Return a whole answer with an error."""
    body = f"{message}\n".encode()
    head = (
        f"HTTP/1.1 {status} Proxy Error\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body

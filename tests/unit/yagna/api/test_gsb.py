"""The GSB API and its WebSockets, against a WebSocket server on loopback."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import pytest
import responses
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from simple_golem.errors import YagnaError
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.service_bus.flexbuffers import decode, encode
from simple_golem.yagna.service_bus.gsb_call import GsbRequest
from simple_golem.yagna.service_bus.gsb_socket import GsbSocket
from simple_golem.yagna.transport.socket_lost import SocketLost
from tests.unit.yagna.conftest import API

Handler = Callable[[ServerConnection], None]


@contextmanager
def daemon_with(
    handler: Handler,
    check: Callable[[ServerConnection, Request], Response | None] | None = None,
) -> Iterator[str]:
    """A daemon whose WebSockets do what a test says; gives the URL of one."""
    with serve(handler, "127.0.0.1", 0, subprotocols=["gsb+flexbuffers"], process_request=check) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}/gsb-api/v1/services/x"
        finally:
            server.shutdown()
            thread.join()


def next_requests(socket: GsbSocket) -> list[GsbRequest]:
    """What comes next; fails after twenty seconds."""
    while True:
        ready, _, _ = select.select([socket], [], [], 20)
        assert ready, "nothing came"
        if requests := socket.receive():
            return requests


def test_a_call_comes_in_and_its_answer_goes_out():
    heard: list[object] = []

    def handler(connection: ServerConnection) -> None:
        for number, component in enumerate(("GetMetadata", "GetChunk")):
            connection.send(encode({"id": str(number), "component": component, "payload": {"offset": 7}}))
            heard.append(decode(bytes(connection.recv())))

    with daemon_with(handler) as url:
        socket = GsbSocket(url, "the-key")
        assert next_requests(socket) == [GsbRequest("0", "GetMetadata", {"offset": 7})]
        socket.answer("0", {"fileSize": 3})
        assert next_requests(socket) == [GsbRequest("1", "GetChunk", {"offset": 7})]
        socket.refuse("1", "ReadError", "gone")
        with pytest.raises(SocketLost, match="closed the WebSocket"):
            next_requests(socket)
        socket.close()
    assert heard == [{"id": "0", "payload": {"fileSize": 3}}, {"id": "1", "error": {"ReadError": "gone"}}]


def test_it_says_who_it_is_and_what_it_speaks():
    seen: list[Request] = []

    def check(_connection: ServerConnection, request: Request) -> None:
        seen.append(request)

    with daemon_with(lambda connection: None, check) as url:
        socket = GsbSocket(url, "the-key")
        with pytest.raises(SocketLost):
            next_requests(socket)
        socket.close()
    (request,) = seen
    assert request.path == "/gsb-api/v1/services/x"
    assert request.headers["Authorization"] == "Bearer the-key"
    assert request.headers["Sec-WebSocket-Protocol"] == "gsb+flexbuffers"


def test_data_that_does_not_fit_into_the_connection_is_sent_later():
    content = bytes(60_000)
    received: list[int] = []
    full = threading.Event()

    def handler(connection: ServerConnection) -> None:
        connection.send(encode({"id": "1", "component": "GetChunk", "payload": None}))
        assert full.wait(60)
        for _ in range(400):
            received.append(len(decode(bytes(connection.recv()))["payload"]["content"]))

    with daemon_with(handler) as url:
        socket = GsbSocket(url, "the-key")
        next_requests(socket)
        for _ in range(400):
            socket.answer("1", {"content": content})
        assert socket.unsent > 1_000_000
        full.set()
        while socket.unsent:
            assert select.select([], [socket], [], 20)[1]
            socket.flush()
        with pytest.raises(SocketLost):
            next_requests(socket)
        socket.close()
    assert received == [60_000] * 400


def test_a_refusal_says_its_status():
    def check(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(HTTPStatus.NOT_FOUND, "no such service")

    with daemon_with(lambda connection: None, check) as url:
        socket = GsbSocket(url, "the-key")
        with pytest.raises(SocketLost, match="404") as caught:
            next_requests(socket)
        socket.close()
    assert caught.value.status == 404


def test_an_unreadable_message_ends_the_socket():
    def handler(connection: ServerConnection) -> None:
        connection.send(b"\x78\x9c this is no flexbuffer")
        connection.recv(timeout=20)

    with daemon_with(handler) as url:
        socket = GsbSocket(url, "the-key")
        with pytest.raises(SocketLost, match="can't be read"):
            next_requests(socket)
        socket.close()


@pytest.mark.parametrize("read", [True, False], ids=("what came was read", "what came was not read"))
def test_it_ends_with_a_reset_and_not_in_good_order(read):
    """A daemon keeps the calls of a WebSocket that ended in good order, and leaves them waiting."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        carrier = GsbSocket(f"http://127.0.0.1:{server.getsockname()[1]}/x", "the-key")
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20)
            connection.recv(4096)
            connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            assert select.select([carrier], [], [], 20)[0]
            if read:
                with pytest.raises(SocketLost):
                    carrier.receive()
            carrier.close()
            with pytest.raises(ConnectionResetError):
                connection.recv(4096)


def test_a_refused_connection_is_a_lost_socket():
    with pytest.raises(SocketLost, match="no connection"):
        GsbSocket("http://127.0.0.1:9/gsb-api/v1/services/x", "the-key")


def test_a_long_message_comes_in_pieces_and_pings_are_no_requests():
    message = encode({"id": "1", "component": "UploadChunk", "payload": {"content": bytes(1000)}})

    def handler(connection: ServerConnection) -> None:
        connection.ping()
        connection.send([message[:100], message[100:700], message[700:]])
        connection.recv(timeout=20)

    with daemon_with(handler) as url:
        socket = GsbSocket(url, "the-key")
        (request,) = next_requests(socket)
        assert request == GsbRequest("1", "UploadChunk", {"content": bytes(1000)})
        assert socket.receive() == []  # nothing more has come
        socket.answer("1", None)
        with pytest.raises(SocketLost):
            next_requests(socket)
        socket.close()


@pytest.mark.parametrize("call", [{"id": 1, "component": "x", "payload": 2}, {"id": "1"}, [1]])
def test_a_request_that_can_not_be_answered_ends_the_socket(call: object):
    def handler(connection: ServerConnection) -> None:
        connection.send(encode(call))
        connection.recv(timeout=20)

    with daemon_with(handler) as url:
        socket = GsbSocket(url, "the-key")
        with pytest.raises(SocketLost, match=r"without id or component|can't be read"):
            next_requests(socket)
        socket.close()


def test_an_answer_that_is_not_a_websocket_is_a_lost_socket():
    with socket.create_server(("127.0.0.1", 0)) as server:
        carrier = GsbSocket(f"http://127.0.0.1:{server.getsockname()[1]}/x", "the-key")
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n")
            with pytest.raises(SocketLost):
                next_requests(carrier)
        carrier.close()


def test_a_connection_that_was_reset_is_a_lost_socket():
    with socket.create_server(("127.0.0.1", 0)) as server:
        for action in ("receive", "flush"):
            carrier = GsbSocket(f"http://127.0.0.1:{server.getsockname()[1]}/x", "the-key")
            connection, _ = server.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.recv(4096)
            connection.close()
            assert select.select([carrier], [], [], 20)[0]
            if action == "flush":
                carrier._web_socket._socket._unsent += b"more"
            with pytest.raises(SocketLost, match=r"reset|Broken pipe"):
                getattr(carrier, action)()
            carrier.close()


def test_over_https_a_certificate_is_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=lambda: server.accept()[0].close())
        answering.start()
        with pytest.raises(SocketLost, match="no connection to https"):
            GsbSocket(f"https://127.0.0.1:{server.getsockname()[1]}/x", "the-key")
        answering.join()


def test_a_service_is_published_and_withdrawn(yagna: Yagna, daemon: responses.RequestsMock):
    body = {"listen": {"on": "/public/gftp/x", "components": ["GetChunk"]}}
    daemon.post(
        f"{API}/gsb-api/v1/services",
        json={**body, "servicesId": "L3B1YmxpYy9nZnRwL3g"},
        status=201,
        match=[responses.matchers.json_params_matcher(body)],
    )
    daemon.delete(f"{API}/gsb-api/v1/services/L3B1YmxpYy9nZnRwL3g", json=None)
    daemon.delete(
        f"{API}/gsb-api/v1/services/L3B1YmxpYy9nZnRwL3g", status=404, json={"message": "no such service"}
    )
    services_id = yagna.gsb.publish("/public/gftp/x", ["GetChunk"])
    yagna.gsb.withdraw(services_id)
    yagna.gsb.withdraw(services_id)  # what is gone is gone


def test_a_daemon_that_has_stalled_is_not_waited_for_longer_than_said():
    with socket.create_server(("127.0.0.1", 0)) as stalled:
        client = Yagna(f"http://127.0.0.1:{stalled.getsockname()[1]}", "the-key")
        began = time.monotonic()
        with pytest.raises(YagnaError, match="timed out"):
            client.gsb.withdraw("L3B1", within=0.2)
        assert time.monotonic() - began < 2
        client.close()

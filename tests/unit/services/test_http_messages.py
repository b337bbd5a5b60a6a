"""What an HTTP proxy does with requests and answers that are broken or unusual, on a daemon in memory."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from simple_golem import Golem, HttpProxy
from simple_golem.testing import FakeProvider, FakeYagna
from tests.helpers.recorded_services import SECONDS, started
from tests.unit.conftest import eventually

PORT = 80
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /file HTTP/1.1\r\nHost: x\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each head of a request as told; `connections` has what came on each connection."""

    def __init__(self) -> None:
        self.connections: list[bytearray] = []
        self.answer: Callable[[bytes], bytes] = lambda head: OK

    def serve(self, connection: socket.socket) -> None:
        got = bytearray()
        self.connections.append(got)
        answered = 0
        while data := connection.recv(65536):
            got += data
            heads = bytes(got).split(b"\r\n\r\n")[:-1]
            for head in heads[answered:]:
                if head.startswith((b"GET", b"HEAD")):
                    connection.sendall(self.answer(head))
            answered = len(heads)

    @property
    def got(self) -> bytes:
        return b"".join(self.connections)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch, server: Server) -> Iterator[HttpProxy]:
    with FakeYagna([FakeProvider(servers={PORT: server.serve})]) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        with Golem(1) as golem, HttpProxy(started(golem, network=True), PORT) as proxy:
            yield proxy
        assert fake.leftovers() == []


@contextlib.contextmanager
def dialled(proxy: HttpProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.local_port), SECONDS) as client:
        yield client


def rest(client: socket.socket) -> bytes:
    """All that comes until the end of the connection."""
    got = b""
    while data := client.recv(65536):
        got += data
    return got


def asked(proxy: HttpProxy, request: bytes, end: bytes = b"ok") -> bytes:
    """One answer, which ends with certain bytes."""
    with dialled(proxy) as client:
        client.sendall(request)
        got = b""
        while not got.endswith(end) and (data := client.recv(65536)):
            got += data
        return got


@pytest.mark.parametrize(
    ("half", "broken"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"zz\r\n"),
        (b"Content-Length: 100\r\n\r\nhello", b""),
    ],
)
def test_an_upload_that_breaks_off_never_becomes_a_whole_one(
    proxy: HttpProxy, server: Server, half: bytes, broken: bytes
) -> None:
    with dialled(proxy) as client:
        client.sendall(GET)
        while not client.recv(65536).endswith(b"ok"):
            pass
        # Its connection to the instance was used before: a request without a body would be repeated.
        client.sendall(PUT + half)
        eventually(lambda: b"hello" in server.got)
        client.sendall(broken)
        client.shutdown(socket.SHUT_WR)
        assert rest(client).startswith(b"HTTP/1.1 400 ")
    proxy.close()
    assert server.got.count(b"PUT /file") == 1
    assert server.got.rstrip(b"\r\n").endswith(b"hello")

"""What an HTTP proxy does with requests and answers that are broken or unusual, on a daemon in memory."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
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
        self.reads_on = threading.Event()
        self.reads_on.set()
        self.answered: tuple[bytes, ...] = (b"GET", b"HEAD")

    def serve(self, connection: socket.socket) -> None:
        got = bytearray()
        self.connections.append(got)
        answered = 0
        while data := connection.recv(65536):
            got += data
            heads = bytes(got).split(b"\r\n\r\n")[:-1]
            for head in heads[answered:]:
                if head.startswith(self.answered):
                    connection.sendall(self.answer(head))
                    self.reads_on.wait(SECONDS)
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


def test_what_a_server_says_after_its_answer_goes_to_no_other_client(
    proxy: HttpProxy, server: Server
) -> None:
    server.answer = lambda head: OK + OK.replace(b"ok", b"no") if b"/first" in head else OK
    assert asked(proxy, GET.replace(b"/ ", b"/first ")).endswith(b"\r\n\r\nok")
    assert asked(proxy, GET).endswith(b"\r\n\r\nok")
    assert len(server.connections) == 2


def test_a_request_with_two_lengths_is_refused(proxy: HttpProxy, server: Server) -> None:
    with dialled(proxy) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1e\r\nGET /smuggled HTTP/1.1\r\nHost: \r\n0\r\n\r\n"
        )
        client.shutdown(socket.SHUT_WR)
        answer = rest(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"both Content-Length and Transfer-Encoding" in answer
    assert server.connections == []


def test_an_answer_with_two_lengths_has_one_for_the_client(proxy: HttpProxy, server: Server) -> None:
    server.answer = lambda head: (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    answer = asked(proxy, GET, end=b"0\r\n\r\n").lower()
    assert answer.endswith(b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert b"content-length" not in answer


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 3", b"abc"),
        (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
    ],
)
def test_no_request_loses_its_length_or_its_host(
    proxy: HttpProxy, server: Server, framing: bytes, body: bytes
) -> None:
    dropped = b"Connection: host, content-length, transfer-encoding"
    with dialled(proxy) as client:
        client.sendall(b"\r\n".join([b"POST / HTTP/1.1\r\nHost: x", dropped, framing, b"", body]))
        eventually(lambda: b"abc" in server.got)
    head = server.got.lower()
    assert b"host: x\r\n" in head
    assert framing.lower() in head


def test_an_old_client_is_answered_and_the_instance_gets_a_host(proxy: HttpProxy, server: Server) -> None:
    answer = asked(proxy, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer.lower()
    assert b"host: 192.168.0.2:80\r\n" in server.got


def test_an_old_client_gets_no_trailers(
    proxy: HttpProxy, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = lambda head: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    assert asked(proxy, b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", end=b"never").endswith(b"\r\n\r\nok")
    assert b"x-sum" in asked(proxy, GET, end=b"X-Sum: 1\r\n\r\n").lower()
    proxy.close()
    assert "failed" not in caplog.text


def test_a_newer_version_of_http_is_refused_with_a_sentence(proxy: HttpProxy, server: Server) -> None:
    answer = asked(proxy, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", end=b"use HTTP/1.1\n")
    assert answer.startswith(b"HTTP/1.1 505 ")
    assert server.connections == []


def test_what_can_not_be_repeated_uses_no_connection_that_was_idle(proxy: HttpProxy, server: Server) -> None:
    server.answered += (b"POST",)
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    for request, idle in ((GET, 0.0), (GET, 0.6), (post, 0.6), (post, -60.0), (GET, 0.6)):
        for kept in proxy._upstreams._idle:
            kept.idle_since = time.monotonic() - idle
        assert asked(proxy, request).startswith(b"HTTP/1.1 200 ")
        eventually(lambda: proxy._upstreams._idle)  # the connection is kept for the next request
    assert [one.count(b"HTTP/1.1") for one in server.connections] == [2, 3]


def test_a_server_that_refuses_an_upload_early_and_reads_no_more_is_heard(
    proxy: HttpProxy, server: Server
) -> None:
    server.answered += (b"POST",)
    server.answer = lambda head: b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"
    server.reads_on.clear()
    client = http.client.HTTPConnection("127.0.0.1", proxy.local_port, timeout=SECONDS)
    try:
        client.request("POST", "/", body=bytes(50_000_000))
        answer = client.getresponse()
        assert (answer.status, answer.read(), answer.headers["Connection"]) == (413, b"big", "close")
    finally:
        server.reads_on.set()
        client.close()


def test_an_answer_that_comes_before_the_end_of_an_upload_does_not_end_it(
    proxy: HttpProxy, server: Server
) -> None:
    server.answered += (b"POST",)
    server.answer = lambda head: b"HTTP/1.1 100 Continue\r\n\r\n" + OK
    with dialled(proxy) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + bytes(100_000))
        eventually(lambda: len(server.got) > 100_000)
        client.sendall(bytes(200_000))
        got = b""
        while not got.endswith(b"ok"):
            got += client.recv(65536)
        assert got.startswith(b"HTTP/1.1 200 ")
        eventually(lambda: server.got.endswith(bytes(300_000)))

"""GETs on a kept connection, to a server of the test."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from simple_golem.yagna.transport.kept_connection import KeptConnection
from simple_golem.yagna.transport.readiness import wait_readable
from simple_golem.yagna.transport.socket_lost import SocketLost

SECONDS = 5.0
ANSWER = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Takes connections when the test says so."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(SECONDS)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(SECONDS)
        return connection


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


@pytest.fixture
def kept(server: Server) -> Iterator[KeptConnection]:
    kept = KeptConnection(server.url, "the-key")
    yield kept
    kept.close()


def received(kept: KeptConnection) -> int | None:
    assert wait_readable(kept, SECONDS)
    return kept.receive()


def test_one_request_after_the_other_goes_over_one_connection(server: Server, kept: KeptConnection) -> None:
    assert (kept.fileno(), kept.unsent) == (-1, 0)
    kept.get("/one")
    with server.accept() as connection:
        for path in ("/one", "/two"):
            if path == "/two":
                kept.get(path)
            request = connection.recv(1000)
            assert request.startswith(b"GET %s HTTP/1.1\r\n" % path.encode())
            assert b"Bearer the-key" in request
            connection.sendall(ANSWER[:20])
            assert received(kept) is None
            connection.sendall(ANSWER[20:])
            assert received(kept) == 400


def test_a_connection_that_was_closed_meanwhile_is_made_again(server: Server, kept: KeptConnection) -> None:
    kept.get("/one")
    with server.accept() as connection:
        connection.recv(1000)
        connection.sendall(ANSWER)
        assert received(kept) == 400
    # Nothing was asked: that the daemon closes it is no error.
    assert received(kept) is None
    assert kept.fileno() == -1
    kept.get("/two")
    with server.accept() as connection:
        connection.recv(1000)
        connection.sendall(ANSWER)
        assert received(kept) == 400
        kept.get("/three")
        assert connection.recv(1000).startswith(b"GET /three")
    assert received(kept) is None
    with server.accept() as connection:
        assert connection.recv(1000).startswith(b"GET /three")
        connection.sendall(ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert received(kept) == 400
    assert kept.fileno() == -1


def test_what_is_no_answer_is_an_error(server: Server, kept: KeptConnection) -> None:
    for answer in (b"", b"nonsense\r\n\r\n"):
        kept.get("/one")
        with server.accept() as connection:
            connection.recv(1000)
            connection.sendall(answer)
        with pytest.raises(SocketLost):
            received(kept)
    server.listener.close()
    with pytest.raises(SocketLost, match="no connection"):
        kept.get("/one")

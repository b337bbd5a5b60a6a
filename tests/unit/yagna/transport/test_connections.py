"""The connections that are kept open, with daemons of good and bad manners at the other end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from urllib3.util import wait_for_read

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import EngineThread
from simple_golem.errors import YagnaError
from simple_golem.yagna.transport.connections import Connections
from simple_golem.yagna.transport.http import Http
from simple_golem.yagna.transport.retry import Repeat
from tests.helpers.loopback import Loopback, answer, silence

Serve = Callable[..., Loopback]
Connect = Callable[[Loopback], Http]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n[1, 2,\r\n3\r\n 3]\r\n0\r\n\r\n"


def connections_of(server: Loopback) -> list[int]:
    return [received.connection for received in server.received]


def pool_of(http: Http) -> Connections:
    (pool,) = http._adapter._pools.values()
    assert isinstance(pool, Connections)
    return pool


def test_an_answer_in_chunks_is_read_to_its_end(serve: Serve, connect: Connect) -> None:
    server = serve(lambda server: CHUNKED)
    http = connect(server)
    assert [http.request("GET", "/chunks") for _ in range(2)] == [[1, 2, 3]] * 2
    assert connections_of(server) == [1, 1]


def test_a_connection_that_is_to_be_closed_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine", extra="Connection: close\r\n"), answer(200, "better"))
    http = connect(server)
    assert [http.request("GET", "/me") for _ in range(3)] == ["fine", "better", "better"]
    assert connections_of(server) == [1, 2, 2]


def test_a_connection_that_was_closed_while_idle_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine"))
    http = connect(server)
    assert http.request("GET", "/me") == "fine"
    server._connections[0].shutdown(socket.SHUT_RDWR)
    assert wait_for_read(pool_of(http)._idle[0].sock, timeout=5)
    assert http.request("POST", "/demands", body={}, repeat=Repeat.NEVER) == "fine"
    assert connections_of(server) == [1, 2]


def test_no_more_are_kept_than_may_be_idle(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine"))
    http = connect(server)
    http._adapter._most_idle = 1
    http.request("GET", "/me")
    pool = pool_of(http)
    (first,) = pool._idle
    pool._idle.clear()
    http.request("GET", "/me")
    (second,) = pool._idle
    pool._keep(first)
    assert list(pool._idle) == [second]
    assert first.sock is None


def test_requests_at_once_have_a_connection_each(serve: Serve, connect: Connect) -> None:
    server = serve(silence)
    http = connect(server)

    def ask() -> None:
        with pytest.raises(YagnaError):
            http.request("GET", "/events", repeat=Repeat.NEVER)

    threads = [EngineThread(f"asking-{number}", ask).start() for number in range(3)]
    for _ in threads:
        assert server.silent.acquire(timeout=5)
    server.closing.set()
    for thread in threads:
        assert thread.join(5)
        assert thread.exception is None
    assert sorted(connections_of(server)) == [1, 2, 3]


@pytest.mark.parametrize(
    "sent",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1, 2", b"not what a daemon says\r\n\r\n", b"HTTP/1.1 2"],
)
def test_an_answer_that_breaks_off_or_is_none_is_an_error(
    serve: Serve, connect: Connect, sent: bytes
) -> None:
    def break_off(server: Loopback) -> bytes | None:
        server._connections[-1].sendall(sent)
        return None

    server = serve(break_off, answer(200, "fine"))
    http = connect(server)
    with pytest.raises(YagnaError, match="/me") as caught:
        http.request("GET", "/me", repeat=Repeat.NEVER)
    assert caught.value.status is None
    assert http.request("GET", "/me") == "fine"
    assert connections_of(server) == [1, 2]


def test_an_answer_is_awaited_only_as_long_as_it_may_take(serve: Serve, connect: Connect) -> None:
    http = connect(serve(silence))
    began = time.monotonic()
    with pytest.raises(YagnaError, match="timed out"):
        http.request("GET", "/events", timeout=0.1, margin=0.1, repeat=Repeat.NEVER)
    assert 0.2 <= time.monotonic() - began < 3 * 1.0


def test_a_refusal_is_heard_also_of_what_was_not_read_to_its_end(serve: Serve, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        http = Http(f"http://127.0.0.1:{listener.getsockname()[1]}", "the-key")

        def serve_one() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo long")

        serving = EngineThread("refusing", serve_one).start()
        with pytest.raises(YagnaError, match="too long") as caught:
            http.request("POST", "/exec", body="x" * 20_000_000, repeat=Repeat.NEVER)
        assert list(pool_of(http)._idle) == []
        http.close()
        assert serving.join(5)
    assert caught.value.status == 413


def test_a_request_is_abandoned_while_it_is_sent(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        http = Http(f"http://127.0.0.1:{listener.getsockname()[1]}", "the-key")
        scope = Scope()

        def send() -> None:
            with pytest.raises(ScopeEnded, match="Ctrl-C"):
                http.request("POST", "/exec", body="x" * 50_000_000, timeout=60.0, scope=scope)

        sending = EngineThread("sending", send).start()
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(10, socket.MSG_WAITALL) == b"POST /exec"
            began = time.monotonic()
            scope.cancel("Ctrl-C")
            assert sending.join(5)
        assert time.monotonic() - began < 3 * 0.5
        assert sending.exception is None
        http.close()


def test_what_is_answered_after_closing_is_closed_too(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine"))
    http = connect(server)
    http.request("GET", "/me")
    pool = pool_of(http)
    http.close()
    assert http.request("GET", "/me") == "fine"
    assert list(pool._idle) == []
    http.close()


def test_what_can_not_stand_in_a_url_is_escaped(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine"))
    connect(server).request("GET", "/agreements/a b\r\nX: ü#?q=1")
    assert server.received[0].target == "/agreements/a%20b%0D%0AX:%20%C3%BC%23?q=1"
    assert "X" not in server.received[0].headers


def test_closing_closes_what_is_idle(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine"))
    http = connect(server)
    http.request("GET", "/me")
    (connection,) = pool_of(http)._idle
    http.close()
    assert connection.sock is None

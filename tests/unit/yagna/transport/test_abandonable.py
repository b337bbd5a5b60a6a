"""Requests that are abandoned from outside, and connections that are kept, replaced or closed."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from http.client import parse_headers
from typing import Any

import pytest
from requests import Request
from urllib3.util import wait_for_read

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import EngineThread
from simple_golem.errors import YagnaError
from simple_golem.yagna.transport import abandonable as sockets
from simple_golem.yagna.transport.abandonable import AbandonableAdapter
from simple_golem.yagna.transport.http import Http
from simple_golem.yagna.transport.retry import Repeat
from tests.helpers.loopback import Loopback, answer, silence

Serve = Callable[..., Loopback]
Connect = Callable[[Loopback], Http]

# A request that waits is abandoned within this many seconds; what a test bears is three times that.
# The wrong ways take twenty seconds.
AT_ONCE = 0.7

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n[1, 2,\r\n3\r\n 3]\r\n0\r\n\r\n"


def connections_of(server: Loopback) -> list[int]:
    return [received.connection for received in server.received]


def idle_in(http: Http) -> list[Any]:
    """The sockets of the connections that are kept open."""
    assert isinstance(http._adapter, AbandonableAdapter)
    return [
        connection.sock
        for pool in http._adapter._pools.values()
        for connection in list(pool.pool.queue)
        if connection is not None and connection.sock is not None
    ]


def request(http: Http, scope: Scope, errors: list[Exception]) -> None:
    try:
        http.request("GET", "/events", timeout=20.0, scope=scope)
    except ScopeEnded as error:
        errors.append(error)


def test_a_request_under_way_is_abandoned_at_once(serve: Serve, connect: Connect) -> None:
    server = serve(silence)
    scope, errors = Scope(), list[Exception]()
    thread = EngineThread("asking", request, connect(server), scope, errors).start()
    assert server.silent.acquire(timeout=20)
    began = time.monotonic()
    scope.cancel("Ctrl-C")
    assert thread.join(20)
    assert time.monotonic() - began < 3 * AT_ONCE
    assert [str(error) for error in errors] == ["Ctrl-C"]
    assert len(server.received) == 1


def test_many_requests_of_one_scope_are_abandoned_together(serve: Serve, connect: Connect) -> None:
    server = serve(silence)
    http, scope, errors = connect(server), Scope(), list[Exception]()
    threads = [EngineThread(f"asking-{n}", request, http, scope, errors).start() for n in range(8)]
    for _ in threads:
        assert server.silent.acquire(timeout=20)
    began = time.monotonic()
    scope.cancel()
    for thread in threads:
        assert thread.join(20)
    assert time.monotonic() - began < 3 * AT_ONCE
    assert len(errors) == 8


def test_only_the_requests_of_the_cancelled_scope_are_abandoned(serve: Serve, connect: Connect) -> None:
    go_on = threading.Event()

    def slowly(server: Loopback) -> bytes | None:
        server.silent.release()
        go_on.wait(20)
        return answer(200, "in the end")(server)

    server = serve(slowly)
    http, ended = connect(server), Scope()
    other = EngineThread("other", lambda: http.request("GET", "/other", scope=Scope())).start()
    mine = EngineThread("mine", request, http, ended, []).start()
    for _ in range(2):
        assert server.silent.acquire(timeout=20)
    ended.cancel()
    assert mine.join(20)
    assert other.alive
    go_on.set()
    assert other.join(20)
    assert other.result == "in the end"


def test_a_request_before_its_first_byte_is_abandoned_too(serve: Serve, connect: Connect) -> None:
    """The scope ends after the check at the request's beginning, before the socket is known."""
    server = serve(silence)

    class EndsWhenWatched(Scope):
        def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
            forget = super().on_cancel(callback)
            self.cancel("just then")
            return forget

    began = time.monotonic()
    with pytest.raises(ScopeEnded, match="just then"):
        connect(server).request("GET", "/events", timeout=20.0, scope=EndsWhenWatched())
    assert time.monotonic() - began < 3 * AT_ONCE


def test_the_socket_of_a_finished_request_is_never_shut(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine"))
    http, scope = connect(server), Scope()
    assert http.request("GET", "/first", scope=scope) == "fine"
    scope.cancel()
    assert http.request("GET", "/second") == "fine"
    assert [received.connection for received in server.received] == [1, 1]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_socket_is_detached_before_another_request_can_use_it(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    """Cancelled in the very moment when the connection goes back to where other threads find it."""
    scope = Scope()

    class CancelsWhenPut(queue.LifoQueue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            super().put(item, block, timeout)
            if item is not None:
                scope.cancel()

    monkeypatch.setattr(sockets._Pool, "QueueCls", CancelsWhenPut)
    server = serve(answer(200, "fine"))
    http = connect(server)
    if streamed:
        pieces = http.stream("/first", accept="application/json", silence=5.0, scope=scope)
        assert list(pieces) == [b'"fine"']
    else:
        assert http.request("GET", "/first", scope=scope) == "fine"
    assert scope.cancelled
    assert http.request("GET", "/second") == "fine"
    assert connections_of(server) == [1, 1]


def test_a_request_made_while_a_stream_is_read_leaves_the_stream_abandonable(
    serve: Serve, connect: Connect
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    server = serve(lambda server: head, answer(200, "fine"))
    http, scope = connect(server), Scope()
    pieces = http.stream("/stream", accept="text/plain", silence=20.0, scope=scope)
    assert next(pieces) == b"hi"
    assert http.request("GET", "/me", scope=Scope()) == "fine"
    began = time.monotonic()
    scope.cancel("enough")
    with pytest.raises(ScopeEnded, match="enough"):
        next(pieces)
    assert time.monotonic() - began < 3 * AT_ONCE


def test_an_abandoned_connection_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(silence, answer(200, "fine"))
    http, scope = connect(server), Scope()
    thread = EngineThread("asking", request, http, scope, []).start()
    assert server.silent.acquire(timeout=20)
    scope.cancel()
    assert thread.join(20)
    assert http.request("GET", "/next") == "fine"
    assert [received.connection for received in server.received] == [1, 2]


def test_a_finished_request_leaves_nothing_in_its_scope(serve: Serve, connect: Connect) -> None:
    http, scope = connect(serve(answer())), Scope()
    for _ in range(3):
        http.request("GET", "/me", scope=scope)
    assert scope._callbacks == {}


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
    (idle,) = idle_in(http)
    server._connections[0].shutdown(socket.SHUT_RDWR)
    assert wait_for_read(idle, timeout=20)
    assert http.request("POST", "/demands", body={}, repeat=Repeat.NEVER) == "fine"
    assert connections_of(server) == [1, 2]


def test_no_more_are_kept_than_may_be_idle(serve: Serve) -> None:
    all_asked = threading.Barrier(2)

    def together(server: Loopback) -> bytes | None:
        all_asked.wait(20)
        return answer(200, "fine")(server)

    http = Http(serve(together).url, "the-key", AbandonableAdapter(1))
    threads = [EngineThread(f"asking-{n}", http.request, "GET", "/me").start() for n in range(2)]
    for thread in threads:
        assert thread.join(20)
        assert thread.result == "fine"
    assert len(idle_in(http)) == 1
    http.close()


def test_requests_at_once_have_a_connection_each(serve: Serve, connect: Connect) -> None:
    server = serve(silence)
    http = connect(server)

    def ask() -> None:
        with pytest.raises(YagnaError):
            http.request("GET", "/events", repeat=Repeat.NEVER)

    threads = [EngineThread(f"asking-{number}", ask).start() for number in range(3)]
    for _ in threads:
        assert server.silent.acquire(timeout=20)
    server.closing.set()
    for thread in threads:
        assert thread.join(20)
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
        assert idle_in(http) == []
        http.close()
        assert serving.join(20)
    assert caught.value.status == 413


def test_a_long_body_may_take_longer_than_a_connection() -> None:
    """urllib3 itself allows as many seconds for sending as for connecting."""
    body = b"x" * 20_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def read_late() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                time.sleep(0.5)
                parse_headers(stream)
                stream.read(len(body))
                connection.sendall(b"HTTP/1.1 204 Fine\r\n\r\n")

        reading = EngineThread("reading", read_late).start()
        adapter = AbandonableAdapter(1)
        port = listener.getsockname()[1]
        request = Request("POST", f"http://127.0.0.1:{port}/exec", data=body).prepare()
        with adapter.send(request, timeout=(0.1, 10.0)) as response:
            assert response.status_code == 204
        adapter.close()
        assert reading.join(20)


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
            assert sending.join(20)
        assert time.monotonic() - began < 3 * AT_ONCE
        assert sending.exception is None
        http.close()


def test_headers_and_body_of_a_request_are_sent_at_once() -> None:
    """In two sends they would be two packets, and the daemon would be woken twice."""
    sent: list[bytes] = []

    class RecordingSocket:
        def sendall(self, data: bytes) -> None:
            sent.append(data)

        def settimeout(self, seconds: float | None) -> None:
            assert seconds is None

    connection = sockets._Connection("127.0.0.1")
    connection.sock = RecordingSocket()  # type: ignore[assignment]
    connection.request("POST", "/exec", body="[1]", headers={"Content-Length": "3"})
    assert len(sent) == 1
    head, body = sent[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /exec HTTP/1.1\r\n")
    assert b"Content-Length: 3" in head
    assert body == b"[1]"


def test_a_request_after_closing_is_answered_and_its_connection_closed(
    serve: Serve, connect: Connect
) -> None:
    http = connect(serve(answer(200, "fine")))
    http.request("GET", "/me")
    http.close()
    assert http.request("GET", "/me") == "fine"
    assert idle_in(http) == []


def test_a_request_under_way_while_closing_is_answered_and_its_connection_closed(
    serve: Serve, connect: Connect
) -> None:
    go_on = threading.Event()

    def slowly(server: Loopback) -> bytes | None:
        server.silent.release()
        go_on.wait(20)
        return answer(200, "fine")(server)

    server = serve(slowly)
    http = connect(server)
    thread = EngineThread("asking", http.request, "GET", "/me").start()
    assert server.silent.acquire(timeout=20)
    http.close()
    go_on.set()
    assert thread.join(20)
    assert thread.result == "fine"
    server._threads[-1].join(20)  # the server's side ends when the client has closed
    assert not server._threads[-1].is_alive()


def test_closing_closes_what_is_idle(serve: Serve, connect: Connect) -> None:
    http = connect(serve(answer(200, "fine")))
    http.request("GET", "/me")
    (idle,) = idle_in(http)
    http.close()
    assert idle.fileno() == -1

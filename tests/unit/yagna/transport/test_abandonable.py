"""Requests that are abandoned from outside, and sockets that are left alone."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import EngineThread
from simple_golem.yagna.transport import abandonable as sockets
from simple_golem.yagna.transport.connections import Connections
from simple_golem.yagna.transport.http import Http
from tests.helpers.loopback import Loopback, answer, silence

Serve = Callable[..., Loopback]
Connect = Callable[[Loopback], Http]

# A request that waits is abandoned within this many seconds; what a test bears is three times that.
AT_ONCE = 0.1


def request(http: Http, scope: Scope, errors: list[Exception]) -> None:
    try:
        http.request("GET", "/events", timeout=20.0, scope=scope)
    except ScopeEnded as error:
        errors.append(error)


def test_a_request_under_way_is_abandoned_at_once(serve: Serve, connect: Connect) -> None:
    server = serve(silence)
    scope, errors = Scope(), list[Exception]()
    thread = EngineThread("asking", request, connect(server), scope, errors).start()
    assert server.silent.acquire(timeout=5)
    began = time.monotonic()
    scope.cancel("Ctrl-C")
    assert thread.join(5)
    assert time.monotonic() - began < 3 * AT_ONCE
    assert [str(error) for error in errors] == ["Ctrl-C"]
    assert len(server.received) == 1


def test_many_requests_of_one_scope_are_abandoned_together(serve: Serve, connect: Connect) -> None:
    server = serve(silence)
    http, scope, errors = connect(server), Scope(), list[Exception]()
    threads = [EngineThread(f"asking-{n}", request, http, scope, errors).start() for n in range(8)]
    for _ in threads:
        assert server.silent.acquire(timeout=5)
    began = time.monotonic()
    scope.cancel()
    for thread in threads:
        assert thread.join(5)
    assert time.monotonic() - began < 3 * AT_ONCE
    assert len(errors) == 8


def test_only_the_requests_of_the_cancelled_scope_are_abandoned(serve: Serve, connect: Connect) -> None:
    go_on = threading.Event()

    def slowly(server: Loopback) -> bytes | None:
        server.silent.release()
        go_on.wait(5)
        return answer(200, "in the end")(server)

    server = serve(slowly)
    http, ended = connect(server), Scope()
    other = EngineThread("other", lambda: http.request("GET", "/other", scope=Scope())).start()
    mine = EngineThread("mine", request, http, ended, []).start()
    for _ in range(2):
        assert server.silent.acquire(timeout=5)
    ended.cancel()
    assert mine.join(5)
    assert other.alive
    go_on.set()
    assert other.join(5)
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


def test_a_socket_is_let_go_before_somebody_else_can_take_it(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in the very moment when the connection goes back to where others find it."""
    scope = Scope()
    keep = Connections._keep

    def keep_and_cancel(connections: Connections, connection: HTTPConnection) -> None:
        keep(connections, connection)
        scope.cancel()

    monkeypatch.setattr(Connections, "_keep", keep_and_cancel)
    server = serve(answer(200, "fine"))
    http = connect(server)
    assert http.request("GET", "/first", scope=scope) == "fine"
    assert scope.cancelled
    assert http.request("GET", "/second") == "fine"
    assert [received.connection for received in server.received] == [1, 1]


def test_so_is_the_socket_of_a_stream(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = Scope()

    class Back(queue.LifoQueue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            super().put(item, block, timeout)
            if item is not None:
                scope.cancel()

    monkeypatch.setattr(sockets._PlainPool, "QueueCls", Back)
    server = serve(answer(200, b"fine", "text/plain"))
    http = connect(server)
    for given in (scope, Scope()):
        assert list(http.stream("/stream", accept="text/plain", silence=5.0, scope=given)) == [b"fine"]
    assert scope.cancelled
    assert [received.connection for received in server.received] == [1, 1]


def test_an_abandoned_connection_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(silence, answer(200, "fine"))
    http, scope = connect(server), Scope()
    thread = EngineThread("asking", request, http, scope, []).start()
    assert server.silent.acquire(timeout=5)
    scope.cancel()
    assert thread.join(5)
    assert http.request("GET", "/next") == "fine"
    assert [received.connection for received in server.received] == [1, 2]


def test_a_finished_request_leaves_nothing_in_its_scope(serve: Serve, connect: Connect) -> None:
    http, scope = connect(serve(answer())), Scope()
    for _ in range(3):
        http.request("GET", "/me", scope=scope)
    assert scope._callbacks == {}

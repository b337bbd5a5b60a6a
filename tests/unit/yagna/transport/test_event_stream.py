"""The daemon's event stream: frames in pieces of any size, and what can go wrong with the connection."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import EngineThread
from simple_golem.errors import BadAppKey, NoDaemon, YagnaError
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.transport.event_stream import RuntimeEvent, runtime_events
from tests.helpers.loopback import Behaviour, Loopback, answer, hang_up, silence


def frame(index: int, **kind: object) -> bytes:
    data = json.dumps({"batch_id": "b", "index": index, "timestamp": "2026-01-31T12:00:00.1", "kind": kind})
    return f"event: runtime\ndata: {data}\nid: 7\n\n".encode()


def chunked(*pieces: bytes, content_type: str = "text/event-stream", end: bytes = b"") -> Behaviour:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return lambda server: head + body + end


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_events_are_read_wherever_the_pieces_end(size: int) -> None:
    body = (
        b":ping\n"
        + frame(0, started={"command": {}})
        + frame(0, stdout=[104, 105, 10])
        + b":ping\n"
        + frame(1, stderr="ä")
        + frame(1, finished={"return_code": 3, "message": None})
    )
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert list(runtime_events(pieces)) == [
        RuntimeEvent(0, "started", {"command": {}}),
        RuntimeEvent(0, "stdout", [104, 105, 10]),
        RuntimeEvent(1, "stderr", "ä"),
        RuntimeEvent(1, "finished", {"return_code": 3, "message": None}),
    ]


@pytest.mark.parametrize("data", ["no json", "[]", "{}", '{"kind": {}}', '{"index": "x", "kind": {"a": 1}}'])
def test_a_message_that_is_not_an_event_is_ignored(data: str) -> None:
    body = f"data: {data}\n\n".encode() + frame(0, stdout="x")
    assert list(runtime_events([body])) == [RuntimeEvent(0, "stdout", "x")]


def test_events_come_as_they_are_told() -> None:
    told: list[str] = []

    def pieces() -> Iterator[bytes]:
        told.append("first")
        yield frame(0, stdout="one")
        told.append("second")
        yield frame(0, stdout="two")

    events = runtime_events(pieces())
    assert next(events).detail == "one"
    assert told == ["first"]


def events_of(behaviour: Behaviour) -> tuple[list[RuntimeEvent], Exception | None, Loopback]:
    found: list[RuntimeEvent] = []
    with Loopback(behaviour) as server:
        yagna = Yagna(server.url, "key")
        try:
            for event in yagna.activity.events("a1", "b1", scope=Scope()):
                found.append(event)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return found, error, server
        finally:
            yagna.close()
    return found, None, server


def test_an_event_stream_is_asked_for_with_the_one_header_that_the_daemon_wants() -> None:
    found, error, server = events_of(chunked(frame(0, stdout="x"), end=b"0\r\n\r\n"))
    (request,) = server.received
    assert (request.target, request.headers["Accept"]) == (
        "/activity-api/v1/activity/a1/exec/b1",
        "text/event-stream",
    )
    assert request.headers["Authorization"] == "Bearer key"
    assert [event.detail for event in found] == ["x"]
    assert error is None


@pytest.mark.parametrize(
    ("behaviour", "kind", "status"),
    [
        (answer(404, {"message": "no batch"}), YagnaError, 404),
        (answer(500, {"message": "GSB error"}), YagnaError, 500),
        (answer(401, b"Invalid application key"), BadAppKey, None),
        (answer(200, []), YagnaError, 200),
        (hang_up, YagnaError, None),
        (chunked(frame(0, stdout="x"), end=b"nonsense\r\n"), YagnaError, None),
    ],
)
def test_a_daemon_that_does_not_stream_is_an_error(
    behaviour: Behaviour, kind: type[Exception], status: int | None
) -> None:
    _, error, server = events_of(behaviour)
    assert isinstance(error, kind)
    assert getattr(error, "status", None) == status
    assert len(server.received) == 1


def test_no_daemon_is_an_error_that_says_so() -> None:
    with Loopback(silence, listening=False) as server:
        yagna = Yagna(server.url, "key")
        with pytest.raises(NoDaemon):
            list(yagna.activity.events("a1", "b1", scope=Scope()))
        yagna.close()


@pytest.mark.parametrize("behaviour", [silence, chunked(frame(0, stdout="x"))])
def test_a_stream_is_ended_from_outside_at_once(behaviour: Behaviour) -> None:
    scope = Scope()

    def keep_open(server: Loopback) -> bytes | None:
        return behaviour(server)

    with Loopback(keep_open) as server:
        yagna = Yagna(server.url, "key")
        ended: list[float] = []

        def read() -> None:
            with pytest.raises(ScopeEnded):
                list(yagna.activity.events("a1", "b1", scope=scope))
            ended.append(time.monotonic())

        thread = EngineThread("reader", read).start()
        while not server.received:
            time.sleep(0.005)
        began = time.monotonic()
        scope.cancel("enough")
        assert thread.join(20)
        assert thread.exception is None
        # The wrong way takes as long as a stream may be silent.
        assert ended[0] - began < 5.0
        yagna.close()

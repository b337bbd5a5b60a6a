"""When a request is repeated: by what a repetition could do, against a real server on loopback."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from simple_golem.background.cancellation import ScopeEnded
from simple_golem.errors import NoDaemon, YagnaError
from simple_golem.yagna.transport.http import Http
from simple_golem.yagna.transport.retry import Repeat, made_once, retrying
from tests.helpers.loopback import Behaviour, Loopback, answer, hang_up
from tests.unit.yagna.conftest import Impatient

Serve = Callable[..., Loopback]
Connect = Callable[[Loopback], Http]

LOCKED = answer(500, {"message": "DB error: database is locked"})
NO_ENDPOINT = answer(500, b"endpoint address not found", "text/plain")


@pytest.mark.parametrize(
    "passing",
    [hang_up, answer(502), answer(503), answer(504), answer(408), LOCKED, NO_ENDPOINT],
    ids=["lost", "502", "503", "504", "408", "locked", "no endpoint"],
)
def test_safe_requests_are_repeated_after_temporary_errors(
    serve: Serve, connect: Connect, impatient: Impatient, passing: Behaviour
) -> None:
    server = serve(passing, passing, answer(200, "there"))
    assert connect(server).request("GET", "/me", scope=impatient) == "there"
    assert len(server.received) == 3
    assert len(impatient.pauses) == 2


@pytest.mark.parametrize("repeat", [Repeat.SAFE, Repeat.UNANSWERED, Repeat.UNSENT])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_connections_are_repeated_until_the_daemon_listens(
    serve: Serve, connect: Connect, method: str, repeat: Repeat
) -> None:
    server = serve(answer(200, "there"), listening=False)
    patience = Impatient(on_pause=server.listen)
    assert connect(server).request(method, "/x", scope=patience, repeat=repeat) == "there"
    assert len(patience.pauses) == 1
    assert len(server.received) == 1


def test_requests_that_must_not_be_repeated_are_not(
    serve: Serve, connect: Connect, impatient: Impatient
) -> None:
    with pytest.raises(NoDaemon):
        connect(serve(listening=False)).request("GET", "/me", scope=impatient, repeat=Repeat.NEVER)
    for behaviour in (hang_up, answer(502), LOCKED):
        server = serve(behaviour, answer(200, "there"))
        with pytest.raises(YagnaError):
            connect(server).request("GET", "/me", scope=impatient, repeat=Repeat.NEVER)
        assert len(server.received) == 1
    assert impatient.pauses == []


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [(hang_up, None), (answer(502), 502), (answer(504), 504), (LOCKED, 500)],
    ids=["lost", "502", "504", "locked"],
)
def test_requests_that_may_have_been_carried_out_are_not_repeated(
    serve: Serve, connect: Connect, impatient: Impatient, behaviour: Behaviour, status: int | None
) -> None:
    server = serve(behaviour, answer(200, "twice"))
    with pytest.raises(YagnaError) as caught:
        connect(server).request("POST", "/exec", body={}, scope=impatient, repeat=Repeat.UNSENT)
    assert caught.value.status == status
    assert len(server.received) == 1
    assert impatient.pauses == []


@pytest.mark.parametrize("status", [429, 503])
def test_what_was_not_passed_on_is_done_later(
    serve: Serve, connect: Connect, impatient: Impatient, status: int
) -> None:
    server = serve(answer(status), answer(200, "done"))
    assert connect(server).request("POST", "/exec", body={}, scope=impatient, repeat=Repeat.UNSENT) == "done"


def test_a_lost_answer_on_a_used_connection_is_not_asked_for_twice(
    serve: Serve, connect: Connect, impatient: Impatient
) -> None:
    server = serve(answer(), hang_up, answer(200, "twice"))
    http = connect(server)
    http.request("GET", "/me")
    with pytest.raises(YagnaError):
        http.request("POST", "/exec", body={}, scope=impatient, repeat=Repeat.UNSENT)
    assert [(request.method, request.connection) for request in server.received] == [("GET", 1), ("POST", 1)]


def test_only_a_missing_answer_is_repeated_where_any_answer_is_final(
    serve: Serve, connect: Connect, impatient: Impatient
) -> None:
    server = serve(hang_up, answer(408, {"message": "timeout"}), answer(200, "never asked for"))
    with pytest.raises(YagnaError) as caught:
        connect(server).request("POST", "/wait", scope=impatient, repeat=Repeat.UNANSWERED)
    assert caught.value.status == 408
    assert len(server.received) == 2


def test_an_error_of_the_daemon_that_may_last_is_seen_three_times(
    serve: Serve, connect: Connect, impatient: Impatient
) -> None:
    broken = answer(500, {"message": "no idea"})
    server = serve(broken, broken, answer(200, "there"))
    assert connect(server).request("GET", "/x", scope=impatient) == "there"
    server = serve(broken)
    with pytest.raises(YagnaError, match="no idea"):
        connect(server).request("GET", "/x", scope=impatient)
    assert len(server.received) == 3


@pytest.mark.parametrize("status", [400, 404, 409, 410])
def test_a_final_refusal_of_the_daemon_is_not_repeated(
    serve: Serve, connect: Connect, impatient: Impatient, status: int
) -> None:
    server = serve(answer(status, {"message": "no"}))
    with pytest.raises(YagnaError) as caught:
        connect(server).request("GET", "/x", scope=impatient)
    assert caught.value.status == status
    assert len(server.received) == 1


def test_cancelling_the_scope_ends_the_repeating(serve: Serve, connect: Connect) -> None:
    server = serve(answer(502))
    scope = Impatient(on_pause=lambda: scope.cancel("enough") if len(scope.pauses) == 2 else None)
    with pytest.raises(ScopeEnded, match="enough"):
        connect(server).request("GET", "/me", scope=scope)
    assert len(server.received) == 2


def test_without_a_scope_the_pauses_are_waited_for(serve: Serve, connect: Connect) -> None:
    server = serve(answer(502), answer(200, "there"))
    began = time.monotonic()
    assert connect(server).request("GET", "/me") == "there"
    assert 0.04 < time.monotonic() - began < 10


def test_the_pauses_grow_and_stay_below_their_limit(
    serve: Serve, connect: Connect, impatient: Impatient
) -> None:
    server = serve(*[answer(502)] * 12, answer(200, "there"))
    connect(server).request("GET", "/me", scope=impatient)
    assert impatient.pauses[0] <= 0.1
    assert impatient.pauses[0] < impatient.pauses[3] < impatient.pauses[5]
    assert max(impatient.pauses) <= 2.05


def test_the_repeating_ends_with_its_time_and_the_last_error(
    impatient: Impatient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tries = 1000.0, 0
    monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=lambda: now))

    def refused() -> None:
        nonlocal now, tries
        tries += 1
        now += 2
        raise NoDaemon(f"try {tries}")

    with pytest.raises(NoDaemon, match="try 3"):
        retrying(Repeat.SAFE, impatient, seconds=5)(refused)
    assert tries == 3


# --- what must not be made twice --------------------------------------------------------------------


class Thing:
    """Something that is made by a request; the answers say what becomes of it."""

    def __init__(self, *errors: Exception, made: bool) -> None:
        self.errors = list(errors)
        self.made = made
        self.asked: list[str] = []

    def make(self) -> str:
        self.asked.append("make")
        if self.errors:
            raise self.errors.pop(0)
        return "made"

    def find(self) -> str | None:
        self.asked.append("find")
        return "found" if self.made else None


def lost(status: int | None = None) -> YagnaError:
    return YagnaError("POST", "/x", status, "lost")


@pytest.mark.parametrize("status", [None, 500, 502, 504])
def test_what_was_made_is_found_after_a_lost_answer(impatient: Impatient, status: int | None) -> None:
    thing = Thing(lost(status), made=True)
    assert made_once(thing.make, thing.find, impatient) == "found"
    assert thing.asked == ["make", "find"]


def test_what_was_not_made_is_made_again(impatient: Impatient) -> None:
    thing = Thing(lost(), lost(), made=False)
    assert made_once(thing.make, thing.find, impatient) == "made"
    assert thing.asked == ["make", "find", "make", "find", "make"]


def test_what_was_not_begun_is_made_again_without_a_look(impatient: Impatient) -> None:
    thing = Thing(NoDaemon("away"), lost(503), made=True)
    assert made_once(thing.make, thing.find, impatient) == "made"
    assert thing.asked == ["make", "make", "make"]


def test_what_is_refused_is_not_looked_for(impatient: Impatient) -> None:
    thing = Thing(lost(400), made=True)
    with pytest.raises(YagnaError, match="400"):
        made_once(thing.make, thing.find, impatient)
    assert thing.asked == ["make"]

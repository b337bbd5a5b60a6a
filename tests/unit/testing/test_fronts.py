"""How requests reach a fake daemon, and what becomes of those that do not come to their end."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import requests
from urllib3.exceptions import NewConnectionError

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.errors import NoDaemon
from simple_golem.testing import (
    Call,
    ConnectionDropped,
    FakeAnswer,
    FakeProvider,
    FakeRequest,
    FakeYagna,
    FakeYagnaAdapter,
    Fault,
    HandClock,
)
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.transport.retry import Repeat
from tests.contract.buyer import ACTIVITY, HONEST, MARKET, PAYMENT, STREAM, Buyer, shell

from .conftest import Meanwhile

INVOICE_EVENTS = f"{PAYMENT}/invoiceEvents"


@pytest.fixture
def served(yagna: FakeYagna) -> Buyer:
    """A buyer over a socket."""
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {yagna.app_key}"
    return Buyer(session, yagna.serve(), {one.name: one.node_id for one in yagna.providers})


@pytest.fixture(params=["adapter", "loopback"])
def both(request: pytest.FixtureRequest) -> Iterator[Buyer]:
    name = {"adapter": "client", "loopback": "served"}[request.param]
    buyer: Buyer = request.getfixturevalue(name)
    yield buyer
    buyer.session.close()


def waits(buyer: Buyer, clock: HandClock) -> Meanwhile:
    """A request that waits."""
    meanwhile = Meanwhile(lambda: buyer.ask("GET", INVOICE_EVENTS, timeout=60))
    clock.wait_until_waiting()
    return meanwhile


# --- the daemon's own end ---------------------------------------------------------------------------------


def test_a_daemon_that_goes_down_drops_what_waits_and_refuses_the_rest(
    both: Buyer, yagna: FakeYagna, clock: HandClock
) -> None:
    waiting = waits(both, clock)
    allocation = both.allocate()
    yagna.go_down()
    assert isinstance(waiting.outcome(), requests.exceptions.ConnectionError)
    for _ in range(2):
        with pytest.raises(requests.exceptions.ConnectionError) as refused:
            both.get("/me")
        assert isinstance(refused.value.args[0].reason, NewConnectionError)
    yagna.come_up()
    assert both.get(f"{PAYMENT}/allocations") == [allocation]


def test_a_restart_forgets_what_a_daemon_has_in_its_memory(both: Buyer, yagna: FakeYagna) -> None:
    agreement_id, activity_id = both.hire()
    demand = both.publish()
    listen = {"on": "/public/gftp/x", "components": []}
    services = "/gsb-api/v1/services"
    assert both.say("POST", services, {"listen": listen})[0] == 201
    yagna.restart()
    assert both.get(f"{MARKET}/demands") == []
    assert both.say("GET", f"{demand.path}/events")[0] == 404
    assert both.get(f"{MARKET}/agreements/{agreement_id}")["state"] == "Approved"
    assert both.get(f"{ACTIVITY}/activity/{activity_id}/state") == {"state": ["Ready", None]}
    assert both.say("POST", services, {"listen": listen})[0] == 201


def test_a_closed_daemon_ends_what_waits_and_what_runs(client: Buyer, yagna: FakeYagna) -> None:
    _, activity_id = client.hire()
    batch = client.execute(activity_id, shell("sleep 20"))
    waiting = Meanwhile(lambda: client.get(batch, timeout=60, commandIndex=0))
    assert isinstance(yagna.clock, HandClock)
    yagna.clock.wait_until_waiting(2)
    yagna.close()
    assert isinstance(waiting.outcome(), requests.exceptions.ConnectionError)
    yagna.close()


# --- the client's end -------------------------------------------------------------------------------------


def test_a_client_that_hangs_up_waits_no_longer(served: Buyer, yagna: FakeYagna, clock: HandClock) -> None:
    head = (
        f"GET {INVOICE_EVENTS}?timeout=60 HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {yagna.app_key}\r\n\r\n"
    )
    host, port = "127.0.0.1", int(yagna.url.rpartition(":")[2])
    with socket.create_connection((host, port)) as connection:
        connection.sendall(head.encode())
        clock.wait_until_waiting()
        assert yagna.requests_under_way == 1
    yagna.wait_for(lambda: yagna.requests_under_way == 0)
    # What comes in one piece is answered in order.
    with socket.create_connection((host, port)) as connection:
        connection.sendall(head.replace("timeout=60", "timeout=0").encode() * 2)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as reader:
            assert reader.read().count(b"HTTP/1.1 200 OK\r\n") == 2
    served.session.close()


def test_an_adapter_s_request_can_be_abandoned_by_any_thread(
    yagna: FakeYagna, clock: HandClock, session: requests.Session
) -> None:
    begun: list[Call] = []
    session.mount("http://", FakeYagnaAdapter(yagna.answer, begun.append))
    waiting = waits(Buyer(session, "http://in-memory", {}), clock)
    (call,) = begun
    call.shutdown(socket.SHUT_RDWR)
    assert isinstance(waiting.outcome(), requests.exceptions.ConnectionError)
    assert yagna.requests_under_way == 0


def test_the_library_s_requests_are_abandoned_with_their_scope(yagna: FakeYagna, clock: HandClock) -> None:
    library = Yagna("http://in-memory", yagna.app_key, adapter=yagna.adapter())
    assert library.identity.me().node_id == yagna.node_id
    scope = Scope()
    now = datetime.now(timezone.utc)
    waiting = Meanwhile(lambda: library.payment.invoice_events(now, timeout=60, scope=scope))
    clock.wait_until_waiting()
    scope.cancel("enough")
    assert isinstance(waiting.outcome(), ScopeEnded)
    yagna.go_down()
    with pytest.raises(NoDaemon):
        library.identity.me(repeat=Repeat.NEVER)
    library.close()


def test_the_library_s_streams_are_abandoned_with_their_scope(
    client: Buyer, yagna: FakeYagna, clock: HandClock
) -> None:
    _, activity_id = client.hire()
    batch = client.execute(activity_id, shell("sleep 40", STREAM))
    clock.wait_until_waiting()
    library = Yagna("http://in-memory", yagna.app_key, adapter=yagna.adapter())
    scope = Scope()
    events = library.activity.events(activity_id, batch.rpartition("/")[2], scope=scope)
    reading = Meanwhile(lambda: list(events))
    clock.wait_until_waiting(2)
    scope.cancel("enough")
    assert isinstance(reading.outcome(), ScopeEnded)
    assert yagna.requests_under_way == 0
    library.close()


def test_a_session_that_is_closed_abandons_its_requests(client: Buyer, clock: HandClock) -> None:
    waiting = waits(client, clock)
    client.session.close()
    assert isinstance(waiting.outcome(), requests.exceptions.ConnectionError)


def test_a_client_waits_only_so_long(yagna: FakeYagna, clock: HandClock, session: requests.Session) -> None:
    url = f"http://in-memory{INVOICE_EVENTS}?timeout=60"
    waiting = Meanwhile(lambda: session.get(url, timeout=(1, 10)))
    clock.wait_until_waiting()
    clock.advance(9)
    assert not waiting.is_over
    clock.advance(1)
    assert isinstance(waiting.outcome(), requests.exceptions.ReadTimeout)


def test_an_event_stream_pings_and_ends_with_its_client(
    both: Buyer, yagna: FakeYagna, clock: HandClock
) -> None:
    _, activity_id = both.hire()
    batch = both.execute(activity_id, shell("sleep 40", STREAM))
    clock.wait_until_waiting()
    headers = {"Accept": "text/event-stream"}
    with both.session.get(both.url + batch, headers=headers, stream=True, timeout=60) as answer:
        pieces = answer.iter_content(None)
        first = Meanwhile(lambda: next(pieces))
        clock.wait_until_waiting(2)
        clock.advance(15)
        assert first.outcome() == b":ping\n"
        second = Meanwhile(lambda: next(pieces))
        clock.wait_until_waiting(2)
        clock.advance(25)
        told = second.outcome()
        # It is time for the next ping, too, and who is quicker comes first.
        assert b'"finished"' in (next(pieces) if told == b":ping\n" else told)
    yagna.wait_for(lambda: yagna.requests_under_way == 0)


def test_a_stream_breaks_when_the_daemon_goes_down(both: Buyer, yagna: FakeYagna, clock: HandClock) -> None:
    _, activity_id = both.hire()
    batch = both.execute(activity_id, shell("sleep 40", STREAM))
    headers = {"Accept": "text/event-stream"}
    with both.session.get(both.url + batch, headers=headers, stream=True, timeout=60) as answer:
        reading = Meanwhile(lambda: list(answer.iter_content(None)))
        clock.wait_until_waiting(2)
        yagna.go_down()
        assert isinstance(reading.outcome(), requests.exceptions.RequestException)


# --- faults -----------------------------------------------------------------------------------------------


def test_an_interceptor_answers_or_lets_through(both: Buyer, yagna: FakeYagna) -> None:
    seen: list[FakeRequest] = []

    def interceptor(request: FakeRequest) -> FakeAnswer | None:
        seen.append(request)
        return FakeAnswer.of_message("busy", 503) if request.method == "POST" else None

    end = yagna.intercept(interceptor)
    path = f"{PAYMENT}/allocations"
    assert both.say("POST", path, {"totalAmount": "1"}) == (503, "busy")
    assert both.get(path, maxItems=5) == []
    assert [(one.method, one.path) for one in seen] == [("POST", path), ("GET", path)]
    assert (json.loads(seen[0].body), seen[1].query) == ({"totalAmount": "1"}, {"maxItems": "5"})
    end()
    end()
    assert both.say("POST", path, {"totalAmount": "1"})[0] == 201
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("fault", "is_done"), [(Fault.REFUSED, False), (Fault.DROPPED, False), (Fault.UNANSWERED, True)]
)
def test_a_connection_breaks_before_or_after_the_effect(
    both: Buyer, yagna: FakeYagna, fault: Fault, is_done: bool
) -> None:
    end = yagna.intercept(lambda request: fault)
    with pytest.raises(requests.exceptions.ConnectionError):
        both.ask("POST", f"{PAYMENT}/allocations", {"totalAmount": "1"})
    end()
    assert bool(both.get(f"{PAYMENT}/allocations")) is is_done


def test_an_interceptor_may_break_the_connection_itself(both: Buyer, yagna: FakeYagna) -> None:
    def interceptor(request: FakeRequest) -> None:
        raise ConnectionDropped("cut")

    yagna.intercept(interceptor)
    with pytest.raises(requests.exceptions.ConnectionError):
        both.get("/me")


def test_a_request_that_comes_as_the_daemon_goes_down_is_not_carried_out(
    both: Buyer, yagna: FakeYagna
) -> None:
    def go_down(request: FakeRequest) -> None:
        # On another thread: it breaks off the connection of this request, too.
        thread = threading.Thread(target=yagna.go_down)
        thread.start()
        thread.join()

    end = yagna.intercept(go_down)
    with pytest.raises(requests.exceptions.ConnectionError):
        both.allocate()
    end()
    yagna.come_up()
    assert both.get(f"{PAYMENT}/allocations") == []


def test_an_interceptor_may_end_others_while_a_request_is_shown_to_all(both: Buyer, yagna: FakeYagna) -> None:
    seen: list[str] = []

    def ends_two(request: FakeRequest) -> None:
        seen.append("newest")
        for end in ends:
            end()

    ends = [yagna.intercept(lambda request: seen.append("oldest"))]
    yagna.intercept(lambda request: seen.append("between"))
    ends.append(yagna.intercept(ends_two))
    both.get("/me")
    assert "between" in seen


def test_what_is_waited_for_may_be_asked_of_the_daemon_itself(served: Buyer, yagna: FakeYagna) -> None:
    yagna.wait_for(lambda: served.session.get(f"{yagna.url}/me", timeout=20).ok)
    served.session.close()


# --- the rest ---------------------------------------------------------------------------------------------


def test_leftovers_name_everything_that_is_open(client: Buyer, yagna: FakeYagna, clock: HandClock) -> None:
    agreement_id, activity_id = client.hire()
    clock.advance(1)
    yagna.provider.send_debit_note()
    client.say("POST", "/gsb-api/v1/services", {"listen": {"on": "/public/x", "components": []}})
    kinds = sorted(one.split()[0] for one in yagna.leftovers())
    assert kinds == ["activity", "agreement", "allocation", "debit", "demand", "service"]
    assert f"agreement {agreement_id} Approved" in yagna.leftovers()
    assert f"activity {activity_id} Ready" in yagna.leftovers()
    client.terminate(agreement_id)
    assert "invoice" in {one.split()[0] for one in yagna.leftovers()}
    client.close()
    assert yagna.leftovers() == ["service /public/x"]


def test_requests_can_be_looked_through_while_others_come(client: Buyer, yagna: FakeYagna) -> None:
    client.get("/me")
    looked_at = []
    for one in yagna.requests:
        client.get("/me")
        looked_at.append(one)
    assert len(looked_at) == len(yagna.requests) / 2


def test_a_provider_that_comes_later_offers_as_well(client: Buyer, yagna: FakeYagna) -> None:
    demand = client.publish()
    client.offer(demand)
    late = yagna.add(FakeProvider())
    (event,) = client.get(f"{demand.path}/events", timeout=0)
    assert (late.name, event["proposal"]["issuerId"]) == ("prov-2", late.node_id)
    with pytest.raises(ValueError, match="a provider prov-2 already"):
        yagna.add(FakeProvider("prov-2"))
    with pytest.raises(RuntimeError, match="has no fake daemon"):
        FakeProvider("lonely").die()


def test_offers_meet_only_demands_that_they_fit(client: Buyer, yagna: FakeYagna) -> None:
    yagna.add(FakeProvider("elsewhere", subnet="mars"))
    yagna.add(FakeProvider("picky", constraints="(golem.node.id.name=friend)"))
    yagna.add(FakeProvider("large", properties={"golem.inf.mem.gib": 512.0}))
    demand = client.publish()
    names = [one["proposal"]["properties"]["golem.node.id.name"] for one in _events(client, demand.path)]
    assert names == [HONEST, "large"]
    terms = {**demand.terms, "constraints": "(&(golem.inf.mem.gib>=100)(!(golem.runtime.name=wasm)))"}
    _, demand_id = client.say("POST", f"{MARKET}/demands", terms)
    (event,) = _events(client, f"{MARKET}/demands/{demand_id}")
    assert event["proposal"]["properties"]["golem.node.id.name"] == "large"


def _events(client: Buyer, path: str) -> list[Any]:
    return list(client.get(f"{path}/events", timeout=0, maxEvents=100))


def test_a_demand_expires_after_an_hour(client: Buyer, clock: HandClock) -> None:
    demand = client.publish()
    client.offer(demand)
    waiting = Meanwhile(lambda: client.say("GET", f"{demand.path}/events", timeout=7200))
    clock.wait_until_waiting()
    clock.advance(3599)
    assert not waiting.is_over
    clock.advance(1)
    assert waiting.outcome()[0] == 404
    assert client.get(f"{MARKET}/demands") == []


def test_a_function_that_blocks_is_a_command_that_takes_long(
    client: Buyer, yagna: FakeYagna, clock: HandClock
) -> None:
    go_on = threading.Event()
    yagna.provider.answers = lambda command: "done" if go_on.wait(10) else 1
    _, activity_id = client.hire()
    batch = client.execute(activity_id, shell("this"))
    assert client.get(batch) == []
    go_on.set()
    waiting = Meanwhile(lambda: client.get(batch, timeout=60, commandIndex=0))
    assert waiting.outcome()[0]["stdout"] == "done"

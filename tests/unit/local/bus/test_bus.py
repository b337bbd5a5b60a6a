"""The service bus against a small router of the tests, which speaks the same protocol."""

from __future__ import annotations

import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from simple_golem.errors import BusError
from simple_golem.local.bus import bus as bus_module
from simple_golem.local.bus.bus import Bus
from simple_golem.local.bus.protocol import (
    CallReply,
    CallRequest,
    Hello,
    Packet,
    Ping,
    Pong,
    RegisterReply,
    RegisterRequest,
    UnregisterReply,
    UnregisterRequest,
    frame_length,
    from_frame,
    from_payload,
    to_frame,
    to_payload,
)

P = TypeVar("P", bound=Packet)


class Router:
    """Accepts one bus after the other; a test reads what came and sends what it likes."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.url = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(10)
        self.send(Hello("router", "1", b"\1" * 16))
        self.expect(Hello)

    def send(self, packet: Packet) -> None:
        self.connection.sendall(to_frame(packet))

    def expect(self, kind: type[P]) -> P:
        packet = from_frame(self._read(frame_length(self._read(4))))
        assert isinstance(packet, kind)
        return packet

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self.connection.recv(length - len(data))
            assert piece, "the bus hung up"
            data += piece
        return data

    def confirm(self, service_id: str) -> None:
        assert self.expect(RegisterRequest).service_id == service_id
        self.send(RegisterReply())

    def ask(self, address: str, payload: object) -> object:
        self.send(CallRequest("0xme", address, "1", to_payload(payload)))
        reply = self.expect(CallReply)
        assert (reply.request_id, reply.code, reply.partial) == ("1", 0, False)
        return from_payload(reply.data)


@pytest.fixture
def router() -> Iterator[Router]:
    router = Router()
    yield router
    router.listener.close()
    router.connection.close()


@pytest.fixture
def bus(router: Router) -> Iterator[Bus]:
    bus = Bus(router.url, "test-bus")
    router.accept()
    yield bus
    bus.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("test-bus")]


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def registered(
    bus: Bus, router: Router, service_id: str, handler: Callable[[str, str, object], object]
) -> None:
    waiting = in_background(lambda: bus.register(service_id, handler))
    router.confirm(service_id)
    waiting.join(10)
    assert not waiting.is_alive()


def test_packets_are_the_protobuf_that_yagna_reads() -> None:
    assert to_frame(RegisterRequest("/a")) == b"\x00\x00\x00\x06\x12\x04\x0a\x02/a"
    assert to_frame(CallReply("7", 400, True, b"x")) == (
        b"\x00\x00\x00\x0d\x3a\x0b\x0a\x017\x10\x90\x03\x18\x01\x22\x01x"
    )
    assert to_frame(Pong()) == b"\x00\x00\x00\x02\x7a\x00"


@pytest.mark.parametrize(
    "packet",
    [
        Hello("n", "v", b"\0\1"),
        RegisterRequest("/public/ä"),
        RegisterReply(409, "taken"),
        UnregisterRequest("/x"),
        UnregisterReply(404),
        CallRequest("0x1", "/a/B", "id", bytes(300), True),
        CallReply("id", 0, True, b"z" * 70_000),
        Ping(),
    ],
)
def test_a_packet_survives_the_way_there_and_back(packet: Packet) -> None:
    frame = to_frame(packet)
    assert frame_length(frame[:4]) == len(frame) - 4
    assert from_frame(frame[4:]) == packet


@pytest.mark.parametrize("body", [b"\x3a\xff", b"\x3a\x05\x0a\x09abc", b"\xff" * 12, b"\x15\0\0\0\0"])
def test_bytes_that_are_no_packet_are_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_frame(body)


def test_a_payload_may_be_compressed() -> None:
    payload: object = {"a": [1, None, "ö"], "b": {"c": 0.5, "d": b"\0\xff"}}
    assert from_payload(to_payload(payload)) == payload
    assert from_payload(zlib.compress(to_payload(payload))) == payload


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BusError, match="tcp://HOST:PORT"):
        Bus("unix:/tmp/gsb", "test-bus")


def test_a_call_reaches_the_longest_prefix_that_is_served(bus: Bus, router: Router) -> None:
    registered(bus, router, "/public", lambda *_: "short")
    registered(bus, router, "/public/exeunit/1", lambda caller, address, payload: [caller, address, payload])
    assert router.ask("/public/exeunit/1/Exec", {"n": 1}) == ["0xme", "/public/exeunit/1/Exec", {"n": 1}]
    assert router.ask("/public/exeunit/12/Exec", None) == "short"


def test_a_call_that_nobody_serves_is_answered_with_an_error(bus: Bus, router: Router) -> None:
    router.send(CallRequest("c", "/nobody/Here", "9"))
    reply = router.expect(CallReply)
    assert (reply.request_id, reply.code) == ("9", 400)
    assert b"/nobody/Here" in reply.data


def test_a_handler_that_raises_is_the_callers_error(
    bus: Bus, router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("broken inside")

    registered(bus, router, "/s", broken)
    router.send(CallRequest("c", "/s/X", "1", to_payload(None)))
    reply = router.expect(CallReply)
    assert (reply.code, b"broken inside" in reply.data) == (500, True)
    assert "/s/X" in caplog.text


def test_a_handler_that_blocks_holds_nobody_up(bus: Bus, router: Router) -> None:
    gate = threading.Event()
    registered(bus, router, "/slow", lambda *_: gate.wait(10))
    registered(bus, router, "/quick", lambda *_: "quick")
    router.send(CallRequest("c", "/slow/X", "slow", to_payload(None)))
    assert router.ask("/quick/X", None) == "quick"
    router.send(Ping())
    router.expect(Pong)
    gate.set()
    assert router.expect(CallReply).request_id == "slow"


def test_the_parts_of_an_answer_are_sent_one_by_one(bus: Bus, router: Router) -> None:
    gate = threading.Event()

    def parts() -> Iterator[object]:
        yield "first"
        gate.wait(10)
        yield "second"

    registered(bus, router, "/s", lambda *_: parts())
    router.send(CallRequest("c", "/s/Stream", "1", to_payload(None)))
    first = router.expect(CallReply)
    gate.set()
    second, last = router.expect(CallReply), router.expect(CallReply)
    assert [(r.partial, from_payload(r.data)) for r in (first, second)] == [(True, "first"), (True, "second")]
    assert (last.partial, last.data) == (False, b"")


def test_a_call_without_reply_is_served_and_not_answered(bus: Bus, router: Router) -> None:
    registered(bus, router, "/s", lambda *_: "unheard")
    router.send(CallRequest("c", "/s/X", "1", to_payload(None), no_reply=True))
    router.send(Ping())
    router.expect(Pong)


def test_raw_calls_are_served_in_their_order(bus: Bus, router: Router) -> None:
    seen = []
    waiting = in_background(
        lambda: bus.register_raw("/vpn", lambda caller, address, data: seen.append(data) or b"")
    )
    router.confirm("/vpn")
    waiting.join(10)
    for number in range(50):
        router.send(CallRequest("c", "/vpn/raw", str(number), bytes([number])))
    assert [router.expect(CallReply).request_id for _ in range(50)] == [str(n) for n in range(50)]
    assert seen == [bytes([n]) for n in range(50)]


def test_a_registration_that_is_refused_says_why(bus: Bus, router: Router) -> None:
    errors: list[BusError] = []

    def register() -> None:
        try:
            bus.register("/taken", lambda *_: None)
        except BusError as error:
            errors.append(error)

    waiting = in_background(register)
    router.expect(RegisterRequest)
    router.send(RegisterReply(409, "somebody has it"))
    waiting.join(10)
    assert "/taken" in str(errors[0])
    assert "somebody has it" in str(errors[0])
    registered(bus, router, "/taken", lambda *_: "mine now")


def test_a_registration_without_an_answer_times_out(bus: Bus, router: Router) -> None:
    with pytest.raises(BusError, match="no answer"):
        bus.register("/s", lambda *_: None, timeout=0.05)


def test_an_unregistered_service_is_not_served_any_more(bus: Bus, router: Router) -> None:
    registered(bus, router, "/s", lambda *_: None)
    bus.unregister("/s")
    assert router.expect(UnregisterRequest).service_id == "/s"
    router.send(CallRequest("c", "/s/X", "1"))
    assert router.expect(CallReply).code == 400


def test_an_answer_with_ok_is_unwrapped_and_one_with_err_is_raised(bus: Bus, router: Router) -> None:
    def serve() -> None:
        for answer in ({"Ok": 5}, {"Err": {"notFound": "no such thing"}}):
            request = router.expect(CallRequest)
            assert (request.caller, request.address) == ("0xme", "/local/x/Y")
            router.send(CallReply(request.request_id, data=to_payload(answer)))

    serving = in_background(serve)
    assert bus.call("/local/x/Y", {"q": 1}, caller="0xme") == 5
    with pytest.raises(BusError, match="no such thing"):
        bus.call("/local/x/Y", {"q": 1}, caller="0xme")
    serving.join(10)


def test_a_call_is_an_error_when_the_bus_says_so_or_says_nothing(bus: Bus, router: Router) -> None:
    def serve() -> None:
        request = router.expect(CallRequest)
        router.send(CallReply(request.request_id, 400, data=b"endpoint address not found"))

    serving = in_background(serve)
    with pytest.raises(BusError, match="endpoint address not found"):
        bus.call("/nobody", None)
    serving.join(10)
    with pytest.raises(BusError, match=r"no answer within 0\.05 s"):
        bus.call("/silent", None, timeout=0.05)


def test_an_answer_that_can_not_be_read_is_an_error_of_its_call(bus: Bus, router: Router) -> None:
    def serve() -> None:
        request = router.expect(CallRequest)
        router.send(CallReply(request.request_id, data=b"no flexbuffer at all"))

    serving = in_background(serve)
    with pytest.raises(BusError, match=r"/local/x/Y: an offset points out"):
        bus.call("/local/x/Y", None)
    serving.join(10)


def test_after_a_restart_of_the_router_everything_is_registered_again(
    bus: Bus, router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    registered(bus, router, "/a", lambda *_: "a")
    registered(bus, router, "/b", lambda *_: "b")
    router.connection.close()
    router.accept()
    router.confirm("/a")
    router.confirm("/b")
    assert router.ask("/b/X", None) == "b"
    assert "was lost" in caplog.text


def test_a_registration_refused_after_a_restart_is_tried_again(bus: Bus, router: Router) -> None:
    registered(bus, router, "/a", lambda *_: "a")
    router.connection.close()
    router.accept()
    router.expect(RegisterRequest)
    router.send(RegisterReply(409, "the old connection still has it"))
    router.connection.close()
    router.accept()
    router.confirm("/a")
    assert router.ask("/a/X", None) == "a"


def test_a_call_under_way_is_an_error_when_the_connection_is_lost(bus: Bus, router: Router) -> None:
    hanging_up = in_background(lambda: (router.expect(CallRequest), router.connection.close()))
    with pytest.raises(BusError, match="was lost"):
        bus.call("/x", None)
    hanging_up.join(10)
    router.accept()


def test_a_bus_that_is_cut_refuses_the_raw_calls_under_way_and_answers_nothing_else(
    bus: Bus, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_QUIET_SECONDS", 0.1)
    frames: list[bytes] = []
    called, was_cut = threading.Event(), threading.Event()

    def take(caller: str, address: str, data: bytes) -> bytes:
        frames.append(data)
        called.set()
        assert was_cut.wait(10)
        return b""

    registered(bus, router, "/plain", lambda caller, address, payload: {"Ok": was_cut.wait(10)})
    waiting = in_background(lambda: bus.register_raw("/net/vpn", take))
    router.confirm("/net/vpn")
    waiting.join(10)
    router.send(CallRequest("0xme", "/plain/Ask", "1", to_payload(None)))
    for number in (2, 3):
        router.send(CallRequest("0xme", "/net/vpn/raw", str(number), b"frame"))
    router.send(CallRequest("0xme", "/plain/Ask", "4", to_payload(None)))
    assert called.wait(10)
    bus.cut()
    was_cut.set()
    withdrawn = {router.expect(UnregisterRequest).service_id for _ in range(2)}
    assert withdrawn == {"/plain", "/net/vpn"}
    answers = [router.expect(CallReply) for _ in range(2)]
    assert [(answer.request_id, answer.code) for answer in answers] == [("2", 0), ("3", 400)]
    assert router.connection.recv(1) == b""
    assert frames == [b"frame"]
    with pytest.raises(BusError, match="not registered"):
        bus.register_raw("/net/later", take)


def test_a_call_under_way_is_an_error_when_the_bus_is_cut(bus: Bus, router: Router) -> None:
    pending = bus.begin_call("/elsewhere", b"")
    router.expect(CallRequest)
    bus.cut()
    with pytest.raises(BusError, match="the bus was cut"):
        pending.data()
    assert router.connection.recv(1) == b""


def test_a_bus_that_is_cut_can_be_closed_before_it_is_quiet(
    bus: Bus, router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_QUIET_SECONDS", 60)
    waiting = in_background(lambda: bus.register_raw("/net/vpn", lambda caller, address, data: b""))
    router.confirm("/net/vpn")
    waiting.join(10)
    bus.unregister("/net/vpn")
    bus.cut()
    for _ in range(2):
        assert router.expect(UnregisterRequest).service_id == "/net/vpn"
    router.send(UnregisterReply())
    bus.close()  # the fixture looks whether a thread is left
    assert router.connection.recv(1) == b""


def test_closing_is_prompt_while_the_bus_is_idle_or_not_there(router: Router) -> None:
    times = []
    for _ in range(3):
        idle = Bus(router.url, "test-bus")
        router.accept()
        nowhere = Bus("tcp://127.0.0.1:1", "test-bus")
        begun = time.monotonic()
        idle.close()
        nowhere.close()
        times.append(time.monotonic() - begun)
        router.connection.close()
    assert min(times) < 1
    with pytest.raises(BusError, match="no connection"):
        nowhere.call("/x", None)

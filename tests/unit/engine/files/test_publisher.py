"""The thread that answers for all files, with WebSockets that do what a test says."""

from __future__ import annotations

import io
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.files import publisher as files
from simple_golem.engine.files.local_files import FileEnd, Memory, SinkEnd, SourceEnd
from simple_golem.engine.files.publisher import FilePublisher
from simple_golem.errors import NoDaemon, YagnaError
from simple_golem.yagna.api.gsb import service_id
from simple_golem.yagna.service_bus.gsb_call import GsbRequest
from simple_golem.yagna.transport.socket_lost import SocketLost
from tests.unit.conftest import eventually


class Carrier:
    """A WebSocket on which a test calls."""

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()
        self._calls: queue.Queue[GsbRequest | Exception] = queue.Queue()
        self.answers: queue.Queue[Any] = queue.Queue()
        self.opened = True
        self.unsent = 0

    def call(self, component: str, payload: Any = None) -> Any:
        """Call and return the answer, or the name of the error."""
        self.get(GsbRequest("1", component, payload))
        return self.answers.get(timeout=20)

    def get(self, what: GsbRequest | Exception) -> None:
        self._calls.put(what)
        self._there.send(b"!")

    @property
    def closed(self) -> bool:
        return self._here.fileno() < 0

    def fileno(self) -> int:
        return self._here.fileno()

    def receive(self) -> list[GsbRequest]:
        self._here.recv(1)
        got = self._calls.get_nowait()
        if isinstance(got, Exception):
            raise got
        return [got]

    def flush(self) -> None:
        pass

    def answer(self, _call_id: str, payload: Any) -> None:
        self.answers.put(payload)

    def refuse(self, _call_id: str, kind: str, _message: str) -> None:
        self.answers.put(kind)

    def close(self) -> None:
        self._here.close()

    def give_up(self) -> None:
        self.close()
        self._there.close()


class Bus:
    """A daemon's bus; `hold` makes its next answer to a call wait."""

    def __init__(self) -> None:
        self.services: dict[str, str] = {}
        self.carriers: list[Carrier] = []
        self.connected = threading.Semaphore(0)
        self._count = 0
        self._lock = threading.Lock()
        self.hold: dict[str, threading.Event] = {}
        self.holding = threading.Event()
        self.at_withdrawal: Callable[[], object] = lambda: None
        self.broken: Exception | None = None

    def publish(self, address: str, _components: Any, **_how: Any) -> str:
        self._wait("publish")
        with self._lock:
            for known, its_address in self.services.items():
                if its_address == address:
                    return known
            self._count += 1
            services_id = str(self._count)
            self.services[services_id] = address
            return services_id

    def connect(self, _services_id: str) -> Carrier:
        self._wait("connect")
        if self.broken:
            raise self.broken
        self.carriers.append(Carrier())
        self.connected.release()
        return self.carriers[-1]

    def withdraw(self, services_id: str, **_how: Any) -> None:
        if isinstance(self.broken, YagnaError):
            raise self.broken
        self.at_withdrawal()
        with self._lock:
            self.services.pop(services_id, None)

    def _wait(self, call: str) -> None:
        if release := self.hold.pop(call, None):
            self.holding.set()
            assert release.wait(10)


@pytest.fixture
def bus() -> Iterator[Bus]:
    bus = Bus()
    yield bus
    for carrier in bus.carriers:
        carrier.give_up()


@pytest.fixture
def publisher(bus: Bus) -> Iterator[FilePublisher]:
    me = SimpleNamespace(node_id="0xme")
    yagna: Any = SimpleNamespace(gsb=bus, identity=SimpleNamespace(me=lambda scope: me))
    publisher = FilePublisher(yagna)
    yield publisher
    assert publisher.close(20)


def source() -> SourceEnd:
    return SourceEnd(io.BytesIO(b"abc"), "it", 3, lambda _now, _all: None)


class Broken(SinkEnd):
    """One that has a fault of its own."""

    def answer(self, component: str, payload: Any) -> dict[str, Any] | None:
        raise RuntimeError("a fault of the engine")


@pytest.mark.parametrize(
    ("end", "payload"),
    [
        (SinkEnd(Memory(), "m", lambda _now, _all: None), {"hash": 5}),
        (Broken(Memory(), "m", lambda _now, _all: None), {"hash": ""}),
    ],
    ids=["the provider's", "its own"],
)
def test_a_call_that_can_not_be_answered_is_refused_and_the_others_are_answered(
    publisher: FilePublisher, bus: Bus, end: FileEnd, payload: Any
):
    publisher.publish(source(), Scope())
    publisher.publish(end, Scope())
    good, bad = bus.carriers
    assert bad.call("UploadFinished", payload) in ("IntegrityError", "InternalError")
    assert good.call("GetMetadata") == {"fileSize": 3}
    assert bad.call("UploadFinished", payload) in ("IntegrityError", "InternalError")


def test_a_websocket_with_any_trouble_is_opened_anew_and_the_others_go_on(
    publisher: FilePublisher, bus: Bus, caplog: pytest.LogCaptureFixture
):
    bad = publisher.publish(source(), Scope())
    publisher.publish(source(), Scope())
    bus.carriers[0].get(OverflowError("nobody thought of it"))
    for _ in range(3):
        assert bus.connected.acquire(timeout=20)
    assert bus.carriers[2].call("GetMetadata") == {"fileSize": 3}
    assert bus.carriers[1].call("GetMetadata") == {"fileSize": 3}
    assert bus.carriers[0].closed
    assert bad.lost == 1
    assert "nobody thought of it" in caplog.text


def test_a_file_that_is_withdrawn_while_it_is_opened_anew_leaves_nothing(
    publisher: FilePublisher, bus: Bus, monkeypatch: pytest.MonkeyPatch
):
    for held in ("publish", "connect"):
        monkeypatch.setattr(files, "_THREAD_ANSWER_SECONDS", 0.1)
        file = publisher.publish(source(), Scope())
        release = threading.Event()
        bus.holding.clear()
        bus.hold[held] = release
        bus.carriers[-1].get(SocketLost("cut"))
        assert bus.holding.wait(20)
        publisher.withdraw(file)
        # What the thread does from now on is waited for.
        monkeypatch.setattr(files, "_THREAD_ANSWER_SECONDS", 20.0)
        release.set()
        assert publisher.withdraw(publisher.publish(source(), Scope()))
        assert bus.services == {}
        assert all(carrier.closed for carrier in bus.carriers)


def test_a_file_is_off_the_bus_before_its_websocket_ends(publisher: FilePublisher, bus: Bus):
    file = publisher.publish(source(), Scope())
    closed_before: list[bool] = []
    bus.at_withdrawal = lambda: closed_before.append(bus.carriers[0].closed)
    assert publisher.withdraw(file)
    assert closed_before == [False]
    assert bus.carriers[0].closed


def test_a_file_whose_websocket_can_not_be_opened_is_not_published(
    publisher: FilePublisher, bus: Bus
) -> None:
    bus.at_withdrawal = lambda: None
    for status in (403, 500):
        bus.broken = SocketLost("refused", status)
        with pytest.raises(NoDaemon, match="files can't be transferred, and nothing was sent: refused"):
            publisher.publish(source(), Scope())
        assert bus.services == {}


def test_a_websocket_that_can_not_be_opened_for_a_moment_is_opened_later(
    publisher: FilePublisher, bus: Bus
) -> None:
    for status in (None, 404, 503):
        bus.broken = SocketLost("refused", status)
        threading.Timer(0.1, setattr, (bus, "broken", None)).start()
        file = publisher.publish(source(), Scope())
        assert not bus.carriers[-1].closed
        assert publisher.withdraw(file)
    assert bus.services == {}


def test_a_stop_ends_the_tries_to_open_a_websocket(publisher: FilePublisher, bus: Bus) -> None:
    scope = Scope()
    bus.broken = SocketLost("refused")
    threading.Timer(0.1, scope.cancel, ("it is stopped",)).start()
    with pytest.raises(ScopeEnded):
        publisher.publish(source(), scope)


def test_a_daemon_that_does_not_remove_a_service_is_logged(
    publisher: FilePublisher, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    file = publisher.publish(source(), Scope())
    bus.broken = YagnaError("DELETE", "/services/1", None, "timed out")
    assert not publisher.withdraw(file)
    assert "could not be taken off the bus" in caplog.text
    assert bus.carriers[0].closed


def test_a_daemon_that_does_not_answer_is_not_asked_again(
    publisher: FilePublisher, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    file = publisher.publish(source(), Scope())
    assert not publisher.withdraw(file, ask=False)
    assert "the daemon does not answer" in caplog.text
    assert bus.carriers[0].closed
    assert list(bus.services) == ["1"]


def test_calls_of_a_refused_file_are_refused(
    publisher: FilePublisher, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_REFUSE_CALLS_SECONDS", 0.0)
    publisher.refuse([])
    file = publisher.publish(source(), Scope())
    assert bus.carriers[0].call("GetMetadata") == {"fileSize": 3}
    publisher.refuse([file])
    assert bus.carriers[0].call("GetMetadata") == "InternalError"


def test_a_websocket_that_can_not_be_opened_again_is_given_up_in_the_end(
    publisher: FilePublisher, bus: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    quick = tenacity.Retrying(wait=tenacity.wait_fixed(0.01), stop=tenacity.stop_after_attempt(3))
    monkeypatch.setattr(files, "_REOPENING", quick)
    file = publisher.publish(source(), Scope())
    other = publisher.publish(source(), Scope())
    bus.broken = YagnaError("DELETE", "/services/1", 500, "no")
    bus.carriers[0].get(SocketLost("cut"))
    eventually(lambda: "could not be opened again" in caplog.text)
    assert file.lost == 3
    assert other.lost == 0
    assert bus.carriers[1].call("GetMetadata") == {"fileSize": 3}
    bus.broken = None
    assert publisher.withdraw(file)


def test_a_websocket_with_much_unsent_gets_no_more_requests_until_it_is_sent(
    publisher: FilePublisher, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish(source(), Scope())
    carrier = bus.carriers[0]
    flushed = threading.Semaphore(0)

    def flush() -> None:
        flushed.release()
        if len(flushes) == 3:
            carrier.unsent = 0
        flushes.append(1)

    flushes: list[int] = []
    carrier.unsent = files._MOST_UNSENT
    monkeypatch.setattr(carrier, "flush", flush)
    assert carrier.call("GetMetadata") == {"fileSize": 3}
    assert len(flushes) > 3


def test_a_publisher_that_was_closed_publishes_nothing(bus: Bus) -> None:
    yagna: Any = SimpleNamespace(gsb=bus)
    publisher = FilePublisher(yagna)
    assert publisher.close(1)
    with pytest.raises(ScopeEnded, match="the files are closed"):
        publisher.publish(source(), Scope())


def test_closing_closes_every_websocket(bus: Bus) -> None:
    me = SimpleNamespace(node_id="0xme")
    yagna: Any = SimpleNamespace(gsb=bus, identity=SimpleNamespace(me=lambda scope: me))
    publisher = FilePublisher(yagna)
    file = publisher.publish(source(), Scope())
    assert publisher.close(20)
    assert bus.carriers[0].closed
    assert publisher.withdraw(file)


class LossyBus(Bus):
    """Its answers to publications are lost; they are carried out at once, or after the first withdrawal."""

    def __init__(self, error: Exception, *, late: bool) -> None:
        super().__init__()
        self._error = error
        self._is_late = late
        self._address = ""

    def publish(self, address: str, _components: Any, **_how: Any) -> str:
        self._address = address
        if not self._is_late:
            self._carry_out()
        raise self._error

    def withdraw(self, services_id: str, **_how: Any) -> None:
        super().withdraw(services_id)
        if self._is_late:
            self._is_late = False
            self._carry_out()

    def _carry_out(self) -> None:
        self.services[service_id(self._address)] = self._address


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "error",
    [ScopeEnded("stopped"), YagnaError("POST", "/services", None, "reset")],
    ids=["a stop", "a lost answer"],
)
def test_a_publication_that_is_given_up_half_way_leaves_nothing_on_the_bus(
    error: Exception, late: bool
) -> None:
    bus = LossyBus(error, late=late)
    me = SimpleNamespace(node_id="0xme")
    yagna: Any = SimpleNamespace(gsb=bus, identity=SimpleNamespace(me=lambda scope: me))
    publisher = FilePublisher(yagna)
    with pytest.raises(type(error)):
        publisher.publish(source(), Scope())
    assert bus.services == {}
    assert publisher.close(20)

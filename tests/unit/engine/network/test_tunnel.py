"""One connection to an instance, on the thread of the pump; the daemon's WebSocket is one of the test."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.engine.network import tunnel as tunnel_module
from simple_golem.engine.network.pump import Pump
from simple_golem.engine.network.tunnel import Limits, Tunnel
from simple_golem.yagna.transport.socket_lost import SocketLost
from simple_golem.yagna.transport.tcp_pair import tcp_pair
from tests.unit.conftest import eventually

PONG = b"<pong>"
MOST_BYTES = 256 * 1024 + 65536


class FakeChannel:
    """A WebSocket whose other end is a socket of the test; messages are what comes at once."""

    def __init__(self) -> None:
        self._socket, self.daemon = tcp_pair()
        self._socket.setblocking(False)
        self.daemon.settimeout(20)
        self._waiting = b""
        self.pongs = self.unanswered_pings = 0
        self.answers_pings = True
        self.has_data_since_pong = False
        self.messages: list[int] = []

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        return len(self._waiting)

    def receive(self) -> list[bytes]:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError as error:
            raise SocketLost(str(error)) from error
        if not data:
            raise SocketLost("the daemon closed the connection")
        if PONG in data:
            self.unanswered_pings -= data.count(PONG)
            data = data.replace(PONG, b"")
        self.has_data_since_pong = bool(data) and not self.unanswered_pings
        return [data]

    def send(self, message: bytes, *, with_ping: bool) -> None:
        self.messages.append(len(message))
        self._waiting += message
        self.flush()
        if with_ping:
            self.ping()

    def flush(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._socket.send(self._waiting) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise SocketLost(str(error)) from error

    def ping(self) -> None:
        self.unanswered_pings += 1
        self.has_data_since_pong = False
        if self.answers_pings:
            self.daemon.sendall(PONG)

    def keep_alive(self) -> None:
        self.pongs += 1

    def close(self, *, reset: bool = False) -> None:
        self._socket.close()


class Order:
    """In place of the order of messages at the daemon: the test says when it is known."""

    unsent = 0

    def __init__(self) -> None:
        self.asked: list[Callable[[bool], object]] = []

    def fileno(self) -> int:
        return -1

    def confirm(self, network_id: str, ip: str, then: Callable[[bool], object]) -> None:
        assert (network_id, ip) == ("net", "10.0.0.2")
        self.asked.append(then)

    def close(self) -> None:
        self.asked.clear()


class Connection:
    """A tunnel under test, with the user's end and the daemon's."""

    def __init__(
        self,
        pump: Pump,
        first: tuple[bytes, ...] = (),
        limits: Limits | None = None,
        confirm_order: Callable[[Tunnel], object] | None = None,
    ) -> None:
        self.channel = FakeChannel()
        local, self.user = tcp_pair()
        self.user.settimeout(20)
        self.ended: list[Tunnel] = []
        self.tunnel = Tunnel(
            self.channel,
            local,
            first,
            limits or Limits(),
            self.ended.append,
            confirm_order or (lambda tunnel: tunnel.order_confirmed()),
        )
        pump.add(self.tunnel)

    def close(self) -> None:
        self.user.close()
        self.channel.daemon.close()


@pytest.fixture
def order() -> Order:
    return Order()


@pytest.fixture
def pump(order: Order) -> Iterator[Pump]:
    pump = Pump(lambda: order)  # type: ignore[arg-type,return-value]
    yield pump
    assert pump.close(20)


def test_the_next_message_is_full_when_the_one_before_is_in_its_queue(pump: Pump) -> None:
    most, count = 65536, 12

    def confirm_order(tunnel: Tunnel) -> None:
        left = most * count - sum(one.channel.messages)
        eventually(lambda: len(tunnel.local.recv(most, socket.MSG_PEEK)) >= min(most, left))
        tunnel.order_confirmed()

    one = Connection(pump, confirm_order=confirm_order)
    one.user.sendall(bytes(most * count))
    eventually(lambda: sum(one.channel.messages) == most * count)
    # The first one is what has come by then, so the last one has the rest.
    assert set(one.channel.messages[1:-1]) == {most}
    one.close()


def test_bytes_pass_in_both_directions_those_first_that_came_with_the_opening(pump: Pump) -> None:
    one = Connection(pump, first=(b"hello ", b"you"))
    assert one.user.recv(100) == b"hello you"
    one.user.sendall(b"up")
    assert one.channel.daemon.recv(100) == b"up"
    one.channel.daemon.sendall(b"down")
    assert one.user.recv(100) == b"down"
    eventually(lambda: (one.tunnel.sent, one.tunnel.received) == (2, 13))
    one.close()


def test_no_message_is_longer_than_the_daemon_takes_and_all_bytes_arrive(pump: Pump) -> None:
    one = Connection(pump)
    data = bytes(range(256)) * 4096
    one.user.setblocking(False)
    sent, got = 0, b""
    while len(got) < len(data):
        try:
            sent += one.user.send(data[sent:])
        except BlockingIOError:
            pass
        got += one.channel.daemon.recv(1 << 20)
    assert got == data
    assert max(one.channel.messages) <= 65536
    one.close()


def test_a_slow_reader_slows_the_sender_and_its_pings_are_answered_all_the_same(
    pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel_module, "_KEEP_ALIVE_SECONDS", 0.02)
    one = Connection(pump)
    one.channel.daemon.setblocking(False)
    sent = 0
    quiet = 0
    while quiet < 20:
        try:
            sent += one.channel.daemon.send(bytes(1 << 20))
            quiet = 0
        except BlockingIOError:
            quiet += 1
            Scope().wait(0.01)
    assert len(one.tunnel._to_local) <= MOST_BYTES
    eventually(lambda: one.channel.pongs >= 2)
    got = 0
    while got < sent:
        got += len(one.user.recv(1 << 20))
    assert got == sent
    one.close()


def test_a_daemon_that_takes_nothing_slows_the_user(pump: Pump) -> None:
    one = Connection(pump)
    one.user.setblocking(False)
    quiet = 0
    while quiet < 20:
        try:
            one.user.send(bytes(1 << 20))
            quiet = 0
        except BlockingIOError:
            quiet += 1
            Scope().wait(0.01)
    assert one.channel.unsent <= MOST_BYTES
    one.close()


def test_after_the_end_of_what_the_user_sends_the_instance_can_still_answer(
    pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Connection(pump)
    one.user.sendall(b"question")
    one.user.shutdown(socket.SHUT_WR)
    assert one.channel.daemon.recv(100) == b"question"
    Scope().wait(0.05)
    one.channel.daemon.sendall(b"answer")
    assert one.user.recv(100) == b"answer"
    assert one.ended == []
    monkeypatch.setattr(tunnel_module, "_LINGER_SECONDS", 0.1)
    on_pump(pump, lambda: None)
    assert one.user.recv(100) == b""
    eventually(lambda: one.ended == [one.tunnel])
    one.close()


def test_a_drop_soon_after_data_is_a_reset(pump: Pump) -> None:
    one = Connection(pump)
    one.channel.daemon.sendall(b"half")
    assert one.user.recv(100) == b"half"
    one.channel.daemon.close()
    with pytest.raises(ConnectionResetError):
        one.user.recv(100)
    one.close()


def test_a_drop_long_after_the_last_data_is_the_end_of_the_instances_side(
    pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel_module, "_SHORTEST_FIN_SECONDS", 0.05)
    one = Connection(pump)
    Scope().wait(0.1)
    one.channel.daemon.close()
    assert one.user.recv(100) == b""
    one.close()


def test_an_idle_timeout_ends_the_data(pump: Pump) -> None:
    one = Connection(pump, first=(b"all of it",), limits=Limits(idle_timeout=0.1))
    assert one.user.recv(100) == b"all of it"
    assert one.user.recv(100) == b""
    assert one.channel.daemon.recv(100) == b""
    one.close()


def test_what_goes_up_can_have_a_speed_limit(pump: Pump) -> None:
    one = Connection(pump, limits=Limits(max_bytes_per_second=100_000))
    begun = time.monotonic()
    one.user.sendall(bytes(30_000))
    got = 0
    while got < 30_000:
        got += len(one.channel.daemon.recv(65536))
    # The last piece is sent before its time has passed.
    assert time.monotonic() - begun > 0.15
    one.close()


def test_the_end_of_the_pump_ends_all_connections_and_takes_no_more() -> None:
    pump = Pump(Order)  # type: ignore[arg-type]
    ones = [Connection(pump) for _ in range(20)]
    assert pump.close(20)
    late = Connection(pump)
    for one in (*ones, late):
        with pytest.raises(ConnectionResetError):
            one.user.recv(100)
        assert one.ended == [one.tunnel]
        one.close()


def test_one_connection_can_be_ended_from_outside(pump: Pump) -> None:
    one, other = Connection(pump), Connection(pump)
    pump.end(one.tunnel, broken=False)
    assert one.user.recv(100) == b""
    other.user.sendall(b"on")
    assert other.channel.daemon.recv(100) == b"on"
    one.close()
    other.close()


def test_a_defect_ends_its_connection_only(pump: Pump, caplog: pytest.LogCaptureFixture) -> None:
    one, other = Connection(pump), Connection(pump)
    one.channel.receive = lambda: SimpleNamespace().nothing  # type: ignore[method-assign]
    one.channel.daemon.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        one.user.recv(100)
    assert "a connection to an instance failed" in caplog.text
    other.channel.daemon.sendall(b"on")
    assert other.user.recv(100) == b"on"
    one.close()
    other.close()


def test_a_wait_of_a_month_ends_no_other_connection(pump: Pump) -> None:
    ones = [Connection(pump), Connection(pump, limits=Limits(idle_timeout=30 * 86400.0))]
    for one in ones:
        one.channel.daemon.sendall(b"on")
        assert one.user.recv(100) == b"on"
    for one in ones:
        one.close()


def test_a_defect_of_the_pump_ends_all_connections_and_the_next_one_is_served(
    pump: Pump, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ones = [Connection(pump) for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(pump, "_carry_out_orders", lambda: SimpleNamespace().nothing)
        ones.append(Connection(pump))
        for one in ones:
            with pytest.raises(ConnectionResetError):
                one.user.recv(100)
        eventually(lambda: all(one.ended == [one.tunnel] for one in ones))
    eventually(lambda: "thread golem-connections ended with an error" in caplog.text)
    ones.append(Connection(pump))
    ones[-1].channel.daemon.sendall(b"on")
    assert ones[-1].user.recv(100) == b"on"
    for one in ones:
        one.close()


def test_an_idle_connection_costs_no_processor_time(pump: Pump) -> None:
    ones = [Connection(pump) for _ in range(20)]
    ones[0].user.sendall(b"x")
    assert ones[0].channel.daemon.recv(1) == b"x"
    begun = time.process_time()
    Scope().wait(0.5)
    assert time.process_time() - begun < 0.05
    for one in ones:
        one.close()


def on_pump(pump: Pump, act: Callable[[], object]) -> None:
    with pump._lock:
        pump._order_locked(act)


def test_the_next_message_is_sent_when_the_one_before_is_in_its_queue(pump: Pump, order: Order) -> None:
    # Else the daemon may put the second one first.
    one = Connection(pump, confirm_order=lambda tunnel: pump.confirm_order(tunnel, "net", "10.0.0.2"))
    one.channel.answers_pings = False
    one.user.sendall(b"one")
    assert one.channel.daemon.recv(100) == b"one"
    one.user.sendall(b"two")
    Scope().wait(0.05)
    # The daemon has not taken the first one: nothing is asked, nothing is sent.
    assert (order.asked, one.channel.messages) == ([], [3])
    one.channel.daemon.sendall(PONG)
    eventually(lambda: len(order.asked) == 1)
    assert one.channel.messages == [3]
    on_pump(pump, lambda: order.asked.pop()(True))
    assert one.channel.daemon.recv(100) == b"two"
    one.close()


def test_data_from_the_instance_after_a_second_pong_shows_the_same_without_a_question(
    pump: Pump, order: Order
) -> None:
    one = Connection(pump, confirm_order=lambda tunnel: pump.confirm_order(tunnel, "net", "10.0.0.2"))
    one.channel.answers_pings = False
    for question, answer in ((b"one", b"1"), (b"two", b"2")):
        one.user.sendall(question)
        assert one.channel.daemon.recv(100) == question
        one.channel.daemon.sendall(PONG)
        eventually(lambda: one.tunnel._message.value == "taken" and one.channel.unanswered_pings == 1)
        one.channel.daemon.sendall(PONG)
        eventually(lambda: one.channel.unanswered_pings == 0)
        one.channel.daemon.sendall(answer)
        assert one.user.recv(100) == answer
    assert order.asked == []
    one.close()


def test_data_before_the_second_pong_shows_nothing(pump: Pump, order: Order) -> None:
    # It may have waited in the daemon since before the message.
    one = Connection(pump, confirm_order=lambda tunnel: pump.confirm_order(tunnel, "net", "10.0.0.2"))
    one.channel.answers_pings = False
    one.user.sendall(b"one")
    assert one.channel.daemon.recv(100) == b"one"
    one.channel.daemon.sendall(PONG)
    eventually(lambda: one.channel.unanswered_pings == 1)
    one.channel.daemon.sendall(b"early")
    assert one.user.recv(100) == b"early"
    one.user.sendall(b"two")
    eventually(lambda: len(order.asked) == 1)
    assert one.channel.messages == [3]
    one.close()


def test_a_connection_whose_order_is_not_known_is_reset(pump: Pump, order: Order) -> None:
    one = Connection(pump, confirm_order=lambda tunnel: pump.confirm_order(tunnel, "net", "10.0.0.2"))
    one.user.sendall(b"one")
    assert one.channel.daemon.recv(3) == b"one"
    one.user.sendall(b"two")
    eventually(lambda: len(order.asked) == 1)
    told = order.asked.pop()
    on_pump(pump, lambda: told(False))
    with pytest.raises(ConnectionResetError):
        one.user.recv(100)
    on_pump(pump, lambda: told(True))
    eventually(lambda: one.ended == [one.tunnel])
    one.close()


def test_the_answer_to_much_data_is_waited_for_as_long_as_that_may_be_on_its_way(
    pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel_module, "_LINGER_SECONDS", 0.05)
    monkeypatch.setattr(tunnel_module, "_SLOWEST_BYTES_PER_SECOND", 10)
    one = Connection(pump)
    one.user.sendall(bytes(1000))
    one.user.shutdown(socket.SHUT_WR)
    assert len(one.channel.daemon.recv(2000)) == 1000
    Scope().wait(0.2)
    assert one.ended == []
    one.channel.daemon.sendall(b"answer")
    assert one.user.recv(100) == b"answer"
    eventually(lambda: one.ended == [one.tunnel])
    one.close()

"""Proxies to instances, on a daemon in memory."""

from __future__ import annotations

import concurrent.futures
import errno
import http.client
import http.server
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.client import connect

from simple_golem import Cluster, Golem, HttpProxy, TcpProxy
from simple_golem.background.cancellation import Scope
from simple_golem.engine.network import connector, tunnel
from simple_golem.engine.network.place import Place
from simple_golem.errors import (
    BadLocalPort,
    BadNetwork,
    BadSetting,
    BadWaitTime,
    NotRunning,
    PortRefused,
    PortTimeout,
)
from simple_golem.events import ConnectionClosed, ConnectionOpened, Event
from simple_golem.services.proxies import http_exchange, http_proxy, refused, tcp_proxy, upstreams
from simple_golem.services.proxies.both_ways import pass_both_ways
from simple_golem.services.proxies.listener import Listener
from simple_golem.services.proxies.targets import Targets
from simple_golem.testing import FakeAnswer, FakeProvider, FakeYagna
from simple_golem.yagna.transport.readiness import wait_readable
from tests.helpers.hand_deadline import HandDeadline
from tests.helpers.recorded_services import SECONDS, Idle, InThread, started
from tests.unit.conftest import eventually
from tests.unit.services.test_networks import TRIED_SECONDS, echo, requests_of


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path; what it was asked stands in its answer."""

    protocol_version = "HTTP/1.1"
    provider = ""
    asked: list[str]

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/headers":
            self.answer("".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode())
        elif self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\none\r\n4\r\n two\r\n0\r\n\r\n")
        elif self.path == "/no-length":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"until the end")
            self.close_connection = True
        elif self.path == "/half":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half of it")
            raise ConnectionAbortedError
        elif self.path == "/begun":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.rfile.read(1)
        elif self.path == "/silent":
            self.rfile.read(1)
        elif self.path == "/nothing":
            raise ConnectionAbortedError
        else:
            self.answer(self.provider.encode(), X_Path=self.path)

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(body[::-1], status=201)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Servers:
    """The web servers of all providers, how often each was connected to, and what was asked for."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.asked: list[str] = []

    def of(self, name: str) -> Callable[[socket.socket], None]:
        class Own(Handler):
            provider = name
            asked = self.asked

        def serve(connection: socket.socket) -> None:
            self.connections.append(name)
            try:
                Own(connection, ("", 0), None)  # type: ignore[arg-type]
            except ConnectionAbortedError:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        return serve


def echo_messages(connection: socket.socket) -> None:
    """A WebSocket server."""
    protocol = ServerProtocol()
    while data := connection.recv(65536):
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                protocol.send_text(bytes(event.data))
        for part in protocol.data_to_send():
            connection.sendall(part)


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, servers: Servers) -> Iterator[FakeYagna]:
    providers = [
        FakeProvider(name=name, servers={7: echo, 80: servers.of(name), 81: echo_messages})
        for name in ("one", "two", "three")
    ]
    with FakeYagna(providers) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        assert fake.leftovers() == []


@pytest.fixture
def golem(fake: FakeYagna) -> Iterator[Golem]:
    with Golem(1, raise_failures=False) as golem:
        yield golem


@pytest.fixture
def cluster(golem: Golem) -> Cluster:
    cluster = golem.run_service(Idle, num_instances=2, network=True)
    cluster.wait_until_running(SECONDS)
    return cluster


def dialled(proxy: TcpProxy | HttpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.local_port), SECONDS)


def proxy_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("golem-proxy")]


# --- TCP -----------------------------------------------------------------------------------------------


def test_a_tcp_proxy_carries_any_protocol_to_an_instance(golem: Golem, cluster: Cluster) -> None:
    with TcpProxy(cluster.instances[0], 7) as proxy:
        assert proxy.address == f"127.0.0.1:{proxy.local_port}"
        assert proxy.address in repr(proxy)
        with dialled(proxy) as connection:
            connection.sendall(b"ping")
            assert connection.recv(10) == b"ping"
    with pytest.raises(ConnectionRefusedError):
        dialled(proxy)


def test_a_cluster_is_served_in_turn(golem: Golem, cluster: Cluster) -> None:
    told: list[Event] = []
    golem.on_event(told.append)
    with TcpProxy(cluster, 7) as proxy:
        for _ in range(4):
            with dialled(proxy) as connection:
                connection.sendall(b"ping")
                assert connection.recv(10) == b"ping"
    eventually(lambda: sum(isinstance(one, ConnectionClosed) for one in told) == 4)
    opened = [one.instance for one in told if isinstance(one, ConnectionOpened)]
    assert opened == ["Idle-1", "Idle-2", "Idle-1", "Idle-2"]
    closed = next(one for one in told if isinstance(one, ConnectionClosed))
    assert (closed.port, closed.sent, closed.received) == (7, 4, 4)
    assert str(closed).endswith(" Idle-1: connection to port 7 closed after 4 bytes sent and 4 received")


def test_an_instance_that_has_ended_is_left_out(golem: Golem, cluster: Cluster) -> None:
    cluster.instances[0].stop()
    with TcpProxy(cluster, 7) as proxy:
        for _ in range(2):
            with dialled(proxy) as connection:
                connection.sendall(b"ping")
                assert connection.recv(10) == b"ping"


def expect_reset(proxy: TcpProxy) -> None:
    """Connect, and get an error, then or at the first read."""
    with pytest.raises(ConnectionResetError), dialled(proxy) as connection:
        connection.recv(1)


def test_a_connection_that_can_not_be_made_is_reset_and_the_log_says_why(
    golem: Golem, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with TcpProxy(cluster, 9, timeout=TRIED_SECONDS) as proxy:
        expect_reset(proxy)
        assert re.search(r"port 9 of idle-\d \(192\.168\.0\.\d\) refuses connections", caplog.text)
        cluster.stop()
        expect_reset(proxy)
        assert "no instance is running" in caplog.text


def test_a_port_that_refuses_is_told_so_though_the_last_round_has_hardly_any_time(
    golem: Golem, cluster: Cluster
) -> None:
    deadline, rounds = HandDeadline(), list[str]()

    def connect(place: Place) -> bool:
        rounds.append("try")
        if len(rounds) == 1:
            deadline.left = 0.5
            raise PortRefused("nobody listens")
        deadline.left = 0.0
        raise PortTimeout("no time was left")

    with pytest.raises(PortRefused):
        Targets(cluster.instances[0], 7).reach(connect, deadline, Scope())
    assert len(rounds) == 2


def test_a_tcp_proxy_passes_over_an_instance_that_refuses(
    golem: Golem, cluster: Cluster, fake: FakeYagna
) -> None:
    first = cluster.instances[0]
    next(one for one in fake.providers if one.name == first.provider_name).servers = {}
    with TcpProxy(cluster, 7) as proxy:
        assert all(is_answered(proxy) for _ in range(4))


@pytest.mark.parametrize("kind", [TcpProxy, HttpProxy])
def test_an_instance_that_does_not_answer_is_passed_over(
    golem: Golem, cluster: Cluster, fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(connector, "_UNANSWERED_SECONDS", 60.0)
    silent = f"/tcp/{cluster.instances[0].ip}/"
    fake.intercept(lambda request: FakeAnswer(504) if silent in request.path else None)
    port = 7 if kind is TcpProxy else 80
    with kind(cluster, port) as proxy:
        for _ in range(4):
            if kind is TcpProxy:
                assert is_answered(proxy)
            else:
                assert requests.get(proxy.url, timeout=SECONDS).status_code == 200
    # Its try goes on in the daemon.
    assert len(requests_of(fake, "GET", f"{silent}{port}$")) == 1


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many open files"), ValueError("a defect")])
def test_a_connection_that_fails_for_whatever_reason_is_reset_and_does_not_count(
    golem: Golem,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fail(*_: object) -> bool:
        raise error

    with TcpProxy(cluster, 7, timeout=TRIED_SECONDS, max_connections=1) as proxy:
        with monkeypatch.context() as patch:
            patch.setattr(connector, "wait_readable", fail)
            expect_reset(proxy)
        eventually(lambda: is_answered(proxy))
    assert str(error) in caplog.text


def test_the_timeout_of_a_connection_begins_when_it_is_taken(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_proxy, "_OPENING_THREADS", 1)
    with TcpProxy(cluster, 9, timeout=TRIED_SECONDS) as proxy:
        begun = time.monotonic()
        clients = [dialled(proxy) for _ in range(6)]
        for client in clients:
            with pytest.raises(ConnectionResetError), client:
                client.recv(1)
        assert time.monotonic() - begun < 3 * TRIED_SECONDS


def test_connections_that_wait_for_a_thread_are_closed_with_the_proxy(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_proxy, "_OPENING_THREADS", 1)
    proxy = TcpProxy(cluster, 9, timeout=60)
    clients = [dialled(proxy) for _ in range(3)]
    eventually(lambda: len(proxy._listener._open) == 3)
    served = list(proxy._listener._open)
    proxy.close()
    assert [one.fileno() for one in served] == [-1, -1, -1]
    for client in clients:
        client.close()


def test_many_connections_at_once_are_all_answered_and_leave_no_thread(
    golem: Golem, cluster: Cluster
) -> None:
    with TcpProxy(cluster, 7) as proxy:

        def ask(number: int) -> bytes:
            with dialled(proxy) as connection:
                connection.sendall(b"%04d" % number)
                return connection.recv(10)

        with concurrent.futures.ThreadPoolExecutor(100) as clients:
            answers = list(clients.map(ask, range(200)))
    assert answers == [b"%04d" % number for number in range(200)]
    assert proxy_threads() == []


def is_answered(proxy: TcpProxy) -> bool:
    try:
        with dialled(proxy) as connection:
            connection.sendall(b"ping")
            return connection.recv(10) == b"ping"
    except ConnectionError:
        return False


def test_more_connections_than_the_limit_are_reset_and_the_log_says_how_to_have_more(
    golem: Golem, cluster: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_LINGER_SECONDS", 0.1)
    with TcpProxy(cluster, 7, max_connections=1) as proxy:
        with dialled(proxy) as first:
            first.sendall(b"ping")
            assert first.recv(10) == b"ping"
            assert not is_answered(proxy)
        assert "give it a larger max_connections" in caplog.text
        # The end of the first one counts when its client is known to be gone.
        eventually(lambda: is_answered(proxy))


def test_the_end_of_the_golem_closes_its_proxies(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem, network=True)
        proxies = [TcpProxy(instance, 7), HttpProxy(instance, 80)]
        connections = [dialled(proxies[0]) for _ in range(20)]
        for connection in connections:
            connection.sendall(b"ping")
            assert connection.recv(10) == b"ping"
        idle = dialled(proxies[1])
        # What the proxy has not taken yet would be reset.
        eventually(lambda: proxies[1]._listener._open)
    assert proxy_threads() == []
    for connection in connections:
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        connection.close()
    assert idle.recv(1) == b""
    idle.close()
    for proxy in proxies:
        with pytest.raises(ConnectionRefusedError):
            dialled(proxy)


@pytest.mark.parametrize(("kind", "port"), [(TcpProxy, 7), (HttpProxy, 80)])
def test_a_client_may_come_before_the_proxy_is_made(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, kind: Any, port: int
) -> None:
    """It knows the port, and has waited for it."""
    clients: list[socket.socket] = []

    class HasClientAtOnce(Listener):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            client = socket.create_connection((self.host, self.port), timeout=SECONDS)
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            # If it were served now, it would be by half a proxy.
            wait_readable(client, 0.3)
            clients.append(client)

    for module in (tcp_proxy, http_proxy):
        monkeypatch.setattr(module, "Listener", HasClientAtOnce)
    with kind(cluster, port), clients[0] as client:
        assert client.recv(4) == (b"HTTP" if kind is HttpProxy else b"GET ")


@pytest.mark.parametrize("kind", [TcpProxy, HttpProxy])
def test_when_the_golem_is_closed_there_is_no_proxy(fake: FakeYagna, kind: Any) -> None:
    with Golem(1) as golem:
        instance = started(golem, network=True)
    with pytest.raises(NotRunning, match="the Golem is closed"):
        kind(instance, 80)
    assert proxy_threads() == []


@pytest.mark.parametrize("kind", [TcpProxy, HttpProxy])
@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"port": 0}, BadNetwork, "from 1 to 65535"),
        ({"local_port": -1}, BadLocalPort, "up to 65535"),
        ({"local_port": "80"}, BadLocalPort, "give a number"),
        ({"host": "192.0.2.1"}, BadLocalPort, "can't listen on 192.0.2.1"),
        ({"max_connections": 0}, BadSetting, "1 or more"),
        ({"max_bytes_per_second": 0}, BadSetting, "1 or more"),
        ({"max_bytes_per_second": 1e-9}, BadSetting, "1 or more"),
        ({"max_bytes_per_second": float("inf")}, BadSetting, "None for no limit"),
        ({"timeout": -1}, BadWaitTime, "timeout"),
        ({"target": "http://x"}, BadNetwork, "leads to an instance or a cluster"),
    ],
)
def test_senseless_arguments_are_refused_and_nothing_is_left(
    golem: Golem, cluster: Cluster, kind: Any, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text)):
        kind(**{"target": cluster, "port": 7, **arguments})
    assert proxy_threads() == []


def test_a_local_port_that_is_taken_is_an_error_that_says_what_to_do(golem: Golem, cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(BadLocalPort, match=f"port {number}.*local_port=0 takes a free one"):
            TcpProxy(cluster, 7, local_port=number)
    with HttpProxy(cluster, 80, local_port=number) as proxy:
        assert proxy.url == f"http://127.0.0.1:{number}"


def test_without_a_network_the_error_says_how_to_get_one(golem: Golem, fake: FakeYagna) -> None:
    with pytest.raises(BadNetwork, match="network=True"):
        TcpProxy(started(golem), 7)


# --- HTTP ----------------------------------------------------------------------------------------------


def test_each_request_goes_to_the_next_instance_over_connections_that_are_kept(
    golem: Golem, cluster: Cluster, servers: Servers
) -> None:
    with HttpProxy(cluster, 80) as proxy, requests.Session() as session:
        answers = [session.get(f"{proxy.url}/x?y=1", timeout=SECONDS) for _ in range(6)]
    assert len({answer.text for answer in answers}) == 2
    assert [answer.text for answer in answers[:2]] * 3 == [answer.text for answer in answers]
    assert answers[0].headers["X-Path"] == "/x?y=1"
    assert len(servers.connections) == 2


def test_bodies_pass_in_both_directions_whatever_their_form(golem: Golem, cluster: Cluster) -> None:
    body = bytes(range(256)) * 2000
    with HttpProxy(cluster, 80) as proxy, requests.Session() as session:
        for data in (body, iter([body[:1000], body[1000:]]), b""):
            answer = session.post(proxy.url, data=data, timeout=SECONDS)
            assert answer.status_code == 201
            assert answer.content == (b"" if data == b"" else body[::-1])
        assert session.get(f"{proxy.url}/chunked", timeout=SECONDS).text == "one two"
        head = session.head(proxy.url, timeout=SECONDS)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] in ("3", "5")  # the length of the provider's name


def test_headers_of_one_connection_stay_there_and_the_client_is_named(golem: Golem, cluster: Cluster) -> None:
    sent = {"X-Own": "1", "Connection": "keep-alive, X-Hop", "X-Hop": "1", "X-Forwarded-For": "10.9.8.7"}
    with HttpProxy(cluster, 80) as proxy:
        seen = requests.get(f"{proxy.url}/headers", headers=sent, timeout=SECONDS).text.lower()
    assert "x-own: 1\n" in seen
    assert "x-forwarded-for: 10.9.8.7, 127.0.0.1\n" in seen
    assert f"host: {proxy.address}\n" in seen
    assert "hop" not in seen


def test_a_client_that_waits_for_a_go_ahead_gets_it(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 80) as proxy, dialled(proxy) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"abc")
        answer = b""
        while not answer.endswith(b"cba"):
            answer += client.recv(1000)


def test_a_body_without_a_length_ends_although_its_end_is_not_shown(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_exchange, "_END_OF_BODY_SECONDS", 0.2)
    with HttpProxy(cluster, 80) as proxy:
        assert requests.get(f"{proxy.url}/no-length", timeout=SECONDS).text == "until the end"


def test_an_instance_that_refuses_is_passed_over(golem: Golem, cluster: Cluster, fake: FakeYagna) -> None:
    first = cluster.instances[0]
    next(one for one in fake.providers if one.name == first.provider_name).servers = {}
    with HttpProxy(cluster, 80) as proxy:
        answers = {requests.get(proxy.url, timeout=SECONDS).text for _ in range(4)}
    assert answers == {cluster.instances[1].provider_name}


def test_where_no_instance_can_be_reached_the_answer_says_why(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 9, timeout=TRIED_SECONDS) as proxy:
        answer = requests.get(proxy.url, timeout=SECONDS)
        assert answer.status_code == 502
        assert re.fullmatch(r"port 9 of idle-\d \(192\.168\.0\.\d\) refuses connections: .*\n", answer.text)
        cluster.stop()
        answer = requests.get(proxy.url, timeout=SECONDS)
        assert (answer.status_code, answer.text[:23]) == (502, "no instance is running:")


def test_a_silent_network_is_a_timeout(golem: Golem, cluster: Cluster, fake: FakeYagna) -> None:
    fake.intercept(lambda request: FakeAnswer(504) if "/tcp/" in request.path else None)
    with HttpProxy(cluster, 80, timeout=TRIED_SECONDS) as proxy:
        assert requests.get(proxy.url, timeout=SECONDS).status_code == 504


def test_an_instance_that_does_not_answer_is_a_timeout_and_one_that_hangs_up_is_not(
    golem: Golem, cluster: Cluster
) -> None:
    with HttpProxy(cluster, 80, answer_timeout=0.3) as proxy:
        answer = requests.get(f"{proxy.url}/silent", timeout=SECONDS)
        assert (answer.status_code, "did not answer within 0.3 seconds" in answer.text) == (504, True)
    with HttpProxy(cluster, 80) as proxy:
        answer = requests.get(f"{proxy.url}/nothing", timeout=SECONDS)
        assert (answer.status_code, "did not answer" in answer.text) == (502, True)


def test_half_an_answer_is_an_error_for_the_client(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 80) as proxy, pytest.raises(requests.exceptions.RequestException):
        requests.get(f"{proxy.url}/half", timeout=SECONDS)


def test_a_kept_connection_that_is_dead_is_replaced_without_the_client_noticing(
    golem: Golem, cluster: Cluster, fake: FakeYagna
) -> None:
    instance = cluster.instances[0]
    with HttpProxy(instance, 80) as proxy, requests.Session() as session:
        assert session.get(proxy.url, timeout=SECONDS).status_code == 200
        eventually(lambda: proxy._upstreams._idle)
        (kept,) = proxy._upstreams._idle
        kept.socket.shutdown(socket.SHUT_WR)  # as one looks that the server has closed: nothing comes back
        assert session.get(proxy.url, timeout=SECONDS).status_code == 200


def test_what_is_no_http_is_refused_with_a_sentence(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 80) as proxy, dialled(proxy) as client:
        client.sendall(b"nonsense\r\n\r\n")
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"the request is not valid" in answer


def test_more_clients_than_the_limit_get_a_sentence(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 80, max_connections=1) as proxy, requests.Session() as session:
        assert session.get(proxy.url, timeout=SECONDS).status_code == 200
        client = http.client.HTTPConnection("127.0.0.1", proxy.local_port, timeout=SECONDS)
        client.connect()
        answer = client.sock.recv(1000)
        client.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"This proxy has as many connections as max_connections allows.\n")


def test_a_client_beyond_the_limit_that_is_still_sending_reads_why(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 80, max_connections=1) as proxy, dialled(proxy):
        for size in (0, 20_000_000):
            client = http.client.HTTPConnection("127.0.0.1", proxy.local_port, timeout=SECONDS)
            client.request("POST", "/", body=bytes(size))
            assert client.getresponse().status == 503
            client.close()


def has_ended(client: socket.socket) -> bool:
    """Whether nothing that is sent is read any more."""
    try:
        client.sendall(b"more")
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize(("seconds", "count"), [(0.1, 64), (3600, 1)])
def test_a_client_beyond_the_limit_is_not_read_for_ever(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, seconds: float, count: int
) -> None:
    monkeypatch.setattr(refused, "_LAST_READ_SECONDS", seconds)
    monkeypatch.setattr(refused, "_MOST_CLIENTS", count)
    with HttpProxy(cluster, 80, max_connections=1) as proxy, dialled(proxy), dialled(proxy) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
        with dialled(proxy) as next_client:
            assert next_client.recv(1000).startswith(b"HTTP/1.1 503 ")
            eventually(lambda: has_ended(client))


def test_a_client_beyond_the_limit_is_read_until_the_proxy_ends(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 80, max_connections=1) as proxy, dialled(proxy):
        client = dialled(proxy)
        assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert not has_ended(client)
    with client:
        eventually(lambda: has_ended(client))


def test_many_clients_at_once_are_all_answered(golem: Golem, cluster: Cluster) -> None:
    def ask(number: int) -> set[str]:
        with requests.Session() as session:
            return {session.get(f"{proxy.url}/{number}", timeout=SECONDS).headers["X-Path"] for _ in range(4)}

    with HttpProxy(cluster, 80) as proxy, concurrent.futures.ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(ask, range(50)))
    assert answers == [{f"/{number}"} for number in range(50)]
    assert proxy_threads() == []


def test_a_request_for_a_tunnel_is_refused(golem: Golem, cluster: Cluster, servers: Servers) -> None:
    # HTTP on a connection ends with the answer to it, so nothing could be passed back after that.
    with HttpProxy(cluster, 80) as proxy, dialled(proxy) as client:
        client.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert answer.endswith(b"this one leads to an instance only\n")
    assert servers.connections == []


@pytest.mark.parametrize("path", ["/silent", "/begun"])
def test_the_end_of_a_proxy_ends_requests_that_are_under_way(
    golem: Golem, cluster: Cluster, servers: Servers, path: str
) -> None:
    proxy = HttpProxy(cluster, 80)
    with dialled(proxy) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: servers.asked)
        if path == "/begun":
            assert b"200" in client.recv(1000)
        proxy.close()
        assert proxy_threads() == []


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400", b"the request is not valid: "),
        (b"Content-Length: 10\r\n\r\nhalf", b"408", b"the rest of the request did not come in time"),
    ],
)
def test_a_mistake_of_the_client_is_not_told_as_one_of_the_instance(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, sent: bytes, status: bytes, text: bytes
) -> None:
    monkeypatch.setattr(http_exchange, "_CLIENT_IDLE_SECONDS", 1.5)
    with HttpProxy(cluster, 80) as proxy, dialled(proxy) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + sent)
        answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 %b " % status)
    assert text in answer


def test_a_client_that_is_refused_while_it_sends_reads_why(golem: Golem, cluster: Cluster) -> None:
    with HttpProxy(cluster, 9, timeout=TRIED_SECONDS) as proxy:
        client = http.client.HTTPConnection("127.0.0.1", proxy.local_port, timeout=SECONDS)
        client.request("POST", "/", body=bytes(20_000_000))
        answer = client.getresponse()
        assert (answer.status, b"refuses connections" in answer.read()) == (502, True)
        client.close()


def test_a_websocket_passes_through(golem: Golem, cluster: Cluster) -> None:
    with (
        HttpProxy(cluster, 81) as proxy,
        connect(f"ws://{proxy.address}/chat", open_timeout=SECONDS, close_timeout=0.1) as client,
    ):
        for text in ("hello", "x" * 100_000):
            client.send(text)
            assert client.recv(SECONDS) == text


def test_a_side_that_reads_late_does_not_stop_what_it_sends() -> None:
    data = bytes(range(256)) * 8000
    (client, to_client), (server, to_server) = socket.socketpair(), socket.socketpair()
    for end in (client, server):
        end.settimeout(SECONDS)
    passing = InThread(pass_both_ways, to_client, to_server, b"first ", b"")
    sending = InThread(server.sendall, data)
    reading = InThread(read, server, len(data))
    client.sendall(data)  # its side is full meanwhile, since it reads nothing
    assert reading.join().value == data
    assert read(client, len(data) + 6) == b"first " + data
    sending.join()
    server.sendall(b"last")
    server.close()
    passing.join()
    to_client.close()
    assert read(client, 5) == b"last"  # and the end
    for end in (client, to_server):
        end.close()


def read(end: socket.socket, most: int) -> bytes:
    """Read so many bytes, or to the end."""
    got = b""
    while len(got) < most and (data := end.recv(1 << 20)):
        got += data
    return got


def test_a_connection_that_no_request_uses_is_closed_after_a_while(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    golem.on_event(told.append)
    monkeypatch.setattr(upstreams, "_MOST_IDLE_SECONDS", 0.2)
    with HttpProxy(cluster, 80) as proxy:
        assert requests.get(proxy.url, timeout=SECONDS).status_code == 200
        eventually(lambda: any(isinstance(one, ConnectionClosed) for one in told))
        assert proxy._upstreams._idle == []


def test_the_end_of_a_proxy_wakes_its_thread_where_a_shutdown_does_not(
    golem: Golem, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = TcpProxy(cluster, 7)
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "shutdown", lambda *_: None)  # as on Windows, for a listening socket
        proxy.close()
    assert proxy_threads() == []
    proxy.close()


def test_the_connection_of_a_wait_for_the_port_is_used_by_the_proxy(
    golem: Golem, cluster: Cluster, fake: FakeYagna
) -> None:
    instance = cluster.instances[0]
    instance.wait_for_port(80)
    with HttpProxy(instance, 80) as proxy:
        assert requests.get(proxy.url, timeout=SECONDS).status_code == 200
    assert len(requests_of(fake, "GET", "/tcp/.*/[1-9]")) == 1


def test_the_connection_of_a_wait_for_the_port_has_the_limits_of_the_proxy(
    golem: Golem, cluster: Cluster
) -> None:
    instance = cluster.instances[0]
    for port, kind in ((80, HttpProxy), (7, TcpProxy)):
        instance.wait_for_port(port)
        with kind(instance, port, max_bytes_per_second=100_000) as proxy, dialled(proxy) as client:
            begun = time.monotonic()
            if kind is HttpProxy:
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n")
            client.sendall(bytes(30_000))
            got = 0
            while got < 30_000:
                got += len(client.recv(65536))
            # The last piece is sent before its time has passed.
            assert time.monotonic() - begun > 0.15


def test_a_server_of_one_connection_after_the_other_serves_the_proxy_after_a_wait_for_its_port(
    golem: Golem, cluster: Cluster, fake: FakeYagna
) -> None:
    instance = cluster.instances[0]
    in_turn = threading.Lock()

    def echo_one(connection: socket.socket) -> None:
        with in_turn:
            echo(connection)

    for provider in fake.providers:
        provider.servers = {7: echo_one}
    instance.wait_for_port(7)
    with TcpProxy(instance, 7) as proxy, dialled(proxy) as connection:
        connection.sendall(b"ping")
        assert connection.recv(10) == b"ping"

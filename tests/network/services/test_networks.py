"""Private networks on the real daemon: instances reach each other, and a script reaches their ports."""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import os
import socket
import threading
from collections.abc import Iterator

import pytest
import requests
from websockets.sync.client import connect

from simple_golem import Golem, HttpProxy, Instance, Run, Service, TcpProxy, UploadBytes
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import NetworkLost, NotRunning, PortRefused, PortTimeout
from simple_golem.local.local_golem import LocalGolem
from tests.helpers.transfer_server import PORT, WITH_PYTHON, Server, received

pytestmark = pytest.mark.usefixtures("golem_environment")

SIZE = 2_000_000
# What an end may take, at three times its length.
ENDED_SECONDS = 3 * 5.0

ASK = (
    "python3 -c \"import socket; c = socket.create_connection(('{}', 7000), 10); "
    "c.sendall(b'Ehello'); print(c.recv(10).decode())\""
)


def assert_all_end(*names: str) -> None:
    """A thread that has done everything is still there for a moment."""
    left = Deadline(ENDED_SECONDS)
    while alive := [one.name for one in threading.enumerate() if one.name.startswith(names)]:
        assert not left.passed, alive
        Scope().wait(0.02)


@pytest.fixture
def golem() -> Iterator[Golem]:
    with Golem(1) as golem:
        yield golem


def echoed(instance: Instance) -> socket.socket:
    """An open connection to the echo."""
    connection = instance.connect(PORT, timeout=60)
    connection.sendall(b"Ehello")
    assert received(connection, 5) == b"hello"
    return connection


def test_instances_of_one_cluster_and_of_two_reach_each_other_by_name_and_address(golem):
    cluster = golem.run_service(Server, num_instances=2, network=True)
    one, two = cluster.wait_until_running(60)

    class Other(Server):
        pass

    (third,) = golem.run_service(Other, network=True).wait_until_running(60)
    assert [instance.ip for instance in (one, two, third)] == ["192.168.0.2", "192.168.0.3", "192.168.0.4"]
    for asking, asked in ((one, "server-2"), (two, "server-1"), (third, "server-1"), (one, "192.168.0.4")):
        assert asking.execute(Run.shell(ASK.format(asked))).stdout == "hello\n", (asking, asked)
    # The real runtime's names are those of the deploy: whoever came later has no name there.
    assert not one.execute(Run.shell(ASK.format("other-1")), check=False).success


def test_the_machines_of_a_pool_reach_a_rented_machine_by_its_name(golem):
    server = golem.rent(60, service_class=Server, name="db", network=True)

    def ask(machine: Instance, _: int) -> str:
        return machine.shell(ASK.format(server.host_name)).stdout

    with golem.pool(2, payload=WITH_PYTHON, network=True) as pool:
        assert list(pool.map(ask, range(4), timeout=60)) == ["hello\n"] * 4


def test_data_arrives_whole_in_both_directions_and_bad_ports_are_errors(golem):
    (instance,) = golem.run_service(Server, network=True).wait_until_running(60)
    with instance.connect(PORT, timeout=60) as connection:
        connection.sendall(b"D%012d" % SIZE)
        digest = received(connection, 32)
        assert hashlib.sha256(received(connection, SIZE)).digest() == digest
    with instance.connect(PORT, timeout=60) as connection:
        # Many messages, which the daemon would mix up by itself.
        data = os.urandom(SIZE)
        connection.sendall(b"U%012d" % len(data) + data)
        assert received(connection, 32) == hashlib.sha256(data).digest()
    with instance.connect(PORT, timeout=60) as connection:
        # The server does not read at first: all of it waits on the way.
        connection.sendall(b"S%012d" % len(data) + data)
        assert received(connection, 32) == hashlib.sha256(data).digest()
    with pytest.raises(PortRefused):
        instance.connect(PORT + 1, timeout=4)
    # An address of the network at which nobody is.
    instance._network_place.ip = "192.168.0.99"
    with pytest.raises(PortTimeout):
        instance.connect(PORT, timeout=1)


def test_connections_end_with_their_instance_and_with_the_golem(golem):
    cluster = golem.run_service(Server, num_instances=2, network=True)
    one, two = cluster.wait_until_running(60)
    stopped, closed = echoed(one), [echoed(two) for _ in range(50)]
    left = Deadline(ENDED_SECONDS)
    one.stop()
    with pytest.raises(ConnectionResetError):
        stopped.recv(1)
    with pytest.raises(NotRunning):
        one.connect(PORT)
    golem.close()
    for connection in closed:
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert not left.passed
    assert_all_end("golem-", "Server")
    for connection in (stopped, *closed):
        connection.close()


@pytest.mark.long
def test_an_idle_connection_outlives_the_daemons_pings(golem):
    # The daemon drops whoever does not answer them for 15 seconds.
    (instance,) = golem.run_service(Server, network=True).wait_until_running(60)
    with echoed(instance) as connection:
        Scope().wait(17)
        connection.sendall(b"still there")
        assert received(connection, 11) == b"still there"


def test_an_http_client_and_a_web_server(golem):
    class Web(Service):
        payload = WITH_PYTHON

        def start(self):
            self.shell("echo hello > /golem/out/index.html")
            self.shell("cd /golem/out && python3 -m http.server 80 > log 2>&1 &")
            self.wait_for_port(80)

    (instance,) = golem.run_service(Web, network=True).wait_until_running(60)
    client = http.client.HTTPConnection(instance.host_name)
    client.sock = instance.connect(80, timeout=60)
    client.request("GET", "/index.html")
    assert client.getresponse().read() == b"hello\n"
    client.close()


@pytest.fixture
def fresh_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGolem]:
    with LocalGolem(providers=2, chain=False) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        yield network


def test_the_daemon_restarted_under_open_connections_and_a_provider_that_vanishes(fresh_network):
    with Golem(1, raise_failures=False, health_interval=1) as golem:
        cluster = golem.run_service(Server, num_instances=2, network=True)
        one, two = cluster.wait_until_running(60)
        connection = echoed(one)
        fresh_network.kill_requestor_daemon()
        fresh_network.restart_requestor_daemon()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        connection.close()
        for instance in (one, two):
            with pytest.raises(NetworkLost, match="restarted"):
                instance.connect(PORT)
            assert instance.execute(Run("/bin/echo", "alive")).stdout == "alive\n"
        # A new network, which carries data at once.
        (third,) = [golem.run_service(Server, network=golem.create_network("10.0.0.0/24")).instances[0]]
        one.stop()
        third.wait_for("running", 60)
        connection = third.connect(PORT, timeout=60)
        connection.sendall(b"D%012d" % 50_000_000)
        received(connection, 32)
        fresh_network.provider(third.provider_name).die()
        # It ends with an error, within the limit of the health check, and never hangs.
        with pytest.raises(ConnectionResetError):
            received(connection, 50_000_001)  # all that was sent may be on this machine already
        connection.close()


def test_a_new_life_has_the_address_and_the_name_of_the_one_that_was_lost_under_data(fresh_network):
    with Golem(1, raise_failures=False, health_interval=1) as golem:
        cluster = golem.run_service(Server, num_instances=1, network=True, respawn_running=True)
        (moves,) = cluster.wait_until_running(60)
        first = moves.provider_name
        uploading = moves.connect(PORT, timeout=60)
        uploading.sendall(b"U%012d" % 50_000_000 + bytes(300_000))
        fresh_network.provider(first).kill_exe_unit()
        left = Deadline(60)
        while moves.provider_name == first or moves.state != "running":
            assert not left.passed, moves
            Scope().wait(0.1)
        assert (moves.ip, moves.host_name) == ("192.168.0.2", "server-1")
        with uploading, pytest.raises(ConnectionResetError):
            uploading.recv(1)
        with echoed(moves):
            pass

        class Other(Server):
            pass

        (other,) = golem.run_service(Other, network=True).wait_until_running(60)
        assert other.execute(Run.shell(ASK.format("server-1"))).stdout == "hello\n"


WEB = """
import base64, hashlib, http.server, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            self.web_socket()
            return
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 10000):
            piece = body[at : at + 10000]
            self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(piece), piece))
        self.wfile.write(b"0\\r\\n\\r\\n")
    def web_socket(self):
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        key = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + guid).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(key).decode())
        self.end_headers()
        while True:
            kind, length = self.rfile.read(2)
            mask = self.rfile.read(4)
            data = bytes(one ^ mask[at % 4] for at, one in enumerate(self.rfile.read(length & 127)))
            self.wfile.write(bytes([kind, len(data)]) + data)
            if kind & 15 == 8:
                self.close_connection = True
                return
    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

Server(("0.0.0.0", 80), Handler).serve_forever()
"""


class WebServer(Service):
    payload = WITH_PYTHON

    def start(self):
        self.execute(
            UploadBytes(WEB.encode(), "/golem/in/web.py"),
            Run.shell("python3 /golem/in/web.py > /golem/out/log 2>&1 &"),
        )
        self.wait_for_port(80)


def test_web_servers_are_reached_through_a_proxy_by_many_clients(golem):
    cluster = golem.run_service(WebServer, num_instances=2, network=True)
    cluster.wait_until_running(60)
    with HttpProxy(cluster, 80, timeout=60) as proxy:

        def ask(number: int) -> list[str]:
            with requests.Session() as session:
                return [session.get(f"{proxy.url}/{number}/{n}", timeout=60).text for n in range(4)]

        with concurrent.futures.ThreadPoolExecutor(50) as clients:
            answers = list(clients.map(ask, range(50)))
        assert answers == [[f"/{number}/{n}" for n in range(4)] for number in range(50)]
        body = os.urandom(200_000)
        assert requests.post(proxy.url, data=body, timeout=60).content == body
        with connect(f"ws://{proxy.address}/chat", close_timeout=0.5) as client:
            for text in ("hello", "again"):
                client.send(text)
                assert client.recv(20) == text
    assert_all_end("golem-proxy")


def test_two_hundred_connections_through_one_tcp_proxy_are_all_answered(golem):
    (instance,) = golem.run_service(Server, network=True).wait_until_running(60)
    with TcpProxy(instance, PORT, timeout=60) as proxy:
        connections = [socket.create_connection(("127.0.0.1", proxy.local_port), 60) for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.sendall(b"E%04d" % number)
        for number, connection in enumerate(connections):
            assert received(connection, 4) == b"%04d" % number
            connection.close()
    assert_all_end("golem-proxy")

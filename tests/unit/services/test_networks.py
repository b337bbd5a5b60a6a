"""Clusters in private networks, on a daemon in memory."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Deploy, Golem, Instance, Network, Run, Start
from simple_golem.command_line.main import main
from simple_golem.engine.activity import background_programs
from simple_golem.engine.network import connector, place
from simple_golem.engine.network.tunnel import Tunnel
from simple_golem.errors import (
    BadCommandList,
    BadNetwork,
    BadPayload,
    NetworkLost,
    NotRunning,
    PortRefused,
    PortTimeout,
    ServiceFailed,
    ServiceStopped,
    YagnaError,
)
from simple_golem.testing import FakeAnswer, FakeProvider, FakeRequest, FakeYagna, Fault
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.transport.http import Http
from simple_golem.yagna.transport.retry import made_once
from tests.helpers.killed_maker import make_network_and_be_killed
from tests.helpers.recorded_services import AT_ONCE, SECONDS, Gate, Idle, InThread, gate_of, started
from tests.unit.conftest import eventually

NETWORKS = "/net-api/v2/vpn/net"
# In that time a port is tried twice at least, also where a thread stands still for a second.
TRIED_SECONDS = 1.5
# And in that time a server has greeted.
IDLE_SECONDS = 2.0


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def greet(connection: socket.socket) -> None:
    connection.sendall(b"welcome")
    connection.recv(1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    providers = [FakeProvider(servers={7: echo, 21: greet}) for _ in range(3)]
    with FakeYagna(providers) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        assert fake.leftovers() == []


@pytest.fixture
def golem(fake: FakeYagna) -> Iterator[Golem]:
    with Golem(1, raise_failures=False) as golem:
        yield golem


def deploys(fake: FakeYagna) -> list[dict[str, Any]]:
    """The details of all `deploy` commands, by the address of the instance."""
    commands = [command for provider in fake.providers for command in provider.commands]
    found = [command["deploy"] for command in commands if "deploy" in command]
    return sorted(found, key=lambda one: str(one.get("net")))


def requests_of(fake: FakeYagna, method: str, path: str) -> list[FakeRequest]:
    return [one for one in fake.requests if one.method == method and re.search(path, one.path)]


# --- networks and addresses ----------------------------------------------------------------------------


def test_each_instance_has_an_address_and_a_name_and_learns_those_of_the_others(
    fake: FakeYagna, golem: Golem
) -> None:
    cluster = golem.run_service(Idle, num_instances=2, network=True)
    instances = cluster.wait_until_running(SECONDS)
    assert [(one.ip, one.host_name) for one in instances] == [
        ("192.168.0.2", "idle-1"),
        ("192.168.0.3", "idle-2"),
    ]
    hosts = {"idle-1": "192.168.0.2", "idle-2": "192.168.0.3"}
    for deploy, instance in zip(deploys(fake), instances, strict=True):
        (net,) = deploy["net"]
        assert net["nodeIp"] == instance.ip
        assert net["nodes"]["192.168.0.1"] == fake.node_id
        assert net["nodes"][instance.ip] == instance.provider_id
        assert deploy["hosts"] == hosts
    assert len(requests_of(fake, "POST", "/net$")) == 1
    assert "vpn" in json.dumps([json.loads(one.body) for one in requests_of(fake, "POST", "/demands$")])


def test_two_clusters_share_the_golems_own_network(fake: FakeYagna, golem: Golem) -> None:
    one = started(golem, network=True)
    other = started(golem, network=True)
    assert (one.ip, other.ip) == ("192.168.0.2", "192.168.0.3")
    assert deploys(fake)[1]["net"][0]["nodes"].keys() == {"192.168.0.1", "192.168.0.2", "192.168.0.3"}
    assert deploys(fake)[1]["hosts"] == {"idle-1": "192.168.0.2", "idle-2": "192.168.0.3"}


class Named(Idle):
    def __init__(self) -> None:
        super().__init__()
        self.name = "server"


def test_a_network_that_was_half_made_is_completed_by_the_next_cluster(fake: FakeYagna, golem: Golem) -> None:
    def refuse_addresses(request: FakeRequest) -> FakeAnswer | None:
        return FakeAnswer(500) if request.path.endswith("/addresses") else None

    end = fake.intercept(refuse_addresses)
    with pytest.raises(YagnaError):
        golem.run_service(Idle, network=True)
    end()
    refused = [one.path for one in requests_of(fake, "POST", "/addresses$")]
    started(golem, network=True)
    assert [one.path for one in requests_of(fake, "POST", "/addresses$")] == [*refused, refused[0]]


def test_where_two_clusters_use_one_name_each_finds_its_own(fake: FakeYagna, golem: Golem) -> None:
    started(golem, Named, network=True)
    started(golem, Named, network=True)
    assert [deploy["hosts"] for deploy in deploys(fake)] == [
        {"server": "192.168.0.2"},
        {"server": "192.168.0.3"},
    ]


def test_a_network_of_ones_own_has_fixed_addresses_and_ends_with_its_block(
    fake: FakeYagna, golem: Golem
) -> None:
    with golem.create_network("10.1.0.0/24") as network:
        instance = started(golem, network=network, network_addresses=["10.1.0.77"])
        assert instance.ip == "10.1.0.77"
        assert network.hosts == {"idle-1": "10.1.0.77"}
        assert repr(network) == "<Network 10.1.0.0/24: 1 instances>"
        assert isinstance(network, Network)
        with pytest.raises(BadNetwork, match="taken"):
            golem.run_service(Idle, network=network, network_addresses=["10.1.0.77"])
    assert len(requests_of(fake, "DELETE", "/net/")) == 1
    with pytest.raises(NetworkLost, match="idle-1"):
        instance.connect(7)
    with pytest.raises(BadNetwork, match="was closed"):
        golem.run_service(Idle, network=network)
    network.close()
    assert len(requests_of(fake, "DELETE", "/net/")) == 1


def test_a_network_that_could_not_be_ended_can_be_closed_again(fake: FakeYagna, golem: Golem) -> None:
    network = golem.create_network("10.1.0.0/24")
    answers = fake.intercept(lambda request: FakeAnswer(400) if request.method == "DELETE" else None)
    with pytest.raises(YagnaError, match=r"the network 10\.1\.0\.0/24 goes on: close it again"):
        network.close()
    assert sum("network" in left for left in fake.leftovers()) == 1
    with pytest.raises(BadNetwork, match="was closed"):
        golem.run_service(Idle, network=network)
    answers()
    network.close()
    assert not [left for left in fake.leftovers() if "network" in left]


def test_an_address_is_free_again_after_the_last_life(fake: FakeYagna, golem: Golem) -> None:
    network = golem.create_network("10.1.0.0/30")
    first = started(golem, network=network)
    with pytest.raises(BadNetwork, match="0 free addresses"):
        golem.run_service(Idle, network=network)
    first.stop()
    assert started(golem, network=network).ip == first.ip == "10.1.0.2"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"network": "192.168.0.0/24"}, BadNetwork, "give True for the Golem's own network"),
        ({"network": 1}, BadNetwork, "give True"),
        ({"network_addresses": ["192.168.0.5"]}, BadNetwork, r"give network=golem\.create_network"),
        ({"network": True, "network_addresses": ["10.0.0.5"]}, BadNetwork, "no address of an instance"),
        ({"network": True, "num_instances": 254}, BadNetwork, "253 free addresses"),
    ],
)
def test_a_senseless_network_is_refused_at_the_call(
    fake: FakeYagna, golem: Golem, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        golem.run_service(Idle, **arguments)
    assert golem.clusters == ()
    assert requests_of(fake, "POST", "/demands$") == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"ip": "10.0.0.0/99"}, BadNetwork, "give a range"),
        ({"owner_ip": "192.168.0.9"}, TypeError, "first address"),
        ({"mask": "255.255.255.0"}, TypeError, "range of addresses"),
        ({"gateway": "192.168.0.9"}, TypeError, "no gateway"),
        ({"size": 3}, TypeError, "no such argument"),
    ],
)
def test_arguments_of_yapapi_are_refused_with_the_reason(
    fake: FakeYagna, golem: Golem, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        golem.create_network(**arguments)
    assert requests_of(fake, "POST", "/net$") == []


class OwnDeploy(Idle):
    def __init__(self, *commands: Any) -> None:
        super().__init__()
        self.commands = list(commands)

    def deploy(self) -> Any:
        return self.commands


def test_a_deploy_of_ones_own_keeps_what_it_says(fake: FakeYagna, golem: Golem) -> None:
    class Own(OwnDeploy):
        def __init__(self) -> None:
            super().__init__(Deploy(volumes=["/a"], hosts={"x": "10.0.0.1"}), Start())
            self.name = "My Server"

    assert started(golem, Own, network=True).host_name == "my-server"
    (deploy,) = deploys(fake)
    assert deploy["volumes"] == ["/a"]
    assert deploy["hosts"] == {"x": "10.0.0.1", "my-server": "192.168.0.2"}
    assert deploy["net"][0]["nodeIp"] == "192.168.0.2"


def test_a_deploy_of_ones_own_with_an_environment_is_refused(fake: FakeYagna, golem: Golem) -> None:
    class Own(OwnDeploy):
        def __init__(self) -> None:
            super().__init__(Deploy(env={"A": "1"}), Start())

    cluster = golem.run_service(Own)
    with pytest.raises(ServiceFailed):
        cluster.wait_until_running(SECONDS)
    failure = cluster.instances[0].failure
    assert isinstance(failure, BadPayload)
    assert "env={'A': '1'}" in str(failure)
    assert deploys(fake) == []


def test_a_deploy_without_the_command_says_what_is_missing(fake: FakeYagna, golem: Golem) -> None:
    cluster = golem.run_service(OwnDeploy, network=True, respawn_unstarted_instances=False)
    with pytest.raises(ServiceFailed):
        cluster.wait_until_running(SECONDS)
    failure = cluster.instances[0].failure
    assert isinstance(failure, BadCommandList)
    assert "Deploy command" in str(failure)


def test_who_joins_while_another_one_is_deployed_is_told_to_it(fake: FakeYagna, golem: Golem) -> None:
    # The first instance is being deployed, and does not know the second one yet, when that joins.
    gate = Gate()

    def hold_first(request: FakeRequest) -> None:
        if request.method == "POST" and request.path.endswith("/exec") and not gate.reached.is_set():
            gate.wait()

    end = fake.intercept(hold_first)
    first = golem.run_service(Idle, network=True).instances[0]
    assert gate.reached.wait(SECONDS)
    second = started(golem, network=True)
    gate.open()
    first.wait_for("running", SECONDS)
    end()
    posted = [json.loads(one.body) for one in requests_of(fake, "POST", "/nodes$")]
    # When it is deployed, it is told of the second one, with the request that told the network before.
    assert posted.count({"id": second.provider_id, "ip": second.ip}) == 2
    assert posted[-1]["ip"] == second.ip


def test_a_new_life_has_the_same_address_on_another_provider(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem, network=True, respawn_running=True, **AT_ONCE)
    before, first_provider = instance.ip, instance.provider_id
    provider = next(one for one in fake.providers if one.node_id == first_provider)
    connection = instance.connect(7)
    provider.terminate_agreement()
    eventually(lambda: instance.provider_id != first_provider and instance.state == "running", SECONDS)
    assert instance.ip == before
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    connection.close()
    with instance.connect(7) as connection:
        connection.sendall(b"ping")
        assert connection.recv(10) == b"ping"
    assert len(requests_of(fake, "DELETE", f"/nodes/{first_provider}$")) == 1


# --- connections -----------------------------------------------------------------------------------------


def test_a_connection_is_an_ordinary_socket(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem, network=True)
    with instance.connect(7, timeout=7) as connection:
        assert isinstance(connection, socket.socket)
        assert connection.gettimeout() == 7
        # The daemon would mix up messages that are sent one right after the other.
        data = random.Random(1).randbytes(1_000_000)
        connection.sendall(data)
        got = b""
        while len(got) < len(data):
            got += connection.recv(65536)
        assert got == data


def test_a_server_needs_a_moment(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem, network=True)
    waiting = InThread(instance.connect, 80)
    eventually(lambda: len(requests_of(fake, "GET", "/tcp/.*/80$")) >= 2)
    for provider in fake.providers:
        provider.servers = {80: echo}
    connection = waiting.join().value
    assert isinstance(connection, socket.socket)
    connection.close()


def test_a_port_that_nobody_listens_on_is_refused_in_the_end(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem, network=True)
    with pytest.raises(PortRefused, match=r"port 80 of idle-1 \(192\.168\.0\.2\) refuses"):
        instance.connect(80, timeout=TRIED_SECONDS)
    with pytest.raises(ConnectionRefusedError):
        # The daemon may still try the first port.
        instance.wait_for_port(81, timeout=TRIED_SECONDS)


HAS_ENDED = "/bin/server has ended; the end of its log /golem/work/log:\nNo module named http.srver\n"
EXPLAINED = (
    "port {} of idle-1 (192.168.0.2) refuses connections: no server listens there, and /bin/server has "
    "ended; the end of its log /golem/work/log:\n  No module named http.srver"
)


def answered(fake: FakeYagna, question: Any) -> Callable[[], list[Any]]:
    """Have servers start as process 42, and the question about them answered; returns how often it came."""
    asked: list[Any] = []

    def answer(command: dict[str, Any]) -> Any:
        if "kill -0" not in command["run"]["args"][1]:
            return "42\n"
        asked.append(command["run"]["args"][3:])
        return question

    for provider in fake.providers:
        provider.answers = answer
    return lambda: asked


def test_a_server_that_has_ended_shows_its_log_where_its_port_refuses(fake: FakeYagna, golem: Golem) -> None:
    asked = answered(fake, HAS_ENDED)
    instance = started(golem, network=True)
    instance.execute(Run.background("/bin/server", 80))
    for port, call in ((80, instance.connect), (81, instance.wait_for_port)):
        with pytest.raises(PortRefused) as caught:
            call(port, timeout=TRIED_SECONDS)
        assert str(caught.value) == EXPLAINED.format(port)
    assert asked() == [["42", "/golem/work/log", "/bin/server"]] * 2


def test_a_start_that_waits_for_a_server_that_has_ended_fails_with_its_log(
    fake: FakeYagna, golem: Golem
) -> None:
    class Server(Idle):
        def start(self) -> Any:
            self.execute(Run.background("/bin/server"))
            self.wait_for_port(80, timeout=TRIED_SECONDS)

    answered(fake, HAS_ENDED)
    cluster = golem.run_service(Server, network=True, respawn_unstarted_instances=False)
    with pytest.raises(ServiceFailed, match=r"its log /golem/work/log: No module named http.srver$"):
        cluster.wait_until_running(SECONDS)
    assert isinstance(cluster.instances[0].failure, PortRefused)


def test_that_a_server_has_ended_is_told_while_its_port_is_waited_for(
    fake: FakeYagna, golem: Golem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connector, "_REFUSALS_TOLD_SECONDS", 0.0)
    asked = answered(fake, HAS_ENDED)
    instance = started(golem, network=True)
    instance.execute(Run.background("/bin/server", 80))
    waiting = InThread(instance.wait_for_port, 80, timeout=SECONDS)
    eventually(
        lambda: "Idle-1: its port refuses connections, and /bin/server has ended; the end" in caplog.text
    )
    for provider in fake.providers:
        provider.servers = {80: echo}
    assert waiting.join().error is None
    assert len(asked()) == 1


@pytest.mark.parametrize("question", ["", 3])
def test_a_port_refuses_as_ever_where_nothing_is_known_of_its_server(
    fake: FakeYagna, golem: Golem, question: Any
) -> None:
    asked = answered(fake, question)
    instance = started(golem, network=True)
    with pytest.raises(PortRefused):
        instance.connect(80, timeout=TRIED_SECONDS)
    assert asked() == []
    instance.execute(Run.background("/bin/server"))
    with pytest.raises(PortRefused, match="no server listens there; start it before"):
        instance.connect(81, timeout=TRIED_SECONDS)
    assert len(asked()) == 1


def test_nothing_is_asked_about_a_server_while_a_batch_is_under_way(
    fake: FakeYagna, golem: Golem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_programs, "_ANSWER_SECONDS", 600.0)
    answered(fake, HAS_ENDED)
    instance = started(golem, network=True)
    instance.execute(Run.background("/bin/server"))
    gate = gate_of(fake)
    batch = InThread(instance.execute, Run("/bin/gate"))
    try:
        assert gate.reached.wait(SECONDS)
        error = InThread(instance.connect, 80, timeout=TRIED_SECONDS).join().error
    finally:
        gate.open()
        batch.join()
    assert isinstance(error, PortRefused)
    assert "start it before" in str(error)


@pytest.mark.parametrize("port", [0, 65536, "80", True, None])
def test_what_is_no_port_is_refused(fake: FakeYagna, golem: Golem, port: Any) -> None:
    instance = started(golem, network=True)
    with pytest.raises(BadNetwork, match="give a number from 1 to 65535"):
        instance.connect(port)


def test_without_a_network_the_error_says_how_to_get_one(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem)
    assert (instance.ip, instance.host_name) == (None, None)
    for call in (instance.connect, instance.wait_for_port):
        with pytest.raises(BadNetwork, match="network=True"):
            call(80)


def test_an_instance_that_is_not_deployed_or_has_ended_is_not_connected_to(
    fake: FakeYagna, golem: Golem
) -> None:
    gate = Gate()

    def hold_agreement(request: FakeRequest) -> None:
        if request.method == "POST" and request.path.endswith("/agreements"):
            gate.wait()

    fake.intercept(hold_agreement)
    instance = golem.run_service(Idle, network=True).instances[0]
    with pytest.raises(NotRunning, match="not deployed"):
        instance.connect(7)
    gate.open()
    instance.wait_for("running", SECONDS)
    open_one = instance.connect(7)
    instance.stop()
    with pytest.raises(ConnectionResetError):
        open_one.recv(1)
    open_one.close()
    with pytest.raises(NotRunning, match="has ended"):
        instance.connect(7)


def test_a_silent_instance_is_not_asked_again_within_some_seconds(
    fake: FakeYagna, golem: Golem, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The daemon's try goes on after the client has left, and may connect late.
    monkeypatch.setattr(connector, "_UNANSWERED_SECONDS", 60.0)
    instance = started(golem, network=True)
    fake.intercept(lambda request: FakeAnswer(504) if "/tcp/" in request.path else None)
    with pytest.raises(PortTimeout, match="did not answer"):
        instance.connect(7, timeout=SECONDS)
    with pytest.raises(PortTimeout):
        instance.connect(7, timeout=SECONDS)
    assert len(requests_of(fake, "GET", "/tcp/")) == 1


def test_an_answer_that_is_not_expected_is_told_and_the_port_is_asked_again(
    fake: FakeYagna, golem: Golem
) -> None:
    instance = started(golem, network=True)
    end = fake.intercept(lambda request: FakeAnswer(500) if "/tcp/" in request.path else None)
    with pytest.raises(NetworkLost, match=r"HTTP 500.*simple-golem doctor"):
        instance.connect(7, timeout=TRIED_SECONDS)
    assert len(requests_of(fake, "GET", "/tcp/")) >= 2
    end()
    assert asked(instance, b"ping")[0] == b"ping"


def test_tries_without_an_answer_are_forgotten_when_they_can_not_connect_any_more(
    fake: FakeYagna, golem: Golem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "_UNANSWERED_SECONDS", 1.6)
    instance = started(golem, network=True)
    fake.intercept(lambda request: FakeAnswer(504) if "/tcp/" in request.path else None)
    tries = instance._network_place.connections.connector
    for port in (7, 21):
        with pytest.raises(PortTimeout):
            instance.connect(port, timeout=1.5)
        eventually(lambda: max(tries._unanswered.values()) < time.monotonic())
    assert [port for _, _, port in tries._unanswered] == [21]


def test_a_stop_ends_the_wait_for_a_connection(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem, network=True)
    waiting = InThread(instance.connect, 80, timeout=60)
    eventually(lambda: requests_of(fake, "GET", "/tcp/"))
    instance.stop()
    assert isinstance(waiting.join().error, NotRunning)


def test_an_idle_timeout_ends_what_can_be_read(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem, network=True)
    with instance.connect(21, idle_timeout=IDLE_SECONDS) as connection:
        assert connection.recv(100) == b"welcome"
        assert connection.recv(100) == b""


class Waiting(Idle):
    port = 7

    def start(self) -> None:
        self.calls.append("start")
        self.wait_for_port(self.port, timeout=60)


def test_a_service_waits_for_its_own_server_and_its_connection_is_used_again(
    fake: FakeYagna, golem: Golem
) -> None:
    # A server that has one connection after the other would wait for ever on one that is not used.
    instance = started(golem, Waiting, network=True)
    assert len(requests_of(fake, "GET", "/tcp/.*/7$")) == 1
    with instance.connect(7) as connection:
        connection.sendall(b"ping")
        assert connection.recv(10) == b"ping"
    assert len(requests_of(fake, "GET", "/tcp/.*/7$")) == 1
    with instance.connect(7):
        assert len(requests_of(fake, "GET", "/tcp/.*/7$")) == 2


def test_what_a_wait_for_a_port_has_left_keeps_the_limits_of_who_uses_it(
    fake: FakeYagna, golem: Golem
) -> None:
    instance = started(golem, network=True)
    instance.wait_for_port(21)
    with instance.connect(21, idle_timeout=IDLE_SECONDS) as connection:
        assert connection.recv(100) == b"welcome"
        assert connection.recv(100) == b""
    assert len(requests_of(fake, "GET", "/tcp/.*/21$")) == 1


def test_each_wait_for_a_port_looks_anew(fake: FakeYagna, golem: Golem) -> None:
    instance = started(golem, network=True)
    instance.wait_for_port(7)
    first = instance._network_place._unused[7][0]
    instance.wait_for_port(7)
    assert first.fileno() == -1
    for provider in fake.providers:
        provider.servers = {}
    with pytest.raises(PortRefused):
        instance.wait_for_port(7, timeout=TRIED_SECONDS)


def test_what_a_wait_for_a_port_has_left_is_closed_after_a_while_or_with_the_instance(
    fake: FakeYagna, golem: Golem, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = started(golem, network=True)
    unused = instance._network_place._unused
    instance.wait_for_port(21)
    of_instance = unused[21][0]
    monkeypatch.setattr(place, "_MOST_UNUSED_SECONDS", 2.0)
    instance.wait_for_port(7)
    of_time = unused[7][0]
    eventually(lambda: of_time.fileno() == -1)
    assert list(unused) == [21]
    instance.stop()
    assert of_instance.fileno() == -1


def test_what_a_wait_for_a_port_has_left_is_not_used_when_it_has_ended(golem: Golem) -> None:
    instance = started(golem, network=True)
    instance.wait_for_port(7)
    instance._network_place._unused[7][0].shutdown()  # type: ignore[attr-defined]
    assert asked(instance, b"ping")[0] == b"ping"


def test_a_connection_that_ends_at_once_leaves_nothing_behind(
    golem: Golem, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = started(golem, network=True)
    own = instance._network_place
    pump = own.connections.pump
    add = pump.add

    def add_and_wait_for_the_end(tunnel: Tunnel) -> bool:
        is_open = add(tunnel)
        pump.end(tunnel, broken=True)
        eventually(lambda: tunnel.over)
        return is_open

    membership = own._membership
    assert membership is not None
    before = len(membership.scope._callbacks)
    monkeypatch.setattr(pump, "add", add_and_wait_for_the_end)
    instance.connect(7).close()
    assert len(membership.scope._callbacks) == before


def test_a_stop_ends_the_wait_of_a_service(fake: FakeYagna, golem: Golem) -> None:
    raised: list[BaseException] = []

    class Hopeless(Idle):
        def start(self) -> None:
            try:
                self.wait_for_port(80, timeout=60)
            except BaseException as error:
                raised.append(error)
                raise

    instance = golem.run_service(Hopeless, network=True).instances[0]
    eventually(lambda: requests_of(fake, "GET", "/tcp/"))
    instance.stop()
    assert isinstance(raised[0], ServiceStopped)


def test_in_a_unit_test_a_service_does_not_wait_for_its_port() -> None:
    service = Waiting()
    service.start()
    assert service.calls == ["start"]


# --- what the daemon forgets ---------------------------------------------------------------------------


def test_after_a_restart_of_the_daemon_the_network_is_lost_for_those_in_it(
    fake: FakeYagna, golem: Golem
) -> None:
    instance = started(golem, network=True)
    connection = instance.connect(7)
    fake.restart()
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    connection.close()
    with pytest.raises(NetworkLost, match="restarted"):
        instance.connect(7)
    assert instance.state == "running"


def test_a_lost_instance_gets_a_new_network_with_the_same_address(fake: FakeYagna, golem: Golem) -> None:
    cluster = golem.run_service(Idle, num_instances=2, network=True, respawn_running=True, **AT_ONCE)
    stays, moves = cluster.wait_until_running(SECONDS)
    fake.restart()
    first = moves.activity_id
    next(one for one in fake.providers if one.node_id == moves.provider_id).terminate_agreement()
    eventually(lambda: moves.activity_id != first and moves.state == "running", SECONDS)
    assert moves.ip == "192.168.0.3"
    with moves.connect(7) as connection:
        connection.sendall(b"ping")
        assert connection.recv(10) == b"ping"
    with pytest.raises(NetworkLost):
        stays.connect(7)


def test_a_suspended_instance_keeps_its_network_for_the_session_that_resumes_it(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        (kept,) = golem.run_service(Idle, network=True).wait_until_running(SECONDS)
        suspended = [kept.suspend()]
    assert requests_of(fake, "DELETE", "/net/") == []
    with Golem(1) as golem:
        cluster = golem.resume_service(Idle, suspended)
        (resumed,) = cluster.wait_until_running(SECONDS)
        assert (resumed.ip, resumed.host_name) == (kept.ip, kept.host_name)
        with resumed.connect(7) as connection:
            connection.sendall(b"ping")
            assert connection.recv(10) == b"ping"
        assert cluster.spawn()[0].ip == "192.168.0.3"
    assert len(requests_of(fake, "DELETE", "/net/")) == 1


def test_a_network_that_was_lost_meanwhile_is_told_after_the_resumption(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        suspended = golem.run_service(Idle, network=True).wait_until_running(SECONDS)[0].suspend()
    fake.restart()
    with Golem(1) as golem:
        (resumed,) = golem.resume_service(Idle, [suspended]).wait_until_running(SECONDS)
        with pytest.raises(NetworkLost):
            resumed.connect(7)
        assert resumed.state == "running"


# --- requests that are lost -----------------------------------------------------------------------------


def lose(fake: FakeYagna, method: str, path: str, times: int, fault: Fault) -> Callable[[], None]:
    """Have the daemon break off so many requests to a path; returns a function that ends this."""
    left = [fault] * times

    def break_off(request: FakeRequest) -> Fault | None:
        is_meant = request.method == method and request.path == path
        return left.pop() if is_meant and left else None

    return fake.intercept(break_off)


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.UNANSWERED])
def test_a_network_is_made_once_though_an_answer_is_lost(fake: FakeYagna, golem: Golem, fault: Fault) -> None:
    lose(fake, "POST", NETWORKS, 1, fault)
    network = golem.create_network()
    instance = golem.run_service(Idle, network=network).wait_until_running(SECONDS)[0]
    assert sum("network" in left for left in fake.leftovers()) == 1
    with instance.connect(7) as connection:
        connection.sendall(b"ping")
        assert connection.recv(10) == b"ping"


def test_a_network_of_which_the_daemon_has_not_told_is_ended_with_the_golem(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "simple_golem.engine.network.marks.made_once", lambda make, find, *_: made_once(make, find, None, 0.1)
    )
    with Golem(1) as golem:
        lose(fake, "POST", NETWORKS, 1, Fault.UNANSWERED)
        end = lose(fake, "GET", NETWORKS, 100, Fault.UNANSWERED)
        monkeypatch.setitem(Http.request.__kwdefaults__, "within", 0.1)
        with pytest.raises(YagnaError, match="no answer"):
            golem.create_network()
        monkeypatch.setitem(Http.request.__kwdefaults__, "within", 30.0)
        assert [left for left in fake.leftovers() if "network" in left]
        end()


def test_of_networks_of_the_same_range_a_cleanup_ends_that_of_the_killed_session_alone(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    yagna = Yagna(fake.url, fake.app_key)
    # Made by a program that is not of this package.
    of_another = yagna.network.create("10.1.0.0/24").network_id
    with Golem(1) as golem:
        golem.create_network("10.1.0.0/24")
        kept = {one.network_id for one in yagna.network.networks()}
        make_network_and_be_killed("10.1.0.0/24", dict(os.environ))
        (left,) = {one.network_id for one in yagna.network.networks()} - kept
        # It was not noted, so that only its mark leads to it.
        assert not [one for one in tmp_path.glob("*.jsonl") if left in one.read_text()]
        assert main(["cleanup"]) == 0
        assert {one.network_id for one in yagna.network.networks()} == kept
    yagna.network.delete(of_another)
    yagna.close()
    assert list(tmp_path.glob("*.jsonl")) == []


@pytest.mark.parametrize("call", ["run_service", "rent", "pool", "create_network"])
def test_where_the_machine_of_a_local_network_forbids_it_the_call_says_why(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_LOCAL_NO_VPN", "this machine lets no activity have an interface")
    calls: dict[str, Callable[[Golem], object]] = {
        "run_service": lambda golem: golem.run_service(Idle, network=True),
        "rent": lambda golem: golem.rent(1, network=True),
        "pool": lambda golem: golem.pool(1, network=True),
        "create_network": lambda golem: golem.create_network(),
    }
    with Golem(1) as golem:
        with pytest.raises(BadNetwork, match="no private networks: this machine lets no activity"):
            calls[call](golem)
        assert golem.clusters == ()
    assert requests_of(fake, "POST", "/(demands|net)$") == []


# --- rented machines and pools -----------------------------------------------------------------------


def asked(machine: Instance, text: bytes) -> tuple[bytes, str | None]:
    """What the echo of a machine answers, and its address."""
    with machine.connect(7) as connection:
        connection.sendall(text)
        return connection.recv(10), machine.ip


def test_a_rented_machine_has_a_place_in_a_network(fake: FakeYagna, golem: Golem) -> None:
    assert asked(golem.rent(SECONDS, network=True), b"one") == (b"one", "192.168.0.2")
    with golem.create_network("10.1.0.0/24") as network:
        assert asked(golem.rent(SECONDS, network=network), b"two") == (b"two", "10.1.0.2")


def test_the_machines_of_a_pool_have_places_in_a_network(fake: FakeYagna, golem: Golem) -> None:
    gate = threading.Barrier(2)

    def work(machine: Instance, text: bytes) -> tuple[bytes, str | None]:
        gate.wait(SECONDS)
        return asked(machine, text)

    rented = golem.rent(SECONDS, network=True)
    with golem.pool(2, network=True) as pool:
        answers = list(pool.map(work, [b"one", b"two"]))
    assert [answer for answer, _ in answers] == [b"one", b"two"]
    assert {rented.ip, *(ip for _, ip in answers)} == {"192.168.0.2", "192.168.0.3", "192.168.0.4"}


def test_a_pool_gives_the_addresses_of_its_machines_back(fake: FakeYagna, golem: Golem) -> None:
    network = golem.create_network("10.1.0.0/30")
    for text in (b"one", b"two"):
        with golem.pool(1, network=network) as pool:
            assert pool.submit(asked, text).result(SECONDS) == (text, "10.1.0.2")


@pytest.mark.parametrize("call", ["rent", "pool"])
def test_a_network_that_was_closed_is_refused_at_the_call_of_rent_and_pool(
    fake: FakeYagna, golem: Golem, call: str
) -> None:
    network = golem.create_network("10.1.0.0/24")
    network.close()
    with pytest.raises(BadNetwork, match="was closed"):
        getattr(golem, call)(1, network=network)
    assert requests_of(fake, "POST", "/demands$") == []


@pytest.mark.parametrize("call", ["rent", "pool"])
def test_what_is_no_network_is_refused_at_the_call_of_rent_and_pool(
    fake: FakeYagna, golem: Golem, call: str
) -> None:
    with pytest.raises(BadNetwork, match="give True for the Golem's own network"):
        getattr(golem, call)(1, network="192.168.0.0/24")
    assert requests_of(fake, "POST", "/(demands|net)$") == []

"""The networks of activities: real interfaces in real sandboxes, on a service bus of the test."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import BusError
from simple_golem.local.bus.protocol import from_payload, to_payload
from simple_golem.local.exe_unit.vpn import networks as networks_module
from simple_golem.local.exe_unit.vpn.frames import target_of
from simple_golem.local.exe_unit.vpn.interface import MTU, make_interface, why_impossible
from simple_golem.local.exe_unit.vpn.networks import NetworkFailed, Networks, VpnSupport
from simple_golem.local.sandbox.sandbox import Sandbox
from simple_golem.local.sandbox.sandbox_maker import SandboxMaker
from tests.helpers.unprivileged_user import run_by_nobody
from tests.unit.conftest import eventually

SERVER = (
    "import socket\n"
    "s = socket.create_server(('192.168.0.3', 7000))\n"
    "print('ready', flush=True)\n"
    "c, peer = s.accept()\n"
    "c.sendall(b''.join(iter(lambda: c.recv(65536), b'')) + peer[0].encode())\n"
    "c.close()\n"
)
CLIENT = (
    "import socket, sys\n"
    "c = socket.create_connection((sys.argv[1], 7000), 10)\n"
    "c.sendall(b'x' * 300_000)\n"
    "c.shutdown(socket.SHUT_WR)\n"
    "d = b''.join(iter(lambda: c.recv(65536), b''))\n"
    "print(len(d), d[300_000:].decode())\n"
)
PYTHON = "/usr/local/bin/python3"


class Hub:
    """A service bus: passes frames on to the members that are registered, and keeps all others."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[str, str, bytes], bytes]] = {}
        self.undelivered: list[tuple[str, bytes]] = []
        self.refuses = False

    def register_raw(self, service_id: str, handler: Callable[[str, str, bytes], bytes]) -> None:
        if self.refuses:
            raise BusError("no")
        self.handlers[service_id] = handler

    def unregister(self, service_id: str) -> None:
        self.handlers.pop(service_id, None)

    def send(self, address: str, data: bytes, *, caller: str) -> None:
        handler = self.handlers.get(address.removesuffix("/raw"))
        if handler is None:
            self.undelivered.append((address, data))
        else:
            assert handler(caller, address, data) == b""

    def call(self, node: str, message: str, payload: object) -> object:
        address = f"/net/{node}/vpn/net-1"
        return from_payload(self.handlers[address]("0xme", f"{address}/{message}", to_payload(payload)))


def network(own_ip: str, nodes: Mapping[str, str], **other: Any) -> dict[str, Any]:
    whole = {"id": "net-1", "ip": "192.168.0.0/24", "mask": None, "gateway": None}
    return {**whole, "nodeIp": own_ip, "nodes": dict(nodes), **other}


def output_of(sandbox: Sandbox, *argv: str) -> str:
    pieces: list[bytes] = []
    code = sandbox.popen(list(argv)).wait(pieces.append, pieces.append)
    output = b"".join(pieces).decode()
    assert code == 0, output
    return output


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture(scope="module")
def maker() -> Iterator[SandboxMaker]:
    maker = SandboxMaker()
    yield maker
    maker.close()


@pytest.fixture
def sandbox(maker: SandboxMaker, python_roots: Sequence[Path]) -> Iterator[Sandbox]:
    with Sandbox(python_roots, maker=maker) as sandbox:
        yield sandbox


def joined(hub: Hub, node: str, sandbox: Sandbox, *memberships: Mapping[str, Any]) -> Networks:
    networks = Networks(hub, node, node, VpnSupport())  # type: ignore[arg-type]
    networks.join(sandbox, memberships)
    return networks


def test_programs_in_two_sandboxes_exchange_data_over_the_bus(
    hub: Hub, maker: SandboxMaker, python_roots: Sequence[Path]
) -> None:
    nodes = {"192.168.0.2": "0xa", "192.168.0.3": "0xb"}
    with Sandbox(python_roots, maker=maker) as one, Sandbox(python_roots, maker=maker) as other:
        networks = [
            joined(hub, "0xa", one, network("192.168.0.2", nodes)),
            joined(hub, "0xb", other, network("192.168.0.3", nodes, ip="192.168.0.0", mask="255.255.255.0")),
        ]
        server = other.popen([PYTHON, "-c", SERVER])
        assert server.read(100) == b"ready\n"
        assert output_of(one, PYTHON, "-c", CLIENT, "192.168.0.3") == "300011 192.168.0.2\n"
        assert server.wait(print, print) == 0
        for each in networks:
            each.leave()
    assert hub.handlers == {}
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("-vpn")]


def test_an_interface_is_like_that_of_a_vm(sandbox: Sandbox) -> None:
    with make_interface(sandbox, 0, ipaddress.IPv4Interface("10.1.0.9/16")) as frames:
        program = (
            "import fcntl, socket, struct\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "ask = lambda n: fcntl.ioctl(s, n, struct.pack('24s16x', b'eth0'))[16:]\n"
            "print(struct.unpack_from('=i', ask(0x8921))[0], ask(0x8927)[2:8].hex(),"
            " socket.inet_ntoa(ask(0x8915)[4:8]), socket.inet_ntoa(ask(0x891b)[4:8]))\n"
        )
        assert output_of(sandbox, PYTHON, "-c", program) == f"{MTU} 90130a010009 10.1.0.9 255.255.0.0\n"
        assert frames.fileno() >= 0


def test_members_that_join_and_leave_later_are_known_and_greeted(hub: Hub, sandbox: Sandbox) -> None:
    networks = joined(
        hub, "0xa", sandbox, network("192.168.0.2", {"192.168.0.2": "0xa", "192.168.0.8": "0xb"})
    )
    # The members of the beginning are greeted by the thread, when it comes to it.
    eventually(lambda: hub.undelivered)
    removed = {"removeNodes": {"network_id": "net-1", "node_ids": ["0xb"]}}
    assert hub.call("0xa", "VpnControl", removed) == {"Ok": None}
    hub.undelivered.clear()
    added = {"addNodes": {"network_id": "net-1", "nodes": {"192.168.0.9": "0xc"}}}
    assert hub.call("0xa", "VpnControl", added) == {"Ok": None}
    assert [(address, target_of(frame)) for address, frame in hub.undelivered] == [
        ("/net/0xc/vpn/net-1/raw", "192.168.0.9")
    ]
    hub.undelivered.clear()
    removed = {"removeNodes": {"network_id": "net-1", "node_ids": ["0xc"]}}
    assert hub.call("0xa", "VpnControl", removed) == {"Ok": None}
    assert hub.call("0xa", "VpnControl", None) == {"Ok": None}
    assert hub.undelivered == []
    with pytest.raises(BusError, match="no message Nonsense"):
        hub.call("0xa", "Nonsense", None)
    networks.leave()


def test_a_broadcast_reaches_all_other_members_once(hub: Hub, sandbox: Sandbox) -> None:
    nodes = {"192.168.0.1": "0xme", "192.168.0.2": "0xa", "192.168.0.3": "0xb", "192.168.0.4": "0xb"}
    networks = joined(hub, "0xa", sandbox, network("192.168.0.2", nodes))
    program = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)\n"
        "s.sendto(b'all', ('192.168.0.255', 9))\n"
    )
    output_of(sandbox, PYTHON, "-c", program)
    left = Deadline(10)

    def broadcasts() -> list[str]:
        return sorted(address for address, frame in list(hub.undelivered) if frame.endswith(b"all"))

    while len(broadcasts()) < 2 and not left.passed:
        Scope().wait(0.01)
    assert broadcasts() == ["/net/0xb/vpn/net-1/raw", "/net/0xme/vpn/net-1/raw"]
    networks.leave()


def test_members_are_greeted_again_and_again(
    hub: Hub, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A daemon forgets addresses: it has to hear of them before that.
    monkeypatch.setattr(networks_module, "_GREETING_SECONDS", 0.02)
    nodes = {"192.168.0.1": "0xme", "192.168.0.2": "0xa"}
    networks = joined(hub, "0xa", sandbox, network("192.168.0.2", nodes))
    left = Deadline(10)
    while len(hub.undelivered) < 3 and not left.passed:
        Scope().wait(0.01)
    assert {target_of(frame) for _, frame in hub.undelivered} == {"192.168.0.1"}
    assert len(hub.undelivered) >= 3
    networks.leave()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"nodeIp": "10.0.0.1"}, "10.0.0.1 is not in 192.168.0.0/24"),
        ({"ip": "nonsense"}, "nonsense"),
        ({"nodes": None}, "TypeError"),
    ],
)
def test_a_senseless_network_is_refused_with_the_reason(
    hub: Hub, sandbox: Sandbox, broken: dict[str, Any], reason: str
) -> None:
    good = network("192.168.0.2", {})
    with pytest.raises(NetworkFailed, match=reason):
        joined(hub, "0xa", sandbox, good | {"id": "net-0"}, good | broken)
    assert hub.handlers == {}  # the first network was left, too


def test_where_the_bus_refuses_the_interface_is_given_back(hub: Hub, sandbox: Sandbox) -> None:
    hub.refuses = True
    with pytest.raises(NetworkFailed, match="no"):
        joined(hub, "0xa", sandbox, network("192.168.0.2", {}))


def test_where_the_machine_forbids_interfaces_the_error_says_why(hub: Hub, sandbox: Sandbox) -> None:
    networks = Networks(hub, "0xa", "0xa", VpnSupport("this machine lets no activity"))  # type: ignore[arg-type]
    networks.join(sandbox, ())
    with pytest.raises(NetworkFailed, match="this machine lets no activity"):
        networks.join(sandbox, [network("192.168.0.2", {})])
    networks.leave()


class ForbiddenSandbox:
    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        raise OSError(errno.EPERM, "Operation not permitted")


def test_a_machine_that_forbids_it_is_recognised(sandbox: Sandbox) -> None:
    assert why_impossible(sandbox) == ""
    reason = why_impossible(ForbiddenSandbox())  # type: ignore[arg-type]
    assert reason == "this machine lets no activity have a network interface: Operation not permitted"


def test_it_needs_no_privileges() -> None:
    program = (
        "from simple_golem.local.sandbox.sandbox import Sandbox\n"
        "from simple_golem.local.exe_unit.vpn.interface import why_impossible\n"
        "with Sandbox() as sandbox:\n"
        "    print(repr(why_impossible(sandbox)))\n"
    )
    ran = run_by_nobody(program)
    assert (ran.stdout, ran.stderr) == ("''\n", "")


def test_a_kind_of_socket_that_the_kernel_does_not_have_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(OSError, match="Address family not supported"):
        sandbox.open_socket(99, 1)

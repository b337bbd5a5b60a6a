"""100 MB through connections to instances, each way, at full length; what waits in the daemon's memory."""

from __future__ import annotations

import hashlib
import logging
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simple_golem import Golem, Instance, TcpProxy
from simple_golem.background.cancellation import Scope
from simple_golem.local.local_golem import LocalGolem
from tests.helpers.transfer_server import PORT, Server, received

SECONDS = 1800.0
pytestmark = [pytest.mark.usefixtures("golem_environment"), pytest.mark.long, pytest.mark.timeout(SECONDS)]

logger = logging.getLogger(__name__)

SIZE = 100_000_000
MIB = 1 << 20
# The script's process grows by no more.
MOST_GROWTH = 32 * MIB
SLOW = 300_000

Connect = Callable[[], socket.socket]


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Golem(10) as golem:
        yield golem.run_service(Server, network=True).wait_until_running(60)[0]


@pytest.fixture(params=["connect", "TcpProxy"])
def connect(request: pytest.FixtureRequest, instance: Instance) -> Iterator[Connect]:
    if request.param == "connect":
        yield lambda: instance.connect(PORT, timeout=SECONDS)
        return
    with TcpProxy(instance, PORT) as proxy:
        yield lambda: socket.create_connection(("127.0.0.1", proxy.local_port), SECONDS)


def memory(process: str) -> int:
    """Bytes of memory of a process: its id, or `self`."""
    (line,) = (
        one for one in Path("/proc", process, "status").read_text().splitlines() if one.startswith("VmRSS:")
    )
    return int(line.split()[1]) * 1024


def daemon_of(network: LocalGolem) -> str:
    """The process id of the requestor's daemon."""
    url = network.near.api_url.encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            settings = (folder / "environ").read_bytes()
        except OSError:
            continue  # it has ended
        if words[0].endswith(b"yagna") and b"YAGNA_API_URL=" + url in settings.split(b"\0"):
            return folder.name
    raise AssertionError("there is no daemon")


class Watch:
    """Notes the most memory of a process, beyond what it has at the beginning."""

    def __init__(self, process: str) -> None:
        self.growth = 0
        self._process = process
        self._before = memory(process)
        self._scope = Scope()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._scope.wait(0.2):
            self.growth = max(self.growth, memory(self._process) - self._before)

    def end(self) -> int:
        self._scope.cancel()
        self._thread.join()
        return self.growth


def pieces() -> Iterator[bytes]:
    """The same random bytes each time; they are never all in memory."""
    numbers = random.Random(17)
    for _ in range(SIZE // MIB):
        yield numbers.randbytes(MIB)
    yield numbers.randbytes(SIZE % MIB)


def uploaded(connection: socket.socket) -> None:
    """Send all bytes, and compare the hash of what has arrived."""
    digest = hashlib.sha256()
    connection.sendall(b"U%012d" % SIZE)
    for piece in pieces():
        digest.update(piece)
        connection.sendall(piece)
    assert received(connection, 32) == digest.digest()


def test_a_hundred_megabytes_from_an_instance(connect: Connect) -> None:
    watch = Watch("self")
    with connect() as connection:
        connection.sendall(b"D%012d" % SIZE)
        told, digest, left = received(connection, 32), hashlib.sha256(), SIZE
        while left:
            piece = connection.recv(min(MIB, left))
            assert piece
            digest.update(piece)
            left -= len(piece)
    growth = watch.end()
    assert digest.digest() == told
    assert growth <= MOST_GROWTH


def test_a_hundred_megabytes_to_an_instance(connect: Connect, network: LocalGolem) -> None:
    own, daemon = Watch("self"), Watch(daemon_of(network))
    try:
        with connect() as connection:
            uploaded(connection)
    finally:
        growth = own.end()
        logger.warning("the memory of the daemon grew by %d MiB", daemon.end() / MIB)
    assert growth <= MOST_GROWTH


def test_with_a_speed_limit_little_waits_in_the_daemon(instance: Instance, network: LocalGolem) -> None:
    daemon = Watch(daemon_of(network))
    with (
        TcpProxy(instance, PORT, max_bytes_per_second=SLOW) as proxy,
        socket.create_connection(("127.0.0.1", proxy.local_port), SECONDS) as connection,
    ):
        uploaded(connection)
    assert daemon.end() <= MOST_GROWTH

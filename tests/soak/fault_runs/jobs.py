"""What a run can do on the network. A job raises `Wrong` if its results are not those that it asked for."""

from __future__ import annotations

import contextlib
import random
import socket
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenacity

from simple_golem import Download, Golem, Instance, Run, Service, UploadBytes

ECHO_PORT = 7
# The patience of a job with what it waits for, in seconds.
PATIENCE = 60.0
_TRIES = 5


class Wrong(AssertionError):
    """A job had other results than it asked for."""


@dataclass(frozen=True)
class Setting:
    """What the jobs of a run share.

    Attributes:
        open_golem: returns a Golem that is not open yet.
        random: decides on the sizes of a job.
    """

    open_golem: Callable[[], Golem]
    random: random.Random


class Worker(Service):
    """Runs one command and ends."""

    def __init__(self, word: str = "hello") -> None:
        self.word = word
        self.said = ""

    def start(self) -> Any:
        self.said = self.execute(Run("/bin/echo", self.word)).stdout

    def run(self) -> Any:
        self.said = self.execute(Run("/bin/echo", self.word)).stdout


class Filer(Worker):
    """Sends a file there and back."""

    def __init__(self, content: bytes, folder: str) -> None:
        super().__init__()
        self.content = content
        self.folder = folder
        self.came_back = b""

    def run(self) -> Any:
        target = Path(self.folder) / "came-back"
        self.execute(UploadBytes(self.content, "/golem/work/data"), Download("/golem/work/data", target))
        self.came_back = target.read_bytes()


class Idle(Service):
    """Waits until it is stopped."""


def commands(golem: Golem, setting: Setting) -> None:
    count = setting.random.randint(1, 3)
    words = [{"word": f"word-{number}"} for number in range(count)]
    cluster = golem.run_service(Worker, instance_params=words, **_RESPAWN)
    _wait(cluster)
    for instance, asked in zip(cluster, words, strict=True):
        _require(_service(instance).said.strip() == asked["word"], f"{instance.name} said something else")


def files(golem: Golem, setting: Setting) -> None:
    content = setting.random.randbytes(setting.random.choice((0, 1000, 300_000)))
    with tempfile.TemporaryDirectory() as folder:
        cluster = golem.run_service(
            Filer, instance_params=[{"content": content, "folder": folder}], **_RESPAWN
        )
        _wait(cluster)
        came_back = _service(*cluster).came_back
    _require(came_back == content, f"of {len(content)} bytes {len(came_back)} came back")


def work(golem: Golem, setting: Setting) -> None:
    items = range(setting.random.randint(2, 6))

    def echo(machine: Instance, item: int) -> int:
        return int(machine.execute(Run("/bin/echo", str(item))).stdout)

    with golem.pool(2) as pool:
        _require(list(pool.map(echo, items, timeout=PATIENCE)) == list(items), "other answers than items")


def network(golem: Golem, setting: Setting) -> None:
    cluster = golem.run_service(Idle, num_instances=2, network=True, **_RESPAWN)
    instances = cluster.wait_until_running(PATIENCE)
    sent = setting.random.randbytes(setting.random.choice((10, 100_000)))
    for instance in instances:
        _require(_echoed(instance, sent) == sent, f"{instance.name} sent something else back")
    cluster.stop()


def top_up(golem: Golem, setting: Setting) -> None:
    before = golem.budget
    commands(golem, setting)
    _require(golem.top_up("0.5") > before, "the budget is not larger")


def suspend(golem: Golem, setting: Setting) -> None:
    cluster = golem.run_service(Idle, **_RESPAWN)
    cluster.wait_until_running(PATIENCE)
    suspended = cluster.suspend(PATIENCE)
    with setting.open_golem() as second:
        resumed = second.resume_service(Worker, suspended, respawn_running=True)
        _wait(resumed)
        _require(_service(*resumed).said.strip() == "hello", "what was resumed said something else")


JOBS: Mapping[str, Callable[[Golem, Setting], None]] = {
    "commands": commands,
    "files": files,
    "work": work,
    "network": network,
    "top up": top_up,
    "suspend": suspend,
}
_RESPAWN: dict[str, Any] = {"respawn_running": True, "respawn_wait": tenacity.wait_none()}


def _wait(cluster: Any) -> None:
    if not cluster.wait(PATIENCE):
        raise TimeoutError(f"{cluster} has not ended in {PATIENCE:g} s")
    for instance in cluster:
        if instance.failure is not None:
            raise instance.failure


def _service(instance: Instance) -> Any:
    return instance.service


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Wrong(otherwise)


def _echoed(instance: Instance, sent: bytes) -> bytes:
    """What comes back; a connection that breaks is made anew, as a program does that uses the network."""
    for left in reversed(range(_TRIES)):
        try:
            with instance.connect(ECHO_PORT) as connection:
                connection.sendall(sent)
                return _read(connection, len(sent))
        except OSError:  # those of the library, too
            if not left:
                raise
    return b""


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (more := connection.recv(65536)):
            raise ConnectionResetError("the connection has ended before all came back")
        data += more
    return data


def echo_server(connection: socket.socket) -> None:
    """What listens on `ECHO_PORT` of each instance."""
    with contextlib.suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(data)

"""Connections to one instance: by simple_golem, and by bare loops over `websockets`, on the same network.

The bare loops send the same messages as fast as the daemon keeps their order: it is asked in between. Small
transfers are repeated, in turns, so that what else the machine does weighs on all.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

from stopwatch import cpu_seconds, most_memory_mib, say, threads
from websockets.sync.client import ClientConnection, connect

from simple_golem import Golem, Instance, TcpProxy
from tests.helpers.transfer_server import PORT, Server

CONNECTS, EXCHANGES, AT_ONCE = 30, 300, 200
MESSAGE = 65536
IDLE_SECONDS = 2.0
TRANSFER_SECONDS = 900.0
MOST_TURNS, BYTES_OF_TURNS = 3, 12_000_000


class Bare:
    """A connection by `websockets` alone, as far as a socket is used here."""

    def __init__(self, connection: ClientConnection, ask: Callable[[], None]) -> None:
        self._connection = connection
        self._ask = ask

    def sendall(self, data: bytes) -> None:
        for begin in range(0, len(data), MESSAGE):
            if len(data) > MESSAGE:
                self._connection.ping().wait()
                self._ask()
            self._connection.send(data[begin : begin + MESSAGE])

    def recv(self, _: int) -> bytes:
        return bytes(self._connection.recv(TRANSFER_SECONDS))  # type: ignore[arg-type]

    def close(self) -> None:
        self._connection.close_timeout = 0.1
        self._connection.close()


Connect = Callable[[], Any]


def bare_connect(ip: str) -> Connect:
    url, key = os.environ["YAGNA_API_URL"], os.environ["YAGNA_APPKEY"]
    headers = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/net-api/v2/vpn/net", headers=headers)
    with urllib.request.urlopen(request) as answer:
        (network,) = json.load(answer)
    tcp = f"/net-api/v2/vpn/net/{network['id']}/tcp/{ip}"
    questions = http.client.HTTPConnection(urlsplit(url).netloc)

    def ask() -> None:
        # There is no port 0: the refusal comes when the message before is in its queue.
        questions.request("GET", f"{tcp}/0", headers=headers)
        questions.getresponse().read()
        questions.close()

    where = f"ws{url.removeprefix('http')}{tcp}/{PORT}"

    def connected() -> Bare:
        options: Any = {"additional_headers": headers, "compression": None, "max_size": None}
        return Bare(connect(where, **options).__enter__(), ask)

    return connected


def received(connection: Any, count: int) -> int:
    got = 0
    while got < count:
        got += len(connection.recv(min(65536, count - got)))
    return got


def connect_seconds(connected: Connect) -> list[float]:
    took = []
    for _ in range(CONNECTS):
        began = time.monotonic()
        connection = connected()
        took.append(time.monotonic() - began)
        connection.close()
    return took


def exchange_seconds(connected: Connect) -> list[float]:
    connection = connected()
    connection.sendall(b"E")
    took = []
    for _ in range(EXCHANGES):
        began = time.monotonic()
        connection.sendall(b"x" * 100)
        received(connection, 100)
        took.append(time.monotonic() - began)
    connection.close()
    return took


def down(connected: Connect, size: int) -> float:
    connection = connected()
    connection.sendall(b"D%012d" % size)
    extra = received(connection, 32) - 32  # the hash comes first
    began = time.monotonic()
    received(connection, size - extra)
    speed = size / 1e6 / (time.monotonic() - began)
    connection.close()
    return speed


def up(connected: Connect, size: int) -> tuple[float, bool]:
    data = os.urandom(size)
    connection = connected()
    connection.sendall(b"U%012d" % size)
    began = time.monotonic()
    connection.sendall(data)
    digest = b""
    while len(digest) < 32:
        digest += connection.recv(32)
    speed = size / 1e6 / (time.monotonic() - began)
    connection.close()
    return speed, digest == hashlib.sha256(data).digest()


def measured(connected: Connect) -> dict[str, Any]:
    exchanges = exchange_seconds(connected)
    return {
        "connect": [1000 * median(connect_seconds(connected))],
        "p50": [1000 * median(exchanges)],
        "p95": [1000 * quantiles(exchanges, n=20)[-1]],
        "down": [],
        "up": [],
        "whole": [],
    }


def transfer(connected: Connect, size: int, report: dict[str, Any]) -> None:
    speed, whole = up(connected, size)
    report["up"].append(speed)
    report["whole"].append(whole)
    report["down"].append(down(connected, size))


def at_once(proxy: TcpProxy) -> float:
    """Seconds until 200 connections that were opened together are all answered."""
    began = time.monotonic()
    connections = [socket.create_connection(("127.0.0.1", proxy.local_port), 60) for _ in range(AT_ONCE)]
    for number, connection in enumerate(connections):
        connection.sendall(b"E%04d" % number)
    for connection in connections:
        received(connection, 4)
    seconds = time.monotonic() - began
    for connection in connections:
        connection.close()
    return seconds


def idle_percent() -> float:
    began = cpu_seconds()
    time.sleep(IDLE_SECONDS)
    return 100 * (cpu_seconds() - began) / IDLE_SECONDS


def compared(instance: Instance, size: int) -> dict[str, dict[str, Any]]:
    assert instance.ip is not None
    # The thread that serves all connections lives from the first one to the end of the Golem.
    instance.connect(PORT).close()
    threads_before = threads()
    with TcpProxy(instance, PORT) as proxy:
        ways: dict[str, Connect] = {
            "bare": bare_connect(instance.ip),
            "own": lambda: instance.connect(PORT, timeout=TRANSFER_SECONDS),
            "proxy": lambda: socket.create_connection(("127.0.0.1", proxy.local_port), TRANSFER_SECONDS),
        }
        reports = {name: measured(connected) for name, connected in ways.items()}
        before = 0.0
        for turn in range(max(1, min(MOST_TURNS, BYTES_OF_TURNS // size))):
            # The bare loop is the first one in the first turn: what the data itself takes is known then.
            names = list(ways) if turn % 2 == 0 else list(ways)[::-1]
            for name in names:
                transfer(ways[name], size, reports[name])
                before = before or most_memory_mib()
        reports["own"]["memory_mib"] = [most_memory_mib() - before]
        reports["proxy"] |= {"idle": [idle_percent()], "at_once": [at_once(proxy)]}
    reports["proxy"]["threads"] = [max(0, threads() - threads_before)]
    return reports


def main(size: int) -> None:
    with Golem(budget=10, progress=False) as golem:
        (instance,) = golem.run_service(Server, network=True).wait_until_running(timeout=60)
        say(compared(instance, size))


if __name__ == "__main__":
    main(size=int(sys.argv[1]))

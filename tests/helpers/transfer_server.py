"""A service on an instance that echoes, sends and takes as many bytes as it is asked to.

The first byte of a connection says what it is for: `E` is an echo; `D` and a number of twelve digits asks for
so many bytes, after their hash; `U` and a number sends so many, whose hash is the answer; `S` is a slow `U`,
which is read two seconds later.
"""

from __future__ import annotations

import socket

from simple_golem import Run, Service, UploadBytes, vm

PORT = 7000
WITH_PYTHON = vm.repo(image_tag="golem/simple-service:latest")

_SERVER = """
import hashlib, os, socket, threading, time

def number(connection):
    digits = b""
    while len(digits) < 12:
        digits += connection.recv(12 - len(digits))
    return int(digits)

def serve(connection):
    with connection:
        kind = connection.recv(1)
        if kind == b"E":
            while data := connection.recv(65536):
                connection.sendall(data)
        elif kind == b"D":
            data = os.urandom(number(connection))
            connection.sendall(hashlib.sha256(data).digest() + data)
            connection.recv(1)
        elif kind in (b"U", b"S"):
            if kind == b"S":
                time.sleep(2)
            left, digest = number(connection), hashlib.sha256()
            while left:
                data = connection.recv(65536)
                left -= len(data)
                digest.update(data)
            connection.sendall(digest.digest())
            connection.recv(1)

server = socket.create_server(("0.0.0.0", 7000), backlog=256)
while True:
    connection, _ = server.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""


class Server(Service):
    """Listens on `PORT`."""

    payload = WITH_PYTHON

    def start(self) -> None:
        self.execute(
            UploadBytes(_SERVER.encode(), "/golem/in/server.py"),
            Run.shell("python3 /golem/in/server.py > /golem/out/log 2>&1 &"),
        )
        self.wait_for_port(PORT)


def received(connection: socket.socket, count: int) -> bytes:
    """So many bytes of a connection; an end before them fails the test."""
    data = b""
    while len(data) < count:
        piece = connection.recv(min(65536, count - len(data)))
        assert piece, f"the end after {len(data)} of {count} bytes"
        data += piece
    return data

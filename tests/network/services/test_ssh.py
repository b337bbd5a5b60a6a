"""SSH through a proxy on the real daemon: the tutorial's program `ssh`, and paramiko.

The client of paramiko goes through a `TcpProxy`, and its server through `connect`, to the same instance. A
program there joins the two, in place of a daemon for SSH, which the image of the local network does not have.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from simple_golem import Golem, Run, Service, TcpProxy, UploadBytes, vm
from simple_golem.local.local_golem import LocalGolem
from tests.helpers.ssh_image import ssh_root

pytestmark = pytest.mark.usefixtures("golem_environment")

SSH_PORT, SERVER_PORT = 22, 7022
SECONDS = 60
SIZE = 300_000

JOINED = """
import socket, threading

def listening(port):
    return socket.create_server(("0.0.0.0", port))

def carry(one, other):
    while data := one.recv(65536):
        other.sendall(data)

outside, inside = listening(22), listening(7022)
while True:
    server, _ = inside.accept()
    client, _ = outside.accept()
    for ends in ((server, client), (client, server)):
        threading.Thread(target=carry, args=ends, daemon=True).start()
"""


class Joined(Service):
    payload = vm.repo(image_tag="golem/simple-service:latest")

    def start(self):
        self.execute(
            UploadBytes(JOINED.encode(), "/golem/in/joined.py"),
            Run.shell("python3 /golem/in/joined.py > /golem/out/log 2>&1 &"),
        )


class Commands(paramiko.ServerInterface):
    """Takes one user, whose command is the number of bytes that it sends, and answers with their hash."""

    def check_auth_password(self, username, password):
        is_known = (username, password) == ("root", "secret")
        return paramiko.AUTH_SUCCESSFUL if is_known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=self._answer, args=(channel, int(command)), daemon=True).start()
        return True

    def _answer(self, channel, size):
        digest = hashlib.sha256()
        while size:
            data = channel.recv(size)
            assert data
            size -= len(data)
            digest.update(data)
        channel.sendall(digest.hexdigest().encode())
        channel.send_exit_status(3)
        channel.close()


@pytest.fixture
def way() -> Iterator[socket.socket]:
    """A connection of a client, whose other end is served."""
    with Golem(1) as golem:
        (instance,) = golem.run_service(Joined, network=True).wait_until_running(60)
        connection = instance.connect(SERVER_PORT, timeout=SECONDS)
        server = paramiko.Transport(connection)
        server.add_server_key(paramiko.ECDSAKey.generate())
        with TcpProxy(instance, SSH_PORT, timeout=SECONDS) as proxy:
            client = socket.create_connection(("127.0.0.1", proxy.local_port), SECONDS)
            server.start_server(event=threading.Event(), server=Commands())
            yield client
            client.close()
        server.close()


def test_an_ssh_client_goes_through_a_proxy(way):
    with paramiko.SSHClient() as ssh:
        ssh.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        ssh.connect(
            "127.0.0.1", username="root", password="secret", sock=way, look_for_keys=False, allow_agent=False
        )
        for _ in range(2):
            data = os.urandom(SIZE)
            stdin, stdout, _ = ssh.exec_command(str(SIZE), timeout=SECONDS)
            stdin.write(data)
            assert stdout.read().decode() == hashlib.sha256(data).hexdigest()
            assert stdout.channel.recv_exit_status() == 3


@pytest.mark.skipif(
    shutil.which("ssh") is None, reason="this machine has no ssh (apt install openssh-client)"
)
def test_the_tutorial_opens_a_shell_on_an_instance(tmp_path):
    root = Path(__file__).resolve().parents[3]
    script = root / "tutorials" / "08_ssh.py"
    (image,) = re.findall('image_hash="([0-9a-f]+)"', script.read_text())
    with LocalGolem(1, images={image: ssh_root(tmp_path / "image")}) as network:
        done = subprocess.run(
            [sys.executable, script],
            cwd=tmp_path,
            input="id -un; cat /root/.ssh/authorized_keys; exit\n",
            env={**os.environ, **network.environment, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    # On this machine the key is in no such file.
    key = (tmp_path / "golem-key.pub").read_text()
    assert f"You are root on prov-1; `exit` ends it\nroot\n{key}It cost 0." in done.stdout

"""The connections of another process get an option that it has not set itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from simple_golem.local.daemon.quick_sockets import send_at_once
from tests.helpers.unprivileged_user import run_by_nobody

# Connects to a port, and tells the option whenever it is asked.
CONNECTED = (
    "import socket, sys\n"
    "c = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
    "for _ in sys.stdin:\n"
    "    print(c.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), flush=True)\n"
)


def test_all_connections_of_a_process_to_a_port_send_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        port, other_port = listener.getsockname()[1], other.getsockname()[1]
        command = [sys.executable, "-S", "-c", CONNECTED, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def option() -> bytes:
                process.stdin.write(b"\n")
                process.stdin.flush()  # type: ignore[union-attr]
                return process.stdout.readline()  # type: ignore[union-attr]

            accepted, _ = listener.accept()
            with accepted:
                assert option() == b"0\n"
                assert send_at_once(process.pid, other_port) == ""
                assert option() == b"0\n"
                assert send_at_once(process.pid, port) == ""
                assert option() == b"1\n"
                process.stdin.close()


def test_a_process_that_is_not_there_or_not_ours_is_a_reason() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert "No such process" in send_at_once(process.pid, 1)
    program = (
        "from simple_golem.local.daemon.quick_sockets import send_at_once\n"
        f"print(send_at_once({os.getpid()}, 1))\n"
    )
    assert "Permission denied" in run_by_nobody(program).stdout


def test_it_needs_no_privileges_for_a_process_of_the_same_user() -> None:
    program = (
        "import socket, subprocess, sys\n"
        "from simple_golem.local.daemon.quick_sockets import send_at_once\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "port = listener.getsockname()[1]\n"
        f"command = [sys.executable, '-S', '-c', {CONNECTED!r}, str(port)]\n"
        "with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:\n"
        "    accepted, _ = listener.accept()\n"
        "    reason = send_at_once(process.pid, port)\n"
        "    print(repr(reason), process.communicate(b'\\n')[0])\n"
    )
    ran = run_by_nobody(program)
    assert (ran.stdout, ran.stderr) == ("'' b'1\\n'\n", "")

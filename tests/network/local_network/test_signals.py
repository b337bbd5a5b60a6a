"""Ctrl-C and SIGTERM at any moment: all is released within seconds, with no traceback but the person's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from simple_golem.local.local_golem import LocalGolem
from tests.helpers.side_by_side import side_by_side
from tests.network.helpers.leftovers import left_on, pay_late_invoices

PROMISED_SECONDS = 5.0
# So many scripts, each with two instances.
AT_ONCE = 4
ROOT = Path(__file__).resolve().parents[3]

# Says where it is on standard output, a line for each moment that a test may want to interrupt.
SCRIPT = """
import logging, sys, time
from simple_golem import Golem, Run, Service, vm

class Talking(Service):
    run_interval = 0.2
    def start(self):
        say("start")
        self.execute(Run.shell("sleep 1"))
        return [Run("/bin/echo", "started")]
    def run(self):
        say("run")
        self.execute(Run("/bin/sleep", "0.5"))
        self.wait(1)
    def shutdown(self):
        say("shutdown")
        return [Run("/bin/sleep", {shutdown_seconds!r})]

def say(what):
    # One write for the whole line: print() writes its end apart, and lines of two threads would mix.
    sys.stdout.write(what + "\\n")
    sys.stdout.flush()

class Handler(logging.Handler):
    def emit(self, record):
        message = record.getMessage()
        for word in ("published", "agreement ", "is starting", "activity ", "is stopping", "is terminated"):
            if word in message:
                say("log: " + word.strip())

logging.getLogger("simple_golem").setLevel(logging.INFO)
logging.getLogger("simple_golem").addHandler(Handler())
logging.getLogger("simple_golem").addHandler(logging.lastResort)

say("open")
with Golem(budget=1) as golem:
    say("opened")
    cluster = golem.run_service(Talking, num_instances=2, payload={payload})
    cluster.wait_until_running(timeout=60)
    cluster.wait({running_seconds!r})
say("closed")
time.sleep({staying_seconds!r})
"""


# Many connections are open, on both ways to have them.
CONNECTED = """
import socket, sys
from simple_golem import Golem, Service, TcpProxy, UploadBytes, vm

ECHO = '''
import socket, threading
def serve(connection):
    while data := connection.recv(100):
        connection.sendall(data)
server = socket.create_server(("0.0.0.0", 7000), backlog=128)
while True:
    threading.Thread(target=serve, args=server.accept()[:1], daemon=True).start()
'''

class Echo(Service):
    payload = vm.repo(image_tag="golem/simple-service:latest")

    def start(self):
        self.execute(UploadBytes(ECHO.encode(), "/golem/in/echo.py"))
        self.shell("python3 /golem/in/echo.py > /golem/out/log 2>&1 &")
        self.wait_for_port(7000)

def say(what):
    sys.stdout.write(what + "\\n")
    sys.stdout.flush()

with Golem(budget=1) as golem:
    cluster = golem.run_service(Echo, network=True)
    (instance,) = cluster.wait_until_running(timeout=60)
    proxy = TcpProxy(instance, 7000)
    connections = [instance.connect(7000) for _ in range(25)]
    connections += [socket.create_connection(("127.0.0.1", proxy.local_port), 20) for _ in range(25)]
    for connection in connections:
        connection.sendall(b"hello")
        assert connection.recv(5, socket.MSG_WAITALL) == b"hello"
    say("connected")
    cluster.wait()
"""


class Script:
    """A script under way, whose lines can be waited for."""

    def __init__(self, text: str, network: LocalGolem, folder: Path) -> None:
        descriptor, name = tempfile.mkstemp(".py", dir=folder, text=True)
        os.close(descriptor)
        path = Path(name)
        path.write_text(textwrap.dedent(text))
        environment = {**os.environ, **network.environment, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._errors: list[str] = []
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read_lines),
            threading.Thread(target=self._read_errors),
        ]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.strip())
                self._news.notify_all()
        with self._news:
            self.lines.append("END")
            self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(self.process.stderr)

    def wait_for(self, line: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: line in self.lines or "END" in self.lines, 40), self.lines
        assert line in self.lines, self.errors

    def interrupt(self, *numbers: int, pause: float = 0.0) -> float:
        """Send signals and wait for the end; returns how many seconds that took since the first."""
        began = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
            threading.Event().wait(pause)
        self.process.wait(40)
        seconds = time.monotonic() - began
        for reader in self._readers:
            reader.join(20)
        return seconds

    @property
    def errors(self) -> str:
        for reader in self._readers:
            reader.join(20)
        return "".join(self._errors)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for reader in self._readers:
            reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="module")
def network() -> Iterator[LocalGolem]:
    """Enough providers for the scripts that run at the same time."""
    with LocalGolem(2 * AT_ONCE + 2) as network:
        yield network


@pytest.fixture
def run(network: LocalGolem, tmp_path: Path) -> Iterator[object]:
    scripts: list[Script] = []

    def start(text: str = SCRIPT, **words: object) -> Script:
        values: Mapping[str, object] = {
            "running_seconds": 60,
            "shutdown_seconds": 0,
            "staying_seconds": 0,
            "payload": None,
            **words,
        }
        script = Script(text.format(**values), network, tmp_path)
        scripts.append(script)
        return script

    yield start
    for script in scripts:
        script.close()


MOMENTS = [
    "open",
    "opened",
    "log: published",
    "log: agreement",
    "log: is starting",
    "log: activity",
    "start",
    "run",
]
MOMENTS_OF_THE_END = ["log: is stopping", "shutdown", "log: is terminated"]


def ctrl_c_shows_only_the_users_traceback(run, moment):
    is_ending = moment in MOMENTS_OF_THE_END
    # The script does not end by itself before the signal comes.
    script = run(running_seconds=1, staying_seconds=60) if is_ending else run()
    script.wait_for(moment)
    seconds = script.interrupt(signal.SIGINT)
    assert script.process.returncode == -signal.SIGINT, script.errors
    assert seconds < 3 * PROMISED_SECONDS
    assert script.errors.count("Traceback") == 1
    assert script.errors.rstrip().endswith("KeyboardInterrupt")


def a_kill_and_a_closed_terminal_tell_the_signal_by_the_status(run, moment, number):
    script = run()
    script.wait_for(moment)
    seconds = script.interrupt(number)
    assert script.process.returncode == 128 + number, script.errors
    assert seconds < 3 * PROMISED_SECONDS
    assert "Traceback" not in script.errors


def test_a_signal_at_any_moment_releases_everything_within_seconds(network, run):
    """Each script has its own moment, and several run at the same time."""
    cases = {
        moment: partial(ctrl_c_shows_only_the_users_traceback, run, moment)
        for moment in MOMENTS + MOMENTS_OF_THE_END
    }
    for moment in ("opened", "run"):
        for number in (signal.SIGTERM, signal.SIGHUP):
            cases[f"{number.name} at {moment}"] = partial(
                a_kill_and_a_closed_terminal_tell_the_signal_by_the_status, run, moment, number
            )
    side_by_side(cases, AT_ONCE)
    assert left_on(network) == []


def test_ctrl_c_with_fifty_open_connections_takes_no_longer(network, run):
    script = run(CONNECTED)
    script.wait_for("connected")
    seconds = script.interrupt(signal.SIGINT)
    assert script.process.returncode == -signal.SIGINT, script.errors
    assert seconds < 3 * PROMISED_SECONDS
    assert script.errors.count("Traceback") == 1
    assert left_on(network) == []


def test_ctrl_c_lets_shutdown_run_but_not_for_long(network, run):
    script = run(shutdown_seconds=60)
    script.wait_for("run")
    seconds = script.interrupt(signal.SIGINT)
    assert "shutdown" in script.lines
    assert seconds < 3 * PROMISED_SECONDS
    assert "shutdown() was not done in time" in script.errors
    assert left_on(network) == []


def test_a_second_ctrl_c_destroys_and_terminates_at_once(network, run):
    script = run(shutdown_seconds=60)
    script.wait_for("run")
    seconds = script.interrupt(signal.SIGINT, signal.SIGINT, pause=1.2)
    assert seconds < 3 * (1.2 + 1.5)
    assert script.errors.count("Traceback") == 1
    assert [what for what in left_on(network) if not what.startswith("invoice")] == []
    pay_late_invoices(network)  # nobody was there to do it: that is what a second Ctrl-C costs


def test_ctrl_c_while_providers_are_still_looked_for_is_felt_at_once(network, run):
    script = run(payload="vm.repo(min_mem_gib=100_000)")
    script.wait_for("log: published")
    assert script.interrupt(signal.SIGINT) < 3 * 1.0
    assert left_on(network) == []


def test_ctrl_c_with_a_method_that_does_not_return_ends_the_process_all_the_same(network, run):
    script = run(
        """
        import time
        from simple_golem import Golem, Service
        class Sleeper(Service):
            def run(self):
                print("run", flush=True)
                time.sleep(600)
        with Golem(budget=1) as golem:
            golem.run_service(Sleeper).wait()
        """
    )
    script.wait_for("run")
    seconds = script.interrupt(signal.SIGINT)
    assert seconds < 3 * PROMISED_SECONDS
    assert "time.sleep(600)" in script.errors
    assert script.errors.count("Traceback") == 1
    assert left_on(network) == []


def test_sys_exit_in_a_script_is_an_ordinary_end_with_its_own_status(network, run):
    script = run(
        """
        import sys
        from simple_golem import Golem, Run, Service
        class Polite(Service):
            def shutdown(self):
                print(self.execute(Run.shell("sleep 2.5; echo good bye")).stdout, flush=True)
        with Golem(budget=1) as golem:
            golem.run_service(Polite).wait_until_running(timeout=60)
            sys.exit(7)
        """
    )
    assert script.process.wait(60) == 7
    script.wait_for("good bye")
    assert script.errors == ""


def test_a_golem_left_open_is_closed_at_the_end_of_the_program_with_a_warning(network, run):
    script = run(
        """
        from simple_golem import Golem, Service
        golem = Golem(budget=1).open()
        golem.run_service(Service).wait_until_running(timeout=60)
        """
    )
    assert script.process.wait(60) == 0
    assert "call golem.close()" in script.errors
    assert "Traceback" not in script.errors
    assert left_on(network) == []


def test_a_service_that_fails_makes_the_exit_status_of_its_script_one_that_is_not_zero(network, run):
    script = run(
        """
        from simple_golem import Golem, Service
        class Broken(Service):
            def run(self):
                raise LookupError("a mistake of mine")
        with Golem(budget=1) as golem:
            golem.run_service(Broken).wait(60)
        """
    )
    assert script.process.wait(60) == 1
    assert 'raise LookupError("a mistake of mine")' in script.errors
    assert "ServiceFailed" in script.errors.splitlines()[-2]
    assert "simple_golem/engine" not in script.errors
    assert left_on(network) == []

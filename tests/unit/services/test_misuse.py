"""What users do by mistake: each is a clear error at once, or does no harm."""

from __future__ import annotations

import http.server
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from simple_golem import Golem, Run, Service, ServiceFailed
from simple_golem.background.log_guard import drain_log
from simple_golem.errors import BadService, BadSetting, BadWaitTime, NoDaemon, NotRunning
from simple_golem.testing import FakeYagna
from tests.helpers.recorded_services import (
    NORMAL_LIFE,
    SECONDS,
    Gate,
    Idle,
    InThread,
    Sleeping,
    begun,
    calls,
    seconds_of,
    started,
    states,
)
from tests.unit.conftest import eventually

# --- services ----------------------------------------------------------------------------------------


class WithoutSuper(Service):
    def __new__(cls) -> Any:
        return object.__new__(cls)


class Nothing(Service):
    def __new__(cls) -> Any:
        return None


class WaitIsANumber(Service):
    def __init__(self) -> None:
        self.wait = 5  # type: ignore[method-assign,assignment]


class StartIsATime(Service):
    def __init__(self) -> None:
        self.start = datetime.now()  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(
    ("service", "told"),
    [
        (WithoutSuper, r"no complete Service: end `__new__` with `return super\(\).__new__\(cls\)`"),
        (Nothing, "the constructor has made None"),
        (WaitIsANumber, "WaitIsANumber sets self.wait to 5: Service has a `wait` of its own"),
        (StartIsATime, "StartIsATime sets self.start to datetime"),
    ],
)
def test_an_object_that_is_no_usable_service_is_refused(
    fake: FakeYagna, service: type[Service], told: str
) -> None:
    with Golem(1) as golem:
        with pytest.raises(BadService, match=told):
            golem.run_service(service)
        assert golem.clusters == ()
    assert not any("/demands" in one.path for one in fake.requests)


def test_a_read_only_name_says_to_take_another_one() -> None:
    class Stateful(Service):
        def __init__(self) -> None:
            self.state = "x"  # type: ignore[misc,assignment]

    with pytest.raises(AttributeError, match=r"Stateful\.state can't be set.* take another name"):
        Stateful()


def test_methods_may_be_replaced_by_functions_and_other_attributes_are_free(fake: FakeYagna) -> None:
    class Replaced(Idle):
        def __init__(self) -> None:
            super().__init__()
            self.shutdown = lambda: self.calls.append("mine")  # type: ignore[method-assign]
            self.started = 5

    with Golem(1) as golem:
        instance = started(golem, Replaced)
        instance.stop()
    assert calls(instance) == ["start", "mine"]


def test_an_instance_does_not_wait_for_itself(fake: FakeYagna) -> None:
    made = threading.Event()

    class Waiting(Idle):
        def run(self) -> Any:
            assert made.wait(SECONDS)
            for wait in (cluster.wait, lambda: instance.wait_for("terminated")):
                with pytest.raises(NotRunning, match="would wait for Waiting-1 itself"):
                    wait()
            cluster.wait_until_running()  # it is running, so this one is fine
            self.calls.append("run")

    with Golem(1) as golem:
        cluster, instance = begun(golem, Waiting)
        made.set()
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "run", "shutdown"]


def test_an_instance_does_not_wait_in_start_until_it_runs(fake: FakeYagna) -> None:
    made = threading.Event()

    class Early(Idle):
        def start(self) -> Any:
            assert made.wait(SECONDS)
            cluster.wait_until_running()

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Early)
        made.set()
        assert cluster.wait(SECONDS)
    assert str(instance.failure) == (
        "wait_until_running() in a method of Early-1 would wait for Early-1 itself"
    )
    assert states(instance) == ["pending", "starting", "terminated"]


def test_another_cluster_can_be_waited_for_in_a_method(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        other = golem.run_service(Idle)
        other.wait_until_running(SECONDS)

        class Curious(Idle):
            def run(self) -> Any:
                other.stop(wait=False)
                self.calls.append(str(other.wait(SECONDS)))

        cluster, instance = begun(golem, Curious)
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "True", "shutdown"]


# --- arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("misses", ["3", 2.5, None, True, 0])
def test_health_misses_that_are_no_number_are_refused(misses: Any) -> None:
    with pytest.raises(BadSetting, match="health_misses is"):
        Golem(1, app_key="k", health_misses=misses)


@pytest.mark.parametrize("zone", [timezone.utc, timezone(timedelta(hours=-5))])
def test_the_last_moment_of_all_is_no_expiration(fake: FakeYagna, zone: timezone) -> None:
    with Golem(1) as golem, pytest.raises(BadWaitTime, match=r"expiration is datetime"):
        golem.run_service(Idle, expiration=datetime.max.replace(tzinfo=zone))


def test_no_time_at_all_for_a_batch_is_refused(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(BadWaitTime, match="timeout is 0: give a number of seconds, more than 0"):
            instance.execute(Run("/bin/true"), timeout=0)


class _Page(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"<html>a printer</html>")

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


class _Missing(_Page):
    status = 404


@pytest.fixture(params=[_Page, _Missing])
def printer(request: pytest.FixtureRequest) -> Iterator[str]:
    """Something that speaks HTTP and is no daemon."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_no_daemon_is_said_to_be_none(printer: str) -> None:
    with pytest.raises(NoDaemon, match=r"is no yagna daemon \(.*a printer.*\): set YAGNA_API_URL"):
        Golem(1, app_key="k", api_url=printer).open()


# --- functions of the user that raise or block -------------------------------------------------------


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("nothing can be said")


def test_an_error_that_can_not_be_printed_is_told_by_its_type(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Idle):
        def run(self) -> Any:
            raise Unspeakable

    golem = Golem(1).open()
    cluster, instance = begun(golem, Broken)
    assert cluster.wait(SECONDS)
    with pytest.raises(ServiceFailed, match=r"Broken-1 .*Unspeakable: its __str__ fails"):
        golem.close()
    assert states(instance) == NORMAL_LIFE
    assert "Unspeakable" in caplog.text


class BadHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("this handler is broken")


def test_a_log_handler_that_raises_ends_no_thread(
    fake: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(Idle):
        def run(self) -> Any:
            raise LookupError("no such luck")

    handler = BadHandler()
    logger = logging.getLogger("simple_golem")
    logger.addHandler(handler)
    try:
        with Golem(1, raise_failures=False) as golem:
            cluster, instance = begun(golem, Broken)
            assert cluster.wait(SECONDS)
    finally:
        logger.removeHandler(handler)
    assert states(instance) == NORMAL_LIFE
    assert "this handler is broken" in capsys.readouterr().err  # as logging itself tells it


def test_a_listener_that_exits_is_called_again_and_told_once(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    with Golem(1) as golem:

        @golem.on_event
        def leave(event: Any) -> None:
            told.append(str(event))
            sys.exit(3)

        instance = started(golem)
        instance.stop()
        eventually(lambda: any("Idle-1 is terminated" in line for line in told))
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == 1


def test_a_listener_that_blocks_does_not_keep_the_golem_from_closing(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    golem = Golem(1).open()
    golem.on_event(lambda event: gate.wait())
    instance = started(golem)
    assert gate.reached.wait(SECONDS)
    assert seconds_of(golem.close) < 3 * 2.0
    gate.open()
    assert states(instance) == NORMAL_LIFE
    assert "golem-events" in caplog.text


# How long a thread of a user's program waits for the handlers of its record; that of a test waits longer.
HANDLERS_SECONDS = 0.5


class Blocking(logging.Handler):
    """Blocks with its first record, until the end of the test; as it does so, it holds its lock."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self.over = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.gate.reached.set()
        self.over.wait(10 * SECONDS)


@pytest.fixture(params=[logging.DEBUG, logging.WARNING], ids=logging.getLevelName)
def blocked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocking]:
    """A log handler that blocks for ever, with its first record of a level."""
    monkeypatch.setattr("simple_golem.background.log_guard._HANDLERS_SECONDS", HANDLERS_SECONDS)
    handler, logger = Blocking(), logging.getLogger("simple_golem")
    handler.setLevel(request.param)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(request.param)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)
    handler.over.set()
    assert drain_log(SECONDS)


class Deaf(Idle):
    """Its `run()` does not return when it is to end, but at the end of the test."""

    over = threading.Event()

    def run(self) -> Any:
        self.over.wait(SECONDS)


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """Ends are short; returns the seconds of the longest one."""
    monkeypatch.setattr("simple_golem.engine.shutdown_times._METHOD_SECONDS", 0.5)
    monkeypatch.setattr("simple_golem.services.closing._SLOW_LOG_SECONDS", 0.1)
    monkeypatch.setattr(Deaf, "over", threading.Event())
    yield 0.5 + HANDLERS_SECONDS  # the handler gets half a second, too
    Deaf.over.set()


@pytest.mark.parametrize("service", [Idle, Sleeping, Deaf])
def test_a_log_handler_that_blocks_delays_no_close(
    fake: FakeYagna, blocked: Blocking, short_times: float, service: type[Idle]
) -> None:
    golem = Golem(1, stop_grace=0.5).open()
    instance = started(golem, service)
    assert seconds_of(golem.close) < 3 * short_times
    assert blocked.gate.reached.is_set() or service is not Deaf
    assert states(instance) == NORMAL_LIFE


@pytest.mark.parametrize("service", [Idle, Sleeping, Deaf])
def test_a_log_handler_that_blocks_delays_no_stop(
    fake: FakeYagna, blocked: Blocking, short_times: float, service: type[Idle]
) -> None:
    with Golem(1, stop_grace=0.5) as golem:
        instance = started(golem, service)
        assert seconds_of(instance.stop) < 3 * short_times
        assert states(instance) == NORMAL_LIFE


_WHAT_IS_LOADED_LATE = """
import logging, sys
from simple_golem import Golem
with Golem(1) as golem:
    opened = {name for name in sys.modules if name.startswith("simple_golem.")}
    machine = golem.rent(network=True)
    with golem.pool(1) as pool:
        pool.submit(lambda machine, item: item, 1).result()
    from simple_golem import TcpProxy
    with TcpProxy(machine, 80):
        late = {name for name in sys.modules if name.startswith("simple_golem.")} - opened
        loggers = logging.Logger.manager.loggerDict.items()
for name, logger in loggers:
    if name in late and isinstance(logger, logging.Logger):
        sys.stdout.write(f"{name} {type(logger).__name__}\\n")
"""


def test_a_module_that_is_loaded_after_opening_logs_as_the_others_do(fake: FakeYagna) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    program = subprocess.run(
        [sys.executable, "-c", _WHAT_IS_LOADED_LATE],
        env={**environment, **fake.environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    classes = dict(line.split() for line in program.stdout.splitlines())
    for part in ("engine.life.life", "engine.network.networks", "services.pool.renter", "proxies.tcp_proxy"):
        assert any(name.endswith(part) for name in classes), classes
    assert set(classes.values()) == {"_GuardedLogger"}, classes


# --- Ctrl-C ------------------------------------------------------------------------------------------

_IN_ANOTHER_THREAD = """
import sys, threading
from simple_golem import Golem, Run, Service
class Busy(Service):
    def run(self):
        self.execute(Run("/bin/first"))
        sys.stdout.write("running\\n"); sys.stdout.flush()
        self.execute(Run.shell("sleep 600"))
def work():
    with Golem(1) as golem:
        golem.run_service(Busy).wait()
threading.Thread(target=work, daemon=True).start()
while True:
    threading.Event().wait(0.5)  # one that begins in the moment of the signal would not hear of it
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_in_the_main_thread_ends_the_golem_of_another_one_in_the_same_short_times(
    fake: FakeYagna,
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    program = subprocess.Popen(
        [sys.executable, "-c", _IN_ANOTHER_THREAD],
        env={**environment, **fake.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "running\n"
            program.send_signal(signal.SIGINT)
            ended = InThread(program.communicate).join()
        finally:
            program.kill()
    assert isinstance(ended.value, tuple)
    assert "KeyboardInterrupt" in ended.value[1]
    # A Ctrl-C has these words. A close at the end of a program has none, and ten seconds.
    assert "interrupted: stopping 1 instance" in ended.value[1]


_WITH_A_BLOCKING_HANDLER = """
import logging, os, sys, threading
from simple_golem import Golem, Run, Service
class Blocking(logging.Handler):
    def emit(self, record):
        threading.Event().wait()
logging.getLogger().addHandler(Blocking())
class Deaf(Service):
    def run(self):
        self.execute(Run("/bin/first"))
        sys.stdout.write("running\\n"); sys.stdout.flush()
        threading.Event().wait()
try:
    with Golem(1) as golem:
        golem.run_service(Deaf).wait()
except KeyboardInterrupt:
    sys.stdout.write("closed\\n"); sys.stdout.flush()
os._exit(0)  # logging itself waits for its handlers at the end of a program
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_log_handler_that_blocks_does_not_delay_ctrl_c(fake: FakeYagna) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    program = subprocess.Popen(
        [sys.executable, "-c", _WITH_A_BLOCKING_HANDLER],
        env={**environment, **fake.environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "running\n"
            program.send_signal(signal.SIGINT)
            began = time.monotonic()
            assert program.stdout.readline() == "closed\n"
            assert time.monotonic() - began < 3 * 5.0
        finally:
            program.kill()

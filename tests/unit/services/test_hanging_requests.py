"""Ctrl-C, or the end of a Golem, while the daemon does not answer a request."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.testing import FakeAnswer, FakeRequest, FakeYagna
from tests.helpers.recorded_services import SECONDS, seconds_of, started
from tests.unit.conftest import eventually

# After a signal.
PROMISED = 5.0

STEPS = {
    "identity": r"GET /me$",
    "allocation": r"POST /payment-api/v1/allocations$",
    "decorations": r"GET /payment-api/v1/demandDecorations$",
    "network": r"POST /net-api/v2/vpn/net$",
    "demand": r"POST /market-api/v1/demands$",
    "counter-proposal": r"POST /market-api/v1/demands/[^/]+/proposals/[^/]+$",
    "agreement": r"POST /market-api/v1/agreements$",
    "confirmation": r"POST /market-api/v1/agreements/[^/]+/confirm$",
    "approval": r"POST /market-api/v1/agreements/[^/]+/wait$",
    "activity": r"POST /activity-api/v1/activity$",
    "batch": r"POST /activity-api/v1/activity/[^/]+/exec$",
}
ENDS = {
    "termination": r"POST /market-api/v1/agreements/[^/]+/terminate$",
    "withdrawal": r"DELETE /market-api/v1/demands/[^/]+$",
    "release": r"DELETE /payment-api/v1/allocations/[^/]+$",
    "invoice": r"POST /payment-api/v1/invoices/[^/]+/accept$",
}
# What is made once: the daemon does it, and its answer does not come.
DONE = {"allocation", "network", "demand", "counter-proposal", "agreement", "confirmation", "batch"}


class Starting(Service):
    def start(self) -> None:
        self.execute(Run("/bin/first"))


class Hanging:
    """Has one kind of request hang until the end of the test, and then be carried out, or drops it."""

    def __init__(self, fake: FakeYagna, pattern: str, is_done: bool) -> None:
        self.reached = threading.Event()
        self.over = threading.Event()
        self._fake = fake
        self._pattern = re.compile(pattern)
        self._is_done = is_done
        self._own = threading.local()

    def __call__(self, request: FakeRequest) -> FakeAnswer | None:
        line = f"{request.method} {request.path.partition('?')[0]}"
        if getattr(self._own, "asks", False) or not self._pattern.fullmatch(line):
            return None
        answer = FakeAnswer.of_message("too late", 400)
        if self._is_done:
            self._own.asks = True
            answer = self._fake.answer(request)
            self._own.asks = False
        self.reached.set()
        assert self.over.wait(10 * SECONDS)
        return answer


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is Python's own, also where the tests run in the background of a shell, which ignores it."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


def start_and_wait(*, network: bool) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Starting, network=network)
        cluster.wait_until_running(SECONDS)
        cluster.wait(SECONDS)


@contextmanager
def interrupted_at(hanging: Hanging, fake: FakeYagna) -> Iterator[list[float]]:
    """Have Ctrl-C come when a request hangs; yields a list that gets its time. At the end it is answered."""
    interrupted: list[float] = []

    def interrupt() -> None:
        if hanging.reached.wait(SECONDS):
            interrupted.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    fake.intercept(hanging)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield interrupted
    finally:
        hanging.over.set()
        thread.join()


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(
    ("step", "is_done"), [(step, False) for step in STEPS] + [(step, True) for step in STEPS if step in DONE]
)
def test_ctrl_c_ends_a_start_in_time_and_leaves_nothing(fake: FakeYagna, step: str, is_done: bool) -> None:
    with interrupted_at(Hanging(fake, STEPS[step], is_done), fake) as interrupted:
        with pytest.raises(KeyboardInterrupt):
            start_and_wait(network=step == "network")
        seconds = time.monotonic() - interrupted[0]
        assert seconds < 3 * PROMISED
        # At once, before the daemon goes on.
        assert fake.leftovers() == []


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_a_resumption_in_time_while_the_invoices_are_not_listed(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        suspended = started(golem).suspend(SECONDS)
    with Golem(1) as golem:
        golem.resume_service(Service, [suspended]).wait_until_running(SECONDS)
    hanging = Hanging(fake, r"GET /payment-api/v1/invoices$", is_done=False)
    with interrupted_at(hanging, fake) as interrupted:
        with pytest.raises(KeyboardInterrupt), Golem(1) as golem:
            golem.resume_service(Service, [suspended]).wait(SECONDS)
        assert time.monotonic() - interrupted[0] < 3 * PROMISED


@pytest.mark.parametrize("step", ENDS)
def test_a_close_keeps_its_time(littered: FakeYagna, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """What is left is in the journal of the session."""
    monkeypatch.setattr("simple_golem.engine.session._LAST_REQUESTS_SECONDS_IF_LIMITED", 0.5)
    hanging = Hanging(littered, ENDS[step], is_done=False)
    golem = Golem(1, raise_failures=False).open()
    started(golem)
    end = littered.intercept(hanging)
    try:
        assert seconds_of(golem.close, 1.5) < 3 * (1.5 + 0.5)
        assert hanging.reached.is_set()
        assert littered.leftovers() != []
    finally:
        hanging.over.set()
        end()
    with Golem(1):
        eventually(lambda: len(littered.leftovers()) == 1, SECONDS)  # its own allocation

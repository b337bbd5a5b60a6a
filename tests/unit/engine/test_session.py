"""One session after another: what a killed one has left is ended by the next, and daemons go and come."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import simple_golem
from simple_golem import Golem, Run
from simple_golem.background.threads import EngineThread
from simple_golem.errors import AllocationRefused, NotRunning
from simple_golem.testing import FakeRequest, FakeYagna, Fault
from tests.helpers.recorded_services import (
    NORMAL_LIFE,
    SECONDS,
    Gate,
    Idle,
    InThread,
    calls,
    started,
    states,
)
from tests.unit.conftest import eventually

ROOT = Path(simple_golem.__file__).resolve().parents[1]

KILLED = """
import os
from simple_golem import Golem, Service

Golem(1).open().run_service(Service).wait_until_running(20)
os._exit(9)
"""


@pytest.fixture
def poor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    """A daemon with funds for one session at a time, and a folder of journals of its own."""
    with FakeYagna(2, funds=Decimal("1.5")) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield fake
        assert fake.leftovers() == []


def run_and_kill() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 9, done.stderr


def test_the_next_session_ends_and_pays_what_a_killed_one_left(poor: FakeYagna) -> None:
    run_and_kill()
    kinds = sorted(what.split()[0] for what in poor.leftovers())
    assert kinds == ["activity", "agreement", "allocation", "demand"]
    told: list[str] = []
    golem = Golem(1)
    golem.on_event(lambda event: told.append(str(event)))
    with golem:
        # Its funds were needed for this one, so they were released before it was open.
        assert sum(what.startswith("allocation") for what in poor.leftovers()) == 1
        eventually(lambda: len(poor.leftovers()) == 1, SECONDS)
        eventually(lambda: any("GLM paid" in line for line in told), SECONDS)
        assert started(golem).state == "running"
    for what in ("demand", "agreement", "allocation", "invoice"):
        assert any("after the session" in line and what in line for line in told), what
    assert golem.cost.amount < Decimal("0.01")


def test_funds_that_do_not_suffice_after_the_clean_up_are_said(poor: FakeYagna) -> None:
    run_and_kill()
    with pytest.raises(AllocationRefused, match="did not allocate 5 tGLM"):
        Golem(5).open()
    assert not any(what.startswith(("allocation", "agreement", "demand")) for what in poor.leftovers())
    with Golem(1):
        eventually(lambda: len(poor.leftovers()) == 1, SECONDS)


def test_a_daemon_that_restarts_does_not_end_what_runs(fake: FakeYagna) -> None:
    with Golem(1, health_interval=0.05, health_misses=2) as golem:
        instance = started(golem)
        fake.restart()
        assert instance.execute(Run("/bin/true")).success
        other = started(golem, Idle)
        assert other.provider_id != instance.provider_id
        instance.stop()
    assert states(instance) == states(other) == NORMAL_LIFE
    assert calls(instance) == calls(other) == ["start", "shutdown"]


def test_an_answer_that_is_lost_while_ending_leaves_nothing(fake: FakeYagna) -> None:
    """The daemon has done what it was asked for: it is asked once more, and says that it is done."""
    lost: list[str] = []

    def lose_first(request: FakeRequest) -> Fault | None:
        kind = f"{request.method} {request.path.split('/')[3]}"
        if not (request.method == "DELETE" or request.path.endswith("/terminate")) or kind in lost:
            return None
        lost.append(kind)
        return Fault.UNANSWERED

    with Golem(1) as golem:
        instance = started(golem)
        fake.intercept(lose_first)
        instance.stop()
    assert sorted(lost) == ["DELETE allocations", "DELETE demands", "POST agreements"]
    assert states(instance) == NORMAL_LIFE


def test_a_session_says_what_no_provider_of_a_local_network_offers(
    poor: FakeYagna, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_LOCAL_SUBNETS", "local")
    with Golem(1, subnet_tag="elsewhere"):
        pass
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warned == [
        "no provider of the local network can answer: the demand is in the subnet 'elsewhere'; "
        "the local providers offer in 'local'. To add it: simple-golem local run --subnet elsewhere"
    ]


def test_a_call_that_a_closing_drops_is_told(fake: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simple_golem.engine.session._WORKERS", 1)
    golem = Golem(1).open()
    assert golem._lifecycle.opened is not None
    session = golem._lifecycle.opened.session
    gate = Gate()
    first = InThread(session.on_worker, gate.wait)
    assert gate.reached.wait(SECONDS)
    dropped = InThread(session.on_worker, pytest.fail, "it has not begun, and must not begin")
    eventually(lambda: len(session.workers._queue) == 1)
    session.workers.close(0.0)
    late = InThread(session.on_worker, pytest.fail, "it is closed")
    gate.open()
    for call in (dropped, late):
        error = call.join().error
        assert isinstance(error, NotRunning)
        assert str(error) == "this Golem is being closed"
    assert first.join().error is None
    golem.close()


def test_a_closing_waits_for_a_call_that_no_worker_has_begun(fake: FakeYagna) -> None:
    """A worker may stand still between the two: what it makes then must be released."""
    golem = Golem(1).open()
    assert golem._lifecycle.opened is not None
    session = golem._lifecycle.opened.session
    gate, submit = Gate(), session.workers.submit

    def submit_late(work: Any, *args: Any) -> Any:
        return submit(lambda: (gate.wait(), work(*args))[1])

    session.workers.submit = submit_late  # type: ignore[method-assign]
    call = InThread(session.on_worker, list)
    assert gate.reached.wait(SECONDS)
    closing = EngineThread("closing", session._await_works, time.monotonic() + SECONDS).start()
    assert not closing.join(0.2)
    gate.open()
    assert closing.join(SECONDS)
    assert call.join().value == []
    golem.close()

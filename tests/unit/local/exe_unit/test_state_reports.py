"""What is told of an exe-unit's states, and what is not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from simple_golem.background.cancellation import wait_until
from simple_golem.local.exe_unit.state_reports import StatePair, StateReports

INITIALIZED, READY, BUSY, TERMINATED = (
    ("Initialized", None),
    ("Ready", None),
    ("Ready", "Ready"),
    ("Terminated", None),
)


class Told:
    """Collects what is told; can be made to hold up who tells it."""

    def __init__(self) -> None:
        self.states: list[StatePair] = []
        self.gate = threading.Event()
        self.gate.set()
        self.came = threading.Semaphore(0)

    def __call__(self, state: StatePair) -> None:
        self.states.append(state)
        self.came.release()
        assert self.gate.wait(20)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def reports(told: Told) -> Iterator[StateReports]:
    reports = StateReports("states", told)
    yield reports
    told.gate.set()
    assert reports.close(20)


def test_every_state_that_stays_is_told_in_order(reports: StateReports, told: Told) -> None:
    for state in (INITIALIZED, READY, TERMINATED):
        reports.add(state)
    assert reports.close(20)
    assert told.states == [INITIALIZED, READY, TERMINATED]


def test_short_states_of_a_command_are_not_reported(
    reports: StateReports, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than any machine keeps this loop waiting; the thread that reports waits for it all the while.
    monkeypatch.setattr("simple_golem.local.exe_unit.state_reports._SHORTEST_REPORTED_SECONDS", 3600.0)
    reports.add(READY)
    assert told.came.acquire(timeout=20)
    for _ in range(1000):
        reports.add(BUSY)
        reports.add(READY)
    reports.add(TERMINATED)
    assert reports.close(20)
    assert told.states == [READY, TERMINATED]


def test_a_state_that_lasts_is_reported_meanwhile(reports: StateReports, told: Told) -> None:
    for state in (READY, BUSY, READY):
        reports.add(state)
        assert told.came.acquire(timeout=20)
    assert told.states == [READY, BUSY, READY]


def test_a_slow_subscriber_gets_the_states_that_last(reports: StateReports, told: Told) -> None:
    told.gate.clear()
    reports.add(INITIALIZED)
    assert told.came.acquire(timeout=20)
    for state in (BUSY, READY, BUSY, TERMINATED):
        reports.add(state)
    told.gate.set()
    assert reports.close(20)
    assert told.states == [INITIALIZED, READY, TERMINATED]


def test_a_subscriber_that_does_not_read_gets_the_last_state_at_the_end(
    reports: StateReports, told: Told
) -> None:
    told.gate.clear()
    reports.add(INITIALIZED)
    assert told.came.acquire(timeout=20)
    reports.add(READY)
    reports.add(TERMINATED)
    assert not reports.close(0.05)
    told.gate.set()
    assert reports.close(20)
    assert told.states == [INITIALIZED, TERMINATED]


def test_a_slow_subscriber_gets_fewer_states(reports: StateReports, told: Told) -> None:
    """A telling that took 0.6 s: what lasts for six seconds would be told then, or for five at most."""
    told.gate.clear()
    reports.add(READY)
    assert told.came.acquire(timeout=20)
    threading.Event().wait(0.6)
    told.gate.set()
    assert _idle(reports)
    reports.add(BUSY)
    assert not told.came.acquire(timeout=1.0)
    reports.add(TERMINATED)
    assert reports.close(20)
    assert told.states == [READY, TERMINATED]


def _idle(reports: StateReports) -> bool:
    with reports._changed:
        return wait_until(reports._changed, lambda: not reports._working, 20)


def test_a_report_that_fails_is_logged_and_the_next_one_made(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[StatePair] = []

    failed = threading.Event()

    def fail_once(state: StatePair) -> None:
        heard.append(state)
        if len(heard) == 1:
            failed.set()
            raise ValueError("not now")

    reports = StateReports("states", fail_once)
    with caplog.at_level(logging.ERROR, "simple_golem.local"):
        reports.add(READY)
        assert failed.wait(20)
        while "was not reported" not in caplog.text:
            threading.Event().wait(0.01)
        reports.add(READY)
        reports.add(TERMINATED)
        assert reports.close(20)
    assert heard == [READY, READY, TERMINATED]
    assert "states: ('Ready', None) was not reported" in caplog.text

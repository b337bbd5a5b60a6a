"""A command that nothing is heard of for a minute is told, once."""

from __future__ import annotations

import logging

import pytest

from simple_golem import Golem, Run
from simple_golem.engine.activity import silence
from simple_golem.engine.activity.silence import Silence
from simple_golem.testing import FakeYagna
from tests.helpers.hand_time import HandTime, hand_time
from tests.helpers.recorded_services import InThread, gate_of, started
from tests.unit.conftest import eventually

COMMAND = Run("/bin/long")


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> HandTime:
    caplog.set_level(logging.INFO)
    return hand_time(monkeypatch, silence.__name__)


def test_a_minute_without_output_is_told_once(hand: HandTime, caplog: pytest.LogCaptureFixture) -> None:
    watcher = Silence("prov-1 (0x1)")
    for _ in range(4):
        watcher.watch(COMMAND, 0, 0)
        hand.now += 15
    assert caplog.records == []
    for _ in range(10):
        watcher.watch(COMMAND, 0, 0)
        hand.now += 15
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert "Run('/bin/long') is still under way on prov-1 (0x1), for 60 s now" in record.message
    assert "timeout=600" in record.message


def test_output_and_the_end_of_a_command_begin_the_minute_anew(
    hand: HandTime, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Silence("prov-1 (0x1)")
    for heard in range(1, 4):
        hand.now += 50
        watcher.watch(COMMAND, 0, heard)
    hand.now += 50
    watcher.watch(COMMAND, 1, 3)
    hand.now += 50
    watcher.watch(COMMAND, 1, 4)
    assert caplog.records == []
    hand.now += 60
    watcher.watch(COMMAND, 1, 4)
    (record,) = caplog.records
    assert "for 110 s now; nothing was heard of it for 60 s" in record.message


def test_an_instance_tells_of_its_command(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(silence, "_QUIET_SECONDS", 0.05)
    monkeypatch.setattr("simple_golem.engine.activity.activity._RESULT_POLL_SECONDS", 0.05)
    gate = gate_of(fake)

    def told() -> list[str]:
        return [text for one in caplog.records if "still under way" in (text := one.getMessage())]

    def polls() -> int:
        return sum(request.method == "GET" and "/exec/" in request.path for request in fake.requests)

    with Golem(1) as golem:
        instance = started(golem)
        outside = InThread(instance.execute, Run("/bin/gate"))
        eventually(told)
        before = polls()
        eventually(lambda: polls() > before + 3)
        gate.open()
        assert outside.join().error is None
    assert len(told()) == 1
    assert "/bin/gate" in told()[0]

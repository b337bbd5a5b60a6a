"""A daemon that is away is told of twice: when it has been away for some seconds, and when it is back."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from simple_golem.errors import NoDaemon
from simple_golem.yagna import absence
from simple_golem.yagna.absence import Absence


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged for all to see; the clock stands still at 0 until `at` moves it."""
    at(monkeypatch, 0.0)
    caplog.set_level(logging.WARNING)
    return caplog


def at(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(absence, "time", SimpleNamespace(monotonic=lambda: seconds))


def test_a_short_absence_is_not_told(told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Absence()
    for second in range(5):
        at(monkeypatch, second)
        away.failed("a", NoDaemon("nobody"))
    away.answered("a")
    assert told.records == []


def test_a_long_one_is_told_once_and_its_end_once_however_many_have_asked(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Absence()
    for second in range(60):
        at(monkeypatch, second)
        for reader in "abc":
            away.failed(reader, NoDaemon("nobody is there"))
    away.answered("a")
    away.asks_no_more("b")
    away.answered("c")
    away.answered("c")
    first, last = (record.getMessage() for record in told.records)
    assert first.startswith("the daemon has given no usable answer for 5 s")
    assert first.endswith(": nobody is there")
    assert last == "the daemon answers again, after 59 s"
    for second in range(60, 70):
        at(monkeypatch, second)
        away.failed("a", NoDaemon("nobody is there"))
    assert len(told.records) == 3


@pytest.mark.parametrize("last", ["answered", "asks_no_more"])
def test_a_second_absence_is_told_whoever_asked_in_the_first_one(
    told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    away = Absence()
    for second in range(10):
        at(monkeypatch, second)
        for reader in "ab":
            away.failed(reader, NoDaemon("nobody is there"))
    away.answered("a")
    getattr(away, last)("b")
    for second in range(20, 30):
        at(monkeypatch, second)
        away.failed("a", NoDaemon("nobody is there"))
    messages = [record.getMessage() for record in told.records]
    assert [one.startswith("the daemon has given no usable answer") for one in messages] == [
        True,
        False,
        True,
    ]
    assert messages[1] == "the daemon answers again, after 9 s"

"""The look at activities that have not answered: whose turn it is, and what becomes of the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.activity.health_check import HealthCheck
from simple_golem.errors import ActivityLost, NoDaemon, YagnaError
from simple_golem.yagna.values import ActivityStatus
from tests.unit.conftest import eventually

WELL = ActivityStatus("Ready", None)
SILENT = ActivityStatus("Unresponsive", None)
GONE = ActivityStatus("Terminated", None)
AWAY = YagnaError("GET", "/state", 408, "Timeout")


class FakeActivity:
    """Answers what the test says; each look takes the next answer, and the last one is repeated."""

    def __init__(self, *answers: ActivityStatus | Exception) -> None:
        self.activity_id = "abc"
        self.provider = "prov-1 (0x1)"
        self.last_answer = 0.0
        self.looks = 0
        self._answers = list(answers)

    def status(self, *_: object) -> ActivityStatus:
        self.looks += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Patient:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def seems_unresponsive(self) -> None:
        self.told.append("unresponsive")

    def seems_well(self) -> None:
        self.told.append("well")

    def lose(self, error: ActivityLost) -> None:
        self.told.append(str(error))


class Ward:
    """A health check that runs, and its patients."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.check = HealthCheck(scope, 0.01, 2)

    def watch(self, *answers: ActivityStatus | Exception) -> tuple[Any, Patient]:
        activity: Any = FakeActivity(*answers)
        patient = Patient()
        self.check.watch(activity, patient)
        return activity, patient


@pytest.fixture
def ward(scope: Scope) -> Iterator[Ward]:
    ward = Ward(scope)
    ward.check.start()
    yield ward
    scope.cancel("the test is over")
    assert ward.check.join(5) == []


def test_an_activity_that_answers_draws_no_word_and_is_known_to_have_answered(ward: Ward) -> None:
    began = time.monotonic()
    activity, patient = ward.watch(WELL)
    eventually(lambda: activity.looks >= 3)
    assert activity.last_answer > began
    assert patient.told == []


@pytest.mark.parametrize("miss", [SILENT, AWAY])
def test_one_that_misses_is_unresponsive_and_comes_back(ward: Ward, miss: ActivityStatus | Exception) -> None:
    _, patient = ward.watch(miss, miss, WELL)
    eventually(lambda: len(patient.told) == 2)
    assert patient.told == ["unresponsive", "well"]


def test_fewer_misses_than_that_are_forgotten(ward: Ward) -> None:
    activity, patient = ward.watch(SILENT, WELL, SILENT, WELL)
    eventually(lambda: activity.looks >= 6)
    assert patient.told == []


def test_one_that_misses_twice_as_often_is_gone(ward: Ward) -> None:
    activity, patient = ward.watch(SILENT)
    eventually(lambda: len(patient.told) >= 3)
    assert patient.told[:2] == ["unresponsive", "unresponsive"]
    assert patient.told[2] == (
        "the activity abc on prov-1 (0x1) is gone: its provider does not report its state any more"
    )
    ward.check.unwatch(activity)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (GONE, "its provider has ended it"),
        (ActivityStatus("Terminated", None, "execution aborted"), "execution aborted"),
        (ActivityStatus("Terminated", None, "execution aborted", "exit code 9"), "exit code 9"),
    ],
)
def test_one_that_has_ended_is_gone_at_once(ward: Ward, status: ActivityStatus, why: str) -> None:
    _, patient = ward.watch(WELL, status)
    eventually(lambda: patient.told)
    assert patient.told[0].endswith(f"is gone: {why}")


@pytest.mark.parametrize("error", [NoDaemon("it is away"), ScopeEnded("no time")])
def test_that_the_own_daemon_is_away_says_nothing_of_the_provider(ward: Ward, error: Exception) -> None:
    activity, patient = ward.watch(error)
    eventually(lambda: activity.looks >= 8)
    assert patient.told == []


def test_one_that_is_not_watched_any_more_is_told_nothing(scope: Scope) -> None:
    """Also where the answer comes after that."""
    asked, answered = threading.Event(), threading.Event()

    class Slow(FakeActivity):
        def status(self, *_: object) -> ActivityStatus:
            asked.set()
            assert answered.wait(5)
            return super().status()

    check = HealthCheck(scope, 0.01, 1)
    activities: list[Any] = [Slow(SILENT), Slow(GONE)]
    patients = [Patient(), Patient()]
    for activity, patient in zip(activities, patients, strict=True):
        check.watch(activity, patient)
    check.start()
    assert asked.wait(5)
    for activity in activities:
        check.unwatch(activity)
    answered.set()
    eventually(lambda: all(one.looks for one in activities))
    scope.cancel("the test is over")
    assert check.join(5) == []
    assert [one.told for one in patients] == [[], []]


def test_one_that_has_just_answered_something_else_is_not_asked(ward: Ward) -> None:
    busy, _ = ward.watch(WELL)
    busy.last_answer = time.monotonic() + 3600
    idle, _ = ward.watch(WELL)
    eventually(lambda: idle.looks >= 5)
    assert busy.looks <= 1


def test_more_than_fifty_are_asked_a_third_as_often(scope: Scope) -> None:
    waits: list[float] = []

    class Watched(Scope):
        def wait(self, seconds: float | None = None) -> bool:
            waits.append(seconds or 0.0)
            return super().wait(0.001)

    stop = Watched()
    check = HealthCheck(stop, 0.2, 2)
    for number in range(51):
        if number == 50:
            check.start()
            eventually(lambda: waits)
            assert set(waits) == {0.2}
        check.watch(FakeActivity(WELL), Patient())  # type: ignore[arg-type]
    eventually(lambda: waits[-1] == pytest.approx(0.6))
    stop.cancel("the test is over")
    assert check.join(5) == []

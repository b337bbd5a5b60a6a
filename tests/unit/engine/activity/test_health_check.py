"""The look at activities that have not answered: whose turn it is, and what becomes of the answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.activity.activity import Activity
from simple_golem.engine.activity.health_check import HealthCheck
from simple_golem.errors import ActivityLost, NoDaemon, YagnaError
from simple_golem.yagna.values import ActivityStatus
from tests.unit.conftest import eventually

WELL = ActivityStatus("Ready", None)
SILENT = ActivityStatus("Unresponsive", None)
GONE = ActivityStatus("Terminated", None)
AWAY = YagnaError("GET", "/state", 408, "Timeout")


class FakeActivity(Activity):
    """Answers what the test says; each look takes the next answer, and the last one is repeated."""

    def __init__(self, *answers: ActivityStatus | Exception) -> None:
        no_daemon: Any = None
        super().__init__(no_daemon, "abc", "prov-1 (0x1)")
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
        self.times: list[tuple[float, float]] = []

    def seems_unresponsive(self, silent: float, left: float) -> None:
        self.told.append("unresponsive")
        self.times.append((silent, left))

    def seems_well(self) -> None:
        self.told.append("well")

    def lose(self, error: ActivityLost) -> None:
        self.told.append(str(error))


class Ward:
    """A health check that runs, and its patients."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.check = HealthCheck(scope, 0.01, 2)

    def watch(
        self, *answers: ActivityStatus | Exception, last_answer: float = 0.0
    ) -> tuple[FakeActivity, Patient]:
        activity = FakeActivity(*answers)
        activity.last_answer = last_answer
        patient = Patient()
        self.check.watch(activity, patient)
        return activity, patient


@pytest.fixture
def ward(scope: Scope) -> Iterator[Ward]:
    ward = Ward(scope)
    ward.check.start()
    yield ward
    scope.cancel("the test is over")
    assert ward.check.join(20) == []


def test_an_activity_that_answers_is_not_reported(ward: Ward) -> None:
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
        "the activity abc on prov-1 (0x1) does not answer any more: its provider does not report its state "
        "any more"
    )
    # Two of four looks are left at the first word of it, and each comes an interval later.
    assert [left for _, left in patient.times[:2]] == pytest.approx([0.02, 0.01])
    assert patient.times[1][0] > patient.times[0][0] > 0
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
            assert answered.wait(20)
            return super().status()

    check = HealthCheck(scope, 0.01, 1)
    activities = [Slow(SILENT), Slow(GONE)]
    patients = [Patient(), Patient()]
    for activity, patient in zip(activities, patients, strict=True):
        check.watch(activity, patient)
    check.start()
    assert asked.wait(20)
    for activity in activities:
        check.unwatch(activity)
    answered.set()
    eventually(lambda: all(one.looks for one in activities))
    scope.cancel("the test is over")
    assert check.join(20) == []
    assert [one.told for one in patients] == [[], []]


def test_one_that_has_just_answered_something_else_is_not_asked(ward: Ward) -> None:
    busy, _ = ward.watch(WELL, last_answer=time.monotonic() + 3600)
    idle, _ = ward.watch(WELL)
    eventually(lambda: idle.looks >= 5)
    assert busy.looks == 0


class Noting(FakeActivity):
    """Notes when it is asked, and how long after its last answer that is."""

    def __init__(self, *answers: ActivityStatus | Exception) -> None:
        super().__init__(*answers)
        self.last_answer = time.monotonic()
        self.pauses: list[float] = []

    def status(self, *_: object) -> ActivityStatus:
        self.pauses.append(time.monotonic() - self.last_answer)
        return super().status()


@pytest.fixture
def many(scope: Scope) -> Iterator[Callable[[int], tuple[HealthCheck, list[Noting]]]]:
    """Makes a health check, every 20 ms, of so many activities that are well."""
    checks: list[HealthCheck] = []

    def make(number: int) -> tuple[HealthCheck, list[Noting]]:
        check = HealthCheck(scope, 0.02, 2)
        checks.append(check)
        activities = [Noting(WELL) for _ in range(number)]
        for activity in activities:
            check.watch(activity, Patient())
        check.start()
        return check, activities

    yield make
    scope.cancel("the test is over")
    assert [check.join(20) for check in checks] == [[]]


def test_fifty_are_asked_at_each_interval(many: Callable[[int], Any]) -> None:
    _, activities = many(50)
    eventually(lambda: all(len(one.pauses) >= 5 for one in activities))
    assert min(min(one.pauses) for one in activities) < 5.5 * 0.02


def test_more_than_fifty_are_asked_a_sixth_as_often(many: Callable[[int], Any]) -> None:
    _, activities = many(51)
    eventually(lambda: all(len(one.pauses) >= 2 for one in activities))
    assert min(min(one.pauses) for one in activities) >= 5.5 * 0.02


def test_of_more_than_fifty_one_that_misses_is_asked_at_each_interval(many: Callable[[int], Any]) -> None:
    """So it is given up as fast as one of a few."""
    check, _ = many(51)
    silent, patient = Noting(SILENT), Patient()
    check.watch(silent, patient)
    eventually(lambda: len(silent.pauses) >= 4)
    assert min(b - a for a, b in itertools.pairwise(silent.pauses)) < 5.5 * 0.02
    eventually(lambda: len(patient.told) >= 3)
    check.unwatch(silent)


def test_an_activity_is_not_asked_again_before_it_has_answered(ward: Ward) -> None:
    answered = threading.Event()

    class Slow(FakeActivity):
        def status(self, *_: object) -> ActivityStatus:
            status = super().status()
            assert answered.wait(20)
            return status

    slow, patient = Slow(SILENT), Patient()
    ward.check.watch(slow, patient)
    other, _ = ward.watch(WELL)
    eventually(lambda: other.looks >= 5)
    assert slow.looks == 1
    ward.check.unwatch(slow)
    answered.set()

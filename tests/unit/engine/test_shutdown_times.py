"""How long the parts of an end may take: design's table, line by line."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from simple_golem.engine.payment.budget import RESERVE_SECONDS
from simple_golem.engine.shutdown_times import ShutdownPart, ShutdownTimes, earliest, expiration_reserve
from tests.helpers.hand_time import HandTime, hand_time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> HandTime:
    """The time that shutdown times see."""
    return hand_time(monkeypatch, "simple_golem.engine.shutdown_times")


def left(ending: ShutdownTimes, part: ShutdownPart, clock: HandTime) -> float:
    return ending.limit(part) - clock.now


@pytest.mark.parametrize(
    ("ending_now", "seconds"),
    [
        (ShutdownTimes.ordinary, (10.0, 5.0, 30.0, 10.0, 15.0)),
        (lambda: ShutdownTimes.ordinary(stop_grace=3.0), (3.0, 5.0, 30.0, 10.0, 15.0)),
        (lambda: ShutdownTimes.by_provider(is_gone=False), (1.0, 1.0, 5.0, 10.0, 15.0)),
        (lambda: ShutdownTimes.by_provider(is_gone=True), (0.0, 1.0, 5.0, 3.0, 15.0)),
        (ShutdownTimes.interrupted, (1.0, 1.0, 2.0, 3.5, 4.5)),
        (ShutdownTimes.aborted, (0.0, 0.0, 0.0, 1.5, 0.0)),
    ],
    ids=["ordinary", "with a grace", "by provider", "provider gone", "interrupted", "aborted"],
)
def test_each_end_has_its_times(
    clock: HandTime, ending_now: Callable[[], ShutdownTimes], seconds: tuple[float, ...]
) -> None:
    ending = ending_now()
    assert ending.begun == clock.now
    assert [left(ending, part, clock) for part in ShutdownPart] == pytest.approx(list(seconds))


def test_the_end_of_a_budget_is_over_before_what_was_kept_back_of_it_is(clock: HandTime) -> None:
    ending = ShutdownTimes.out_of_budget(stop_grace=10.0)
    assert [left(ending, part, clock) for part in ShutdownPart] == pytest.approx([4.0, 2.0, 8.0, 10.0, 12.0])
    hasty = ShutdownTimes.out_of_budget(stop_grace=3.0)
    assert left(hasty, ShutdownPart.BATCH, clock) == pytest.approx(3.0)
    assert ending.last_moment - ending.begun < RESERVE_SECONDS - 2


def test_only_what_a_signal_decided_is_hurried() -> None:
    slow = [ShutdownTimes.ordinary(), ShutdownTimes.by_provider(is_gone=True)]
    quick = [ShutdownTimes.interrupted(), ShutdownTimes.aborted()]
    assert [ending.is_shortened for ending in slow + quick] == [False, False, True, True]


def test_an_ordinary_part_is_counted_from_its_beginning(clock: HandTime) -> None:
    ending = ShutdownTimes.ordinary()
    first = ending.limit(ShutdownPart.SHUTDOWN)
    clock.now += 0.5
    assert ending.limit(ShutdownPart.SHUTDOWN) == first + 0.5


def test_a_hurried_part_is_counted_from_the_signal(clock: HandTime) -> None:
    ending = ShutdownTimes.interrupted()
    first = ending.limit(ShutdownPart.SHUTDOWN)
    clock.now += 0.5
    assert ending.limit(ShutdownPart.SHUTDOWN) == first == ending.begun + 2.0


def test_a_timeout_cuts_the_whole_and_keeps_time_for_the_release(clock: HandTime) -> None:
    ending = ShutdownTimes.ordinary(timeout=4.0)
    for part in (ShutdownPart.BATCH, ShutdownPart.METHOD, ShutdownPart.SHUTDOWN):
        assert left(ending, part, clock) == pytest.approx(2.5)
    for part in (ShutdownPart.RELEASE, ShutdownPart.INVOICES):
        assert left(ending, part, clock) == pytest.approx(4.0)


def test_a_long_timeout_cuts_nothing(clock: HandTime) -> None:
    assert left(ShutdownTimes.ordinary(timeout=1000.0), ShutdownPart.BATCH, clock) == pytest.approx(10.0)


def test_the_earliest_of_several_endings_decides() -> None:
    endings = [ShutdownTimes.ordinary(), ShutdownTimes.interrupted()]
    assert earliest(endings, ShutdownPart.SHUTDOWN) == endings[1].begun + 2.0
    assert earliest([], ShutdownPart.SHUTDOWN) == math.inf


@pytest.mark.parametrize(
    ("seconds", "has_shutdown", "reserve"),
    [
        (20.0, False, 2.0),
        (20.0, True, 2.0),
        (900.0, False, 5.0),
        (900.0, True, 43.0),
        (10800.0, False, 5.0),
        (10800.0, True, 43.0),
    ],
)
def test_little_of_the_time_before_an_expiration_is_kept_for_the_end(
    seconds: float, has_shutdown: bool, reserve: float
) -> None:
    assert expiration_reserve(seconds, 13.0, has_shutdown) == pytest.approx(reserve)

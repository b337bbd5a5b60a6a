"""How long the first offers are collected before the first choice."""

from __future__ import annotations

import pytest

from simple_golem.engine.market import demand as market
from simple_golem.engine.market.demand import Collecting

QUIET = 0.05


class Time:
    """The monotonic clock, at a test's command."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(market, "time", time)
    return time


def test_nothing_is_waited_for_before_the_first_offer(time: Time) -> None:
    assert Collecting(1.0).left() == 0.0


def test_an_offer_without_an_answer_is_waited_for(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("p1")
    assert collecting.left() == 1.0
    time.now += 0.9
    assert collecting.left() == pytest.approx(0.1)
    time.now += 0.2
    assert collecting.left() == 0.0


def test_the_time_counts_from_the_first_offer(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("p1")
    time.now += 0.6
    collecting.offered("p2")
    assert collecting.left() == pytest.approx(0.4)


def test_it_is_over_when_all_have_answered_and_no_more_offers_come(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("p1")
    collecting.offered("p2")
    collecting.answered("p1")
    assert collecting.left() == 1.0
    collecting.answered("p2")
    assert collecting.left() == pytest.approx(QUIET)
    time.now += QUIET
    assert collecting.left() == 0.0


def test_who_has_more_time_waits_longer_for_another_offer(time: Time) -> None:
    collecting = Collecting(10.0)
    collecting.offered("p1")
    collecting.answered("p1")
    assert collecting.left() == pytest.approx(0.5)


def test_an_offer_right_after_the_answers_is_waited_for(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("p1")
    collecting.answered("p1")
    time.now += QUIET / 2
    collecting.offered("p2")
    assert collecting.left() == pytest.approx(1 - QUIET / 2)


def test_once_over_it_is_over_for_good(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("p1")
    collecting.answered("p1")
    time.now += 1
    assert collecting.left() == 0.0
    collecting.offered("p2")
    assert collecting.left() == 0.0


def test_who_rejects_the_answer_is_not_waited_for(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("p1")
    collecting.countered("p1", "R-1")
    assert collecting.left() == 1.0
    collecting.rejected("R-1")
    assert collecting.left() == pytest.approx(QUIET)


def test_a_rejection_that_is_heard_of_before_the_answer_was_sent_off_counts(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("p1")
    collecting.rejected("R-1")
    assert collecting.left() == 1.0
    collecting.countered("p1", "R-1")
    assert collecting.left() == pytest.approx(QUIET)


def test_with_no_time_for_collecting_the_first_is_taken(time: Time) -> None:
    collecting = Collecting(0.0)
    collecting.offered("p1")
    assert collecting.left() == 0.0


def test_who_is_worth_less_than_the_best_answer_is_not_waited_for(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("dear")
    collecting.offered("cheap")
    assert collecting.left(best=5.0) == 1.0, "nobody knows yet what they are worth"
    collecting.asked("dear", 2.0)
    collecting.asked("cheap", 9.0)
    assert collecting.left(best=5.0) == 1.0
    assert collecting.left(best=9.0) == pytest.approx(QUIET)


def test_those_who_let_the_time_pass_are_not_counted_upon(time: Time) -> None:
    collecting = Collecting(1.0)
    collecting.offered("silent")
    collecting.asked("silent", 9.0)
    assert collecting.awaited() == [9.0]
    time.now += 1.0
    assert collecting.awaited() == []
    # Who is asked later has as long.
    collecting.asked("late", 3.0)
    assert collecting.awaited() == [3.0]
    time.now += 1.0
    assert collecting.awaited() == []

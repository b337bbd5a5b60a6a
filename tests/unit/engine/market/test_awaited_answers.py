"""How long the first choice waits for answers, and whose answers are relied on."""

from __future__ import annotations

import pytest

from simple_golem.engine.market.awaited_answers import AwaitedAnswers

QUIET = 0.05


class Clock:
    """A clock that stands still until a test moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_waited_for_before_the_first_offer(clock: Clock) -> None:
    assert AwaitedAnswers(1.0, clock).seconds_to_first_choice() == 0.0


def test_an_offer_without_an_answer_is_waited_for(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("p1")
    assert answers.seconds_to_first_choice() == 1.0
    clock.now += 0.9
    assert answers.seconds_to_first_choice() == pytest.approx(0.1)
    clock.now += 0.2
    assert answers.seconds_to_first_choice() == 0.0


def test_the_time_counts_from_the_first_offer(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("p1")
    clock.now += 0.6
    answers.offer_received("p2")
    assert answers.seconds_to_first_choice() == pytest.approx(0.4)


def test_it_is_over_when_all_have_answered_and_no_more_offers_come(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("p1")
    answers.offer_received("p2")
    answers.settled("p1")
    assert answers.seconds_to_first_choice() == 1.0
    answers.settled("p2")
    assert answers.seconds_to_first_choice() == pytest.approx(QUIET)
    clock.now += QUIET
    assert answers.seconds_to_first_choice() == 0.0


def test_a_longer_collecting_time_waits_longer_for_another_offer(clock: Clock) -> None:
    answers = AwaitedAnswers(10.0, clock)
    answers.offer_received("p1")
    answers.settled("p1")
    assert answers.seconds_to_first_choice() == pytest.approx(0.5)


def test_an_offer_right_after_the_answers_is_waited_for(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("p1")
    answers.settled("p1")
    clock.now += QUIET / 2
    answers.offer_received("p2")
    assert answers.seconds_to_first_choice() == pytest.approx(1 - QUIET / 2)


def test_a_finished_search_stays_finished(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("p1")
    answers.settled("p1")
    clock.now += 1
    assert answers.seconds_to_first_choice() == 0.0
    answers.offer_received("p2")
    assert answers.seconds_to_first_choice() == 0.0


def test_a_provider_that_rejects_the_answer_is_not_waited_for(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("p1")
    answers.countered("p1", "R-1")
    assert answers.seconds_to_first_choice() == 1.0
    answers.counter_rejected("R-1")
    assert answers.seconds_to_first_choice() == pytest.approx(QUIET)


def test_a_rejection_that_is_heard_of_before_the_answer_was_sent_off_counts(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("p1")
    answers.counter_rejected("R-1")
    assert answers.seconds_to_first_choice() == 1.0
    answers.countered("p1", "R-1")
    assert answers.seconds_to_first_choice() == pytest.approx(QUIET)


def test_with_no_time_for_collecting_the_first_is_taken(clock: Clock) -> None:
    answers = AwaitedAnswers(0.0, clock)
    answers.offer_received("p1")
    assert answers.seconds_to_first_choice() == 0.0


def test_a_provider_with_a_lower_score_than_the_best_answer_is_not_waited_for(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("dear")
    answers.offer_received("cheap")
    assert answers.seconds_to_first_choice(best=5.0) == 1.0, "nobody knows yet what they are worth"
    answers.countering("dear", 2.0)
    answers.countering("cheap", 9.0)
    assert answers.seconds_to_first_choice(best=5.0) == 1.0
    assert answers.seconds_to_first_choice(best=9.0) == pytest.approx(QUIET)


def test_providers_that_do_not_answer_in_time_do_not_count(clock: Clock) -> None:
    answers = AwaitedAnswers(1.0, clock)
    answers.offer_received("silent")
    answers.countering("silent", 9.0)
    assert answers.expected() == [9.0]
    clock.now += 1.0
    assert answers.expected() == []
    # Who is asked later has as long.
    answers.countering("late", 3.0)
    assert answers.expected() == [3.0]
    clock.now += 1.0
    assert answers.expected() == []

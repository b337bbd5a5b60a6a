"""When a demand is published anew: only after a loss, and with growing pauses."""

from __future__ import annotations

import pytest

from simple_golem.engine.market.renewal import Renewal


class Clock:
    """A clock that stands still until a test moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def renewal(clock: Clock) -> Renewal:
    return Renewal(clock)


def pause_of(renewal: Renewal, clock: Clock) -> float:
    """Lose a proposal, and return the pause until the renewal, which is begun."""
    renewal.proposal_lost()
    pause = renewal.seconds_left()
    assert pause is not None
    clock.now += pause
    assert renewal.begin()
    return pause


def test_without_a_loss_there_is_no_renewal(renewal: Renewal, clock: Clock) -> None:
    clock.now += 10_000
    assert renewal.seconds_left() is None
    assert not renewal.begin()


def test_a_renewal_begins_once_and_not_before_its_time(renewal: Renewal, clock: Clock) -> None:
    renewal.proposal_lost()
    clock.now += 0.3
    renewal.proposal_lost()
    assert renewal.seconds_left() == pytest.approx(0.2)
    assert not renewal.begin()
    clock.now += 0.3
    assert renewal.seconds_left() == 0.0
    assert [renewal.begin(), renewal.begin()] == [True, False]
    assert renewal.seconds_left() is None


def test_what_was_lost_before_a_publication_renews_nothing(renewal: Renewal, clock: Clock) -> None:
    renewal.proposal_lost()
    renewal.published()
    assert renewal.seconds_left() is None
    assert not renewal.begin()
    renewal.proposal_lost()
    assert renewal.seconds_left() is not None


def test_the_pauses_grow_until_an_agreement_is_made(renewal: Renewal, clock: Clock) -> None:
    pauses = [pause_of(renewal, clock) for _ in range(12)]
    assert pauses[:4] == pytest.approx([0.5, 1, 2, 4])
    assert pauses[-1] == 300
    renewal.agreed()
    assert pause_of(renewal, clock) == pytest.approx(0.5)

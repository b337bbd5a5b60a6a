"""The record of a life: whatever threads decide at the same time, its lock makes one story of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.engine.life.life_state import LifeState, Loss, LossKind
from simple_golem.engine.life.outcome import LifeAbandoned
from simple_golem.engine.shutdown_times import ShutdownPart, ShutdownTimes
from simple_golem.errors import ActivityLost, NotRunning
from tests.helpers.hand_time import HandTime, hand_time
from tests.helpers.hand_timer import HandTimer

AT_ONCE = ShutdownTimes(dict.fromkeys(ShutdownPart, 0.0))
IN_TIME = ShutdownTimes.ordinary()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> HandTime:
    """The time that a life, its endings and its timer see."""
    engine = "simple_golem.engine"
    modules = (f"{engine}.life.shutdown_alarm", f"{engine}.shutdown_times", "tests.helpers.hand_timer")
    return hand_time(monkeypatch, *modules, "simple_golem.background.timer")


@pytest.fixture
def timer() -> HandTimer:
    return HandTimer()


@pytest.fixture
def stuck() -> list[str]:
    """What was told of a method that did not return."""
    return []


@pytest.fixture
def instance_scope() -> Scope:
    return Scope()


@pytest.fixture
def life(timer: HandTimer, stuck: list[str], instance_scope: Scope) -> Iterator[LifeState]:
    life = LifeState(
        timer,
        instance_scope,
        Scope(),
        lambda part, ident: stuck.append(f"{part.name} {ident == threading.get_ident()}"),
    )
    yield life
    life.close()


# --- the first cause ---------------------------------------------------------------------------------


def test_the_first_cause_is_the_one_that_is_reported(life: LifeState) -> None:
    first, second = ActivityLost("first"), ActivityLost("second")
    life.lose(LossKind.AGREEMENT_ENDED, first)
    life.lose(LossKind.ACTIVITY_GONE, second)
    assert life.loss == Loss(LossKind.AGREEMENT_ENDED, first)
    assert life.stop.reason == "first"


def test_a_later_cause_takes_effect_all_the_same(life: LifeState) -> None:
    life.lose(LossKind.AGREEMENT_ENDED, ActivityLost("the agreement"))
    assert not life.batches.cancelled
    assert not life.activity_gone
    life.lose(LossKind.ACTIVITY_GONE, ActivityLost("the activity"))
    assert life.batches.cancelled
    assert life.shutting_down.cancelled
    assert life.activity_gone


@pytest.mark.parametrize(
    "order", list(permutations(LossKind)), ids=lambda order: "-".join(k.name for k in order)
)
def test_the_first_cause_of_a_loss_wins(life: LifeState, order: tuple[LossKind, ...]) -> None:
    for kind in order:
        life.lose(kind, ActivityLost(kind.name))
    assert life.loss is not None
    assert life.loss.kind is order[0]
    assert str(life.loss.error) == order[0].name


def test_one_of_the_causes_from_many_threads_wins(timer: HandTimer) -> None:
    errors = [ActivityLost(str(number)) for number in range(16)]
    for _ in range(50):
        life = LifeState(timer, Scope(), Scope(), lambda *late: None)
        together = threading.Barrier(len(errors))

        def lose(
            error: ActivityLost, life: LifeState = life, together: threading.Barrier = together
        ) -> Loss | None:
            together.wait(10)
            life.lose(LossKind.ACTIVITY_GONE, error)
            return life.loss

        with ThreadPoolExecutor(len(errors)) as pool:
            seen = set(pool.map(lose, errors))
        life.close()
        assert len(seen) == 1
        assert seen == {life.loss}


def test_nothing_is_lost_once_the_release_has_begun(life: LifeState) -> None:
    life.conclude()
    life.lose(LossKind.ACTIVITY_GONE, ActivityLost("too late"))
    assert life.loss is None
    assert life.stop.reason == "the life is over"


# --- stop and suspend --------------------------------------------------------------------------------


def test_an_end_cancels_the_stop_and_lets_batches_go_on(life: LifeState) -> None:
    life.end(IN_TIME, "stop() was called")
    assert life.is_ending
    assert life.stop.reason == "stop() was called"
    assert not life.batches.cancelled


def test_an_end_of_the_instance_is_one_of_the_life(life: LifeState, instance_scope: Scope) -> None:
    instance_scope.cancel("the Golem is being closed")
    assert life.stop.reason == "the Golem is being closed"


def test_a_signal_ends_a_suspending_life_whatever_came_first(life: LifeState) -> None:
    life.suspend(IN_TIME)
    assert life.is_suspending
    life.end(IN_TIME, "stop() was called")
    assert life.is_suspending
    life.end(ShutdownTimes.interrupted(), "Ctrl-C")
    assert not life.is_suspending
    life.suspend(IN_TIME)
    assert not life.is_suspending


# --- parts and their alarms ---------------------------------------------------------------------------


def test_a_batch_that_outlasts_its_grace_is_cut_short(life: LifeState, timer: HandTimer) -> None:
    with life.in_part(ShutdownPart.BATCH):
        life.end(AT_ONCE, "stop")
        timer.ring_due()
        assert life.batches.reason == "its grace is over"
    assert life.cut_short
    assert not life.has_left_behind


def test_a_batch_that_ended_in_time_was_not_cut_short(life: LifeState, timer: HandTimer) -> None:
    with life.in_part(ShutdownPart.BATCH):
        life.end(AT_ONCE, "stop")
    timer.ring_all()
    assert not life.cut_short
    assert not life.batches.cancelled


def test_a_method_that_does_not_return_is_left_behind(
    life: LifeState, timer: HandTimer, stuck: list[str]
) -> None:
    def method() -> None:
        with life.in_part(ShutdownPart.METHOD):
            life.end(AT_ONCE, "stop")
            timer.ring_due()
            assert life.has_left_behind
            assert not life.is_current
            timer.ring_all()
            assert stuck == ["METHOD True"]

    life.take_thread()
    with pytest.raises(LifeAbandoned):
        method()
    with pytest.raises(LifeAbandoned), life.in_part(ShutdownPart.BATCH):
        raise AssertionError("never entered")


def test_the_life_goes_on_with_another_thread(life: LifeState, timer: HandTimer, stuck: list[str]) -> None:
    """The late one can't disturb it."""
    parts: list[str] = []

    def go_on() -> None:
        life.take_thread()
        with life.in_part(ShutdownPart.SHUTDOWN):
            parts.append("shutdown()")
        assert life.is_current
        assert not life.has_left_behind

    def method() -> None:
        with life.in_part(ShutdownPart.METHOD):
            life.end(AT_ONCE, "stop")
            timer.ring_due()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(go_on).result()

    life.take_thread()
    with pytest.raises(LifeAbandoned):
        method()
    assert parts == ["shutdown()"]
    assert life.has_left_behind


def test_after_a_batch_that_was_cut_a_method_has_time_to_return(
    life: LifeState, timer: HandTimer, stuck: list[str]
) -> None:
    with life.in_part(ShutdownPart.METHOD):
        with life.in_part(ShutdownPart.BATCH):
            life.end(AT_ONCE, "stop")
            timer.ring_due()
        timer.ring_due()
        assert not life.has_left_behind
    assert stuck == []


def test_a_shutdown_that_takes_too_long_is_cut_and_then_left_behind(
    life: LifeState, timer: HandTimer, stuck: list[str]
) -> None:
    def shutdown() -> None:
        with life.in_part(ShutdownPart.SHUTDOWN):
            timer.ring_due()
            assert life.shutting_down.reason == "the time for shutdown() is over"
            assert not life.has_left_behind
            timer.ring_all()
            assert life.has_left_behind

    life.take_thread()
    life.end(AT_ONCE, "stop")
    with pytest.raises(LifeAbandoned):
        shutdown()
    assert stuck == ["SHUTDOWN True"]


def test_a_shutdown_that_returns_after_it_was_cut_is_not_left_behind(
    life: LifeState, timer: HandTimer, stuck: list[str]
) -> None:
    life.end(AT_ONCE, "stop")
    with life.in_part(ShutdownPart.SHUTDOWN):
        timer.ring_due()
    timer.ring_all()
    assert stuck == []


def test_a_release_gives_the_activity_up_before_the_agreement(life: LifeState, timer: HandTimer) -> None:
    life.end(AT_ONCE, "stop")
    life.conclude()
    timer.ring_due()
    assert life.destroying.cancelled
    assert not life.releasing.cancelled
    timer.ring_all()
    assert life.releasing.cancelled


def test_a_life_that_is_closed_rings_no_more(
    life: LifeState, timer: HandTimer, instance_scope: Scope
) -> None:
    life.end(AT_ONCE, "stop")
    life.conclude()
    life.close()
    timer.ring_all()
    assert not life.destroying.cancelled
    assert life.concluded


def test_a_life_without_an_ending_is_released_in_the_ordinary_times(life: LifeState) -> None:
    until = life.conclude()
    assert until == ShutdownTimes.ordinary().limit(ShutdownPart.RELEASE)


# --- small things --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [LifeState.require_agreement, LifeState.require_activity])
def test_reading_what_a_life_does_not_have_yet_is_an_error(
    life: LifeState, what: Callable[[LifeState], object]
) -> None:
    with pytest.raises(NotRunning, match="yet"):
        what(life)


def test_only_the_thread_of_the_life_is_the_current_one(life: LifeState) -> None:
    assert not life.is_current
    life.take_thread()
    assert life.is_current
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(lambda: life.is_current).result()

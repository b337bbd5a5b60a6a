"""What a provider does by itself changes the life or the state of its instance."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.engine.life.life_state import LifeState, LossKind
from simple_golem.engine.life.provider_watch import ProviderWatch
from simple_golem.errors import ActivityLost, Overcharged
from simple_golem.model.events import Event
from simple_golem.model.service.states import ServiceState
from tests.helpers.hand_timer import HandTimer


class Bench:
    """A watch whose session works at once, and whose provider answers what the test says."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.release = Scope()
        self.life = LifeState(HandTimer(), Scope(), self.release, lambda: None)
        self.instance: Any = SimpleNamespace(name="Service-1", state=ServiceState.running)
        self.instance.enter = lambda state: setattr(self.instance, "state", state)
        workers = SimpleNamespace(post=lambda work, *args: work(*args))
        session: Any = SimpleNamespace(workers=workers, emit=self.events.append)
        self.watch = ProviderWatch(session, self.life, self.instance)

    def has(self, agreement: bool = True, activity_answers: bool | None = None) -> None:
        life: Any = self.life
        life.agreement = SimpleNamespace(agreement_id="a1") if agreement else None
        life.activity = SimpleNamespace(alive=lambda scope: scope.check() or activity_answers)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.life.close()


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (True, LossKind.AGREEMENT_ENDED),
        (False, LossKind.ACTIVITY_GONE),
        (None, LossKind.ACTIVITY_GONE),
    ],
)
def test_whether_the_activity_answers_decides_what_the_end_of_an_agreement_is(
    bench: Bench, answers: bool | None, kind: LossKind
) -> None:
    bench.has(activity_answers=answers)
    bench.watch.agreement_ended("I need it myself")
    assert bench.life.loss is not None
    assert bench.life.loss.kind is kind
    assert type(bench.life.loss.error) is ActivityLost
    assert "I need it myself" in str(bench.life.loss.error)
    assert len(bench.events) == 1


def test_an_agreement_that_ends_with_its_life_is_no_loss(bench: Bench) -> None:
    bench.has(activity_answers=True)
    bench.life.conclude()
    bench.watch.agreement_ended("as asked")
    assert bench.life.loss is None
    assert bench.events == []


def test_an_end_of_the_session_ends_the_question(bench: Bench) -> None:
    bench.has(activity_answers=True)
    bench.release.cancel("no time left")
    bench.watch.agreement_ended("whatever")
    assert bench.life.loss is None


def test_before_there_is_an_agreement_none_can_end(bench: Bench) -> None:
    bench.has(agreement=False)
    bench.watch.agreement_ended("whatever")
    assert bench.life.loss is None


def test_what_is_too_dear_and_what_is_gone_end_the_life(bench: Bench) -> None:
    error = Overcharged("too much")
    bench.watch.overcharged(error)
    bench.watch.lose(ActivityLost("and gone"))
    assert bench.life.loss is not None
    assert (bench.life.loss.kind, bench.life.loss.error) == (LossKind.OVERCHARGED, error)
    assert bench.life.activity_gone


def test_a_silent_provider_makes_a_running_instance_unresponsive_until_it_answers(bench: Bench) -> None:
    bench.watch.seems_unresponsive()
    assert bench.instance.state is ServiceState.unresponsive
    bench.watch.seems_well()
    assert bench.instance.state is ServiceState.running
    bench.instance.state = ServiceState.stopping
    bench.watch.seems_unresponsive()
    bench.watch.seems_well()
    assert bench.instance.state is ServiceState.stopping

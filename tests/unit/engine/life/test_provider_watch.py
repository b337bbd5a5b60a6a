"""What a provider does by itself changes the life or the state of its instance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem import Run
from simple_golem.background.cancellation import Scope
from simple_golem.engine.activity.vitality import Vitality
from simple_golem.engine.life.life_state import LifeState, LossKind
from simple_golem.engine.life.provider_watch import ProviderWatch
from simple_golem.errors import ActivityLost, BatchLost, GolemError, NoDaemon, Overcharged
from simple_golem.model.commands.failure import command_failed
from simple_golem.model.commands.results import Result
from simple_golem.model.events.event import Event
from simple_golem.model.service.states import ServiceState
from simple_golem.yagna.values import AgreementState
from tests.helpers.hand_timer import HandTimer

# With these words a real exe-unit fails the command that runs while it is shut down.
SHUT_DOWN = (
    "Local service error: State error: Unexpected state: StatePair(Ready, Some(Terminated)), "
    "expected StatePair(Ready, Some(Ready))"
)


class Bench:
    """A watch whose session works at once, and whose daemon answers what the test says.

    Attributes:
        questions: what the daemon was asked.
        agreement: the state that the daemon tells, or an error.
        vitality: what it tells of the activity.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.questions: list[str] = []
        self.agreement: AgreementState | Exception = AgreementState.APPROVED
        self.vitality = Vitality.ALIVE
        self.release = Scope()
        self.life = LifeState(HandTimer(), Scope(), self.release, lambda *late: None)
        self.instance: Any = SimpleNamespace(name="Service-1", state=ServiceState.running)
        self.instance.enter = lambda state: setattr(self.instance, "state", state)
        workers = SimpleNamespace(post=lambda work, *args: work(*args))
        market = SimpleNamespace(agreement=self._agreement, terminate_reason=self._reason)
        session: Any = SimpleNamespace(
            workers=workers, emit=self.events.append, yagna=SimpleNamespace(market=market)
        )
        self.watch = ProviderWatch(session, self.life, self.instance)

    def _agreement(self, _agreement_id: str, *, scope: Scope, **_: object) -> Any:
        scope.check()
        self.questions.append("agreement")
        if isinstance(self.agreement, Exception):
            raise self.agreement
        return SimpleNamespace(state=self.agreement)

    def _reason(self, _agreement_id: str, **_: object) -> str:
        self.questions.append("reason")
        return "I need it myself"

    def has(self, agreement: bool = True, vitality: Vitality = Vitality.ALIVE) -> None:
        life: Any = self.life
        life.agreement = SimpleNamespace(agreement_id="a1") if agreement else None
        life.activity = SimpleNamespace(
            vitality=self._vitality, lost=lambda answer, why: ActivityLost(f"{answer.name}: {why}")
        )
        self.vitality = vitality

    def _vitality(self, scope: Scope) -> tuple[Vitality, str]:
        scope.check()
        self.questions.append("activity")
        return self.vitality, "it said so"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("simple_golem.engine.life.provider_watch._ACTIVITY_ENDS_AFTER_SECONDS", 0.01)
    bench = Bench()
    yield bench
    bench.life.close()


def failed(message: str = "ExeScript command exited with code 1") -> GolemError:
    command = Run("/bin/true")
    return command_failed([Result(command=command, success=False, message=message)], (command,), "prov-1")


def lost() -> GolemError:
    return BatchLost("nobody can know")


@pytest.mark.parametrize(
    ("vitality", "kind"),
    [
        (Vitality.ALIVE, LossKind.AGREEMENT_ENDED),
        (Vitality.GONE, LossKind.ACTIVITY_GONE),
        (Vitality.SILENT, LossKind.ACTIVITY_GONE),
        (Vitality.UNRESPONSIVE, LossKind.ACTIVITY_GONE),
        (Vitality.UNKNOWN, LossKind.ACTIVITY_GONE),
    ],
)
def test_an_ended_agreement_is_judged_by_whether_the_activity_answers(
    bench: Bench, vitality: Vitality, kind: LossKind
) -> None:
    bench.has(vitality=vitality)
    bench.watch.agreement_ended("I need it myself")
    assert bench.life.loss is not None
    assert bench.life.loss.kind is kind
    assert type(bench.life.loss.error) is ActivityLost
    assert "I need it myself" in str(bench.life.loss.error)
    assert len(bench.events) == 1


def test_an_agreement_that_ends_with_its_life_is_no_loss(bench: Bench) -> None:
    bench.has()
    bench.life.conclude()
    bench.watch.agreement_ended("as asked")
    assert bench.life.loss is None
    assert bench.events == []


def test_an_end_of_the_session_ends_the_questions(bench: Bench) -> None:
    bench.has()
    bench.release.cancel("no time left")
    bench.watch.agreement_ended("whatever")
    bench.watch.lose(ActivityLost("whatever"))
    assert bench.life.loss is None


def test_before_there_is_an_agreement_none_can_end(bench: Bench) -> None:
    bench.has(agreement=False)
    bench.watch.agreement_ended("whatever")
    assert bench.life.loss is None


def test_before_there_is_an_activity_the_life_has_none_to_end(bench: Bench) -> None:
    bench.has()
    bench.life.activity = None
    bench.watch.agreement_ended("whatever")
    assert bench.life.activity_gone


def test_an_overcharge_and_a_lost_activity_end_the_life(bench: Bench) -> None:
    bench.has()
    error = Overcharged("too much")
    bench.watch.overcharged(error)
    bench.watch.lose(ActivityLost("and gone"))
    assert bench.life.loss is not None
    assert (bench.life.loss.kind, bench.life.loss.error) == (LossKind.OVERCHARGED, error)
    assert bench.life.activity_gone


def test_an_activity_that_is_found_gone_after_its_agreement_has_ended_is_told_with_the_reason(
    bench: Bench,
) -> None:
    bench.has()
    bench.agreement = AgreementState.TERMINATED
    bench.watch.lose(ActivityLost("the activity is gone"))
    assert bench.life.loss is not None
    assert "has ended the agreement: I need it myself" in str(bench.life.loss.error)
    bench.watch.agreement_ended("I need it myself")
    assert len(bench.events) == 1


# --- silence --------------------------------------------------------------------------------------------


def test_a_silent_provider_makes_a_running_instance_unresponsive_until_it_answers(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        bench.watch.seems_unresponsive(15.0, 15.0)
    assert bench.instance.state is ServiceState.unresponsive
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    for words in ("Service-1: ", "has not answered since ", "(15 s)", "given up in about 15 s"):
        assert words in warning.getMessage()
    bench.watch.seems_well()
    assert bench.instance.state is ServiceState.running
    assert "answers again" in caplog.text
    bench.watch.seems_unresponsive(15.0, 15.0)
    assert caplog.text.count("has not answered since") == 2
    bench.instance.state = ServiceState.stopping
    bench.watch.seems_unresponsive(20.0, 10.0)
    bench.watch.seems_well()
    assert bench.instance.state is ServiceState.stopping


# --- a batch that has failed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "vitality", "is_lost"),
    [
        (failed, Vitality.ALIVE, False),
        (failed, Vitality.UNKNOWN, False),
        (failed, Vitality.UNRESPONSIVE, False),  # the exe-unit has just answered
        (failed, Vitality.SILENT, True),
        (failed, Vitality.GONE, True),
        (lost, Vitality.ALIVE, False),
        (lost, Vitality.UNKNOWN, False),
        (lost, Vitality.UNRESPONSIVE, True),
        (lost, Vitality.SILENT, True),
        (lost, Vitality.GONE, True),
    ],
)
def test_a_failed_batch_is_judged_by_the_state_of_its_activity(
    bench: Bench, failure: Callable[[], GolemError], vitality: Vitality, is_lost: bool
) -> None:
    bench.has(vitality=vitality)
    found = bench.watch.lost_in(failure(), Scope())
    assert (found is not None) is is_lost
    assert bench.questions == ["agreement", "activity"]
    if found is not None:
        assert str(found) == f"{vitality.name}: it said so"


def test_an_exe_unit_that_is_shut_down_says_so_before_its_daemon_does(bench: Bench) -> None:
    bench.has(vitality=Vitality.ALIVE)
    found = bench.watch.lost_in(failed(SHUT_DOWN), Scope())
    assert found is not None
    assert str(found).startswith("GONE")


@pytest.mark.parametrize("failure", [failed, lost, lambda: ActivityLost("its provider has ended it")])
def test_the_provider_s_reason_for_ending_the_agreement_is_the_reason_of_the_loss(
    bench: Bench, failure: Callable[[], GolemError]
) -> None:
    bench.has(vitality=Vitality.GONE)
    bench.agreement = AgreementState.TERMINATED
    found = bench.watch.lost_in(failure(), Scope())
    assert found is not None
    assert "has ended the agreement: I need it myself" in str(found)
    assert bench.life.loss is not None
    assert (bench.life.loss.kind, bench.life.loss.error) == (LossKind.ACTIVITY_GONE, found)
    assert len(bench.events) == 1


def test_a_command_that_fails_on_its_own_after_the_agreement_has_ended_is_its_callers(bench: Bench) -> None:
    """The activity answers, so the life goes on to `shutdown()`."""
    bench.has(vitality=Vitality.ALIVE)
    bench.agreement = AgreementState.TERMINATED
    assert bench.watch.lost_in(failed(), Scope()) is None
    assert bench.life.loss is not None
    assert bench.life.loss.kind is LossKind.AGREEMENT_ENDED


def test_an_agreement_that_has_expired_is_told_so(bench: Bench) -> None:
    bench.has(vitality=Vitality.GONE)
    bench.agreement = AgreementState.EXPIRED
    assert "it has expired" in str(bench.watch.lost_in(lost(), Scope()))
    assert bench.questions == ["agreement", "activity"]


def test_where_the_own_daemon_does_not_know_the_agreement_the_activity_decides(bench: Bench) -> None:
    bench.has(vitality=Vitality.GONE)
    bench.agreement = NoDaemon("it is away")
    assert str(bench.watch.lost_in(lost(), Scope())) == "GONE: it said so"


def test_an_activity_that_is_known_to_be_gone_is_not_asked_for(bench: Bench) -> None:
    bench.has()
    error = ActivityLost("gone")
    assert bench.watch.lost_in(error, Scope()) is error
    assert bench.questions == ["agreement"]
    bench.watch.lose(error)
    assert bench.watch.lost_in(lost(), Scope()) is error
    assert bench.watch.lost_in(error, Scope()) is error


def test_nothing_is_asked_once_the_release_has_begun_or_the_batch_is_given_up(bench: Bench) -> None:
    bench.has(vitality=Vitality.GONE)
    scope = Scope()
    scope.cancel("its grace is over")
    assert bench.watch.lost_in(failed(), scope) is None
    bench.life.conclude()
    assert bench.watch.lost_in(failed(), Scope()) is None
    assert bench.questions == []
    assert bench.events == []


def test_a_loss_that_another_thread_finds_out_meanwhile_is_that_of_the_batch(bench: Bench) -> None:
    """As when the provider ends agreement and activity: its command fails before the event is judged."""
    bench.has()
    scope, error = Scope(), ActivityLost("the provider has ended the agreement")

    def is_lost_meanwhile(asking: Scope) -> tuple[Vitality, str]:
        bench.life.lose(LossKind.ACTIVITY_GONE, error)
        scope.cancel("the activity is gone")
        asking.check()
        return Vitality.ALIVE, ""

    bench.life.require_activity().vitality = is_lost_meanwhile  # type: ignore[method-assign,assignment]
    assert bench.watch.lost_in(failed(), scope) is error


def test_the_end_of_an_agreement_is_announced_by_one_of_two_threads_that_find_it(bench: Bench) -> None:
    """The life ends the agreement at the moment in which its provider does."""
    bench.has()
    life: Any = bench.life
    agreement = life.agreement

    def ended_meanwhile() -> Any:
        assert bench.watch.may_announce_end()
        return agreement

    life.require_agreement = ended_meanwhile
    bench.watch.agreement_ended("I need it myself")
    assert bench.events == []
    assert life.loss is not None

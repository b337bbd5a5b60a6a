"""The table of batches: who gets which error, and what a batch tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem import Run, Service, Upload
from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.activity.command_policy import CommandPolicy
from simple_golem.engine.life.batch_rules import RULES, BatchOrigin
from simple_golem.engine.life.batch_runner import BatchRunner
from simple_golem.engine.life.life_state import LifeState, LossKind
from simple_golem.engine.shutdown_times import ShutdownPart, ShutdownTimes
from simple_golem.errors import (
    ActivityLost,
    BadLocalFile,
    BatchLost,
    BatchTimeout,
    CommandFailed,
    GolemError,
    NotRunning,
    ServiceStopped,
    TransferFailed,
)
from simple_golem.model.commands.commands import Command
from simple_golem.model.commands.failure import command_failed
from simple_golem.model.commands.results import Result, Results
from simple_golem.model.events.batches import BatchEnded, BatchStarted
from simple_golem.model.events.event import Event
from tests.helpers.hand_timer import HandTimer

TRUE = Run("/bin/true")
DONE = Results([Result(stdout="done\n")])


class Bench:
    """A runner whose activity does what the test says."""

    def __init__(self) -> None:
        self.timer = HandTimer()
        self.events: list[Event] = []
        self.life = LifeState(self.timer, Scope(), Scope(), lambda *late: None)
        self.does: Callable[[Scope, Scope], Results] = lambda scope, unsent: DONE
        activity: Any = SimpleNamespace(run=self._run, volume=None)
        self.life.activity = activity
        nothing: Any = None
        self.lost: ActivityLost | None = None
        self.asked: list[GolemError] = []
        self.runner = BatchRunner(
            self.life,
            SimpleNamespace(name="Service-1"),
            nothing,
            self.events.append,
            CommandPolicy(Service(), lambda advice: True),
            self._lost_in,
        )

    def _lost_in(self, error: GolemError, _scope: Scope) -> ActivityLost | None:
        self.asked.append(error)
        return self.lost

    def _run(self, _commands: tuple[Command, ...], scope: Scope, unsent: Scope, *_more: object) -> Results:
        return self.does(scope, unsent)

    def run(self, origin: BatchOrigin, command: Command = TRUE) -> Results:
        return self.runner.run(origin, (command,))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.life.close()


def raising(error: BaseException) -> Callable[[Scope, Scope], Results]:
    def does(_scope: Scope, _unsent: Scope) -> Results:
        raise error

    return does


ALL = pytest.mark.parametrize("origin", BatchOrigin, ids=lambda origin: origin.name)


def test_the_table_has_a_row_for_every_origin() -> None:
    assert set(RULES) == set(BatchOrigin)


@ALL
def test_a_batch_that_succeeds_returns_its_results(bench: Bench, origin: BatchOrigin) -> None:
    assert bench.run(origin) is DONE
    assert [type(event) for event in bench.events] == [BatchStarted, BatchEnded]


@pytest.mark.parametrize(
    ("origin", "expected", "words"),
    [
        (BatchOrigin.DEPLOY, ServiceStopped, "the reason"),
        (BatchOrigin.WORK, ServiceStopped, "the reason"),
        (BatchOrigin.SHUTDOWN, NotRunning, "Service-1: the reason"),
        (BatchOrigin.AFTER_SHUTDOWN, ServiceStopped, "the reason"),
        (BatchOrigin.OUTSIDE, NotRunning, "Service-1 is being stopped"),
    ],
)
def test_a_batch_that_comes_too_late_is_not_sent(
    bench: Bench, origin: BatchOrigin, expected: type[BaseException], words: str
) -> None:
    bench.does = raising(AssertionError("sent"))
    RULES[origin].sent_until(bench.life).cancel("the reason")
    with pytest.raises(expected, match=words):
        bench.run(origin)
    assert bench.events == []


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (BatchOrigin.DEPLOY, ScopeEnded),
        (BatchOrigin.WORK, ServiceStopped),
        (BatchOrigin.SHUTDOWN, BatchTimeout),
        (BatchOrigin.AFTER_SHUTDOWN, ScopeEnded),
        (BatchOrigin.OUTSIDE, BatchLost),
    ],
)
def test_a_batch_that_is_cut_gives_its_caller_the_error_of_the_table(
    bench: Bench, origin: BatchOrigin, expected: type[BaseException]
) -> None:
    def cut(scope: Scope, _unsent: Scope) -> Results:
        RULES[origin].sent_until(bench.life).cancel("it was stopped")
        scope.cancel("its grace is over")
        scope.check()
        return DONE

    bench.does = cut
    with pytest.raises(expected):
        bench.run(origin)
    assert bench.life.loss is None


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (BatchOrigin.DEPLOY, ActivityLost),
        (BatchOrigin.WORK, ServiceStopped),
        (BatchOrigin.SHUTDOWN, ActivityLost),
        (BatchOrigin.AFTER_SHUTDOWN, ActivityLost),
        (BatchOrigin.OUTSIDE, BatchLost),
    ],
)
def test_a_batch_whose_activity_is_gone_ends_the_life(
    bench: Bench, origin: BatchOrigin, expected: type[BaseException]
) -> None:
    gone = ActivityLost("the activity is gone")
    bench.does = raising(gone)
    with pytest.raises(expected, match="the activity is gone"):
        bench.run(origin)
    assert bench.life.loss is not None
    assert (bench.life.loss.kind, bench.life.loss.error) == (LossKind.ACTIVITY_GONE, gone)
    assert bench.life.stop.cancelled


@ALL
def test_a_failed_command_is_its_callers_and_harms_nothing(bench: Bench, origin: BatchOrigin) -> None:
    failed = command_failed([Result(success=False)], (TRUE,), "prov-1")
    bench.does = raising(failed)
    with pytest.raises(CommandFailed) as raised:
        bench.run(origin)
    assert raised.value is failed
    assert bench.life.loss is None
    assert not bench.life.stop.cancelled
    ended = bench.events[-1]
    assert isinstance(ended, BatchEnded)
    assert len(ended.results) == 1


@pytest.mark.parametrize(
    "failure",
    [
        BatchLost("nobody can know"),
        ActivityLost("its provider has ended it"),
        command_failed([Result(success=False)], (TRUE,), "prov-1"),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (BatchOrigin.DEPLOY, ActivityLost),
        (BatchOrigin.WORK, ServiceStopped),
        (BatchOrigin.SHUTDOWN, ActivityLost),
        (BatchOrigin.AFTER_SHUTDOWN, ActivityLost),
        (BatchOrigin.OUTSIDE, BatchLost),
    ],
)
def test_a_batch_that_failed_because_its_provider_is_gone_is_not_blamed_on_its_commands(
    bench: Bench, origin: BatchOrigin, expected: type[BaseException], failure: GolemError
) -> None:
    bench.does = raising(failure)
    bench.lost = ActivityLost("prov-1 has ended the agreement: I need it myself")
    with pytest.raises(expected, match="I need it myself"):
        bench.run(origin)
    assert bench.asked == [failure]
    assert bench.life.loss is not None
    assert (bench.life.loss.kind, bench.life.loss.error) == (LossKind.ACTIVITY_GONE, bench.lost)
    ended = bench.events[-1]
    assert isinstance(ended, BatchEnded)
    assert "I need it myself" in str(ended.failure)


@ALL
@pytest.mark.parametrize("error", [BatchTimeout("too slow"), TransferFailed("half a file"), KeyError("user")])
def test_what_says_nothing_of_the_provider_is_not_asked_about(
    bench: Bench, origin: BatchOrigin, error: Exception
) -> None:
    bench.does = raising(error)
    bench.lost = ActivityLost("gone")
    with pytest.raises(type(error)):
        bench.run(origin)
    assert bench.asked == []


@pytest.mark.parametrize(
    ("origin", "stop_gives_it_up"),
    [
        (BatchOrigin.DEPLOY, True),
        (BatchOrigin.WORK, False),
        (BatchOrigin.SHUTDOWN, False),
        (BatchOrigin.AFTER_SHUTDOWN, False),
        (BatchOrigin.OUTSIDE, False),
    ],
)
def test_a_stop_ends_a_batch_under_way_by_the_rules_of_its_origin(
    bench: Bench, origin: BatchOrigin, stop_gives_it_up: bool
) -> None:
    seen: list[bool] = []

    def look(scope: Scope, _unsent: Scope) -> Results:
        bench.life.end(ShutdownTimes.ordinary(), "stop() was called")
        seen.append(scope.cancelled)
        return DONE

    bench.does = look
    assert bench.run(origin) is DONE
    assert seen == [stop_gives_it_up]


@pytest.mark.parametrize(("origin", "is_cut"), [(BatchOrigin.WORK, True), (BatchOrigin.OUTSIDE, False)])
def test_only_a_batch_of_the_life_thread_starts_the_grace(
    bench: Bench, origin: BatchOrigin, is_cut: bool
) -> None:
    seen: list[bool] = []

    def look(scope: Scope, _unsent: Scope) -> Results:
        bench.life.end(ShutdownTimes(dict.fromkeys(ShutdownPart, 0.0)), "stop() was called")
        bench.timer.ring_due()
        seen.append(scope.cancelled)
        return DONE

    bench.does = look
    bench.run(origin)
    assert seen == [is_cut]


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (Upload("a" * 300, "/golem/x"), BadLocalFile, "File name too long"),
        (TRUE, ZeroDivisionError, "ZeroDivisionError"),
        (TRUE, KeyboardInterrupt, "KeyboardInterrupt"),
    ],
)
def test_each_end_of_a_batch_is_reported(
    bench: Bench, command: Command, error: type[BaseException], words: str
) -> None:
    bench.does = raising(error())
    with pytest.raises(error):
        bench.run(BatchOrigin.WORK, command)
    started, ended = bench.events
    assert isinstance(started, BatchStarted)
    assert isinstance(ended, BatchEnded)
    assert words in str(ended.failure)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (BatchOrigin.DEPLOY, ActivityLost),
        (BatchOrigin.WORK, ServiceStopped),
        (BatchOrigin.SHUTDOWN, ActivityLost),
        (BatchOrigin.AFTER_SHUTDOWN, ActivityLost),
        (BatchOrigin.OUTSIDE, BatchLost),
    ],
)
def test_a_batch_that_was_cut_because_its_activity_is_lost_is_told_why(
    bench: Bench, origin: BatchOrigin, expected: type[BaseException]
) -> None:
    """As when the health check finds out first."""

    def cut(scope: Scope, _unsent: Scope) -> Results:
        bench.life.lose(LossKind.ACTIVITY_GONE, ActivityLost("its provider is away"))
        scope.check()
        return DONE

    bench.does = cut
    with pytest.raises(expected, match="its provider is away") as raised:
        bench.run(origin)
    assert type(raised.value) is ActivityLost or type(raised.value.__cause__) is ActivityLost

"""What a batch that timed out has left is removed by the next one."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem import Run
from simple_golem.background.cancellation import ScopeEnded
from simple_golem.engine.files.leftovers import Leftovers
from simple_golem.errors import ActivityLost, BatchLost, BatchTimeout, CommandFailed
from simple_golem.model.commands.commands import Command

ONE, TWO = Run("/bin/rm", "one"), Run("/bin/rm", "two")


@pytest.fixture
def leftovers() -> Leftovers:
    """What a batch has left that did not end in time."""
    leftovers = Leftovers()
    batch: Any = SimpleNamespace(removals=[ONE, TWO])
    with pytest.raises(BatchTimeout), leftovers.of(batch):
        raise BatchTimeout
    return leftovers


class Runs:
    def __init__(self, *errors: BaseException | None) -> None:
        self.ran: list[Command] = []
        self._errors = list(errors)

    def __call__(self, commands: Sequence[Command]) -> None:
        self.ran += commands
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error


def test_a_batch_that_ends_leaves_nothing() -> None:
    leftovers, runs = Leftovers(), Runs()
    batch: Any = SimpleNamespace(removals=[ONE])
    with leftovers.of(batch):
        pass
    with pytest.raises(CommandFailed), leftovers.of(batch):
        raise CommandFailed("no")
    leftovers.remove(runs)
    assert runs.ran == []


@pytest.mark.parametrize("error", [None, CommandFailed("no"), BatchLost("gone")])
def test_everything_is_removed_once(leftovers: Leftovers, error: BaseException | None) -> None:
    runs = Runs(error)
    leftovers.remove(runs)
    leftovers.remove(runs)
    assert sorted(runs.ran, key=repr) == [ONE, TWO]


def test_what_there_was_no_time_for_is_removed_later(leftovers: Leftovers) -> None:
    with pytest.raises(BatchTimeout):
        leftovers.remove(Runs(BatchTimeout()))
    runs = Runs()
    leftovers.remove(runs)
    assert sorted(runs.ran, key=repr) == [ONE, TWO]


@pytest.mark.parametrize("error", [ScopeEnded("stopped"), ActivityLost("gone")])
def test_an_end_of_the_life_is_passed_on(leftovers: Leftovers, error: BaseException) -> None:
    with pytest.raises(type(error)):
        leftovers.remove(Runs(error))


def test_of_two_threads_that_find_one_thing_left_one_removes_it(leftovers: Leftovers) -> None:
    class TakenMeanwhile(list[Command]):
        """Another thread takes the last one after this one has looked."""

        def __bool__(self) -> bool:
            is_there = len(self) > 0
            self.clear()
            return is_there

        def pop(self, index: Any = -1) -> Command:
            self.clear()
            return super().pop(index)

    leftovers._removals = TakenMeanwhile([ONE])
    runs = Runs()
    leftovers.remove(runs)
    assert runs.ran == []

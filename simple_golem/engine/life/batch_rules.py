"""What differs between the batches of `start` and `run`, of `shutdown`, and from outside: a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from operator import attrgetter
from typing import NamedTuple

from ...background.cancellation import Scope
from ...errors import BatchLost, BatchTimeout, NotRunning, ServiceStopped
from ...model.commands.commands import Command
from ..shutdown_times import ShutdownPart
from .life_state import LifeState


class BatchOrigin(Enum):
    """Where a batch comes from."""

    DEPLOY = "what deploy() returned"
    WORK = "what start() or run() returned, or executed"
    SHUTDOWN = "what shutdown() executed"
    AFTER_SHUTDOWN = "what shutdown() returned"
    OUTSIDE = "instance.execute() on another thread"


# Makes the error for a caller from the instance's name, the first command of the batch, and the reason.
ErrorFor = Callable[[str, Command, str], BaseException]
ScopeOf = Callable[[LifeState], Scope]


class BatchRules(NamedTuple):
    """How a batch is treated.

    Attributes:
        sent_until: the scope whose end refuses the batch, and gives it up before it is sent.
        runs_until: the scope whose end gives it up after it was sent.
        part: the part of an end that the life is in while the batch runs, None to stay in the current one.
        if_late: what a caller gets if `sent_until` has ended before.
        if_cut: what a caller gets if a scope ends under way. None: `ScopeEnded`, for the engine.
        if_lost: what a caller gets if the activity is gone. None: `ActivityLost` as it is.
    """

    sent_until: ScopeOf
    runs_until: ScopeOf
    part: ShutdownPart | None
    if_late: ErrorFor
    if_cut: ErrorFor | None
    if_lost: ErrorFor | None


def _stopped(_instance: str, _command: Command, reason: str) -> BaseException:
    return ServiceStopped(reason)


def _no_time_for_shutdown(instance: str, _command: Command, reason: str) -> BaseException:
    return NotRunning(f"{instance}: {reason}")


def _cut_in_shutdown(instance: str, command: Command, _reason: str) -> BaseException:
    return BatchTimeout(f"{instance}: {command!r} did not end within the time of shutdown()")


def _is_being_stopped(instance: str, _command: Command, reason: str) -> BaseException:
    return NotRunning(f"{instance} is being stopped ({reason}): commands can be run while it is running")


def _cut_from_outside(instance: str, command: Command, reason: str) -> BaseException:
    return BatchLost(f"{instance} was stopped before {command!r} had ended; its effect is unknown ({reason})")


def _lost_from_outside(_instance: str, command: Command, reason: str) -> BaseException:
    return BatchLost(f"the effect of {command!r} is unknown: {reason}")


_stop, _batches, _shutting_down = attrgetter("stop"), attrgetter("batches"), attrgetter("shutting_down")
_BATCH = ShutdownPart.BATCH

RULES: Mapping[BatchOrigin, BatchRules] = {
    # sent until, runs until, part; what is raised if it is late, cut, lost
    BatchOrigin.DEPLOY: BatchRules(_stop, _stop, None, _stopped, None, None),
    BatchOrigin.WORK: BatchRules(_stop, _batches, _BATCH, _stopped, _stopped, _stopped),
    BatchOrigin.SHUTDOWN: BatchRules(
        _shutting_down, _shutting_down, None, _no_time_for_shutdown, _cut_in_shutdown, None
    ),
    BatchOrigin.AFTER_SHUTDOWN: BatchRules(_shutting_down, _shutting_down, None, _stopped, None, None),
    BatchOrigin.OUTSIDE: BatchRules(
        _stop, _batches, None, _is_being_stopped, _cut_from_outside, _lost_from_outside
    ),
}

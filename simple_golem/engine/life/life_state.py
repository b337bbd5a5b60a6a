"""The record of one life: what it has, why it ends, and how far its end is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial
from typing import NamedTuple

from ...background.cancellation import Scope
from ...background.timer import Timer
from ...errors import ActivityLost, GolemError, NotRunning
from ..activity.activity import Activity
from ..market.agreement import Agreement
from ..shutdown_times import ShutdownPart, ShutdownTimes
from .outcome import LifeAbandoned
from .shutdown_alarm import TERMINATE_SECONDS, ShutdownAlarm

# A method whose waits were all cut short gets this long to return.
UNWIND_SECONDS = 0.3


class LossKind(Enum):
    """How a life loses its provider."""

    ACTIVITY_GONE = "the activity does not exist any more"
    AGREEMENT_ENDED = "the provider has ended the agreement, but the activity answers"
    OVERCHARGED = "the provider asks for more than was agreed"


class Loss(NamedTuple):
    """Why a life can't go on with its provider."""

    kind: LossKind
    error: GolemError


class Phase(Enum):
    """Which of the user's methods are called at present."""

    DEPLOYING = "deploy(), or none yet"
    WORKING = "start() and run()"
    SHUTDOWN = "shutdown()"


class LifeState:
    """What one life has, and how far its end is: every decision about it is made here, under one lock.

    Any thread may call any method, and none blocks. The attributes from `agreement` to `has_run` are written
    by the life thread alone.

    Attributes:
        agreement, activity: what the life has, None before it has them.
        phase: which of the user's methods are called at present.
        has_run: whether the life has reached the state running.
        stop: cancelled when the life is to end.
        batches: cancelled when no batch of `start`, `run` or from outside may go on.
        shutting_down: cancelled when no batch of `shutdown` may go on.
        destroying: cancelled when the destruction of the activity has taken too long.
        releasing: cancelled when the end of the agreement has taken too long.

    Args:
        timer: limits the parts of the end.
        stop_above: the scope of the instance; its end is the end of this life.
        release_above: the scope of the session's last calls.
        on_late: called on the timer's thread with the part whose method did not return in time, and with the
            identifier of its thread, which has no part in the life from then on.
    """

    def __init__(
        self,
        timer: Timer,
        stop_above: Scope,
        release_above: Scope,
        on_late: Callable[[ShutdownPart, int | None], object],
    ) -> None:
        self.agreement: Agreement | None = None
        self.activity: Activity | None = None
        self.phase = Phase.DEPLOYING
        self.has_run = False
        self.stop = Scope(stop_above)
        self.batches = Scope()
        self.shutting_down = Scope()
        self.destroying = Scope(release_above)
        self.releasing = Scope(release_above)
        self._timer = timer
        self._on_late = on_late
        self._lock = threading.Lock()
        # Everything below is read and written under the lock only.
        self._alarm = ShutdownAlarm(timer, self._part_is_overdue)
        self._loss: Loss | None = None
        self._activity_gone = False
        self._suspending = False
        self._cut_short = False
        self._concluded = False
        self._thread: threading.Thread | None = None
        self._left_behind: set[threading.Thread] = set()

    # --- what it has ---------------------------------------------------------------------------------

    def take_thread(self) -> None:
        """Note that the life runs on the calling thread from now on."""
        with self._lock:
            self._thread = threading.current_thread()

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the one that the life runs on."""
        with self._lock:
            return threading.current_thread() is self._thread

    @property
    def has_left_behind(self) -> bool:
        """Whether the life has gone on without the calling thread."""
        with self._lock:
            return threading.current_thread() in self._left_behind

    def require_agreement(self) -> Agreement:
        """Return the agreement, or raise `NotRunning`."""
        if self.agreement is None:
            raise NotRunning("there is no agreement yet")
        return self.agreement

    def require_activity(self) -> Activity:
        """Return the activity, or raise `NotRunning`."""
        if self.activity is None:
            raise NotRunning("there is no activity yet")
        return self.activity

    # --- how its end is decided ----------------------------------------------------------------------

    def end(self, times: ShutdownTimes, reason: str) -> None:
        """End the life in the given times; of several endings the earliest limit counts."""
        with self._lock:
            self._alarm.add(times)
            if times.is_shortened:
                self._suspending = False  # nobody would learn where the activity was left
        self.stop.cancel(reason)

    def suspend(self, times: ShutdownTimes) -> None:
        """End the life, but leave agreement and activity alive, unless a signal has ended it before."""
        with self._lock:
            self._suspending = not self._alarm.is_shortened
            self._alarm.add(times)
        self.stop.cancel("it is being suspended")

    def lose(self, kind: LossKind, error: GolemError) -> None:
        """End the life because of its provider; does nothing once the release has begun.

        The first cause is the one that is reported. A later one is not recorded, but takes effect.
        """
        with self._lock:
            if self._concluded:
                return
            if self._loss is None:
                self._loss = Loss(kind, error)
            self._activity_gone = self._activity_gone or kind is LossKind.ACTIVITY_GONE
            self._alarm.add(ShutdownTimes.by_provider(is_gone=kind is LossKind.ACTIVITY_GONE))
        if kind is not LossKind.AGREEMENT_ENDED:
            self.batches.cancel(str(error))
            self.shutting_down.cancel(str(error))
        self.stop.cancel(str(error))

    @property
    def loss(self) -> Loss | None:
        """The first cause for which the provider was lost, None if it was not."""
        with self._lock:
            return self._loss

    @property
    def lost_activity(self) -> ActivityLost | None:
        """Why the activity does not exist any more; None if it does, or is lost for another reason."""
        with self._lock:
            error = self._loss.error if self._loss is not None and self._activity_gone else None
        return error if isinstance(error, ActivityLost) else None

    @property
    def activity_gone(self) -> bool:
        """Whether the activity is known not to exist any more."""
        with self._lock:
            return self._activity_gone

    @property
    def is_ending(self) -> bool:
        """Whether an ending with its times was decided."""
        with self._lock:
            return self._alarm.is_ending

    @property
    def is_suspending(self) -> bool:
        """Whether agreement and activity are to be left alive."""
        with self._lock:
            return self._suspending

    @property
    def cut_short(self) -> bool:
        """Whether a batch did not end within its grace."""
        with self._lock:
            return self._cut_short

    # --- the parts of its end ------------------------------------------------------------------------

    @contextmanager
    def in_part(self, part: ShutdownPart) -> Iterator[None]:
        """Have the life thread be in `part` inside the `with` statement, and then in the part before.

        The part before gets time to return after its wait was cut short.

        Raises:
            LifeAbandoned: the life goes on without this thread.
        """
        with self._lock:
            before = self._alarm.part
            self._enter_locked(part)
        try:
            yield
        finally:
            with self._lock:
                self._enter_locked(before, at_least=UNWIND_SECONDS)

    def _enter_locked(self, part: ShutdownPart | None, at_least: float = 0.0) -> None:
        if threading.current_thread() in self._left_behind:
            raise LifeAbandoned
        self._alarm.enter(part, at_least if part is not None else 0.0)

    def conclude(self) -> float:
        """Begin the release, the last part; returns when it has to be over, on the monotonic clock."""
        self.stop.cancel("the life is over")
        self.batches.cancel("the life is over")
        with self._lock:
            self._concluded = True
            if not self._alarm.is_ending:
                self._alarm.add(ShutdownTimes.ordinary())
            self._alarm.enter(ShutdownPart.RELEASE)
            return self._alarm.limit

    def close(self) -> None:
        """Nothing is under way any more: stop the alarm, and detach from the scopes above."""
        with self._lock:
            self._concluded = True
            self._alarm.enter(None)
        self.stop.close()
        self.destroying.close()
        self.releasing.close()

    @property
    def concluded(self) -> bool:
        """Whether the release has begun, or is over."""
        with self._lock:
            return self._concluded

    # --- on the timer's thread -----------------------------------------------------------------------

    def _part_is_overdue(self, part: ShutdownPart) -> None:
        with self._lock:
            if not self._alarm.is_due(part):
                return
            self._cut_short = self._cut_short or part is ShutdownPart.BATCH
        if part is ShutdownPart.BATCH:
            self.batches.cancel("its grace is over")
        elif part is ShutdownPart.METHOD:
            self._leave_thread_behind(part)
        elif part is ShutdownPart.SHUTDOWN:
            self.shutting_down.cancel("the time for shutdown() is over")
            self._timer.call_in(UNWIND_SECONDS, partial(self._leave_thread_behind, part))
        elif part is ShutdownPart.RELEASE:
            self.destroying.cancel("no time left")
            self._timer.call_in(TERMINATE_SECONDS, partial(self.releasing.cancel, "no time left"))

    def _leave_thread_behind(self, part: ShutdownPart) -> None:
        with self._lock:
            thread = self._thread
            if self._alarm.part is not part or thread is None:
                return
            self._thread = None
            self._left_behind.add(thread)
            self._alarm.enter(None)
        self._on_late(part, thread.ident)

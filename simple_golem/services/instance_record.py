"""The record of one instance: its name, its state, and every decision to end it."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone
from typing import Protocol

from ..background.cancellation import Scope
from ..engine.shutdown_times import ShutdownTimes
from ..errors import GolemError, NotRunning
from ..model.events.instances import StateChanged
from ..model.service.states import TRANSITIONS, ServiceState
from ..model.service.suspended import SuspendedInstance
from .cluster_context import ClusterContext

logger = logging.getLogger(__name__)


class CurrentLife(Protocol):
    """The present life of an instance, as it is ended."""

    def end(self, times: ShutdownTimes, reason: str) -> None: ...
    def suspend(self, times: ShutdownTimes) -> None: ...


class InstanceRecord:
    """What an instance is at present, for its lives and for the threads that end it.

    Any thread may call any method, and none blocks. All that changes does so under the condition of the
    cluster, which is released before a life is called.

    Attributes:
        name: in logs and thread names; may be assigned.
        stop_scope: cancelled when the instance is to end.
        failure: what its last life ended with, None if nothing went wrong.
        suspended: what a later session needs to resume it, None if it was not suspended.
        is_waited_for: whether the script has waited for it.
        waited_in_vain: the latest wait for it that came to nothing, though it had not run yet.
        cut_off_by: the error that ended the instance from outside, None if there is none.
    """

    def __init__(self, context: ClusterContext, name: str) -> None:
        self.name = name
        self.stop_scope = Scope()
        self.failure: BaseException | None = None
        self.suspended: SuspendedInstance | None = None
        self.is_waited_for = False
        self.waited_in_vain: GolemError | None = None
        self.cut_off_by: GolemError | None = None
        self._context = context
        self._changed = context.changed
        self._state = ServiceState.pending
        self._history = [(ServiceState.pending, datetime.now(timezone.utc))]
        self._was_stopped = False
        self._life: CurrentLife | None = None
        self._endings: list[tuple[ShutdownTimes, str]] = []
        self._agreement_ids: list[str] = []

    # --- what it is ------------------------------------------------------------------------------------

    @property
    def cluster_name(self) -> str:
        """The name of its cluster."""
        return self._context.name

    @property
    def stop_grace(self) -> float:
        """Seconds that a batch under way may take to end when the instance ends."""
        return self._context.stop_grace

    @property
    def state(self) -> ServiceState:
        """Its state."""
        return self._state

    @property
    def history(self) -> tuple[tuple[ServiceState, datetime], ...]:
        """All its states, and since when (UTC)."""
        with self._changed:
            return tuple(self._history)

    @property
    def has_run(self) -> bool:
        """Whether it is running, or has ever been."""
        with self._changed:
            return any(state is ServiceState.running for state, _ in self._history)

    @property
    def got_through(self) -> bool:
        """Whether it is running, or was and is ending by itself, with nothing gone wrong."""
        with self._changed:
            if self._state is ServiceState.running:
                return True
            over = self._state is ServiceState.stopping or self._state.is_final
            return over and self.has_run and not self._was_stopped and self.failure is None

    @property
    def was_stopped(self) -> bool:
        """Whether it was asked to stop, or to be suspended, before it had ended."""
        with self._changed:
            return self._was_stopped

    @property
    def is_ending(self) -> bool:
        """Whether it has ended, or is to end."""
        return self._state.is_final or self.stop_scope.cancelled

    @property
    def agreement_ids(self) -> tuple[str, ...]:
        """The agreements that its lives have made."""
        with self._changed:
            return tuple(self._agreement_ids)

    # --- what its life tells -----------------------------------------------------------------------------

    def begin_life(self, life: CurrentLife) -> None:
        """From now on `life` is the present one; what was decided before holds for it, too."""
        with self._changed:
            self._life = life
            endings = list(self._endings)
        for times, reason in endings:
            life.end(times, reason)

    def enter(self, state: ServiceState) -> None:
        """Change the state, where the table of transitions allows it: the one place that does."""
        with self._changed:
            if state is self._state:
                return
            if state not in TRANSITIONS[self._state]:
                logger.debug("%s can't go from %s to %s", self.name, self._state.value, state.value)
                return
            old, self._state = self._state, state
            self._history.append((state, datetime.now(timezone.utc)))
            self._context.state_changed_locked(self, state)
            # With the lock held, events come in the order of the changes. The end of the Golem waits for the
            # last change: the event of that has been emitted by then.
            self._context.session.emit(StateChanged(self.name, old, state))
        if self._context.occupation is not None:
            self._context.occupation.state_changed(self, state)

    def has_agreement(self, agreement_id: str, provider: str) -> None:
        """An agreement was made; on the life thread, which is named after the provider from now on."""
        with self._changed:
            self._agreement_ids.append(agreement_id)
        threading.current_thread().name = f"{self.name}@{provider}"

    def stop_from_inside(self) -> None:
        """The user's service asks for its stop."""
        self._end(ShutdownTimes.ordinary(self.stop_grace), "the service called stop()")

    # --- how it is ended -----------------------------------------------------------------------------------

    def end(self, times: ShutdownTimes, reason: str) -> None:
        """End the instance in the given times."""
        with self._changed:
            self._was_stopped = self._was_stopped or not self._state.is_final
        self._end(times, reason)

    def cut_off(self, times: ShutdownTimes, error: GolemError, *, unless_has_run: bool = False) -> None:
        """End the instance for a reason that counts as its failure, unless it is ending already.

        Args:
            unless_has_run: whether an instance is left alone that has reached running.
        """
        with self._changed:
            if self.is_ending or self.cut_off_by is not None or (unless_has_run and self.has_run):
                return
            self.cut_off_by = error
        self._end(times, str(error))

    def begin_suspending(self) -> None:
        """Have the instance end, but leave its agreement and activity alive.

        Raises:
            NotRunning: it is not running.
        """
        with self._changed:
            life = self._life
            if life is None or self._state is not ServiceState.running:
                raise NotRunning(
                    f"{self.name} is {self._state.value}: only a running instance can be suspended"
                )
            self._was_stopped = True
        life.suspend(ShutdownTimes.ordinary(self.stop_grace))
        self.stop_scope.cancel("it is being suspended")

    def _end(self, times: ShutdownTimes, reason: str) -> None:
        with self._changed:
            self._endings.append((times, reason))
            life = self._life
        self.stop_scope.cancel(reason)
        if life is not None:
            life.end(times, reason)

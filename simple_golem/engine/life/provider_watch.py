"""What a provider does by itself: it ends the agreement, asks for too much, falls silent, or is gone."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from ...background.cancellation import Scope, ScopeEnded
from ...errors import ActivityLost, CommandFailed, GolemError, Overcharged
from ...model.commands.results import results_so_far
from ...model.events.agreements import AgreementEnded
from ...model.service.states import ServiceState
from ...yagna.transport.retry import Repeat
from ...yagna.values import AgreementState
from ..activity.activity import Activity
from ..activity.vitality import Vitality
from ..session import Session
from .life_state import LifeState, LossKind

logger = logging.getLogger(__name__)

# A provider that ends its activity together with the agreement does so this many seconds later.
_ACTIVITY_ENDS_AFTER_SECONDS = 0.5
# With these words an exe-unit that is shut down fails the command that runs. It may say so before its daemon
# knows of its end.
_IS_SHUT_DOWN = "Some(Terminated)"


class WatchedInstance(Protocol):
    """The instance, as the watch over its provider sees it."""

    name: str

    @property
    def state(self) -> ServiceState: ...
    def enter(self, state: ServiceState) -> None: ...


class ProviderWatch:
    """Ends a life, or changes the state of its instance, when its provider does something.

    Threads of the session call the methods: the reader of agreement events, the health check, the payment
    workers. None of these blocks. Only `lost_in` does, which a thread calls whose batch has failed.
    """

    def __init__(self, session: Session, life: LifeState, instance: WatchedInstance) -> None:
        self._session = session
        self._life = life
        self._instance = instance
        self._lock = threading.Lock()
        self._has_announced_end = False
        self._is_silent = False

    # --- what the provider does -------------------------------------------------------------------------

    def agreement_ended(self, reason: str) -> None:
        """The provider has ended the agreement."""
        self._session.workers.post(self._end_with_the_agreement, reason)

    def _end_with_the_agreement(self, reason: str) -> None:
        life = self._life
        if life.concluded or life.agreement is None:
            return
        error = self._announce_end(reason)
        try:
            answer = self._answer_after_the_end(life.releasing)
        except ScopeEnded:
            return
        life.lose(LossKind.AGREEMENT_ENDED if answer is Vitality.ALIVE else LossKind.ACTIVITY_GONE, error)

    def _answer_after_the_end(self, scope: Scope) -> Vitality:
        """Return how the activity is that may end together with its agreement."""
        if self._life.activity is None:
            return Vitality.GONE
        scope.wait(_ACTIVITY_ENDS_AFTER_SECONDS)
        return self._life.activity.vitality(scope)[0]

    def may_announce_end(self) -> bool:
        """Whether the event of the agreement's end is to be emitted: True once, for the first who asks."""
        with self._lock:
            is_new, self._has_announced_end = not self._has_announced_end, True
            return is_new

    def _announce_end(self, reason: str) -> ActivityLost:
        """Emit the event of the agreement's end once; returns the error for it."""
        agreement = self._life.require_agreement()
        if self.may_announce_end():
            self._session.emit(AgreementEnded(self._instance.name, agreement.agreement_id, True, reason))
        return ActivityLost(f"{agreement} has ended the agreement: {reason or 'no reason given'}")

    def overcharged(self, error: Overcharged) -> None:
        """The provider asks for more than was agreed: its activity is destroyed."""
        self._life.lose(LossKind.OVERCHARGED, error)

    def lose(self, error: ActivityLost) -> None:
        """The activity is gone."""
        self._session.workers.post(self._lose, error)

    def _lose(self, error: ActivityLost) -> None:
        try:
            self._life.lose(LossKind.ACTIVITY_GONE, self._ended_agreement(self._life.releasing) or error)
        except ScopeEnded:
            return

    def seems_unresponsive(self, silent: float, left: float) -> None:
        """The provider has not answered for `silent` seconds; in about `left` seconds it is given up."""
        with self._lock:
            is_new, self._is_silent = not self._is_silent, True
        # The state comes first: log handlers may take their time.
        if self._instance.state is ServiceState.running:
            self._instance.enter(ServiceState.unresponsive)
        if is_new:
            logger.warning(
                "%s: %s has not answered since %s (%.0f s); if it stays silent, "
                "it is given up in about %.0f s",
                self._instance.name,
                self._life.agreement,
                time.strftime("%H:%M:%S", time.localtime(time.time() - silent)),
                silent,
                left,
            )

    def seems_well(self) -> None:
        """The provider answers again."""
        with self._lock:
            self._is_silent = False
        logger.info("%s: %s answers again", self._instance.name, self._life.agreement)
        if self._instance.state is ServiceState.unresponsive:
            self._instance.enter(ServiceState.running)

    def lose_if_silent(self) -> None:
        """End the life if the provider is silent now: `shutdown()` was not done in time because of that."""
        with self._lock:
            is_silent = self._is_silent
        if is_silent:
            why = "it was silent until the time of shutdown() was over"
            self._life.lose(LossKind.ACTIVITY_GONE, self._life.require_activity().lost(Vitality.SILENT, why))

    # --- when a batch has failed --------------------------------------------------------------------------

    def lost_in(self, error: GolemError, scope: Scope) -> ActivityLost | None:
        """Ask whether a batch has failed because the provider is gone, and end the life if so.

        Reads the states of the agreement and of the activity once; blocks for 7 seconds at most.

        Args:
            error: what the batch has failed with.
            scope: cancelling it ends the requests.

        Returns:
            Why the activity is lost. None if it lives, or nothing can be known of it.
        """
        known = self._life.lost_activity or error
        gone = known if isinstance(known, ActivityLost) else None
        if self._life.concluded or self._life.activity_gone:
            return gone
        try:
            return self._look(self._life.require_activity(), error, scope)
        except ScopeEnded:
            # Another thread may have found it out meanwhile, and have ended the scope therefore.
            return self._life.lost_activity or gone

    def _look(self, activity: Activity, error: GolemError, scope: Scope) -> ActivityLost | None:
        is_gone = isinstance(error, ActivityLost) or _is_shut_down(error)
        ended = self._ended_agreement(scope)
        if ended is not None:
            is_alive = not is_gone and self._answer_after_the_end(scope) is Vitality.ALIVE
            self._life.lose(LossKind.AGREEMENT_ENDED if is_alive else LossKind.ACTIVITY_GONE, ended)
            return None if is_alive else ended
        if isinstance(error, ActivityLost):
            return error
        answer, why = activity.vitality(scope)
        if is_gone:
            return activity.lost(Vitality.GONE, why or "its provider has ended it")
        is_well = answer in (Vitality.ALIVE, Vitality.UNKNOWN)
        # An exe-unit that has just answered is there, even if its reports are late.
        is_late = answer is Vitality.UNRESPONSIVE and isinstance(error, CommandFailed)
        return None if is_well or is_late else activity.lost(answer, why)

    def _ended_agreement(self, scope: Scope) -> ActivityLost | None:
        """Return the error for an agreement that has ended; None if it is in force, or nobody can know."""
        market, agreement_id = self._session.yagna.market, self._life.require_agreement().agreement_id
        try:
            state = market.agreement(agreement_id, scope=scope, repeat=Repeat.NEVER).state
            if state is AgreementState.TERMINATED:
                reason = market.terminate_reason(agreement_id, scope=scope, repeat=Repeat.NEVER)
                return self._announce_end(reason)
        except GolemError as error:
            logger.debug("no state of the agreement %s: %s", agreement_id, error)
            return None
        return self._announce_end("it has expired") if state is AgreementState.EXPIRED else None


def _is_shut_down(error: GolemError) -> bool:
    results = results_so_far(error) if isinstance(error, CommandFailed) else ()
    return bool(results) and _IS_SHUT_DOWN in (results[-1].message or "")

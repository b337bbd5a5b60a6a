"""What a provider does by itself: it ends the agreement, asks for too much, falls silent, or is gone."""

from __future__ import annotations

from typing import Protocol

from ...background.cancellation import ScopeEnded
from ...errors import ActivityLost, Overcharged
from ...model.events import AgreementEnded
from ...model.service.states import ServiceState
from ..session import Session
from .life_state import LifeState, LossKind

# A provider that ends its activity together with the agreement does so this many seconds later.
_ACTIVITY_ENDS_AFTER_SECONDS = 0.5


class WatchedInstance(Protocol):
    """The instance, as the watch over its provider sees it."""

    name: str

    @property
    def state(self) -> ServiceState: ...
    def enter(self, state: ServiceState) -> None: ...


class ProviderWatch:
    """Ends a life, or changes the state of its instance, when its provider does something.

    Threads of the session call the methods: the reader of agreement events, the health check, the payment
    workers. None blocks.
    """

    def __init__(self, session: Session, life: LifeState, instance: WatchedInstance) -> None:
        self._session = session
        self._life = life
        self._instance = instance

    def agreement_ended(self, reason: str) -> None:
        """The provider has ended the agreement."""
        self._session.workers.post(self._end_with_the_agreement, reason)

    def _end_with_the_agreement(self, reason: str) -> None:
        life, agreement = self._life, self._life.agreement
        if life.concluded or agreement is None:
            return
        self._session.emit(AgreementEnded(self._instance.name, agreement.agreement_id, True, reason))
        error = ActivityLost(f"{agreement} has ended the agreement: {reason or 'no reason given'}")
        life.releasing.wait(_ACTIVITY_ENDS_AFTER_SECONDS)
        try:
            answers = life.activity is not None and life.activity.alive(life.releasing) is True
        except ScopeEnded:
            return
        life.lose(LossKind.AGREEMENT_ENDED if answers else LossKind.ACTIVITY_GONE, error)

    def overcharged(self, error: Overcharged) -> None:
        """The provider asks for more than was agreed: its activity is destroyed."""
        self._life.lose(LossKind.OVERCHARGED, error)

    def lose(self, error: ActivityLost) -> None:
        """The activity is gone."""
        self._life.lose(LossKind.ACTIVITY_GONE, error)

    def seems_unresponsive(self) -> None:
        """The provider has not answered for a while."""
        if self._instance.state is ServiceState.running:
            self._instance.enter(ServiceState.unresponsive)

    def seems_well(self) -> None:
        """The provider answers again."""
        if self._instance.state is ServiceState.unresponsive:
            self._instance.enter(ServiceState.running)

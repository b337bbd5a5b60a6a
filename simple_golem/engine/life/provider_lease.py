"""The agreement and the activity of one life: made, resumed, left alive, and released."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ...background.cancellation import ScopeEnded
from ...errors import ActivityFailed, ActivityLost, GolemError, YagnaError
from ...model.events.agreements import ActivityCreated, ActivityDestroyed, AgreementEnded
from ...model.offers.offer import provider_name
from ...model.service.states import ServiceState
from ...model.service.suspended import SuspendedInstance
from ...yagna.values import AgreementState
from ..activity.activity import Activity
from ..activity.command_policy import loses_output
from ..activity.vitality import Vitality
from ..market.agreement import Agreement
from ..market.demand import Demand
from ..session import Session
from .life_state import LifeState, LossKind
from .mended_elsewhere import conduct_in
from .outcome import Outcome
from .provider_watch import ProviderWatch
from .shutdown_alarm import TERMINATE_SECONDS

if TYPE_CHECKING:
    from ..network.place import Place

logger = logging.getLogger(__name__)

_CREATE_ACTIVITY_SECONDS = 30.0
_SHORTEST_DESTROY_SECONDS = 0.1
# An activity that is lost is destroyed by one request, in case that it lives after all; nobody waits for it.
_LOST_DESTROY_SECONDS = 1.0


class LeasingInstance(Protocol):
    """The instance, as it hears of its provider."""

    name: str

    @property
    def cluster_name(self) -> str: ...
    def enter(self, state: ServiceState) -> None: ...
    def has_agreement(self, agreement_id: str, provider: str) -> None: ...


class ProviderLease:
    """Gets a provider for one life, and releases it; all methods are called on the life thread.

    `release` is called by a worker where the life thread was left behind.
    """

    def __init__(
        self, session: Session, life: LifeState, instance: LeasingInstance, watch: ProviderWatch
    ) -> None:
        self._session = session
        self._life = life
        self._instance = instance
        self._watch = watch
        # When an activity was asked for whose answer the life did not wait for, on the monotonic clock.
        self._abandoned_at: float | None = None

    # --- the beginning -------------------------------------------------------------------------------

    def find_provider(self, demand: Demand) -> None:
        """Block until an agreement is made.

        Raises:
            ScopeEnded: the life is to end.
            OutOfBudget: no provider can be paid from what is left of the budget.
            BadStrategy: the user's functions have failed, and no offer could be rated.
        """
        agreement: Agreement | None = None
        while agreement is None:
            agreement = self._try_next_provider(demand)
        self._begin_agreement(agreement)

    def _begin_agreement(self, agreement: Agreement) -> None:
        name, cluster = self._instance.name, self._instance.cluster_name
        self._session.agreements.begin_agreement(agreement, self._watch, cluster=cluster, instance=name)
        self._instance.has_agreement(agreement.agreement_id, agreement.provider_name)
        self._instance.enter(ServiceState.starting)

    def _try_next_provider(self, demand: Demand) -> Agreement | None:
        life, session = self._life, self._session
        proposal = session.chooser.choose(demand, life.stop)
        try:
            life.agreement = session.agreement_maker.make(
                proposal, self._instance.name, life.stop, life.releasing, demand.offers.agreement_not_made
            )
        finally:
            if life.agreement is None:
                demand.proposal_lost()
                session.agreements.not_made(proposal.issuer_id, failed=not life.stop.cancelled)
        if life.agreement is not None:
            demand.agreed()
        return life.agreement

    def create_activity(self) -> None:
        """Have the provider create the activity; blocks for 30 seconds at most.

        Raises:
            ActivityFailed: the provider did not create it.
            ScopeEnded: the life is to end. The activity may be created all the same: `release` looks for it.
        """
        agreement = self._life.require_agreement()
        asked = time.monotonic()
        try:
            activity_id = self._session.yagna.activity.create(
                agreement.agreement_id, timeout=_CREATE_ACTIVITY_SECONDS, scope=self._life.stop
            )
        except ScopeEnded:
            self._abandoned_at = asked
            raise
        except YagnaError as error:
            raise ActivityFailed(
                f"{agreement} did not create the activity for {self._instance.name}: {error.reason}"
            ) from error
        activity = self._life.activity = Activity(self._session.yagna, activity_id, str(agreement))
        activity.loses_output = loses_output(agreement.offer_properties)
        self._session.agreements.begin_activity(agreement, activity, asked)
        self._session.emit(ActivityCreated(self._instance.name, activity_id, agreement.provider_name))

    def resume(self, suspended: SuspendedInstance) -> None:
        """Take over the agreement and the activity that an earlier session left alive.

        Raises:
            ActivityLost: one of them has ended in the meantime.
            ScopeEnded: the life is to end.
        """
        life, session = self._life, self._session
        # From here on this life has to end both, even if the daemon does not answer now.
        life.agreement = Agreement(suspended.agreement_id, "", suspended.name, {})
        activity = life.activity = Activity(session.yagna, suspended.activity_id, suspended.name)
        kept = session.yagna.market.agreement(suspended.agreement_id, scope=life.releasing)
        name = provider_name(kept.offer_properties)
        agreement = Agreement(kept.agreement_id, kept.provider_id, name, kept.offer_properties)
        life.agreement = agreement
        activity.provider = str(agreement)
        activity.loses_output = loses_output(agreement.offer_properties)
        activity.volume = suspended.volume or None
        self._begin_agreement(agreement)
        is_in_force = kept.state is AgreementState.APPROVED
        if not is_in_force:
            session.agreements.resume_ended(agreement, life.stop)
        session.agreements.begin_activity(agreement, activity)
        if not is_in_force or activity.vitality(life.stop)[0] is Vitality.GONE:
            raise ActivityLost(
                f"the agreement with {agreement} has ended while {suspended.name} was suspended"
            )
        life.stop.check()

    # --- the end -------------------------------------------------------------------------------------

    def leave_alive(self, place: Place | None) -> SuspendedInstance:
        """Leave agreement and activity alive for a later session; returns what that one needs.

        Args:
            place: of the instance, in a private network, which is left alive, too.
        """
        agreement = self._life.require_agreement()
        network = {} if place is None else place.keep(agreement.agreement_id)
        return self._session.agreements.suspend_agreement(
            agreement, self._life.require_activity(), self._instance.name, network
        )

    def release(self, outcome: Outcome, until: float) -> None:
        """End the agreement, destroy the activity, and make the provider available again.

        Blocks until both are done, or a scope of the life's end is cancelled.

        Args:
            outcome: how the life ended; the provider receives it as the reason.
            until: when it has to be done, on the monotonic clock.
        """
        life, agreement = self._life, self._life.agreement
        if agreement is None:
            return
        self._session.agreements.end_agreement(
            agreement,
            life.activity,
            partial(self._terminate_and_destroy, agreement, outcome, until),
            activity_failed=life.activity_gone,
            conduct=conduct_in(outcome.failure, elsewhere=outcome.elsewhere),
        )

    def _terminate_and_destroy(self, agreement: Agreement, outcome: Outcome, until: float) -> bool:
        """End the agreement and destroy the activity; whether it is certain that neither exists any more."""
        session = self._session
        code = "Success" if outcome.failure is None else "Failure"
        reason = "Not needed any more" if outcome.failure is None else type(outcome.failure).__name__
        ended = session.agreement_maker.terminate(agreement, reason, code, self._life.releasing)
        if ended and self._watch.may_announce_end():
            session.emit(AgreementEnded(self._instance.name, agreement.agreement_id, False, reason))
        is_known = self._abandoned_at is None or self._find_activity(agreement, self._abandoned_at)
        confirmed = self._destroy(self._life.activity, ended, until)
        return ended and is_known and confirmed

    def _find_activity(self, agreement: Agreement, asked_at: float) -> bool:
        """Look for an activity whose creation was abandoned; whether it is known if there is one.

        Its provider asks to be paid for it. One that the daemon does not know is paid by nobody: the daemon
        refuses its invoice (seen on the real daemon).
        """
        activities = self._session.yagna.activity
        try:
            found = activities.of_agreement(agreement.agreement_id, scope=self._life.destroying)
        except (GolemError, ScopeEnded) as error:
            logger.warning(
                "it is not known whether %s has created an activity for %s (%s): the next session looks",
                agreement,
                self._instance.name,
                error or "no time left",
            )
            return False
        for activity_id in found:
            self._life.activity = Activity(self._session.yagna, activity_id, str(agreement))
            self._session.agreements.activity_found(agreement, activity_id, asked_at)
            self._session.emit(ActivityCreated(self._instance.name, activity_id, agreement.provider_name))
        return True

    def _destroy(self, activity: Activity | None, agreement_ended: bool, until: float) -> bool:
        """Destroy the activity; whether it is certain that it does not exist any more."""
        if activity is None:
            return True
        if self._life.activity_gone:
            return activity.destroy(self._life.destroying, _LOST_DESTROY_SECONDS, expected=False)
        loss = self._life.loss
        by_provider = loss is not None and loss.kind is LossKind.AGREEMENT_ENDED
        if agreement_ended and not by_provider:
            activity.await_end(self._life.destroying)
        seconds = max(_SHORTEST_DESTROY_SECONDS, until - time.monotonic() - TERMINATE_SECONDS)
        confirmed = activity.destroy(self._life.destroying, seconds)
        self._session.emit(ActivityDestroyed(self._instance.name, activity.activity_id, confirmed))
        return confirmed

"""The agreement and the activity of one life: made, resumed, left alive, and released."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Protocol

from ...errors import ActivityFailed, ActivityLost, YagnaError
from ...model.events import ActivityCreated, ActivityDestroyed, AgreementEnded
from ...model.offers.offer import Offer
from ...model.service.states import ServiceState
from ...model.service.suspended import SuspendedInstance
from ...yagna.values import AgreementState
from ..activity.activity import Activity
from ..market.agreement import Agreement, provider_name
from ..market.demand import Demand
from ..payment.account import Account
from ..session import Session
from .life_state import LifeState, LossKind, Outcome
from .provider_watch import ProviderWatch
from .shutdown_alarm import TERMINATE_SECONDS

_CREATE_ACTIVITY_SECONDS = 30.0
_SHORTEST_DESTROY_SECONDS = 0.1


class LeasingInstance(Protocol):
    """The instance, as it hears of its provider."""

    name: str

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

    # --- the beginning -------------------------------------------------------------------------------

    def find_provider(self, demand: Demand, class_name: str) -> None:
        """Block until an agreement is made.

        Raises:
            ScopeEnded: the life is to end.
            OutOfBudget: no provider can be paid from what is left of the budget.
        """
        agreement: Agreement | None = None
        while agreement is None:
            agreement = self._try_next_provider(demand)
        offer = Offer.of(agreement.provider_id, agreement.offer_properties)
        now = datetime.now(timezone.utc)
        self._session.ledger.open(
            Account.made(agreement.agreement_id, offer, class_name, self._instance.name, now)
        )
        self._session.budget.let_go(agreement.provider_id)
        self._instance.has_agreement(agreement.agreement_id, agreement.provider_name)
        self._session.watch(agreement.agreement_id, self._watch)
        self._instance.enter(ServiceState.starting)

    def _try_next_provider(self, demand: Demand) -> Agreement | None:
        life = self._life
        proposal = self._session.chooser.choose(demand, life.stop)
        try:
            life.agreement = self._session.agreements.make(
                proposal, self._instance.name, life.stop, life.releasing
            )
        finally:
            if life.agreement is None:
                self._session.budget.let_go(proposal.issuer_id)
                self._session.chooser.release(proposal.issuer_id, failed=not life.stop.cancelled)
        return life.agreement

    def create_activity(self) -> None:
        """Have the provider create the activity; blocks for 30 seconds at most.

        Raises:
            ActivityFailed: the provider did not create it.
            ScopeEnded: the life is to end. The activity may be created all the same: the end of the agreement
                ends it. No invoice is expected then, since the daemon refuses an invoice for an activity that
                it does not know (seen on the real daemon).
        """
        agreement, name = self._life.require_agreement(), self._instance.name
        asked = time.monotonic()
        try:
            activity_id = self._session.yagna.activity.create(
                agreement.agreement_id, timeout=_CREATE_ACTIVITY_SECONDS, scope=self._life.stop
            )
        except YagnaError as error:
            raise ActivityFailed(
                f"{agreement} did not create the activity for {name}: {error.detail}"
            ) from error
        self._session.ledger.activity_began(agreement.agreement_id, activity_id, asked)
        self._session.payments.expect_invoice(agreement.agreement_id, str(agreement))
        self._life.activity = Activity(self._session.yagna, activity_id, str(agreement))
        self._session.health.watch(self._life.activity, self._watch)
        self._session.emit(ActivityCreated(name, activity_id, agreement.provider_name))

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
        session.chooser.occupy(kept.provider_id)
        self._instance.has_agreement(kept.agreement_id, name)
        session.watch(kept.agreement_id, self._watch)
        session.payments.expect_invoice(kept.agreement_id, str(agreement))
        self._instance.enter(ServiceState.starting)
        if kept.state is not AgreementState.APPROVED or activity.alive(life.stop) is False:
            raise ActivityLost(f"{agreement} has ended while {suspended.name} was suspended")
        life.stop.check()
        session.health.watch(activity, self._watch)

    # --- the end -------------------------------------------------------------------------------------

    def leave_alive(self, app_session_id: str) -> SuspendedInstance:
        """Leave agreement and activity alive for a later session; returns what that one needs.

        Args:
            app_session_id: the session under which the agreement was made.
        """
        agreement, activity = self._life.require_agreement(), self._life.require_activity()
        self._session.health.unwatch(activity)
        self._session.unwatch(agreement.agreement_id)
        allocation_id = self._session.payments.keep_for(agreement.agreement_id)
        suspended = SuspendedInstance(
            self._instance.name,
            agreement.agreement_id,
            activity.activity_id,
            app_session_id,
            allocation_id,
        )
        self._session.books.write("suspended", about=agreement.agreement_id, **asdict(suspended))
        return suspended

    def release(self, outcome: Outcome, until: float) -> None:
        """End the agreement, destroy the activity, and make the provider available again.

        Blocks until both are done, or a scope of the life's end is cancelled.

        Args:
            outcome: how the life ended, which the provider is told.
            until: when it has to be done, on the monotonic clock.
        """
        session, agreement = self._session, self._life.agreement
        if agreement is None:
            return
        if self._life.activity is not None:
            session.health.unwatch(self._life.activity)
        session.unwatch(agreement.agreement_id)
        if self._life.activity_gone:
            session.payments.hardly_expect_invoice(agreement.agreement_id)
        code = "Success" if outcome.failure is None else "Failure"
        reason = "Not needed any more" if outcome.failure is None else type(outcome.failure).__name__
        ended = session.agreements.terminate(agreement, reason, code, self._life.releasing)
        if ended:
            session.emit(AgreementEnded(self._instance.name, agreement.agreement_id, False, reason))
        confirmed = self._destroy(self._life.activity, ended, until)
        session.ledger.agreement_ended(agreement.agreement_id, certain=ended and confirmed)
        session.chooser.release(agreement.provider_id, failed=outcome.elsewhere)

    def _destroy(self, activity: Activity | None, agreement_ended: bool, until: float) -> bool:
        """Destroy the activity, unless it is gone; whether it is certain that it does not exist any more."""
        if activity is None or self._life.activity_gone:
            return True
        loss = self._life.loss
        by_provider = loss is not None and loss.kind is LossKind.AGREEMENT_ENDED
        if agreement_ended and not by_provider:
            activity.await_end(self._life.destroying)
        seconds = max(_SHORTEST_DESTROY_SECONDS, until - time.monotonic() - TERMINATE_SECONDS)
        confirmed = activity.destroy(self._life.destroying, seconds)
        self._session.emit(ActivityDestroyed(self._instance.name, activity.activity_id, confirmed))
        return confirmed

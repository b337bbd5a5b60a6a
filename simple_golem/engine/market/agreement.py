"""Choosing a provider, making an agreement with it, and ending that agreement."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ...background.cancellation import Scope, ScopeEnded
from ...errors import GolemError, OutOfBudget, YagnaError
from ...model.events import AgreementMade, AgreementNotMade
from ...yagna.client import Yagna
from ...yagna.values import AgreementState, Approval, Proposal
from ..event_dispatcher import Emit
from .demand import Demand, RatedProposal

logger = logging.getLogger(__name__)

APPROVAL_SECONDS = 15.0
_VALID_FOR = timedelta(seconds=120)
_AFTER_FAILURE = 0.5
# Between two providers, so that a daemon in trouble is not asked for one after the other.
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement in force, and whom it is with."""

    agreement_id: str
    provider_id: str
    provider_name: str
    offer_properties: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.provider_name} ({self.provider_id})"


class Chooser:
    """Which provider is asked next: one per Golem, so that no provider is asked for two instances at once."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._taken: set[str] = set()
        self._trust: dict[str, float] = {}
        self._banned: set[str] = set()

    def choose(self, demand: Demand, scope: Scope) -> Proposal:
        """Block until a provider that is free has answered `demand`, and take the best of them.

        Raises:
            ScopeEnded: `scope` was cancelled.
            OutOfBudget: nobody who has offered can be paid from what is left of the budget.
        """
        forget = scope.on_cancel(self._wake)
        try:
            with self.changed:
                demand.wanted += 1
                try:
                    return self._take_best(demand, self._await_choice(demand, scope))
                finally:
                    demand.wanted -= 1
        finally:
            forget()

    def _await_choice(self, demand: Demand, scope: Scope) -> list[RatedProposal]:
        """Block until somebody is free, and those that could be better have answered, or had their time."""
        while True:
            scope.check()
            demand.counter_as_needed()
            free = [draft for provider, draft in demand.drafts.items() if self.is_free(provider)]
            left = demand.collected_in(max((draft.worth for draft in free), default=None))
            if left == 0:
                payable = demand.payable(free) if free else []
                if payable:
                    return payable
                objection = demand.too_dear()
                if objection is not None:
                    raise OutOfBudget(f"{objection}: give Golem a larger `budget`, or top it up")
            self.changed.wait(left or demand.next_look())

    def _take_best(self, demand: Demand, free: list[RatedProposal]) -> Proposal:
        best = max(self._rank(draft) for draft in free)
        chosen = random.choice([one for one in free if self._rank(one) == best])
        self._taken.add(chosen.proposal.issuer_id)
        demand.take(chosen)
        # Others may have counted on this one.
        self.changed.notify_all()
        return chosen.proposal

    def is_free(self, provider_id: str) -> bool:
        """Whether the provider could be taken; its caller holds `changed`."""
        return provider_id not in self._taken and provider_id not in self._banned

    def _rank(self, draft: RatedProposal) -> tuple[float, float]:
        trust = self._trust.get(draft.proposal.issuer_id, 1.0)
        return (draft.worth * trust if draft.worth > 0 else draft.worth / trust), trust

    def take(self, provider_id: str) -> None:
        """Take a provider with which there is an agreement already."""
        with self.changed:
            self._taken.add(provider_id)

    def give_back(self, provider_id: str, *, failed: bool) -> None:
        """The provider has no agreement with this Golem any more; a failure makes it come later next time."""
        with self.changed:
            self._taken.discard(provider_id)
            if failed:
                self._trust[provider_id] = self._trust.get(provider_id, 1.0) * _AFTER_FAILURE
            self.changed.notify_all()

    def topped_up(self) -> None:
        """There is more to pay from: who was too dear may be taken."""
        self._wake()

    def ban(self, provider_id: str) -> None:
        """Never take this provider again."""
        with self.changed:
            self._banned.add(provider_id)

    def is_banned(self, provider_id: str) -> bool:
        return provider_id in self._banned

    def busy(self, demand: Demand) -> int:
        """How many of the providers that were seen have an agreement with this Golem already."""
        with self.changed:
            return len(demand.seen & self._taken)

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()


def provider_name(properties: Mapping[str, Any]) -> str:
    """The name a provider gives itself."""
    return str(properties.get("golem.node.id.name") or "unnamed")


class AgreementMaker:
    """Turns a proposal into an agreement, or finds out that it can't be one."""

    def __init__(self, yagna: Yagna, app_session_id: str, emit: Emit) -> None:
        self._emit = emit
        self._yagna = yagna
        self._app_session_id = app_session_id

    def make(self, proposal: Proposal, instance: str, stop: Scope, release: Scope) -> Agreement | None:
        """Create, confirm and await an agreement; blocks for the provider's answer, 15 seconds at most.

        Args:
            proposal: what the provider answered last.
            instance: whom it is for.
            stop: cancelling it gives up at once; the agreement is then cancelled, or terminated.
            release: what that cleaning up listens to.

        Returns:
            The agreement, or None if the provider does not want it or does not answer.

        Raises:
            ScopeEnded: `stop` was cancelled.
        """
        stop.check()
        name = provider_name(proposal.properties)
        try:
            agreement_id = self._yagna.market.create_agreement(
                proposal.proposal_id, datetime.now(timezone.utc) + _VALID_FOR, scope=stop
            )
        except GolemError as error:
            logger.debug("the proposal of %s is no more: %s", name, error)
            stop.wait(_PAUSE_SECONDS)
            return None
        try:
            answer = self._ask(agreement_id, stop)
        except ScopeEnded:
            self.give_up(agreement_id, release)
            raise
        except GolemError as error:
            # The daemon's trouble says nothing of the instance: another provider is asked.
            self.give_up(agreement_id, release)
            stop.wait(_PAUSE_SECONDS)
            answer = str(error)
        if answer is not None:
            self._emit(AgreementNotMade(instance, proposal.issuer_id, name, answer))
            return None
        self._emit(AgreementMade(instance, agreement_id, proposal.issuer_id, name))
        return Agreement(agreement_id, proposal.issuer_id, name, proposal.properties)

    def _ask(self, agreement_id: str, stop: Scope) -> str | None:
        """None once the provider has approved, else why it has not."""
        try:
            self._yagna.market.confirm(agreement_id, self._app_session_id, scope=stop)
        except YagnaError as error:
            # A lost answer, or a repetition that came too late: only the agreement itself can tell.
            state = self._yagna.market.agreement(agreement_id, scope=stop).state
            if state not in (AgreementState.PENDING, AgreementState.APPROVED):
                self.give_up(agreement_id, stop)
                return str(error.detail)
        answer, reason = self._yagna.market.wait_for_approval(
            agreement_id, timeout=APPROVAL_SECONDS, scope=stop
        )
        if answer is Approval.UNDECIDED and self._yagna.market.cancel(
            agreement_id, "No answer in time", scope=stop
        ):
            return f"no answer within {APPROVAL_SECONDS:.0f} seconds"
        if answer is Approval.UNDECIDED:
            # It answered at the last moment: now it is decided.
            answer, reason = self._yagna.market.wait_for_approval(agreement_id, timeout=1.0, scope=stop)
        return None if answer is Approval.APPROVED else reason

    def give_up(self, agreement_id: str, scope: Scope) -> None:
        """End an agreement of which nobody knows how far it came."""
        try:
            if not self._yagna.market.cancel(agreement_id, "Not needed any more", scope=scope):
                self._yagna.market.terminate(agreement_id, "Not needed any more", "Cancelled", scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning("the agreement %s could not be cancelled: %s", agreement_id, error)

    def terminate(self, agreement: Agreement, reason: str, code: str, scope: Scope) -> bool:
        """End an agreement in force; False, and a warning, if the daemon does not do it in time."""
        try:
            self._yagna.market.terminate(agreement.agreement_id, reason, code, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning(
                "the agreement %s with %s could not be terminated: %s",
                agreement.agreement_id,
                agreement,
                error or "no time left",
            )
            return False
        return True

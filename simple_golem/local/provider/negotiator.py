"""One provider's offer in one subnet: publishes it, renews it, and negotiates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import NoDaemon, YagnaError
from ...yagna.api.provider import ProviderApi
from ...yagna.values import AgreementProposed, Proposal
from ..control import rules
from ..control.habits import Answer, ProviderHabits
from ..control.rules import OnStrike
from .demand_rules import Refusal, refusal_of
from .fortune import Fortune
from .offer import CAPABILITIES, counter_properties, offer_constraints
from .package import demand_refusal

logger = logging.getLogger(__name__)

_EVENT_POLL_SECONDS = 30.0
_RENEWAL_PAUSE_SECONDS = 0.1


class Negotiator:
    """A thread that answers the proposals and agreements for an offer."""

    def __init__(
        self,
        name: str,
        subnet: str,
        api: ProviderApi,
        properties: Mapping[str, Any],
        habits: ProviderHabits,
        *,
        scope: Scope,
        refusal_now: Callable[[], str],
        accept: Callable[[Mapping[str, Any]], str],
        on_strike: OnStrike,
        fortune: Fortune,
    ) -> None:
        """Start the thread, which publishes the offer; does not block.

        Args:
            name: the provider's name.
            subnet: the subnet of the offer.
            api: the far daemon's API, with the provider's key.
            properties: the properties of the offer.
            habits: how the provider behaves.
            scope: the scope of the provider; nothing is sent after it was cancelled.
            refusal_now: returns why the provider accepts no agreement now; `""` if it does.
            accept: accepts an agreement and returns `""`, or returns why it refuses.
            on_strike: called when a rule refuses something.
            fortune: what a real network does to the provider.
        """
        self._name = f"{name}-offer-{subnet}"
        self._api = api
        self._properties = properties
        self._constraints = offer_constraints(subnet)
        self._habits = habits
        self._provider = scope
        # The id of the published offer; stays when the provider dies.
        self.offer_id: str | None = None
        self._scope = Scope(scope)
        # The scope of the offer that is published now.
        self._round = Scope(self._scope)
        self._refusal_now = refusal_now
        self._accept = accept
        self._on_strike = on_strike
        self._fortune = fortune
        self._has_refused = False
        self._thread = EngineThread(self._name, self._run).start()

    def offer_again(self) -> None:
        """Publish a new offer if somebody was refused: a refused requestor can't use the old one again."""
        if self._has_refused:
            self._round.cancel("the offer is renewed")

    def join(self, timeout: float) -> bool:
        return self._thread.join(timeout)

    def _run(self) -> None:
        self._scope.wait(self._fortune.offer_seconds())
        while not self._scope.cancelled:
            try:
                self.offer_id = self._api.publish_offer(
                    self._properties, self._constraints, scope=self._provider
                )
                with Scope(self._scope) as self._round:
                    self._answer_until_withdrawn(self.offer_id)
            except ScopeEnded:
                return
            except (NoDaemon, YagnaError) as error:
                # The offer has expired, or was lost in a restart of the daemon.
                logger.info("%s is renewed: %s", self._name, error)
                self._scope.wait(_RENEWAL_PAUSE_SECONDS)

    def _answer_until_withdrawn(self, offer_id: str) -> None:
        try:
            self._answer_all(offer_id)
        except ScopeEnded:
            self._has_refused = False
            self._api.withdraw_offer(offer_id, scope=self._provider)
            self.offer_id = None

    def _answer_all(self, offer_id: str) -> None:
        while True:
            # Unlike a demand, a withdrawn offer does not wake the reader of its events.
            for event in self._api.offer_events(offer_id, timeout=_EVENT_POLL_SECONDS, scope=self._round):
                try:
                    self._answer(offer_id, event)
                except YagnaError as error:
                    # The requestor has withdrawn its demand, or its daemon is down; the offer stays.
                    logger.info("%s: an answer was not accepted: %s", self._name, error)

    def _answer(self, offer_id: str, event: object) -> None:
        self._round.wait(self._fortune.answer_seconds())
        if isinstance(event, Proposal):
            self._negotiate(offer_id, event)
        elif isinstance(event, AgreementProposed):
            self._decide(event.agreement)

    def _decide(self, agreement: Mapping[str, Any]) -> None:
        if self._habits.agreements is Answer.NEVER:
            return
        refusal = (
            self._habit_refusal(self._habits.agreements)
            or self._demand_refusal(agreement["demand"]["properties"])
            or self._capacity_refusal(lambda: self._accept(agreement))
        )
        self._report("an agreement", refusal)
        if refusal is not None and refusal.message is not None:
            self._api.reject_agreement(
                agreement["agreementId"], refusal.message, is_final=refusal.is_final, scope=self._scope
            )

    def _negotiate(self, offer_id: str, proposal: Proposal) -> None:
        if self._habits.proposals is Answer.NEVER:
            return
        refusal = (
            self._habit_refusal(self._habits.proposals)
            or self._demand_refusal(proposal.properties)
            or self._capacity_refusal(self._refusal_now)
        )
        self._report("a proposal", refusal)
        if refusal is None:
            self._api.counter(
                offer_id,
                proposal.proposal_id,
                counter_properties(self._properties, proposal.properties, self._habits.insists_on_interval),
                self._constraints,
                scope=self._scope,
            )
        elif refusal.message is not None:
            self._api.reject_proposal(
                offer_id, proposal.proposal_id, refusal.message, is_final=refusal.is_final, scope=self._scope
            )

    def _habit_refusal(self, answer: Answer) -> Refusal | None:
        if answer is Answer.YES and not self._fortune.rejects():
            return None
        return Refusal(None, self._habits.reason, is_final=False)

    def _demand_refusal(self, demand: Mapping[str, Any]) -> Refusal | None:
        refusal = refusal_of(demand, self._properties, datetime.now(timezone.utc))
        if refusal is None:
            manifest = demand_refusal(demand, self._properties[CAPABILITIES])
            refusal = Refusal(rules.MANIFEST, manifest, is_final=True) if manifest else None
        return refusal

    def _capacity_refusal(self, ask: Callable[[], str]) -> Refusal | None:
        # Set before the question: an agreement may end, and call `offer_again`, before its answer.
        self._has_refused = True
        message = ask()
        self._has_refused = bool(message)
        return Refusal(rules.CAPACITY, message, is_final=False) if message else None

    def _report(self, what: str, refusal: Refusal | None) -> None:
        if refusal is not None and refusal.rule is not None:
            self._on_strike(refusal.rule, what, refusal.message or "the provider does not answer")

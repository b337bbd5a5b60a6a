"""One provider's offer in one subnet: published, kept alive, negotiated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import NoDaemon, YagnaError
from ...yagna.api.provider import ProviderApi
from ...yagna.values import AgreementProposed, Proposal
from ..control.habits import Answer, ProviderHabits
from .offer import CAPABILITIES, counter_properties, offer_constraints
from .package import demand_refusal

logger = logging.getLogger(__name__)

_POLL_SECONDS = 30.0
_PAUSE_SECONDS = 0.1


class Negotiator:
    """A thread that answers whoever is interested in an offer."""

    def __init__(
        self,
        name: str,
        subnet: str,
        api: ProviderApi,
        properties: Mapping[str, Any],
        habits: ProviderHabits,
        *,
        scope: Scope,
        full: Callable[[], str],
        take: Callable[[Mapping[str, Any]], str],
    ) -> None:
        """Publish the offer and begin to answer; does not block.

        Args:
            name: the provider's.
            subnet: where the offer is made.
            api: the far daemon, with the provider's key.
            properties: the offer's.
            habits: how the provider answers.
            scope: of the provider; when it is cancelled nothing more is sent.
            full: says why the provider takes no more agreements at present, `""` if it does.
            take: takes an agreement over, or says why not.
        """
        self._name = f"{name}-offer-{subnet}"
        self._api = api
        self._properties = properties
        self._constraints = offer_constraints(subnet)
        self._habits = habits
        self._provider = scope
        # What is published at present, or was when the provider died.
        self.offer_id: str | None = None
        self._scope = Scope(scope)
        # That of the offer as it is published at present.
        self._round = Scope(self._scope)
        self._full = full
        self._take = take
        self._turned_away = False
        self._thread = EngineThread(self._name, self._run).start()

    def free_again(self) -> None:
        """The provider has room: who was turned away gets a new offer, since the old one is used up."""
        if self._turned_away:
            self._round.cancel("the offer is made anew")

    def close(self) -> None:
        """Withdraw the offer; does not block, the thread does it as its last work."""
        self._scope.cancel("the offer is withdrawn")
        self._scope.close()

    def join(self, timeout: float) -> bool:
        return self._thread.join(timeout)

    def _run(self) -> None:
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
                # It has expired after an hour, or was lost in a restart of the daemon.
                logger.info("%s is made anew: %s", self._name, error)
                self._scope.wait(_PAUSE_SECONDS)

    def _answer_until_withdrawn(self, offer_id: str) -> None:
        try:
            self._answer_all(offer_id)
        except ScopeEnded:
            self._turned_away = False
            self._api.withdraw_offer(offer_id, scope=self._provider)
            self.offer_id = None

    def _answer_all(self, offer_id: str) -> None:
        while True:
            # Withdrawing an offer does not wake a reader of its events, as it does with a demand.
            for event in self._api.offer_events(offer_id, timeout=_POLL_SECONDS, scope=self._round):
                try:
                    self._answer(offer_id, event)
                except YagnaError as error:
                    # The requestor has lost interest, or its daemon is down; the offer itself is still there.
                    logger.info("%s: an answer was not taken: %s", self._name, error)

    def _answer(self, offer_id: str, event: object) -> None:
        if isinstance(event, Proposal):
            self._negotiate(offer_id, event)
        elif isinstance(event, AgreementProposed):
            self._decide(event.agreement)

    def _decide(self, agreement: Mapping[str, Any]) -> None:
        if self._habits.agreements is Answer.NEVER:
            return
        refusal = self._habits.reason
        if self._habits.agreements is Answer.YES:
            refusal = self._unfit(agreement["demand"]["properties"])
            refusal = refusal or self._refusal(lambda: self._take(agreement))
        if refusal:
            self._api.reject_agreement(agreement["agreementId"], refusal, scope=self._scope)

    def _refusal(self, ask: Callable[[], str]) -> str:
        # Said before it is true: the provider may become free in the very moment of being asked.
        self._turned_away = True
        refusal = ask()
        self._turned_away = bool(refusal)
        return refusal

    def _unfit(self, demand: Mapping[str, Any]) -> str:
        return demand_refusal(demand, self._properties[CAPABILITIES])

    def _negotiate(self, offer_id: str, proposal: Proposal) -> None:
        if self._habits.proposals is Answer.NEVER:
            return
        refusal = self._habits.reason
        if self._habits.proposals is Answer.YES:
            refusal = self._unfit(proposal.properties) or self._refusal(self._full)
        if refusal:
            self._api.reject_proposal(offer_id, proposal.proposal_id, refusal, scope=self._scope)
            return
        self._api.counter(
            offer_id,
            proposal.proposal_id,
            counter_properties(self._properties, proposal.properties, self._habits.insists_on_interval),
            self._constraints,
            scope=self._scope,
        )

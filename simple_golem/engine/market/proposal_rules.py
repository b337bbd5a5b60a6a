"""Says of offers, and of answers to a demand, whether they are taken, and what they are worth."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from ...model.offers.offer import Offer
from ...model.offers.prices import Prices
from ...model.offers.strategy import Strategy
from ...model.offers.terms import Terms
from ...yagna.values import Proposal
from ..payment.budget import RESERVE_SECONDS

logger = logging.getLogger(__name__)


class Funds(Protocol):
    """What is left of a budget."""

    def left(self) -> Decimal:
        """GLM that nothing else needs."""

    def reserve(self, provider_id: str, amount: Decimal) -> None:
        """An agreement with a provider is being made, which needs so much."""


@dataclass(frozen=True, slots=True)
class ProposalRules:
    """The rules of one cluster.

    Attributes:
        strategy, terms: what the user asked for.
        platform: the payment platform that both sides need.
        banned: whether a provider, by its id, has cheated in this session.
        is_free: whether a provider could be taken, holding the chooser's condition.
        budget: what may still be spent.
    """

    strategy: Strategy
    terms: Terms
    platform: str
    banned: Callable[[str], bool]
    is_free: Callable[[str], bool]
    budget: Funds

    def objection(self, proposal: Proposal, *, final: bool) -> str | None:
        """Why a proposal is turned down, None if not; `final` for one that could become an agreement."""
        offer = Offer.of(proposal.issuer_id, proposal.properties)
        if f"golem.com.payment.platform.{self.platform}.address" not in proposal.properties:
            return "No common payment platform"
        if self.banned(proposal.issuer_id):
            return "It has asked for more than was agreed"
        try:
            objection = self.strategy.objection(offer)
        except Exception:
            logger.exception("the strategy's `accept` failed for %s, which is not taken", offer.provider_name)
            return "The requestor's filter failed"
        return objection or self.terms.objection(proposal.properties, final=final)

    def needs(self, proposal: Proposal) -> Decimal:
        """GLM that it takes to begin an activity with who proposes, and to end it in good order."""
        prices = Prices.of(proposal.properties)
        if prices is None:
            return Decimal(0)
        return prices.estimate(float(RESERVE_SECONDS), self.strategy.expected_load)

    def worth(self, proposal: Proposal) -> float | None:
        """The score of a proposal by the strategy; None if it is refused, or its scoring failed."""
        offer = Offer.of(proposal.issuer_id, proposal.properties)
        try:
            return self.strategy.worth(offer)
        except Exception:
            logger.exception("the strategy's `score` failed for %s, which is not taken", offer.provider_name)
            return None

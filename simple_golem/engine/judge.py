"""Says of offers, and of answers to a demand, whether they are taken, and what they are worth."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from ..model.cost import plain
from ..model.offer import Offer
from ..model.prices import Prices
from ..model.strategy import Strategy
from ..model.terms import Terms
from ..yagna.values import Proposal

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """The rules of one cluster.

    Attributes:
        strategy, terms: what the user asked for.
        platform: the payment platform that both sides need.
        banned: whether a provider, by its id, has cheated in this session.
        is_free: whether a provider could be taken, holding the chooser's condition.
        funds: GLM that may still be spent.
    """

    strategy: Strategy
    terms: Terms
    platform: str
    banned: Callable[[str], bool]
    is_free: Callable[[str], bool]
    funds: Callable[[], Decimal]

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
        objection = objection or self.unaffordable(proposal)
        return objection or self.terms.objection(proposal.properties, final=final)

    def unaffordable(self, proposal: Proposal) -> str | None:
        """Why what is left of the budget is not enough for a proposal's start alone; None if it is."""
        prices, left = Prices.of(proposal.properties), self.funds()
        if prices is None or prices.start <= left:
            return None
        start, rest = plain(prices.start), plain(round(left, 9))
        return f"A start price of {start} GLM is above the {rest} GLM left of the budget"

    def worth(self, proposal: Proposal) -> float | None:
        """The score of a proposal by the strategy; None if it is refused, or its scoring failed."""
        offer = Offer.of(proposal.issuer_id, proposal.properties)
        try:
            return self.strategy.worth(offer)
        except Exception:
            logger.exception("the strategy's `score` failed for %s, which is not taken", offer.provider_name)
            return None

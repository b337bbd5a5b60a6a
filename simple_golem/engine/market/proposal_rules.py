"""Which offers and answers a cluster accepts, and how it rates them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from ...background.forks import user_code
from ...errors import BadStrategy
from ...model.offers.offer import Offer
from ...model.offers.prices import Prices
from ...model.offers.strategy import ExceededLimit, Strategy
from ...model.offers.terms import Terms
from ...yagna.values import Proposal
from ..payment.budget import RESERVE_SECONDS


@dataclass(frozen=True, slots=True)
class ProposalRules:
    """The rules of one cluster.

    Attributes:
        strategy, terms: given by the user.
        platform: the payment platform that both sides must have.
        is_banned: whether a provider, given by its id, has cheated in this session.
    """

    strategy: Strategy
    terms: Terms
    platform: str
    is_banned: Callable[[str], bool]

    def objection(self, proposal: Proposal, *, final: bool) -> str | None:
        """Return why a proposal is rejected, in words for the provider; None if there is no objection.

        Args:
            proposal: an offer, or an answer to this side's counter-proposal.
            final: True for an answer, which could become an agreement: it must contain the terms.

        Raises:
            BadStrategy: the user's function has failed.
        """
        offer = Offer.of(proposal.issuer_id, proposal.properties)
        if f"golem.com.payment.platform.{self.platform}.address" not in proposal.properties:
            return "No common payment platform"
        if self.is_banned(proposal.issuer_id):
            return "It has asked for more than was agreed"
        try:
            with user_code():
                objection = self.strategy.objection(offer)
        except Exception as error:
            raise _strategy_failed("accept", offer, error) from error
        return objection or self.terms.objection(proposal.properties, final=final)

    def exceeded_limit(self, proposal: Proposal) -> ExceededLimit | None:
        """Return the price limit of the strategy that a proposal exceeds; None if there is none."""
        prices = Prices.of(proposal.properties)
        return None if prices is None else self.strategy.exceeded_limit(prices)

    def needs(self, proposal: Proposal) -> Decimal:
        """Return how many GLM it costs to start an activity at this provider and to stop it properly."""
        prices = Prices.of(proposal.properties)
        if prices is None:
            return Decimal(0)
        return prices.estimate(float(RESERVE_SECONDS), self.strategy.expected_load)

    def worth(self, proposal: Proposal) -> float | None:
        """Return the strategy's score of a proposal; None if the strategy refuses it.

        Raises:
            BadStrategy: the user's function has failed.
        """
        offer = Offer.of(proposal.issuer_id, proposal.properties)
        try:
            with user_code():
                return self.strategy.worth(offer)
        except Exception as error:
            raise _strategy_failed("score", offer, error) from error


def _strategy_failed(function: str, offer: Offer, error: Exception) -> BadStrategy:
    what = str(error) if isinstance(error, BadStrategy) else f"{type(error).__name__}: {error}"
    return BadStrategy(f"the strategy's `{function}` failed for the offer of {offer.provider_name}: {what}")

"""Offers of providers, and the rules by which the cluster of a test accepts them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from simple_golem.background.threads import WorkerPool
from simple_golem.engine.event_dispatcher import Emit, EventDispatcher
from simple_golem.engine.market.demand import Demand
from simple_golem.engine.market.demand_properties import EXPIRATION
from simple_golem.engine.market.offer_book import RatedProposal
from simple_golem.engine.market.proposal_rules import ProposalRules
from simple_golem.engine.market.providers import Providers
from simple_golem.model.offers.prices import COEFFICIENTS, CPU, DURATION, MODEL, SCHEME, USAGE_VECTOR
from simple_golem.model.offers.strategy import Strategy
from simple_golem.model.offers.terms import Terms
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Proposal, ProposalState

PLATFORM = "erc20-hoodi-tglm"
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def offered(
    more: Mapping[str, Any] | None = None, *, name: str = "prov", per_second: float = 0.0001
) -> dict[str, Any]:
    """The properties of a normal offer, on the payment platform of the tests."""
    return {
        "golem.node.id.name": name,
        f"golem.com.payment.platform.{PLATFORM}.address": "0xprov",
        MODEL: "linear",
        SCHEME: "payu",
        USAGE_VECTOR: [DURATION, CPU],
        COEFFICIENTS: [per_second, 0.0002, 0.0001],
        **(more or {}),
    }


def proposal_of(
    provider: str, properties: Mapping[str, Any], state: ProposalState = ProposalState.DRAFT
) -> Proposal:
    return Proposal(f"R-{provider}", provider, state, properties, "()", NOON)


class Purse:
    """A budget that pays nothing and only reserves."""

    currency = "GLM"

    def __init__(self, amount: str = "1") -> None:
        self.amount = Decimal(amount)
        self.reserved: dict[str, Decimal] = {}

    def left(self) -> Decimal:
        return self.amount - sum(self.reserved.values())

    def reserve(self, provider_id: str, amount: Decimal) -> bool:
        if amount > self.left():
            return False
        self.reserved[provider_id] = amount
        return True


# Three hours from now, in the daemon's milliseconds.
ENDS = {EXPIRATION: int(time.time() + 3 * 3600) * 1000}


def rated(provider: str, worth: float = 1.0, needs: str = "0") -> RatedProposal:
    """A rated offer or answer of a provider."""
    return RatedProposal("d1", proposal_of(provider, {}), worth, Decimal(needs))


def rules_of(
    strategy: Strategy | None = None, terms: Terms | None = None, *, banned: tuple[str, ...] = ()
) -> ProposalRules:
    return ProposalRules(strategy or Strategy(), terms or Terms(), PLATFORM, banned.__contains__)


def demand_of(
    yagna: Yagna,
    workers: WorkerPool,
    properties: Mapping[str, Any] | None = None,
    constraints: str = "()",
    *,
    rules: ProposalRules | None = None,
    providers: Providers | None = None,
    purse: Purse | None = None,
    emit: Emit | None = None,
) -> Demand:
    return Demand(
        yagna,
        workers,
        properties or ENDS,
        constraints,
        rules or rules_of(),
        providers or Providers(),
        purse or Purse(),
        "Hello",
        emit or EventDispatcher().emit,
    )

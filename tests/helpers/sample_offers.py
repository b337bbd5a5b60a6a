"""Offers as providers make them, and the rules by which a test's cluster takes them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from simple_golem.background.threads import WorkerPool
from simple_golem.engine.event_dispatcher import EventDispatcher
from simple_golem.engine.market.demand import Demand
from simple_golem.engine.market.proposal_rules import ProposalRules
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
    """The properties of an honest offer that can be paid on the tests' platform."""
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
    """What is left of a budget, for whoever reserves first."""

    def __init__(self, amount: Decimal) -> None:
        self.amount = amount
        self.reserved: dict[str, Decimal] = {}

    def left(self) -> Decimal:
        return self.amount - sum(self.reserved.values())

    def reserve(self, provider_id: str, amount: Decimal) -> None:
        self.reserved[provider_id] = amount


def judge(
    strategy: Strategy | None = None,
    terms: Terms | None = None,
    *,
    banned: tuple[str, ...] = (),
    funds: str = "1",
) -> ProposalRules:
    return ProposalRules(
        strategy or Strategy(),
        terms or Terms(),
        PLATFORM,
        banned.__contains__,
        lambda provider_id: True,
        Purse(Decimal(funds)),
    )


def demand_of(
    yagna: Yagna,
    workers: WorkerPool,
    changed: threading.Condition,
    properties: Mapping[str, Any] | None = None,
    rules: ProposalRules | None = None,
    name: str = "1",
    constraints: str = "()",
) -> Demand:
    demand = Demand(
        yagna, workers, changed, properties or {}, constraints, rules or judge(), name, EventDispatcher().emit
    )
    # Nobody is countered as long as no instance looks for a provider.
    demand.wanted = 1
    return demand

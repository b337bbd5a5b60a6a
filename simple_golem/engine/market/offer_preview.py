"""A look at the market, without committing to anything."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ...background.cancellation import Deadline, Scope
from ...model.offers.offer import Offer
from ...model.offers.strategy import Strategy
from ...model.payload.payload import Payload
from ...model.settings import Settings
from ...yagna.client import Yagna
from ...yagna.values import Proposal, ProposalState

_QUIET_SECONDS = 1.0
_LIVES_FOR = timedelta(minutes=30)


def offers_on_market(
    settings: Settings, payload: Payload, seconds: float, strategy: Strategy
) -> tuple[Offer, ...]:
    """Look at the market through a connection of its own; the best by `strategy` come first."""
    yagna = Yagna(settings.api_url, settings.app_key, market_url=settings.market_url)
    try:
        found = look_at_market(yagna, settings, payload, seconds, Scope())
    finally:
        yagna.close()
    return tuple(sorted(found, key=lambda offer: -_worth(strategy, offer)))


def _worth(strategy: Strategy, offer: Offer) -> float:
    worth = strategy.worth(offer) if strategy.objection(offer) is None else None
    return -math.inf if worth is None else worth


def look_at_market(
    yagna: Yagna, settings: Settings, payload: Payload, seconds: float, scope: Scope
) -> tuple[Offer, ...]:
    """Publish a demand, collect the offers that match it, and withdraw it; nothing is answered.

    Args:
        yagna, settings: the daemon, and where on the market to look.
        payload: what is asked for.
        seconds: how long to collect at most; it ends earlier when a second has brought nothing new.
        scope: cancelling it ends the look.

    Returns:
        The offers, one for each provider.
    """
    demand_id = yagna.market.publish_demand(_properties(payload, settings), _constraints(payload, settings))
    try:
        return tuple(_collect(yagna, demand_id, seconds, scope).values())
    finally:
        yagna.market.unsubscribe(demand_id)


def _collect(yagna: Yagna, demand_id: str, seconds: float, scope: Scope) -> Mapping[str, Offer]:
    found: dict[str, Offer] = {}
    left = Deadline(seconds)
    news = time.monotonic()
    while not left.passed and not (found and time.monotonic() - news > _QUIET_SECONDS):
        scope.check()
        poll = min(left.remaining(), _QUIET_SECONDS)
        for event in yagna.market.demand_events(demand_id, timeout=poll, scope=scope):
            if isinstance(event, Proposal) and event.state is ProposalState.INITIAL:
                news = news if event.issuer_id in found else time.monotonic()
                found[event.issuer_id] = Offer.of(event.issuer_id, event.properties)
    return found


def _properties(payload: Payload, settings: Settings) -> dict[str, Any]:
    until = datetime.now(timezone.utc) + _LIVES_FOR
    return {
        "golem.srv.comp.expiration": int(until.timestamp() * 1000),
        "golem.node.debug.subnet": settings.subnet_tag,
        **payload.properties,
    }


def _constraints(payload: Payload, settings: Settings) -> str:
    offered = f"(golem.com.payment.platform.{settings.payment_platform}.address=*)"
    parts = [*payload.constraints, f"(golem.node.debug.subnet={settings.subnet_tag})", offered]
    return "(&" + "\n  ".join(parts) + ")"

"""Which offers are on the market: they are read, and none is answered."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ...background.cancellation import Deadline, Scope
from ...background.forks import user_code
from ...model.offers.explanation import Explanation, MarketOffer, explain
from ...model.offers.offer import Offer
from ...model.offers.offers import Offers
from ...model.offers.strategy import Strategy
from ...model.offers.terms import Terms
from ...model.payload.payload import Payload
from ...model.settings import Settings
from ...yagna.client import Yagna
from ...yagna.values import Proposal, ProposalState
from .demand_properties import publish_marked

# The preview ends when no new offer has arrived for this time.
_QUIET_SECONDS = 1.0
# Between two requests that brought nothing.
_SHORTEST_POLL_SECONDS = 0.05
_DEMAND_LIFETIME = timedelta(minutes=30)


def offers_on_market(settings: Settings, payload: Payload, seconds: float, strategy: Strategy) -> Offers:
    """Return the offers that match a payload, best first; blocks for `seconds` at most.

    Args:
        settings: the daemon and the subnet; the connection is closed at the end.
        payload: what an offer has to match.
        seconds: how long offers are collected.
        strategy: rates them. Those that it refuses come last.
    """
    yagna = Yagna(settings.api_url, settings.app_key, market_url=settings.market_url)
    try:
        yagna.identity.me()  # the first answer shows the time of the daemon
        found = collect_offers(yagna, settings, payload, seconds, Scope())
    finally:
        yagna.close()
    return Offers.priced_in(settings.currency, sorted(found, key=lambda offer: -_worth(strategy, offer)))


def explanation_of_market(
    yagna: Yagna,
    settings: Settings,
    payload: Payload,
    strategy: Strategy,
    terms: Terms,
    scope: Scope | None = None,
) -> Explanation:
    """Say which conditions of a demand keep how many providers away; blocks for a few requests.

    No demand is published. All offers that the daemon knows are read, and judged here.

    Args:
        yagna, settings: the daemon, the subnet and the payment network.
        payload: what a provider has to have.
        strategy, terms: what providers have to accept, and whom the user accepts.
        scope: cancelling it abandons the requests.

    Raises:
        BadStrategy: the user's function has failed.
    """
    known = yagna.market.scan(scope=scope)
    offers = [MarketOffer(Offer.of(one.provider_id, one.properties), one.constraints) for one in known]
    properties = {
        **_properties(payload, settings, yagna.clock.now()),
        f"golem.com.payment.platform.{settings.payment_platform}.address": "",
    }
    with user_code():
        return explain(offers, payload, properties, settings, strategy, terms)


def explanation_without_session(
    settings: Settings, payload: Payload, strategy: Strategy, terms: Terms
) -> Explanation:
    """Do the same over a connection of its own."""
    yagna = Yagna(settings.api_url, settings.app_key, market_url=settings.market_url)
    try:
        yagna.identity.me()  # the first answer shows the time of the daemon
        return explanation_of_market(yagna, settings, payload, strategy, terms)
    finally:
        yagna.close()


def _worth(strategy: Strategy, offer: Offer) -> float:
    worth = strategy.worth(offer) if strategy.objection(offer) is None else None
    return -math.inf if worth is None else worth


def collect_offers(
    yagna: Yagna, settings: Settings, payload: Payload, seconds: float, scope: Scope
) -> tuple[Offer, ...]:
    """Publish a demand, collect the offers that match it, and withdraw it; blocks for `seconds` at most.

    Args:
        yagna, settings: the daemon, and the subnet.
        payload: what an offer has to match.
        seconds: how long offers are collected; less if no new one has arrived for a second.
        scope: cancelling it ends the collecting.

    Returns:
        The newest offer of each provider.

    Raises:
        ScopeEnded: `scope` was cancelled.
    """
    demand_id = publish_marked(
        yagna, _properties(payload, settings, yagna.clock.now()), _constraints(payload, settings), scope
    )
    try:
        return tuple(_collect(yagna, demand_id, seconds, scope).values())
    finally:
        yagna.market.unsubscribe(demand_id)


def _collect(yagna: Yagna, demand_id: str, seconds: float, scope: Scope) -> Mapping[str, Offer]:
    found: dict[str, Offer] = {}
    left = Deadline(seconds)
    newest_at = time.monotonic()
    while not left.passed and not (found and time.monotonic() - newest_at > _QUIET_SECONDS):
        scope.check()
        poll = min(left.remaining(), _QUIET_SECONDS)
        next_poll = Deadline(min(poll, _SHORTEST_POLL_SECONDS))
        events = yagna.market.demand_events(demand_id, timeout=poll, scope=scope)
        for event in events:
            if isinstance(event, Proposal) and event.state is ProposalState.INITIAL:
                newest_at = newest_at if event.issuer_id in found else time.monotonic()
                found[event.issuer_id] = Offer.of(event.issuer_id, event.properties)
        if not events:
            scope.wait(next_poll.remaining())
    return found


def _properties(payload: Payload, settings: Settings, now: datetime) -> dict[str, Any]:
    until = now + _DEMAND_LIFETIME
    return {
        "golem.srv.comp.expiration": int(until.timestamp() * 1000),
        "golem.node.debug.subnet": settings.subnet_tag,
        **payload.properties,
    }


def _constraints(payload: Payload, settings: Settings) -> str:
    payable = f"(golem.com.payment.platform.{settings.payment_platform}.address=*)"
    parts = [*payload.constraints, f"(golem.node.debug.subnet={settings.subnet_tag})", payable]
    return "(&" + "\n  ".join(parts) + ")"

"""What a demand says on the market: its properties, with its marks, and its constraints."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ...background.cancellation import Scope, ScopeEnded
from ...model.payload.payload import Payload
from ...model.settings import Settings
from ...yagna.client import Yagna
from ...yagna.transport.retry import RESTART_SECONDS, Repeat, made_once
from ...yagna.values import Decorations

# Cleaning up finds the demands of a killed session on the daemon by this property.
SESSION_MARK = "simple_golem.session"
# Each publication has its own; a demand whose id was lost with the daemon's answer is found by it.
PUBLICATION_MARK = "simple_golem.publication"
EXPIRATION = "golem.srv.comp.expiration"
# Providers refuse an agreement that ends in less than 5 minutes. One that is made just before the cluster
# ends must be longer, too; this side terminates it.
_SHORTEST_AGREEMENT = timedelta(minutes=6)


def demand_properties(
    payload: Payload, decorations: Decorations, settings: Settings, expiration: datetime, app_session_id: str
) -> dict[str, Any]:
    """Return the properties of a cluster's demand.

    Args:
        payload: its properties are added to those of the demand.
        decorations: what the payment driver adds.
        settings: the subnet.
        expiration: when the cluster ends by the daemon's clock, an aware datetime. The agreements could last
            6 minutes longer, so that providers accept them until then.
        app_session_id: the session, for a later clean-up.
    """
    until = expiration + _SHORTEST_AGREEMENT
    return {
        EXPIRATION: int(until.timestamp() * 1000),
        SESSION_MARK: app_session_id,
        "golem.srv.caps.multi-activity": True,
        "golem.node.debug.subnet": settings.subnet_tag,
        "golem.node.id.name": "simple_golem",
        **payload.properties,
        **decorations.properties,
    }


def publish_marked(
    yagna: Yagna,
    properties: Mapping[str, Any],
    constraints: str,
    scope: Scope,
    seconds: float = RESTART_SECONDS,
    *,
    abandon: Scope | None = None,
    on_lost_answer: Callable[[], object] = lambda: None,
) -> str:
    """Publish a demand once, also where the daemon's answer is lost; returns its id.

    Args:
        yagna: the daemon.
        properties, constraints: what it says; a mark is added.
        scope: cancelling it ends the pauses and the search for a lost demand, but not the publication itself.
        seconds: after this time, a failed request is not repeated any more.
        abandon: cancelling it abandons the publication, too.
        on_lost_answer: called when the daemon may have published it, and its answer is lost.

    Raises:
        YagnaError, NoDaemon: the daemon refuses, or gave no answer.
        ScopeEnded: one of the scopes was cancelled.
    """
    market, mark = yagna.market, secrets.token_hex(8)
    marked = {**properties, PUBLICATION_MARK: mark}

    def publish() -> str:
        try:
            return market.publish_demand(marked, constraints, scope=abandon, repeat=Repeat.NEVER)
        except ScopeEnded:
            on_lost_answer()
            raise

    def find() -> str | None:
        on_lost_answer()
        demands = market.demands(scope=scope)
        found = (one for one in demands if one["properties"].get(PUBLICATION_MARK) == mark)
        return next((str(one["demandId"]) for one in found), None)

    return made_once(publish, find, scope, seconds)


def demand_constraints(payload: Payload, decorations: Decorations, settings: Settings) -> str:
    """Return the constraints that an offer has to fulfil, as one expression."""
    parts = [
        *payload.constraints,
        f"(golem.node.debug.subnet={settings.subnet_tag})",
        "(golem.com.pricing.model=linear)",
        *decorations.constraints,
    ]
    return "(&" + "\n  ".join(parts) + ")"

"""Checks the arguments of `Golem.pool`, and makes a pool of them."""

from __future__ import annotations

from dataclasses import replace

import tenacity

from ...background.cancellation import checked_seconds
from ...engine.network.network_handle import Network
from ...engine.session import Session
from ...errors import BadInstanceCount
from ...model.offers.strategy import Strategy
from ...model.offers.terms import Terms
from ...model.payload.payload import Payload
from ...model.service.respawn import Respawn
from ...model.service.service import Service
from ..cluster_builder import ClusterBuilder
from .pool import Pool
from .retry_rules import ErrorClasses, RetryRules
from .work_check import check_pool_service

# So many providers are tried for a machine that does not start.
_START_ATTEMPTS = 5


def pool_and_builder(
    session: Session,
    stop_grace: float,
    max_machines: int,
    service: type[Service],
    payload: Payload | None,
    name: str | None,
    *,
    network: bool | Network,
    attempts: int,
    retry: ErrorClasses | None,
    item_timeout: float | None,
    idle_seconds: float,
    strategy: Strategy,
    terms: Terms,
) -> tuple[Pool, ClusterBuilder]:
    """Return a pool that is not started, and what makes its clusters; blocks for the image registry.

    The arguments and errors are those of `Golem.pool`.
    """
    checked = check_pool_service(service)
    if isinstance(max_machines, bool) or not isinstance(max_machines, int) or max_machines < 1:
        raise BadInstanceCount(f"max_machines is {max_machines!r}: give a whole number, 1 or more")
    respawn = Respawn.checked(
        True, False, tenacity.stop_after_attempt(_START_ATTEMPTS), tenacity.wait_exponential(max=30)
    )
    rules = RetryRules.checked(attempts, Pool.default_retry if retry is None else retry)
    limit = checked_seconds(item_timeout, "item_timeout")
    idle = checked_seconds(idle_seconds, "idle_seconds", allow_none=False) or 0.0
    builder = ClusterBuilder.checked(
        session.settings.registry_url,
        checked,
        1,
        None,
        payload,
        None,
        name="pool" if name is None and checked is Service else name,
        network=network,
        strategy=strategy,
        terms=terms,
        respawn=respawn,
    )
    # A pool makes its network with its first machine, which is too late for these errors.
    if network is not False:
        session.networks.require_possible()
    if isinstance(network, Network):
        network._when_open()
    pool = Pool(
        builder.name,
        max_machines,
        rules,
        session,
        item_timeout=limit,
        idle_seconds=idle,
        stop_grace=stop_grace,
    )
    # The object that was made of the class was a test of its constructor: each machine gets a new one.
    return pool, replace(builder, members=(), occupation=pool._occupation, is_avoided=pool._is_avoided)

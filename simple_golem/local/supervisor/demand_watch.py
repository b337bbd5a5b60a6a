"""Notices the demands that no local provider can answer, since they ask for another subnet or network."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import NoDaemon, YagnaError
from ...model.local_offers import network_not_offered, subnet_not_offered
from ...yagna.client import Yagna
from ..control import rules
from ..control.rules import OnStrike, Rule
from ..provider.offer import SUBNET

logger = logging.getLogger(__name__)

_DEMAND_POLL_SECONDS = 0.5
_PLATFORM = re.compile(r"golem\.com\.payment\.platform\.\w+?-(\w+)-t?glm\.")


class DemandWatch:
    """A thread that reads the demands of the near daemon, and reports those that get no offer."""

    def __init__(
        self,
        near: Yagna,
        subnets: Sequence[str],
        payment_networks: Sequence[str],
        *,
        scope: Scope,
        on_strike: OnStrike,
    ) -> None:
        """Start the thread; does not block.

        Args:
            near: the requestor's daemon.
            subnets: those in which the providers offer.
            payment_networks: those on which the providers are paid.
            scope: the scope of the network; the thread ends with it.
            on_strike: called once for each demand, and for each value that is not offered.
        """
        self._near = near
        self._subnets, self._networks = subnets, payment_networks
        self._scope = scope
        self._on_strike = on_strike
        self._seen: set[str] = set()
        self._thread = EngineThread("demands", self._run).start()

    def join(self, timeout: float) -> bool:
        return self._thread.join(timeout)

    def _run(self) -> None:
        while not self._scope.wait(_DEMAND_POLL_SECONDS):
            try:
                demands = self._near.market.demands(scope=self._scope)
            except ScopeEnded:
                return
            except (NoDaemon, YagnaError) as error:
                logger.info("the near daemon's demands can't be read: %s", error)
                continue
            new = [demand for demand in demands if demand["demandId"] not in self._seen]
            self._seen = {demand["demandId"] for demand in demands}
            for demand in new:
                for rule, text in self._refusals(demand):
                    self._on_strike(rule, f"demand {demand['demandId'][:8]}", text)

    def _refusals(self, demand: Mapping[str, Any]) -> Iterator[tuple[Rule, str]]:
        subnet = str(demand["properties"].get(SUBNET, ""))
        if subnet not in self._subnets:
            yield rules.SUBNET, subnet_not_offered(subnet, self._subnets)
        asked = _PLATFORM.findall(demand.get("constraints", ""))
        if asked and not set(asked) & set(self._networks):
            yield rules.PAYMENT_NETWORK, network_not_offered(asked[0], self._networks)

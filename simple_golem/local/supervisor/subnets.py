"""Makes the providers offer in every subnet that a demand of the requestor names."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import NoDaemon, YagnaError
from ...yagna.client import Yagna
from ..provider.offer import SUBNET

logger = logging.getLogger(__name__)

_DEMAND_POLL_SECONDS = 0.5
# Offers in a subnet that no demand names any more are withdrawn after this time.
_UNUSED_SUBNET_SECONDS = 120.0
# Characters with a meaning in constraints; no subnet of any network has one in its name.
_NO_NAME = re.compile(r"[()*\\=\s]|^$")


class SubnetWatch:
    """A thread that reads the demands of the near daemon, and opens and closes subnets."""

    def __init__(
        self,
        near: Yagna,
        own: str,
        *,
        scope: Scope,
        open_subnet: Callable[[str], None],
        close_subnet: Callable[[str], None],
    ) -> None:
        """Open the network's own subnet for good, and start the thread; does not block.

        Args:
            near: the requestor's daemon.
            own: the network's own subnet.
            scope: the scope of the network; the thread ends with it.
            open_subnet: publishes offers in a subnet; first called here, later by the thread.
            close_subnet: withdraws the offers in a subnet; called by the thread.
        """
        self._near = near
        self._own = own
        self._scope = scope
        self._open, self._close = open_subnet, close_subnet
        self._last_asked: dict[str, float] = {}
        open_subnet(own)
        self._thread = EngineThread("subnets", self._run).start()

    def join(self, timeout: float) -> bool:
        return self._thread.join(timeout)

    def _run(self) -> None:
        while not self._scope.wait(_DEMAND_POLL_SECONDS):
            try:
                self._follow(self._subnets_of_demands())
            except ScopeEnded:
                return
            except (NoDaemon, YagnaError) as error:
                logger.info("the near daemon's demands can't be read: %s", error)

    def _subnets_of_demands(self) -> set[str]:
        demands = self._near.market.demands(scope=self._scope)
        names = {demand["properties"].get(SUBNET) for demand in demands}
        return {name for name in names if isinstance(name, str) and not _NO_NAME.search(name)} - {self._own}

    def _follow(self, asked_for: set[str]) -> None:
        now = time.monotonic()
        for subnet in asked_for - self._last_asked.keys():
            logger.info("a demand in subnet %s: the providers offer there too", subnet)
            self._open(subnet)
        self._last_asked.update(dict.fromkeys(asked_for, now))
        for subnet, last in list(self._last_asked.items()):
            if now - last > _UNUSED_SUBNET_SECONDS:
                del self._last_asked[subnet]
                self._close(subnet)

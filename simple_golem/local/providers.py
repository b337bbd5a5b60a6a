"""All that the providers of a local network have in common, from the bus to the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..scope import Deadline, Scope
from ..yagna.client import Yagna
from .agent import ProviderAgent
from .agreement_life import ExeUnitLike, StateReport
from .bus import Bus
from .daemons import DaemonPair
from .exe_unit import ExeUnit
from .habits import ProviderHabits
from .identities import PROVIDERS
from .images import ImageStore
from .registry import Registry
from .subnets import SubnetWatch
from .usage import UsageReporter


class Providers:
    """The agents of all providers, and the threads that serve them together."""

    def __init__(
        self,
        daemons: DaemonPair,
        app_keys: Mapping[str, str],
        habits: Sequence[ProviderHabits],
        subnet: str,
        images: ImageStore,
    ) -> None:
        """Open for business in `subnet`; returns when every offer is on its way.

        Args:
            daemons: of the network, ready.
            app_keys: of each provider's identity on the far daemon, by its name.
            habits: of each provider; as many as there are to be.
            subnet: where they offer from the beginning.
            images: what their activities can be deployed with.
        """
        self._scope = Scope()
        self._images = images
        self._bus = Bus(daemons.far.gsb_url, "providers")
        self._reporter = UsageReporter(daemons.far.client, self._scope)
        self.registry = Registry(images)
        self.agents = [
            ProviderAgent(
                identity.name,
                identity.node_id,
                Yagna(daemons.far.api_url, app_keys[identity.name]),
                own_habits,
                make_exe_unit=self._make_exe_unit,
                reporter=self._reporter,
                scope=self._scope,
            )
            for identity, own_habits in zip(PROVIDERS, habits, strict=False)
        ]
        self._subnets = SubnetWatch(
            daemons.near.client,
            subnet,
            scope=self._scope,
            open_subnet=self._open_subnet,
            close_subnet=self._close_subnet,
        )

    def close(self, timeout: float) -> bool:
        """End all activities and threads; True if that took less than `timeout` seconds.

        Nothing is said to the daemons, which are about to end as well.
        """
        left = Deadline(timeout)
        self._scope.cancel("the network is going down")
        ended = [agent.join(left.remaining()) for agent in self.agents]
        ended.append(self._subnets.join(left.remaining()))
        ended.append(self._reporter.join(left.remaining()))
        self._bus.close()
        self.registry.close()
        return all(ended)

    def _open_subnet(self, subnet: str) -> None:
        for agent in self.agents:
            agent.offer_in(subnet)

    def _close_subnet(self, subnet: str) -> None:
        for agent in self.agents:
            agent.withdraw_from(subnet)

    def _make_exe_unit(
        self, activity_id: str, task_package: str | None, on_state: StateReport
    ) -> ExeUnitLike:
        return ExeUnit(self._bus, activity_id, self._images, task_package, on_state)

"""All providers of a local network, and what they share: the usage reports, and the image registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...background.cancellation import Deadline, Scope
from ...errors import LocalNetworkError
from ...yagna.client import Yagna
from ..control.habits import ProviderHabits
from ..control.strikes import StrikeLog
from ..daemon.daemon_pair import DaemonPair
from ..daemon.identities import PROVIDERS, LocalIdentity
from ..exe_unit.runtime_program import RuntimeProgram
from ..exe_unit.vpn.networks import VpnSupport
from ..images.image_registry import Registry
from ..images.image_store import ImageStore
from ..provider.agent import ProviderAgent
from ..provider.exe_unit_factory import ExeUnits
from ..provider.usage import UsageReporter
from ..sandbox.sandbox_maker import SandboxMaker
from ..transfer.web_files import Web
from .demand_watch import DemandWatch


class Providers:
    """The agents of all providers, and the threads that they share."""

    def __init__(
        self,
        daemons: DaemonPair,
        app_keys: Mapping[str, str],
        habits: Sequence[ProviderHabits],
        subnets: Sequence[str],
        payment_networks: Sequence[str],
        images: ImageStore,
        sandboxes: SandboxMaker,
        vpn: VpnSupport,
        strikes: StrikeLog,
        has_chain: bool,
        programs: Sequence[RuntimeProgram] = (),
    ) -> None:
        """Start all providers; does not wait until their offers are published.

        Args:
            daemons: the running daemons of the network.
            app_keys: the app keys of the providers' identities on the far daemon, by provider name.
            habits: the habits of each provider.
            subnets: those in which they offer.
            payment_networks: those on which they are paid.
            images: the images that activities can be deployed with.
            sandboxes: makes the private roots of the activities.
            vpn: what this machine can do for private networks.
            strikes: the log of what rules refuse or change.
            has_chain: whether debit notes can be paid.
            programs: the runtimes of the user's own.
        """
        self._programs = {program.name: program for program in programs}
        self._sandboxes = sandboxes
        self._vpn = vpn
        self._strikes = strikes
        self._has_chain = has_chain
        self.web = Web()
        self._payment_networks = payment_networks
        self._scope = Scope()
        self._reporter = UsageReporter(daemons.far.client, self._scope, len(habits))
        self.registry = Registry(images)
        self.web.allow(self.registry.url)
        self._exe_units: list[ExeUnits] = []
        self.agents = [
            self._make_agent(identity, own_habits, daemons, app_keys[identity.name], images)
            for identity, own_habits in zip(PROVIDERS, habits, strict=False)
        ]
        for agent in self.agents:
            for subnet in subnets:
                agent.offer_in(subnet)
        self._demands = DemandWatch(
            daemons.near.client,
            subnets,
            payment_networks,
            scope=self._scope,
            on_strike=strikes.of("all providers"),
        )

    def _make_agent(
        self,
        identity: LocalIdentity,
        habits: ProviderHabits,
        daemons: DaemonPair,
        app_key: str,
        images: ImageStore,
    ) -> ProviderAgent:
        on_strike = self._strikes.of(identity.name)
        exe_units = ExeUnits(
            daemons.far.gsb_url,
            identity.name,
            identity.node_id,
            images,
            habits,
            self._sandboxes,
            self._vpn,
            on_strike,
            self.web,
            self._programs,
        )
        self._exe_units.append(exe_units)
        return ProviderAgent(
            identity.name,
            identity.node_id,
            Yagna(daemons.far.api_url, app_key),
            habits,
            make_exe_unit=exe_units.make,
            reporter=self._reporter,
            scope=self._scope,
            on_strike=on_strike,
            cut_off=exe_units.cut,
            payment_networks=self._payment_networks,
            has_vpn=not self._vpn.refusal,
            notes_are_paid=self._has_chain,
            runtimes={name: program.properties for name, program in self._programs.items()},
        )

    def agent(self, name: str) -> ProviderAgent:
        """Return the agent of a provider; raises LocalNetworkError if there is no provider of this name."""
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise LocalNetworkError(f"the local network has no provider {name}")

    def close(self, timeout: float) -> bool:
        """End all activities and threads, without any request to the daemons.

        Args:
            timeout: the longest time to wait for the threads, in seconds.

        Returns:
            Whether all threads have ended in time.
        """
        left = Deadline(timeout)
        self._scope.cancel("the network ends")
        ended = [agent.join(left.remaining()) for agent in self.agents]
        ended.append(self._demands.join(left.remaining()))
        ended.append(self._reporter.join(left.remaining()))
        for exe_units in self._exe_units:
            exe_units.close()
        self.registry.close()
        return all(ended)

"""The supervisor: the process that runs a local network, and ends it when the network's owner ends.

It runs in a session of its own: Ctrl-C in a terminal must not reach the daemons before the script has
released what it holds. It reads orders from its standard input, and writes answers to its standard output.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import GolemError, LocalNetworkError
from ..control.messages import DaemonAddress, LocalProvider, Plan, Report, send
from ..control.runtime_options import runtimes_of
from ..control.strikes import StrikeLog
from ..daemon.daemon_pair import DaemonPair
from ..daemon.data_template import Template
from ..daemon.identities import REQUESTOR
from ..daemon.payment_config import chain_ids, platform_of, prepare_to_pay
from ..exe_unit.runtime_program import RuntimeProgram
from ..exe_unit.vpn.interface import why_impossible
from ..exe_unit.vpn.networks import VpnSupport
from ..images.image_cache import ImageCache
from ..images.image_store import ImageStore
from ..machine.folders import StateFolder, strikes_folder
from ..machine.processes import has_ended
from ..provider.agent import ProviderAgent
from ..sandbox.sandbox import Sandbox
from ..sandbox.sandbox_maker import SandboxMaker
from .orders import carry_out_chain_order, carry_out_provider_order, set_funds
from .providers import Providers

if TYPE_CHECKING:
    from ..chain.server import Chain

logger = logging.getLogger(__name__)

_THREADS_END_SECONDS = 3.0
# With more providers than this, usage reports can take longer than the daemon's usual limits.
_MANY_PROVIDERS = 32
_LIMITS_FOR_MANY_PROVIDERS = {"UNRESPONSIVE_LIMIT_SECONDS": "60", "INACTIVITY_LIMIT_SECONDS": "120"}
# How long a script may release what it holds, after the tool that ran it was killed.
_SCRIPT_EXIT_SECONDS = 5.0
_FIRST_DEMAND = ({"golem.node.debug.subnet": "warm-up"}, "(golem.node.debug.subnet=warm-up)")


class Supervisor:
    """Runs a local network from its start to its end."""

    def __init__(self, plan: Plan, scope: Scope) -> None:
        """Start the network; blocks until all providers are about to publish their offers.

        Args:
            plan: describes the network.
            scope: cancelled when the owner ends; it interrupts the start.

        Raises:
            LocalNetworkError: the network could not start; no folder is left.
            ScopeEnded: `scope` was cancelled; no folder is left.
        """
        self._script: int | None = None
        images = ImageStore.with_options(plan.images, ImageCache(check=scope.check))
        images.unpack()
        self._sandboxes = SandboxMaker()
        with Sandbox(maker=self._sandboxes) as sandbox:
            self._no_vpn = why_impossible(sandbox)
        template = Template.get(len(plan.habits), scope)
        self._state = StateFolder()
        try:
            log_to(self._state.path / "supervisor.log")
            self._strikes = StrikeLog.begin(strikes_folder(), self._state.path.name)
            template.copy_to("near", self._state.path / "near")
            template.copy_to("far", self._state.path / "far")
            self._payment_networks = plan.payment_networks
            self._chain = _chain_with(plan.funds, plan.payment_networks)
            chain_urls = None
            if self._chain is not None:
                chain_urls = {name: self._chain.url_of(name) for name in plan.payment_networks}
            far_settings = _LIMITS_FOR_MANY_PROVIDERS if len(plan.habits) > _MANY_PROVIDERS else {}
            self._daemons = DaemonPair(
                self._state.path, scope, plan.daemon_settings, chain_urls, far_settings
            )
            self._prepare_to_pay()
            if self._no_vpn:
                logger.warning("the providers offer no private networks: %s", self._no_vpn)
            vpn = VpnSupport(self._no_vpn, self._daemons.send_at_once)
            self._providers = self._start_providers(plan, template, images, vpn)
        except BaseException:
            # The processes that were started end with this process.
            self._state.remove()
            raise
        self.report = self._report(template)

    def _start_providers(
        self, plan: Plan, template: Template, images: ImageStore, vpn: VpnSupport
    ) -> Providers:
        # A daemon receives offers only after its first demand. Without it the first offers would come late.
        market = self._daemons.near.client.market
        market.unsubscribe(market.publish_demand(*_FIRST_DEMAND))
        return Providers(
            self._daemons,
            template.app_keys,
            plan.habits,
            plan.subnets,
            plan.payment_networks,
            images,
            self._sandboxes,
            vpn,
            self._strikes,
            self._chain is not None,
            self._runtime_programs(plan.runtimes),
        )

    def _runtime_programs(self, options: Sequence[str]) -> list[RuntimeProgram]:
        folder = self._state.path / "activities"
        folder.mkdir()
        return [RuntimeProgram.tested(name, path, folder) for name, path in runtimes_of(options).items()]

    def _report(self, template: Template) -> Report:
        near, far = self._daemons.near, self._daemons.far
        providers = [
            LocalProvider(agent.name, agent.node_id, template.app_keys[agent.name])
            for agent in self._providers.agents
        ]
        return Report(
            DaemonAddress(near.api_url, near.app_key),
            DaemonAddress(far.api_url, far.app_key),
            self._providers.registry.url,
            str(self._state.path / "journals"),
            providers,
            str(self._strikes.path),
            None if self._chain is None else self._chain.url,
            self._no_vpn,
        )

    def kill_requestor_daemon(self) -> None:
        """Kill the near daemon, as `kill -9` does."""
        self._daemons.near.kill()

    def start_requestor_daemon(self) -> None:
        """Start the near daemon again, with the same ports and data; blocks until it is ready."""
        self._daemons.near.start()
        self._daemons.near.wait_ready()
        self._prepare_to_pay()

    def _prepare_to_pay(self) -> None:
        if self._chain is not None:
            prepare_to_pay(self._daemons.near.client, REQUESTOR.node_id, self._payment_networks)

    def freeze_providers_daemon(self) -> None:
        """Make all providers unreachable."""
        self._daemons.far.freeze()

    def thaw_providers_daemon(self) -> None:
        """Make all providers reachable again."""
        self._daemons.far.thaw()

    def provider(self, name: str) -> ProviderAgent:
        """Return the agent of a provider; raises LocalNetworkError if there is no provider of this name."""
        return self._providers.agent(name)

    def pay_now(self) -> None:
        """Make the near daemon pay all accepted invoices now."""
        for network in self._payment_networks:
            self._daemons.near.client.payment.pay_now(platform_of(network))

    @property
    def chain(self) -> Chain:
        """The network's chain; raises LocalNetworkError if the network has none."""
        if self._chain is None:
            raise LocalNetworkError("the local network has no chain")
        return self._chain

    def allow_web_server(self, url: str) -> None:
        """Let the providers reach a web server of this machine."""
        self._providers.web.allow(url)

    def guard_script(self, pid: int) -> None:
        """Remember a script, which `end_script` ends.

        Raises:
            ProcessLookupError: there is no such process.
        """
        self._script = os.pidfd_open(pid)

    def end_script(self) -> None:
        """Send SIGTERM to the script if it still runs; kill it if it has not ended 5 seconds later."""
        if self._script is None or has_ended(self._script, 0.0):
            return
        logger.info("the tool that ran the script has ended; the script is ended too")
        signal.pidfd_send_signal(self._script, signal.SIGTERM)
        if not has_ended(self._script, _SCRIPT_EXIT_SECONDS):
            signal.pidfd_send_signal(self._script, signal.SIGKILL)

    def close(self) -> None:
        """End all processes and threads, and remove the folder; blocks for 6 seconds at most."""
        # The daemons first: then no thread of a provider waits for an answer any more.
        self._daemons.close()
        if not self._providers.close(_THREADS_END_SECONDS):
            logger.warning("some threads of the providers have not ended in time")
        if self._chain is not None:
            self._chain.close()
        self._sandboxes.close()
        self._state.remove()


def _chain_with(funds: str | None, networks: Sequence[str]) -> Chain | None:
    if funds is None:
        return None
    # Imported late: its packages take time to load, and are not installed for every user.
    chain: Chain = importlib.import_module("..chain.server", __package__).Chain(chain_ids(networks))
    for ledger in chain.ledgers.values():
        set_funds(ledger, REQUESTOR.node_id, funds)
    return chain


def log_to(path: os.PathLike[str]) -> None:
    """Write all log lines of this process to a file."""
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(levelname)-7s %(threadName)s %(message)s"
    )


def main() -> None:
    """Run a network until its owner closes the pipe or ends."""
    signal.signal(signal.SIGTERM, _exit)
    orders, answers = sys.stdin.buffer, sys.stdout.buffer
    line = orders.readline()
    if not line:
        return  # the owner ended before it sent a plan
    wire = json.loads(line)
    plan = Plan.from_wire(wire)
    owner = os.pidfd_open(plan.starter)
    owner_ended = Scope()
    EngineThread("owner", watch_owner, owner, orders, owner_ended).start()
    try:
        supervisor = Supervisor(plan, owner_ended)
    except ScopeEnded:
        return
    except (GolemError, OSError) as error:
        send(answers, {**_failure(error), "number": wire["number"]})
        return
    try:
        send(answers, {"report": supervisor.report.to_wire(), "number": wire["number"]})
        # Without a buffer: an order that had been read ahead would wait for the next one.
        with open(orders.fileno(), "rb", buffering=0, closefd=False) as unbuffered:
            serve(supervisor, owner, unbuffered, answers)
        supervisor.end_script()
    except BrokenPipeError:
        logger.info("the owner has ended")
    finally:
        supervisor.close()


def watch_owner(owner: int, orders: IO[bytes], owner_ended: Scope) -> None:
    """Cancel `owner_ended` when the owner has ended, or has closed its end of the pipe."""
    poll = select.poll()
    poll.register(owner, select.POLLIN)
    poll.register(orders, 0)  # only the end of the pipe, which is always reported
    poll.poll()
    owner_ended.cancel("the owner has ended")


def serve(supervisor: Supervisor, owner: int, orders: IO[bytes], answers: IO[bytes]) -> None:
    """Carry out orders until the owner has ended, or has closed its end of the pipe.

    Args:
        supervisor: the running network.
        owner: the descriptor of the owner's process.
        orders: the stream of orders.
        answers: the stream of answers.
    """
    poll = select.poll()
    poll.register(orders, select.POLLIN)
    poll.register(owner, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        # The end of the pipe is not enough: a child process of the owner can hold the pipe open.
        line = b"" if owner in ready else orders.readline()
        if not line:
            return
        order = json.loads(line)
        send(answers, {**_carry_out(supervisor, order), "number": order["number"]})


def _carry_out(supervisor: Supervisor, order: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        if order["do"] == "provider":
            carry_out_provider_order(supervisor.provider(order["name"]), order)
        elif order["do"] == "chain":
            return {"answer": carry_out_chain_order(supervisor.chain, order)}
        elif order["do"] == "allow web server":
            supervisor.allow_web_server(order["url"])
        elif order["do"] == "guard":
            supervisor.guard_script(order["pid"])
        else:
            _NETWORK_ORDERS[order["do"]](supervisor)
    except (GolemError, OSError) as error:
        return _failure(error)
    return {"done": order["do"]}


_NETWORK_ORDERS: Mapping[str, Callable[[Supervisor], None]] = {
    "kill": Supervisor.kill_requestor_daemon,
    "restart": Supervisor.start_requestor_daemon,
    "freeze": Supervisor.freeze_providers_daemon,
    "thaw": Supervisor.thaw_providers_daemon,
    "pay": Supervisor.pay_now,
}


def _failure(error: Exception) -> Mapping[str, Any]:
    kind = type(error) if isinstance(error, LocalNetworkError) else LocalNetworkError
    return {"error": kind.__name__, "message": str(error)}


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)

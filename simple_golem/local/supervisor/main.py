"""The process that owns a whole local network, and ends it when its starter is gone, however that came.

It runs in a session of its own, so that a terminal's Ctrl-C does not reach the daemons before a script has
released what it holds. It is told what to do on its standard input, and answers on its standard output.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import select
import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import GolemError, LocalNetworkError
from ..daemon.daemon_pair import DaemonPair
from ..daemon.data_template import Template
from ..daemon.identities import REQUESTOR
from ..daemon.payment_config import PLATFORM, prepare_to_pay
from ..images.image_store import ImageStore
from ..machine.folders import StateFolder
from ..machine.process_handle import has_ended
from ..provider.agent import ProviderAgent
from ..sandbox.sandbox import Sandbox
from ..sandbox.sandbox_maker import SandboxMaker
from .chain_control import carry_out_chain_order
from .messages import DaemonAddress, LocalProvider, Plan, Report, send
from .provider_control import carry_out_order
from .providers import Providers

if TYPE_CHECKING:
    from ..chain.server import Chain

logger = logging.getLogger(__name__)

_CLOSE_SECONDS = 3.0
# So many providers on one machine may not get to report each second, and would be taken for dead.
_CROWD = 32
_PATIENCE_WITH_A_CROWD = {"UNRESPONSIVE_LIMIT_SECONDS": "60", "INACTIVITY_LIMIT_SECONDS": "120"}
# A script that outlives the tool that ran it has this long to release what it holds.
_SCRIPT_SECONDS = 5.0
_WARM_UP = ({"golem.node.debug.subnet": "warm-up"}, "(golem.node.debug.subnet=warm-up)")


class Supervisor:
    """A network from its start to its end."""

    def __init__(self, plan: Plan, scope: Scope) -> None:
        """Start it; blocks until the offers of all providers are out.

        Raises:
            LocalNetworkError: it can't be started here; nothing is left of it.
            ScopeEnded: `scope` was cancelled meanwhile; nothing is left of it either.
        """
        images = ImageStore.with_options(plan.images)
        self._sandboxes = SandboxMaker()
        Sandbox.check(self._sandboxes)
        template = Template.get(len(plan.habits), scope)
        self._state = StateFolder()
        try:
            log_to(self._state.path / "supervisor.log")
            template.copy_to("near", self._state.path / "near")
            template.copy_to("far", self._state.path / "far")
            self._chain = _chain_with(plan.funds)
            chain_url = None if self._chain is None else self._chain.url
            far_settings = _PATIENCE_WITH_A_CROWD if len(plan.habits) > _CROWD else {}
            self._daemons = DaemonPair(self._state.path, scope, plan.daemon_settings, chain_url, far_settings)
            self._prepare_to_pay()
            self._providers = self._open_for_business(plan, template, images)
        except BaseException:
            # What has been started ends with this process.
            self._state.remove()
            raise
        self.report = self._report(template)

    def _open_for_business(self, plan: Plan, template: Template, images: ImageStore) -> Providers:
        # A daemon hears of offers from its first demand on, and of older ones only later.
        market = self._daemons.near.client.market
        market.unsubscribe(market.publish_demand(*_WARM_UP))
        return Providers(self._daemons, template.app_keys, plan.habits, plan.subnet, images, self._sandboxes)

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
            None if self._chain is None else self._chain.url,
        )

    def kill_requestor_daemon(self) -> None:
        """End the near daemon as by `kill -9`."""
        self._daemons.near.kill()

    def start_requestor_daemon(self) -> None:
        """Start the near daemon again, with the same ports and state; blocks until it is ready."""
        self._daemons.near.start()
        self._daemons.near.wait_ready()
        self._prepare_to_pay()

    def _prepare_to_pay(self) -> None:
        if self._chain is not None:
            prepare_to_pay(self._daemons.near.client, REQUESTOR.node_id)

    def freeze_providers_daemon(self) -> None:
        """Cut the way to all providers, in both directions."""
        self._daemons.far.freeze()

    def thaw_providers_daemon(self) -> None:
        """Open it again."""
        self._daemons.far.thaw()

    def provider(self, name: str) -> ProviderAgent:
        """The agent of a provider; LocalNetworkError if there is none of this name."""
        return self._providers.agent(name)

    def pay_now(self) -> None:
        """Have the near daemon pay at once what it has accepted."""
        self._daemons.near.client.payment.pay_now(PLATFORM)

    @property
    def chain(self) -> Chain:
        """The network's chain; LocalNetworkError if it has none."""
        if self._chain is None:
            raise LocalNetworkError("the local network has no chain")
        return self._chain

    def close(self) -> None:
        """End everything; blocks 3 seconds at most, and 3 more for a process that does not obey."""
        # With the daemons gone no thread of the providers waits for an answer.
        self._daemons.close()
        if not self._providers.close(_CLOSE_SECONDS):
            logger.warning("not all of the providers' threads have ended")
        if self._chain is not None:
            self._chain.close()
        self._sandboxes.close()
        self._state.remove()


def _chain_with(funds: str | None) -> Chain | None:
    if funds is None:
        return None
    # Not imported before it is wanted: it needs further packages, which take a while.
    chain: Chain = importlib.import_module("..chain.server", __package__).Chain()
    carry_out_chain_order(chain, {"order": "set funds", "address": REQUESTOR.node_id, "glm": funds})
    return chain


def log_to(path: os.PathLike[str]) -> None:
    """Have everything logged to this file."""
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(levelname)-7s %(threadName)s %(message)s"
    )


def main() -> None:
    """Serve whoever started this process, until that one says so or is gone."""
    signal.signal(signal.SIGTERM, _leave)
    orders, answers = sys.stdin.buffer, sys.stdout.buffer
    line = orders.readline()
    if not line:
        return  # the starter was gone before it could say what it wants
    plan = Plan.from_wire(json.loads(line))
    starter = _process_handle(plan.starter)
    gone = Scope()
    EngineThread("starter", watch, starter, orders, gone).start()
    try:
        supervisor = Supervisor(plan, gone)
    except ScopeEnded:
        return
    except (GolemError, OSError) as error:
        send(answers, _failure(error))
        return
    try:
        send(answers, {"report": supervisor.report.to_wire()})
        script = serve(supervisor, starter, orders, answers)
        end_script(script)
    except BrokenPipeError:
        logger.info("the starter is gone")
    finally:
        supervisor.close()


def watch(starter: int, orders: IO[bytes], gone: Scope) -> None:
    """Cancel `gone` when the starter has ended, or has closed its end of the pipe."""
    poll = select.poll()
    poll.register(starter, select.POLLIN)
    poll.register(orders, 0)  # no more than its end, which is always told
    poll.poll()
    gone.cancel("the starter is gone")


def serve(supervisor: Supervisor, starter: int, orders: IO[bytes], answers: IO[bytes]) -> int | None:
    """Do what is ordered until the starter is gone; returns a handle of the script that it ran, if it did."""
    script: int | None = None
    poll = select.poll()
    poll.register(orders, select.POLLIN)
    poll.register(starter, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        # A forked child of the starter can hold the other end of the pipe open: its own end counts as well.
        line = b"" if starter in ready else orders.readline()
        if not line:
            return script
        order = json.loads(line)
        if order["do"] == "guard":
            script = _process_handle(order["pid"])
        send(answers, _obey(supervisor, order))


def _obey(supervisor: Supervisor, order: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        if order["do"] == "kill":
            supervisor.kill_requestor_daemon()
        elif order["do"] == "restart":
            supervisor.start_requestor_daemon()
        elif order["do"] == "freeze":
            supervisor.freeze_providers_daemon()
        elif order["do"] == "thaw":
            supervisor.thaw_providers_daemon()
        elif order["do"] == "provider":
            carry_out_order(supervisor.provider(order["name"]), order)
        elif order["do"] == "chain":
            return {"answer": carry_out_chain_order(supervisor.chain, order)}
        elif order["do"] == "pay":
            supervisor.pay_now()
    except (GolemError, OSError) as error:
        return _failure(error)
    return {"done": order["do"]}


def _failure(error: Exception) -> Mapping[str, Any]:
    kind = type(error) if isinstance(error, LocalNetworkError) else LocalNetworkError
    return {"error": kind.__name__, "message": str(error)}


def end_script(script: int | None) -> None:
    """Ask a script that is still there to end, and make it end if it does not."""
    if script is None or has_ended(script, 0.0):
        return
    logger.info("the script has lost the tool that ran it")
    signal.pidfd_send_signal(script, signal.SIGTERM)
    if not has_ended(script, _SCRIPT_SECONDS):
        signal.pidfd_send_signal(script, signal.SIGKILL)


def _process_handle(pid: int) -> int:
    """A descriptor that stands for this very process, also when its number has gone to another."""
    return os.pidfd_open(pid)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)

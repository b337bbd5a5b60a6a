"""`LocalGolem`: a whole Golem network on this machine, for as long as a `with` or a process lasts."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import errors
from ..background.cancellation import Deadline, Scope
from ..errors import BadSetting, LocalNetworkError, UnsupportedPlatform
from ..model.settings import parse_amount
from ..yagna.client import Yagna
from .daemon.daemon import find_yagna
from .daemon.identities import PROVIDERS
from .images.image_store import ImageStore
from .provider.habits import ProviderHabits, habits_of
from .supervisor.chain_control import ChainControl
from .supervisor.messages import DaemonAddress, LocalProvider, Plan, Report, send
from .supervisor.provider_control import ProviderControl

DEFAULT_PROVIDERS = 4
DEFAULT_SUBNET = "local"
MOST_PROVIDERS = len(PROVIDERS)

DEFAULT_FUNDS = Decimal(1000)

_NETWORK = "hoodi"
_CHAIN_PACKAGES = {"rlp": "rlp", "eth_keys": "eth-keys", "eth_hash": "eth-hash", "Crypto": "pycryptodome"}
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_SUBNET = re.compile(r"[\w.-]+")
# The supervisor is to find this very package, wherever it was imported from.
_SUPERVISOR = (
    "import sys; sys.path.append(sys.argv[1]); from simple_golem.local.supervisor.main import main; main()"
)
_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]


class LocalGolem:
    """A Golem network with real daemons, local providers, and nothing else.

    Nothing of it outlives this process, however that ends.

    Attributes:
        near: the requestor's daemon.
        far: the daemon of the providers.
        providers: each with its name, node id and app key.
        environment: what a script needs to use the network.
    """

    def __init__(
        self,
        providers: int | Sequence[ProviderHabits] = DEFAULT_PROVIDERS,
        subnet: str = DEFAULT_SUBNET,
        images: Mapping[str, str | os.PathLike[str]] | None = None,
        daemon_settings: Mapping[str, str] | None = None,
        chain: bool = False,
        funds: Decimal | int | str | None = None,
    ) -> None:
        """Describe a network; nothing is started.

        Args:
            providers: how many, or how each of them behaves.
            subnet: where they offer from the beginning; a demand in another subnet is answered as well.
            images: folders by the tag or hash that a payload asks for, beside the built-in images.
            daemon_settings: environment variables of the requestor's daemon, e.g. `DEFAULT_SUBSCRIPTION_TTL`.
            chain: whether there is a chain, on which invoices are really paid. Without one a budget may be of
                any size, and what was accepted is never settled.
            funds: how much GLM the requestor has on the chain; by default 1000.

        Raises:
            LocalNetworkError: such a network can't be.
            BadImage: an image has no folder.
            BadSetting: the subnet can't be, or the funds.
        """
        if not _SUBNET.fullmatch(subnet):
            raise BadSetting(
                f"a subnet is made of letters, digits, dots, dashes, and underscores: not {subnet!r}"
            )
        self._habits = habits_of(providers, MOST_PROVIDERS)
        self._subnet = subnet
        self._images = [f"{name}={os.path.abspath(folder)}" for name, folder in (images or {}).items()]
        ImageStore.with_options(self._images)
        self._daemon_settings = dict(daemon_settings or {})
        self._funds = _funds(chain, funds)
        self._process: subprocess.Popen[bytes] | None = None
        self._report: Report | None = None
        self._asking = threading.Lock()

    def start(self) -> LocalGolem:
        """Start the network; blocks until it is ready, a second or two, some more at the very first time.

        Raises:
            UnsupportedPlatform: this machine can't have one.
            NamespacesForbidden: this user may not have one here.
            LocalNetworkError: it does not start; the message says why.
        """
        if self._process is not None:
            raise LocalNetworkError("this local network has been started already")
        check_machine()
        if self._funds is not None:
            check_chain()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SUPERVISOR, str(_PACKAGE_FOLDER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        atexit.register(self.stop)
        try:
            plan = Plan(
                os.getpid(), self._habits, self._subnet, self._images, self._daemon_settings, self._funds
            )
            self._report = Report.from_wire(self._ask(plan.to_wire())["report"])
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the network and every process of it; blocks for less than a second as a rule, 10 s at most."""
        process, self._process, self._report = self._process, None, None
        if process is None:
            return
        atexit.unregister(self.stop)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> LocalGolem:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def near(self) -> DaemonAddress:
        return self._up().near

    @property
    def far(self) -> DaemonAddress:
        return self._up().far

    @property
    def providers(self) -> tuple[LocalProvider, ...]:
        return tuple(self._up().providers)

    def provider(self, name: str) -> ProviderControl:
        """The provider of this name (`prov-1` is the first), to be told what to do next.

        Raises:
            LocalNetworkError: there is none of this name, or the network is not up.
        """
        for provider in self.providers:
            if provider.name == name:
                return ProviderControl(provider, self._ask)
        names = f"{self.providers[0].name} to {self.providers[-1].name}"
        raise LocalNetworkError(f"this local network has no provider {name!r}: it has {names}")

    @property
    def environment(self) -> dict[str, str]:
        report = self._up()
        return {
            "YAGNA_APPKEY": report.near.app_key,
            "YAGNA_API_URL": report.near.api_url,
            "YAGNA_SUBNET": self._subnet,
            "YAGNA_PAYMENT_NETWORK": _NETWORK,
            "GOLEM_REGISTRY_URL": report.registry_url,
            # What sessions on this network leave open ends with it, and is of no use to any other.
            "SIMPLE_GOLEM_STATE": report.journals,
        }

    @property
    def chain(self) -> ChainControl:
        """The chain of this network, to be asked and changed.

        Raises:
            LocalNetworkError: it has none, or is not up.
        """
        return ChainControl(self._chain_url(), self._ask)

    def _chain_url(self) -> str:
        url = self._up().chain_url
        if url is None:
            raise LocalNetworkError("this local network has no chain: make it with LocalGolem(chain=True)")
        return url

    def pay_now(self) -> None:
        """Have the requestor's daemon pay at once what it has accepted, and not only within six seconds.

        Does not wait for the payments.

        Raises:
            LocalNetworkError: the network has no chain.
        """
        self._chain_url()
        self._ask({"do": "pay"})

    def settle(self, timeout: float = 30.0) -> bool:
        """Have all that was accepted paid now; blocks until it is, `timeout` seconds at most.

        Returns:
            Whether every accepted invoice is settled.

        Raises:
            LocalNetworkError: the network has no chain.
        """
        deadline, scope = Deadline(timeout), Scope()
        near = Yagna(self.near.api_url, self.near.app_key)
        try:
            self.pay_now()
            while any(invoice.status == "ACCEPTED" for invoice in near.payment.invoices()):
                if deadline.passed:
                    return False
                scope.wait(_LOOK_SECONDS)
        finally:
            near.close()
        return True

    def guard(self, pid: int) -> None:
        """Have a child process ended, politely first, if this process dies before it."""
        self._ask({"do": "guard", "pid": pid})

    def kill_requestor_daemon(self) -> None:
        """End the requestor's daemon as by `kill -9`."""
        self._ask({"do": "kill"})

    def restart_requestor_daemon(self) -> None:
        """Start the requestor's daemon again, with the same ports and state; blocks until it is ready."""
        self._ask({"do": "restart"})

    def freeze_providers_daemon(self) -> None:
        """Make all providers unreachable, as if their network were cut: requests to them just take time."""
        self._ask({"do": "freeze"})

    def thaw_providers_daemon(self) -> None:
        """Make them reachable again, with all they had."""
        self._ask({"do": "thaw"})

    def wait(self) -> None:
        """Block until the network has ended by itself, which it should not."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.read()

    def _up(self) -> Report:
        if self._report is None:
            raise LocalNetworkError("this local network is not up")
        return self._report

    def _ask(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LocalNetworkError("this local network is not up")
        with self._asking:
            try:
                send(process.stdin, message)
                line = process.stdout.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise LocalNetworkError("the supervisor of the local network has died; it says why on stderr")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            kind = getattr(errors, answer["error"], LocalNetworkError)
            raise kind(answer["message"])
        return answer


def _funds(chain: bool, funds: object) -> str | None:
    if not chain and funds is None:
        return None
    if not chain:
        raise BadSetting("funds are on a chain, and this network has none: add --chain, or chain=True")
    return str(parse_amount(DEFAULT_FUNDS if funds is None else funds, "funds", BadSetting, zero=True))


def check_chain() -> None:
    """Raise an error that says what to install, if what a chain needs is not here.

    Raises:
        LocalNetworkError: a package is missing.
    """
    missing = [name for module, name in _CHAIN_PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise LocalNetworkError(
            f"a chain needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'simple_golem[local,chain]'"
        )


def check_machine() -> None:
    """Raise an error that says what to do, if no local network can be on this machine.

    Raises:
        UnsupportedPlatform: not Linux on a processor that golem-node is built for.
        LocalNetworkError: the package golem-node is not installed.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise UnsupportedPlatform(
            "the local network runs on Linux (x86_64, aarch64), "
            f"not on {platform.system()} {platform.machine()}: use WSL or another virtual machine, "
            "or set YAGNA_API_URL and YAGNA_APPKEY to a yagna elsewhere"
        )
    find_yagna()

"""`LocalGolem`: a whole Golem network on this machine, in a `with` block or until its process ends."""

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
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from .. import errors
from ..background.cancellation import Deadline, Scope
from ..background.forks import leave_to_parent
from ..errors import BadSetting, LocalNetworkError, UnsupportedPlatform
from ..model.local_offers import NETWORKS_VARIABLE, NO_VPN_VARIABLE, SUBNETS_VARIABLE
from ..model.settings import REAL_NETWORKS, TEST_NETWORKS, parse_amount
from ..yagna.client import Yagna
from .control.as_real import AsReal
from .control.chain_control import ChainControl
from .control.habits import ProviderHabits, habits_of
from .control.leftovers import Leftovers
from .control.messages import (
    DEFAULT_PAYMENT_NETWORKS,
    DaemonAddress,
    LocalProvider,
    Plan,
    Report,
    send,
)
from .control.provider_control import ProviderControl
from .control.runtime_options import checked_runtimes
from .control.strikes import Strike, StrikeLog
from .daemon.daemon import find_yagna
from .daemon.identities import PROVIDERS
from .images.image_store import ImageStore
from .machine.processes import await_or_kill

DEFAULT_PROVIDERS = 4
DEFAULT_SUBNET = "local"
MOST_PROVIDERS = len(PROVIDERS)

DEFAULT_FUNDS = Decimal(1000)

_CHAIN_PACKAGES = {"rlp": "rlp", "eth_keys": "eth-keys", "eth_hash": "eth-hash", "Crypto": "pycryptodome"}
_STOP_SECONDS = 10.0
_INVOICE_POLL_SECONDS = 0.1
_WEB_SERVER = re.compile(r"https?://[^/?#@\s]+")
_SUBNET = re.compile(r"[\w.-]+")
# The supervisor must import this very package, wherever it was imported from.
_SUPERVISOR = (
    "import sys; sys.path.append(sys.argv[1]); from simple_golem.local.supervisor.main import main; main()"
)
_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]


class LocalGolem:
    """A Golem network on this machine: two real daemons, local providers, and no connection to the outside.

    Use it in a `with` statement, or call `start` and `stop`. The network never outlives the process that
    started it: a supervisor process ends the network when that process ends, also when it is killed.

    A `Golem` finds it by environment variables: after `with LocalGolem() as network:` put
    `network.environment` into `os.environ`, or give it to a script. With pytest, the fixtures `golem_network`
    and `golem` do all that.

    Attributes:
        near: the URL and app key of the requestor's daemon.
        far: the URL and app key of the providers' daemon.
        providers: all providers, each with its name, node id and app key.
        environment: the environment variables that a script needs to use the network.
    """

    def __init__(
        self,
        providers: int | Sequence[ProviderHabits] = DEFAULT_PROVIDERS,
        subnet: str | Sequence[str] = DEFAULT_SUBNET,
        images: Mapping[str, str | os.PathLike[str]] | None = None,
        daemon_settings: Mapping[str, str] | None = None,
        chain: bool | None = None,
        funds: Decimal | int | str | None = None,
        payment_networks: Sequence[str] = (),
        as_real: AsReal | None = None,
        runtimes: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> None:
        """Describe a network; starts nothing.

        Args:
            providers: the number of providers, 1 to 200, or a list with the habits of each provider.
            subnet: the subnet of the providers' offers, or several.
            images: additional images: the path of each, by its tag or hash. It is that of a `.gvmi`, of an
                archive by `docker save` or OCI, of a root file system as `.tar` or folder, or of a folder
                or `.tar` whose files are for `/golem`.
            daemon_settings: environment variables of the requestor's daemon, e.g. `DEFAULT_SUBSCRIPTION_TTL`.
            chain: True: the network has a chain, on which budgets are compared with the funds, and invoices
                are paid. False: a budget of any size is accepted, and an accepted invoice is never settled.
                None: a chain, if its packages are installed, as they are with the extra `local`.
            funds: the requestor's GLM on the chain; 1000 by default.
            payment_networks: additional networks on which the providers are paid; hoodi and holesky are there
                always. Scripts use the first additional one, else hoodi.
            as_real: the time and the misfortune of a real network; None: none.
            runtimes: runtimes of your own: the program of each, by the name that a `Payload` asks for.

        Raises:
            LocalNetworkError: the number of providers or their habits are not valid.
            BadImage: there is no image at a path.
            BadSetting: another argument is not valid.
        """
        self._habits = habits_of(providers, MOST_PROVIDERS)
        if not isinstance(as_real, (AsReal, type(None))):
            raise BadSetting(f"as_real is {as_real!r}: give e.g. AsReal(seed=1, pace=0.1)")
        if as_real is not None:
            self._habits = [replace(habits, as_real=as_real) for habits in self._habits]
        self._subnets = _checked_subnets(subnet)
        self._payment_networks = _checked_networks(payment_networks)
        self._images = [f"{name}={os.path.abspath(folder)}" for name, folder in _checked("images", images)]
        ImageStore.with_options(self._images)
        self._daemon_settings = dict(_checked("daemon_settings", daemon_settings))
        self._funds = _funds(chain, funds)
        self._runtimes = checked_runtimes(dict(_checked("runtimes", runtimes)))
        self._process: subprocess.Popen[bytes] | None = None
        self._report: Report | None = None
        self._strikes: StrikeLog | None = None
        self._leftovers: Leftovers | None = None
        self._asking = threading.Lock()
        self._orders = 0

    def start(self) -> LocalGolem:
        """Start the network; blocks until it is ready.

        This takes 1 to 2 seconds, and some seconds more at the very first start on a machine.

        Returns:
            The network itself.

        Raises:
            UnsupportedPlatform: a local network can't run on this machine.
            NamespacesForbidden: the kernel does not let this user make namespaces.
            LocalNetworkError: the network is up already, or did not start; the message says why.
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
        leave_to_parent(self, LocalGolem._forget_in_child)
        try:
            plan = Plan(
                os.getpid(),
                self._habits,
                self._subnets,
                self._payment_networks,
                self._images,
                self._daemon_settings,
                self._funds,
                self._runtimes,
            )
            self._report = Report.from_wire(self._ask(plan.to_wire())["report"])
            self._strikes = StrikeLog(Path(self._report.strikes))
            self._leftovers = Leftovers(self._report.near)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the network and all its processes; does nothing if it is not up.

        Blocks for less than a second as a rule, for 10 seconds at most.
        """
        process, self._process, self._report = self._process, None, None
        if process is None:
            return
        atexit.unregister(self.stop)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass  # the supervisor has ended already
        await_or_kill(process, _STOP_SECONDS)
        process.stdout.close()

    def _forget_in_child(self) -> None:
        """In a forked child this network is not up, and the child's end does not stop it."""
        process, self._process, self._report = self._process, None, None
        self._asking = threading.Lock()
        atexit.unregister(self.stop)
        if process is None or process.stdin is None or process.stdout is None:
            return
        process.stdin.close()
        process.stdout.close()
        process.returncode = 0  # it is no child of this process, which would warn that it is still running

    def __enter__(self) -> LocalGolem:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def near(self) -> DaemonAddress:
        return self._report_if_up().near

    @property
    def far(self) -> DaemonAddress:
        return self._report_if_up().far

    @property
    def providers(self) -> tuple[LocalProvider, ...]:
        return tuple(self._report_if_up().providers)

    def provider(self, name: str) -> ProviderControl:
        """Return the handle of a provider, which can make it misbehave; does not block.

        Args:
            name: the provider's name; the first one is `prov-1`.

        Raises:
            LocalNetworkError: there is no provider of this name, or the network is not up.
        """
        for provider in self.providers:
            if provider.name == name:
                return ProviderControl(provider, self._ask)
        names = f"{self.providers[0].name} to {self.providers[-1].name}"
        raise LocalNetworkError(f"this local network has no provider {name!r}: it has {names}")

    @property
    def environment(self) -> dict[str, str]:
        report = self._report_if_up()
        no_vpn = {NO_VPN_VARIABLE: report.no_vpn} if report.no_vpn else {}
        return no_vpn | {
            "YAGNA_APPKEY": report.near.app_key,
            "YAGNA_API_URL": report.near.api_url,
            "YAGNA_SUBNET": self._subnets[0],
            "YAGNA_PAYMENT_NETWORK": self._payment_networks[0],
            SUBNETS_VARIABLE: ",".join(self._subnets),
            NETWORKS_VARIABLE: ",".join(self._payment_networks),
            "GOLEM_REGISTRY_URL": report.registry_url,
            # Agreements of this network end with it: a later cleanup must not look for them.
            "SIMPLE_GOLEM_STATE": report.journals,
        }

    @property
    def strikes(self) -> tuple[Strike, ...]:
        """What local providers have refused or changed by a rule of real providers, the oldest first.

        They can be read after the end of the network, too.
        """
        return () if self._strikes is None else self._strikes.read()

    def leftovers(self) -> list[str]:
        """List what the requestor has not ended; an empty list is as it should be.

        These are demands, allocations, agreements, activities, private networks, and invoices that were not
        accepted. An invoice may come a second after the end of its agreement. Blocks for a few requests to
        the daemon.

        Raises:
            LocalNetworkError: the network is not up, or the requestor's daemon does not answer.
        """
        self._report_if_up()
        return [] if self._leftovers is None else self._leftovers.read()

    @property
    def chain(self) -> ChainControl:
        """The handle of the chain, which reads and changes balances.

        Raises:
            LocalNetworkError: the network has no chain, or is not up.
        """
        return ChainControl(self._chain_url(), self._ask)

    def _chain_url(self) -> str:
        url = self._report_if_up().chain_url
        if url is None:
            raise LocalNetworkError("this local network has no chain: make it with LocalGolem(chain=True)")
        return url

    def pay_now(self) -> None:
        """Make the requestor's daemon pay all accepted invoices now, instead of within 6 seconds.

        Returns at once, before the payments are made.

        Raises:
            LocalNetworkError: the network has no chain, or is not up.
        """
        self._chain_url()
        self._ask({"do": "pay"})

    def settle(self, timeout: float = 30.0) -> bool:
        """Make the requestor's daemon pay all accepted invoices, and block until they are settled.

        Args:
            timeout: the longest time to block, in seconds.

        Returns:
            Whether every accepted invoice is settled.

        Raises:
            LocalNetworkError: the network has no chain, or is not up.
        """
        deadline, scope = Deadline(timeout), Scope()
        near = Yagna(self.near.api_url, self.near.app_key)
        try:
            self.pay_now()
            while any(invoice.status == "ACCEPTED" for invoice in near.payment.invoices()):
                if deadline.passed:
                    return False
                scope.wait(_INVOICE_POLL_SECONDS)
        finally:
            near.close()
        return True

    def guard(self, pid: int) -> None:
        """Make the supervisor end a child process if this process ends before it; returns at once.

        The child gets SIGTERM, and SIGKILL after 5 seconds. Only the child of the latest call is ended.

        Args:
            pid: the id of the child process.

        Raises:
            LocalNetworkError: there is no such process, or the network is not up.
        """
        self._ask({"do": "guard", "pid": pid})

    def allow_web_server(self, url: str) -> None:
        """Let the providers reach a web server of this machine, as if it were on the internet.

        Without it they do not reach it, as real providers don't: their loopback is their own.

        Args:
            url: a URL of the server, such as `http://127.0.0.1:8000`; the path does not count.

        Raises:
            BadSetting: it is not such a URL.
            LocalNetworkError: the network is not up.
        """
        self._ask({"do": "allow web server", "url": checked_web_server(url)})

    def kill_requestor_daemon(self) -> None:
        """Kill the requestor's daemon, as `kill -9` does; blocks until it has ended."""
        self._ask({"do": "kill"})

    def restart_requestor_daemon(self) -> None:
        """Start the requestor's daemon again, with the same ports and data.

        Blocks until the daemon answers: about a second, 30 seconds at most.

        Raises:
            LocalNetworkError: the daemon did not start, or the network is not up.
        """
        self._ask({"do": "restart"})

    def freeze_providers_daemon(self) -> None:
        """Make all providers unreachable, as if their network were down, until `thaw_providers_daemon`."""
        self._ask({"do": "freeze"})

    def thaw_providers_daemon(self) -> None:
        """Make all providers reachable again; their agreements and activities go on."""
        self._ask({"do": "thaw"})

    def wait(self) -> None:
        """Block until the supervisor ends by itself, which is an error."""
        process = self._process
        if process is not None:
            # Its stdout is left to orders, which other threads may give meanwhile.
            process.wait()

    def _report_if_up(self) -> Report:
        if self._report is None:
            raise LocalNetworkError("this local network is not up")
        return self._report

    def _ask(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LocalNetworkError("this local network is not up")
        with self._asking:
            self._orders += 1
            answer = _answer_to(self._orders, message, process.stdin, process.stdout)
        if "error" in answer:
            kind = getattr(errors, answer["error"], LocalNetworkError)
            raise kind(answer["message"])
        return answer


def _answer_to(
    number: int, message: Mapping[str, Any], orders: IO[bytes], answers: IO[bytes]
) -> Mapping[str, Any]:
    """Send an order to the supervisor, and block for its answer."""
    try:
        send(orders, {**message, "number": number})
        while line := answers.readline():
            answer: Mapping[str, Any] = json.loads(line)
            # Ctrl-C may have ended the wait for the answer to an earlier order, which comes first.
            if answer["number"] == number:
                return answer
    except BrokenPipeError:
        pass
    raise LocalNetworkError("the supervisor of the local network has ended; its stderr says why")


_Text = TypeVar("_Text", bound=str | os.PathLike[str])


def _checked(argument: str, named: Mapping[str, _Text] | None) -> list[tuple[str, _Text]]:
    """The items of a dictionary of texts or paths."""
    items = list(named.items()) if isinstance(named, Mapping) else [] if named is None else None
    if items is None or not all(isinstance(n, str) and isinstance(v, (str, os.PathLike)) for n, v in items):
        raise BadSetting(f"{argument} is {named!r}: give a dictionary such as {{'name': 'value'}}")
    return items


def _checked_list(argument: str, names: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise BadSetting(f"{argument} is {names!r}: give a list of names")
    return list(names)


def checked_web_server(url: str) -> str:
    """Check the URL of a web server.

    Raises:
        BadSetting: it is none.
    """
    try:
        parts = urlsplit(url) if isinstance(url, str) and _WEB_SERVER.match(url) else None
        is_valid = parts is not None and bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # its port or its host
        is_valid = False
    if not is_valid:
        raise BadSetting(f"{url!r} is no web server: write e.g. http://127.0.0.1:8000")
    return url


def _checked_subnets(subnet: str | Sequence[str]) -> list[str]:
    subnets = [subnet] if isinstance(subnet, str) else _checked_list("subnet", subnet)
    for name in subnets or [""]:
        if not isinstance(name, str) or not _SUBNET.fullmatch(name):
            raise BadSetting(
                f"a subnet is made of letters, digits, dots, dashes and underscores, not {name!r}"
            )
    return list(dict.fromkeys(subnets))


def _checked_networks(additional: Sequence[str]) -> list[str]:
    """All payment networks, the additional ones first: a script uses the first one."""
    known = TEST_NETWORKS + REAL_NETWORKS
    for name in _checked_list("payment_networks", additional):
        if name not in known:
            raise BadSetting(f"there is no payment network {name!r}; there are {', '.join(known)}")
    return list(dict.fromkeys([*additional, *DEFAULT_PAYMENT_NETWORKS]))


def _funds(chain: bool | None, funds: object) -> str | None:
    """Return the funds on the chain; None if there is no chain. To name funds is to ask for a chain."""
    if chain is None:
        chain = funds is not None or not missing_chain_packages()
    if not chain and funds is None:
        return None
    if not chain:
        raise BadSetting("funds need a chain, and this network has none: leave out chain=False")
    return str(parse_amount(DEFAULT_FUNDS if funds is None else funds, "funds", BadSetting, zero=True))


def missing_chain_packages() -> list[str]:
    """The packages of the chain that are not installed, by their names on PyPI."""
    return [name for module, name in _CHAIN_PACKAGES.items() if importlib.util.find_spec(module) is None]


def check_chain() -> None:
    """Check that the packages of the chain are installed.

    Raises:
        LocalNetworkError: a package is missing; the message says what to install.
    """
    if missing := missing_chain_packages():
        raise LocalNetworkError(
            f"a chain needs packages that are not installed ({', '.join(missing)}): "
            "pip install 'simple_golem[local]'"
        )


def check_machine() -> None:
    """Check that a local network can run on this machine.

    Raises:
        UnsupportedPlatform: it is not Linux on x86_64 or aarch64; the message says what to do.
        LocalNetworkError: the package golem-node is not installed.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise UnsupportedPlatform(
            "the local network runs on Linux (x86_64, aarch64), "
            f"not on {platform.system()} {platform.machine()}: use WSL or another virtual machine, "
            "or set YAGNA_API_URL and YAGNA_APPKEY to a yagna elsewhere"
        )
    find_yagna()

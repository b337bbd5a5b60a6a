"""Runs one yagna process that connects to nothing outside this machine."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ...background.cancellation import Deadline, Scope
from ...errors import BadAppKey, LocalNetworkError, NoDaemon, PortTaken, YagnaError
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from ..machine.processes import await_or_kill
from .payment_config import PAYMENT_ENVIRONMENT, write_payment_config
from .quick_sockets import send_at_once

logger = logging.getLogger(__name__)

GOLEM_NODE = "golem-node"
INSTALL_HINT = "pip install 'simple_golem[local]'"
_CHAINS = ("HOODI", "MAINNET", "SEPOLIA", "GOERLI", "HOLESKY", "POLYGON", "MUMBAI", "AMOY")
_CLOSED_URL = "http://127.0.0.1:1"
_READY_TIMEOUT_SECONDS = 30.0
_READY_POLL_SECONDS = 0.02
_SIGTERM_SECONDS = 2.0
_QUOTED_LOG_LINES = 5

# Starts a program that the kernel kills when the thread that started it ends for any reason.
_LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def find_yagna() -> Path:
    """Return the path of yagna in the installed golem-node package.

    Raises:
        LocalNetworkError: the package is not installed.
    """
    try:
        package = importlib.metadata.distribution(GOLEM_NODE)
    except importlib.metadata.PackageNotFoundError as error:
        raise LocalNetworkError(f"the package {GOLEM_NODE} is not installed: {INSTALL_HINT}") from error
    for file in package.files or ():
        if file.name == "yagna":
            return Path(str(package.locate_file(file))).resolve()
    raise LocalNetworkError(f"the package {GOLEM_NODE} has no yagna: install it again with {INSTALL_HINT}")


class YagnaDaemon:
    """A yagna daemon with a folder, two ports and an app key; it can be started many times.

    The kernel kills the daemon when the thread that called `start` ends.

    Attributes:
        name: the name in log lines and errors.
        folder: the daemon's folder.
        api_url: the URL of its REST API.
        gsb_address: the host and port of its service bus.
        gsb_url: the URL of its service bus.
        app_key: its app key.
        client: a client of its REST API.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        api_port: int,
        gsb_port: int,
        hub_port: int,
        program: Path | None = None,
        settings: Mapping[str, str] | None = None,
        chain_urls: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a daemon; starts nothing.

        Args:
            name: the name in log lines and errors.
            folder: the daemon's folder; `start` makes it if it is missing.
            api_port: the port of its REST API.
            gsb_port: the port of its service bus.
            hub_port: the port of the service bus that connects the daemons of the network.
            program: the path of yagna; by default that of golem-node.
            settings: additional environment variables.
            chain_urls: the URLs of the chains that it pays on, by network; None: it pays nothing and checks
                no funds.

        Raises:
            LocalNetworkError: the package golem-node is not installed.
        """
        self.name = name
        self.folder = folder
        self.api_url = f"http://127.0.0.1:{api_port}"
        self.gsb_address = ("127.0.0.1", gsb_port)
        self.gsb_url = f"tcp://127.0.0.1:{gsb_port}"
        self.app_key = secrets.token_hex(16)
        self.client = Yagna(self.api_url, self.app_key)
        self._hub = f"127.0.0.1:{hub_port}"
        self._program = program or find_yagna()
        self._settings = dict(settings or {})
        self._chain_urls = chain_urls
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; does not wait until it is ready."""
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        if self._chain_urls is not None:
            write_payment_config(self.folder, self._chain_urls)
        command = [str(self._program), "service", "run", "--disable-metrics-push"]
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        with open(self._log, "ab") as log:
            self._log_begins = log.tell()
            self._process = subprocess.Popen(
                launcher + command,
                # yagna reads an .env file in its working folder.
                cwd=home,
                env=self._environment(home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        logger.info("%s started, pid %d, %s", self.name, self._process.pid, self.api_url)

    def wait_ready(self, scope: Scope | None = None) -> str:
        """Block until its REST API answers, for 30 seconds at most.

        Args:
            scope: cancelling it ends the wait.

        Returns:
            The node id of its identity.

        Raises:
            PortTaken: it ended because a port is in use.
            LocalNetworkError: it ended for another reason, or is not ready in time.
            ScopeEnded: `scope` was cancelled.
        """
        scope = scope or Scope()
        deadline = Deadline(_READY_TIMEOUT_SECONDS)
        while not deadline.passed:
            try:
                # It is asked again here, so that its end is noticed at once.
                return self.client.identity.me(scope=scope, repeat=Repeat.NEVER).node_id
            except BadAppKey as error:
                raise PortTaken(f"another yagna answers at {self.api_url}") from error
            except (NoDaemon, YagnaError):
                self.check_running()
            scope.wait(_READY_POLL_SECONDS)
        raise LocalNetworkError(
            f"{self.name} is not ready after {_READY_TIMEOUT_SECONDS:g} s{self.log_tail()}"
        )

    def send_at_once(self, port: int) -> str:
        """Turn Nagle's algorithm off for its connections from and to a port; see `quick_sockets`."""
        return "it does not run" if self._process is None else send_at_once(self._process.pid, port)

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL 2 seconds later; blocks until it ends. Its folder stays usable."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        await_or_kill(self._process, _SIGTERM_SECONDS)

    def kill(self) -> None:
        """Kill it, as `kill -9` does; blocks until it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Stop the process until `thaw`: it answers nothing, as if it were unreachable."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue a frozen process."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it, and close its client; it can't be used any more."""
        self.kill()
        self.client.close()

    def log_tail(self) -> str:
        """Return the last log lines since the start, as the end of an error message."""
        try:
            logged = self._log.read_bytes()[self._log_begins :]
        except OSError:
            return ""
        lines = logged.decode(errors="replace").splitlines()[-_QUOTED_LOG_LINES:]
        return "; its last lines:" + "".join(f"\n  {line}" for line in lines) if lines else ""

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def check_running(self) -> None:
        """Raise `PortTaken` or `LocalNetworkError`, with the last log lines, if it has ended."""
        if self.running:
            return
        log_tail = self.log_tail()
        kind = PortTaken if "in use" in log_tail else LocalNetworkError
        raise kind(f"{self.name} ended before it was ready{log_tail}")

    def _environment(self, home: Path) -> dict[str, str]:
        """The environment, without the settings of the user's own yagna."""
        environment = {
            "PATH": os.defpath,
            "HOME": str(home),
            "YAGNA_DATADIR": str(self.folder / "data"),
            "YAGNA_API_URL": self.api_url,
            "GSB_URL": self.gsb_url,
            "YAGNA_AUTOCONF_APPKEY": self.app_key,
            # All daemons connect to the service bus of one daemon: no relay, no UDP, no DNS.
            "YA_NET_TYPE": "central",
            "CENTRAL_NET_HOST": self._hub,
            # With the default intervals an offer can take minutes to reach the other daemon.
            "OFFER_BROADCAST_DELAY": "100ms",
            "MEAN_CYCLIC_BCAST_INTERVAL": "1s",
            "UNSUB_BROADCAST_DELAY": "100ms",
            "MEAN_CYCLIC_UNSUBSCRIBES_INTERVAL": "2s",
            # No requests to the outside. Only a dead proxy prevents the check for a new release.
            "YAGNA_METRICS_URL": _CLOSED_URL,
            "HTTP_PROXY": _CLOSED_URL,
            "HTTPS_PROXY": _CLOSED_URL,
            "NO_PROXY": "127.0.0.1,localhost",
        }
        if self._chain_urls is None:
            environment["YAGNA_DEV_SKIP_ALLOCATION_VALIDATION"] = "1"
        else:
            environment |= PAYMENT_ENVIRONMENT
        closed = [chain for chain in _CHAINS if chain.lower() not in (self._chain_urls or ())]
        return environment | {f"{chain}_GETH_ADDR": _CLOSED_URL for chain in closed} | self._settings

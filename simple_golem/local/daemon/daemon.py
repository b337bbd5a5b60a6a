"""One yagna process that talks to nobody outside of this machine."""

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
from .payment_config import write_payment_config

logger = logging.getLogger(__name__)

GOLEM_NODE = "golem-node"
INSTALL_HINT = "pip install 'simple_golem[local]'"
# A local network has a chain of its own in the place of this one, or none.
_OWN_CHAIN = "HOODI"
_OTHER_CHAINS = ("MAINNET", "SEPOLIA", "GOERLI", "HOLESKY", "POLYGON", "MUMBAI", "AMOY")
_NOBODY = "http://127.0.0.1:1"
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.02
_POLITE_SECONDS = 2.0
_LOG_LINES = 5

# Runs a program that the kernel kills as soon as the thread that started it has ended, however that came.
_LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def find_yagna() -> Path:
    """The yagna of the installed golem-node package.

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
    raise LocalNetworkError(f"the package {GOLEM_NODE} came without yagna: {INSTALL_HINT}")


class YagnaDaemon:
    """A yagna daemon with a folder, two ports and an app key; started and stopped any number of times.

    To be started from a thread that lives as long as the daemon should: the daemon is killed at its end.
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
        chain_url: str | None = None,
    ) -> None:
        """Say what to run; starts nothing.

        Args:
            name: what logs and errors call it.
            folder: its own; made if it is not there.
            api_port, gsb_port: where its REST API and its service bus will listen.
            hub_port: the service bus of the daemon that connects all of a network.
            program: yagna; by default that of golem-node.
            settings: environment variables beside those that a local network needs.
            chain_url: the chain that it pays on; without one nothing is paid, and no funds are checked.
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
        self._chain_url = chain_url
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; does not block until it is ready."""
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        if self._chain_url is not None:
            write_payment_config(self.folder, self._chain_url)
        command = [str(self._program), "service", "run", "--disable-metrics-push"]
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
        with open(self._log, "ab") as log:
            self._log_begins = log.tell()
            self._process = subprocess.Popen(
                launcher + command,
                # yagna reads an .env file from where it runs.
                cwd=home,
                env=self._environment(home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        logger.info("%s started, pid %d, %s", self.name, self._process.pid, self.api_url)

    def wait_ready(self, scope: Scope | None = None) -> str:
        """Block until its REST API answers, 30 seconds at most; returns the node id of its identity.

        Raises:
            PortTaken: it ended because a port is in use.
            LocalNetworkError: it ended for another reason, or is not ready in time.
            ScopeEnded: `scope` was cancelled meanwhile.
        """
        scope = scope or Scope()
        deadline = Deadline(_READY_SECONDS)
        while not deadline.passed:
            try:
                return self.client.identity.me(scope=scope).node_id
            except BadAppKey as error:
                raise PortTaken(f"another yagna answers at {self.api_url}") from error
            except (NoDaemon, YagnaError):
                self.check_running()
            scope.wait(_POLL_SECONDS)
        raise LocalNetworkError(f"{self.name} is not ready after {_READY_SECONDS:g} s{self.last_words()}")

    def stop(self) -> None:
        """End it politely, so that its folder can be used again; blocks 2 seconds at most."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_POLITE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as by `kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Have it answer nothing and hear nothing, as if the way to it were cut, until `thaw`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on where it was frozen."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self.client.close()

    def last_words(self) -> str:
        """The last lines that it logged since it was started, for the end of an error message."""
        try:
            logged = self._log.read_bytes()[self._log_begins :]
        except OSError:
            return ""
        lines = logged.decode(errors="replace").splitlines()[-_LOG_LINES:]
        return "; its last lines:" + "".join(f"\n  {line}" for line in lines) if lines else ""

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def check_running(self) -> None:
        """Raise `PortTaken` or `LocalNetworkError`, with the end of its log, if it has ended."""
        if self.running:
            return
        words = self.last_words()
        kind = PortTaken if "in use" in words else LocalNetworkError
        raise kind(f"{self.name} ended before it was ready{words}")

    def _environment(self, home: Path) -> dict[str, str]:
        """Made from nothing, so that no setting of the user's own yagna gets into it."""
        environment = {
            "PATH": os.defpath,
            "HOME": str(home),
            "YAGNA_DATADIR": str(self.folder / "data"),
            "YAGNA_API_URL": self.api_url,
            "GSB_URL": self.gsb_url,
            "YAGNA_AUTOCONF_APPKEY": self.app_key,
            # Everybody meets at one daemon's service bus: no relay, no UDP, no DNS.
            "YA_NET_TYPE": "central",
            "CENTRAL_NET_HOST": self._hub,
            # The defaults are meant for the whole world: an offer may take minutes to be heard of.
            "OFFER_BROADCAST_DELAY": "100ms",
            "MEAN_CYCLIC_BCAST_INTERVAL": "1s",
            "UNSUB_BROADCAST_DELAY": "100ms",
            "MEAN_CYCLIC_UNSUBSCRIBES_INTERVAL": "2s",
            # The rest keeps it from calling home; the look for a new release has no switch but a dead proxy.
            "YAGNA_METRICS_URL": _NOBODY,
            "HTTP_PROXY": _NOBODY,
            "HTTPS_PROXY": _NOBODY,
            "NO_PROXY": "127.0.0.1,localhost",
        }
        if self._chain_url is None:
            environment |= {"YAGNA_DEV_SKIP_ALLOCATION_VALIDATION": "1", f"{_OWN_CHAIN}_GETH_ADDR": _NOBODY}
        return environment | {f"{chain}_GETH_ADDR": _NOBODY for chain in _OTHER_CHAINS} | self._settings

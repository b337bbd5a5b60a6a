"""The two daemons of a local network: the requestor's, and the providers'."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

import tenacity

from ...background.cancellation import Deadline, Scope
from ...errors import LocalNetworkError, PortTaken
from ..machine.folders import runtime_folder
from ..machine.ports import HeldPort, hold_ports
from .daemon import YagnaDaemon

logger = logging.getLogger(__name__)

_PORT_TRIES = 5
_BUS_TIMEOUT_SECONDS = 10.0
_BUS_POLL_SECONDS = 0.01


class DaemonPair:
    """A near and a far daemon on free ports, started together.

    Attributes:
        near: the requestor's daemon, as on the machine of any user.
        far: the daemon with the identities of all providers; its service bus connects the two.
    """

    def __init__(
        self,
        folder: Path,
        scope: Scope,
        near_settings: Mapping[str, str] | None = None,
        chain_urls: Mapping[str, str] | None = None,
        far_settings: Mapping[str, str] | None = None,
    ) -> None:
        """Start both with the data in `folder`/near and `folder`/far.

        Blocks until both are ready, about a second.

        Args:
            folder: the folder with their data.
            scope: cancelling it interrupts the start.
            near_settings: additional environment variables of the near daemon.
            chain_urls: the URLs of the chains that both pay on, by network; None: no chain.
            far_settings: additional environment variables of the far daemon.

        Raises:
            PortTaken: ports were in use five times.
            LocalNetworkError: a daemon did not start.
            ScopeEnded: `scope` was cancelled.
        """
        self._near_settings = dict(near_settings or {})
        self._far_settings = dict(far_settings or {})
        self._chain_urls = chain_urls
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PortTaken),
            stop=tenacity.stop_after_attempt(_PORT_TRIES),
            before_sleep=lambda state: logger.info("a port is in use; trying other ports"),
            reraise=True,
        )
        retrying(self._start_on_free_ports, folder, scope)

    def _start_on_free_ports(self, folder: Path, scope: Scope) -> None:
        self._choose_ports(folder)
        try:
            self._start(scope)
        except BaseException:
            self.close()
            raise

    def _choose_ports(self, folder: Path) -> None:
        self._ports: list[HeldPort] = hold_ports(4, runtime_folder() / "ports")
        far_api, hub, near_api, near_bus = (port.number for port in self._ports)
        self.far = YagnaDaemon(
            "far daemon",
            folder / "far",
            api_port=far_api,
            gsb_port=hub,
            hub_port=hub,
            settings=self._far_settings,
            chain_urls=self._chain_urls,
        )
        self.near = YagnaDaemon(
            "near daemon",
            folder / "near",
            api_port=near_api,
            gsb_port=near_bus,
            hub_port=hub,
            settings=self._near_settings,
            chain_urls=self._chain_urls,
        )

    def _start(self, scope: Scope) -> None:
        self.far.start()
        # A daemon that can't connect to the hub tries again only after two seconds.
        _await_listener(self.far, scope)
        self.near.start()
        self.far.wait_ready(scope)
        self.near.wait_ready(scope)

    def send_at_once(self) -> None:
        """Let both send the packets of private networks without delay.

        To be called before a network is used: a daemon may have connected again since the last call.
        """
        hub = self.far.gsb_address[1]
        for daemon in (self.near, self.far):
            reason = daemon.send_at_once(hub)
            if reason:
                logger.warning("private networks will be slow, some 40 ms for each packet: %s", reason)

    def close(self) -> None:
        """Kill both, and release their ports."""
        self.near.close()
        self.far.close()
        for port in self._ports:
            port.release()


def _await_listener(daemon: YagnaDaemon, scope: Scope) -> None:
    deadline = Deadline(_BUS_TIMEOUT_SECONDS)
    address = daemon.gsb_address
    while not deadline.passed:
        scope.check()
        daemon.check_running()
        try:
            socket.create_connection(address, timeout=1.0).close()
        except OSError:
            scope.wait(_BUS_POLL_SECONDS)
        else:
            return
    raise LocalNetworkError(f"{daemon.name} did not open its service bus in time{daemon.log_tail()}")

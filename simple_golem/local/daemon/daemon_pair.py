"""The pair of daemons of a local network: the requestor's, and the one that is the rest of the world."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from ...background.cancellation import Deadline, Scope
from ...errors import LocalNetworkError, PortTaken
from ..machine.folders import runtime_folder
from ..machine.ports import HeldPort, hold_ports
from .daemon import YagnaDaemon

logger = logging.getLogger(__name__)

_TRIES = 5
_HUB_SECONDS = 10.0
_POLL_SECONDS = 0.01


class DaemonPair:
    """A near and a far daemon on ports of their own, started together.

    Attributes:
        near: the daemon of the requestor, as on any user's machine.
        far: the daemon that holds all the providers; its service bus connects the two.
    """

    def __init__(
        self,
        folder: Path,
        scope: Scope,
        near_settings: Mapping[str, str] | None = None,
        chain_url: str | None = None,
        far_settings: Mapping[str, str] | None = None,
    ) -> None:
        """Start both on the data that is in `folder`/near and `folder`/far; blocks until both are ready.

        Args:
            folder: where their data is.
            scope: cancelling it gives up.
            near_settings: further environment variables of the near one.
            chain_url: the chain that both pay on, if there is one.
            far_settings: further environment variables of the far one.

        Raises:
            LocalNetworkError: one does not start.
            ScopeEnded: `scope` was cancelled meanwhile.
        """
        self._near_settings = dict(near_settings or {})
        self._far_settings = dict(far_settings or {})
        self._chain_url = chain_url
        for last in (False,) * (_TRIES - 1) + (True,):
            self._choose_ports(folder)
            try:
                self._start(scope)
            except PortTaken as error:
                self.close()
                if last:
                    raise
                logger.info("other ports are tried: %s", error)
            except BaseException:
                self.close()
                raise
            else:
                return

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
            chain_url=self._chain_url,
        )
        self.near = YagnaDaemon(
            "near daemon",
            folder / "near",
            api_port=near_api,
            gsb_port=near_bus,
            hub_port=hub,
            settings=self._near_settings,
            chain_url=self._chain_url,
        )

    def _start(self, scope: Scope) -> None:
        self.far.start()
        # A daemon that does not find the hub tries again only after two seconds.
        _await_listener(self.far, scope)
        self.near.start()
        self.far.wait_ready(scope)
        self.near.wait_ready(scope)

    def close(self) -> None:
        """Kill both, and give their ports back."""
        self.near.close()
        self.far.close()
        for port in self._ports:
            port.release()


def _await_listener(daemon: YagnaDaemon, scope: Scope) -> None:
    deadline = Deadline(_HUB_SECONDS)
    address = daemon.gsb_address
    while not deadline.passed:
        scope.check()
        daemon.check_running()
        try:
            socket.create_connection(address, timeout=1.0).close()
        except OSError:
            scope.wait(_POLL_SECONDS)
        else:
            return
    raise LocalNetworkError(f"{daemon.name} does not open its service bus{daemon.last_words()}")

"""Opens connections to ports of instances, with all that the daemon does in its own way."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ...background.cancellation import Deadline, Scope
from ...errors import NetworkLost, NotRunning, PortRefused, PortTimeout
from ...yagna.api.network import NetworkApi
from ...yagna.transport.readiness import wait_readable
from ...yagna.transport.socket_lost import SocketLost
from .tunnel import Channel

# After a refusal the server may just be starting.
_NEXT_TRY_SECONDS = 0.1
# A try without an answer goes on in the daemon for so long, and may connect late: it is not repeated before.
_GHOST_SECONDS = 5.0
_LOST_STATUSES = (403, 404)
_LONGEST_WAIT_SECONDS = 3600.0

Opened = tuple[Channel, Sequence[bytes]]


class Connector:
    """Connects to ports in the networks of one daemon; used by any thread."""

    def __init__(self, api: NetworkApi) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._ghosts: dict[tuple[str, str, int], float] = {}

    def open(
        self,
        network_id: str,
        ip: str,
        port: int,
        who: str,
        deadline: Deadline,
        scope: Scope,
        *,
        repeats: bool = True,
    ) -> Opened:
        """Block until the connection is established.

        Args:
            network_id: the daemon's id of the network.
            ip, port: to which.
            who: the instance, in words.
            deadline: until when.
            scope: cancelling it ends the wait.
            repeats: whether a port that refuses is tried again until the deadline.

        Returns:
            The channel, and what has come through it already.

        Raises:
            PortRefused: nothing listens there.
            PortTimeout: the instance did not answer.
            NetworkLost: the daemon does not know the network any more, or can't be reached.
            NotRunning: the scope was cancelled.
        """
        ghost = network_id, ip, port
        while True:
            self._wait_for_ghost(ghost, who, deadline, scope)
            try:
                return self._try(network_id, ip, port, deadline, scope)
            except SocketLost as error:
                if scope.cancelled:
                    raise NotRunning(f"no connection to {who}: {scope.reason}") from error
                if error.status in _LOST_STATUSES:
                    raise NetworkLost(
                        f"the daemon does not know the network of {who} any more: it was restarted, or the "
                        "network was closed; start the service again"
                    ) from error
                self._note(ghost, error, who, port, deadline, repeats)
            scope.wait(min(_NEXT_TRY_SECONDS, deadline.remaining()))

    def _note(
        self,
        ghost: tuple[str, str, int],
        error: SocketLost,
        who: str,
        port: int,
        deadline: Deadline,
        repeats: bool,
    ) -> None:
        """Remember a try that failed; raises what the caller gets if it was the last one."""
        if error.status == 400:
            if not repeats or deadline.remaining() < _NEXT_TRY_SECONDS:
                raise PortRefused(
                    f"port {port} of {who} refuses connections: no server listens there"
                ) from error
            return
        if error.status is None and not isinstance(error, _NoAnswer):
            if deadline.passed:
                raise NetworkLost(f"no connection to {who}: {error}") from error
            return
        with self._lock:
            self._ghosts[ghost] = time.monotonic() + _GHOST_SECONDS
        if deadline.remaining() < _GHOST_SECONDS:
            raise _no_answer(port, who) from error

    def _wait_for_ghost(
        self, ghost: tuple[str, str, int], who: str, deadline: Deadline, scope: Scope
    ) -> None:
        with self._lock:
            until = self._ghosts.get(ghost, 0.0)
        left = until - time.monotonic()
        if left <= 0:
            return
        if left > deadline.remaining():
            raise _no_answer(ghost[2], who)
        if scope.wait(left):
            raise NotRunning(f"no connection to {who}: {scope.reason}")

    def _try(self, network_id: str, ip: str, port: int, deadline: Deadline, scope: Scope) -> Opened:
        channel = self._api.connect(network_id, ip, port)
        forget = scope.on_cancel(channel.shutdown)
        try:
            first: list[bytes] = []
            while not channel.opened:
                left = deadline.remaining()
                if left <= 0:
                    raise _NoAnswer("no answer in time")
                if wait_readable(channel, min(left, _LONGEST_WAIT_SECONDS)):
                    first += channel.receive()
        except BaseException:
            channel.close()
            raise
        finally:
            forget()
        return channel, first


class _NoAnswer(SocketLost):
    """The daemon did not answer in time: its try goes on."""


def _no_answer(port: int, who: str) -> PortTimeout:
    return PortTimeout(f"port {port} of {who} did not answer in time: is the instance still there?")

"""Opens connections to ports of instances, with all that the daemon does in its own way."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ...background.cancellation import Deadline, Scope
from ...errors import NetworkLost, NotRunning, PortRefused, PortTimeout
from ...yagna.api.network import LOST_STATUSES, NetworkApi
from ...yagna.transport.readiness import wait_readable
from ...yagna.transport.socket_lost import SocketLost
from .tunnel import Channel

# After a refusal the server may just be starting.
_NEXT_TRY_SECONDS = 0.1
# A try without an answer goes on in the daemon for so long, and may connect late: it is not repeated before.
_UNANSWERED_SECONDS = 5.0
_REFUSED_STATUS, _NO_ANSWER_STATUS = 400, 504
_LONGEST_WAIT_SECONDS = 3600.0

Opened = tuple[Channel, Sequence[bytes]]
# The daemon's id of a network, an address in it, and a port.
Asked = tuple[str, str, int]


class Connector:
    """Connects to ports in the networks of one daemon; used by any thread."""

    def __init__(self, api: NetworkApi) -> None:
        self._api = api
        self._lock = threading.Lock()
        # Until when tries go on that had no answer.
        self._unanswered: dict[Asked, float] = {}

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
        asked = network_id, ip, port
        while True:
            self._wait_for_unanswered(asked, who, deadline, scope, repeats)
            if deadline.passed:
                raise PortTimeout(
                    f"no time was left to connect to port {port} of {who}: give a larger timeout"
                )
            try:
                return self._try(network_id, ip, port, deadline, scope)
            except SocketLost as error:
                if scope.cancelled:
                    raise NotRunning(f"no connection to {who}: {scope.reason}") from error
                if error.status in LOST_STATUSES:
                    raise NetworkLost(
                        f"the daemon does not know the network of {who} any more: it was restarted, or the "
                        "network was closed; start the service again"
                    ) from error
                self._note(asked, error, who, deadline, repeats)
            scope.wait(min(_NEXT_TRY_SECONDS, deadline.remaining()))

    def _note(self, asked: Asked, error: SocketLost, who: str, deadline: Deadline, repeats: bool) -> None:
        """Remember a try that failed; raises what the caller gets if it was the last one."""
        is_last = not repeats or deadline.remaining() < _NEXT_TRY_SECONDS
        if error.status == _NO_ANSWER_STATUS or isinstance(error, _NoAnswer):
            now = time.monotonic()
            with self._lock:
                self._unanswered = {one: until for one, until in self._unanswered.items() if until > now}
                self._unanswered[asked] = now + _UNANSWERED_SECONDS
            if is_last or deadline.remaining() < _UNANSWERED_SECONDS:
                raise _no_answer(asked, who) from error
        elif is_last and error.status == _REFUSED_STATUS:
            raise PortRefused(
                f"port {asked[2]} of {who} refuses connections: no server listens there; start it before, or "
                "give it more time by a larger timeout; if it has ended, its log says why: "
                "machine.shell('cat /path/of/its/log')"
            ) from error
        elif is_last:
            raise NetworkLost(
                f"no connection to {who}: {error}; `simple-golem doctor` looks what is wrong with the daemon"
            ) from error

    def _wait_for_unanswered(
        self, asked: Asked, who: str, deadline: Deadline, scope: Scope, repeats: bool
    ) -> None:
        """Wait until an earlier try can't connect any more."""
        with self._lock:
            until = self._unanswered.get(asked, 0.0)
        left = until - time.monotonic()
        if left <= 0:
            return
        if not repeats or left > deadline.remaining():
            raise _no_answer(asked, who)
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
        except OSError as error:  # e.g. too many open files
            channel.close()
            raise SocketLost(str(error)) from error
        except BaseException:
            channel.close()
            raise
        finally:
            forget()
        return channel, first


class _NoAnswer(SocketLost):
    """The daemon did not answer in time: its try goes on."""


def _no_answer(asked: Asked, who: str) -> PortTimeout:
    return PortTimeout(
        f"port {asked[2]} of {who} did not answer in time: give a larger timeout; if it never answers, its "
        "provider is gone, and the instance is to be started again"
    )

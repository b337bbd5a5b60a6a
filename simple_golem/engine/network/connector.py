"""Opens connections to ports of instances, with all that the daemon does in its own way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ...background.cancellation import Deadline, Scope, longest_slice
from ...errors import NetworkLost, NotRunning, PortRefused, PortTimeout
from ...yagna.api.network import LOST_STATUSES, NetworkApi
from ...yagna.transport.readiness import wait_readable
from ...yagna.transport.socket_lost import SocketLost
from .tunnel import Channel

# After a refusal the server may just be starting.
_NEXT_TRY_SECONDS = 0.1
# A try without an answer goes on in the daemon for so long, and may connect late: it is not repeated before.
_UNANSWERED_SECONDS = 5.0
# If a try has less time than this and no answer, the answer of the one before counts: the daemon is slow.
_SHORT_TRY_SECONDS = 1.0
_REFUSED_STATUS, _NO_ANSWER_STATUS = 400, 504
# When a port has refused for so many seconds, the caller hears of it: most servers start faster.
_REFUSALS_TOLD_SECONDS = 5.0

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
        on_refusals: Callable[[], object] | None = None,
    ) -> Opened:
        """Block until the connection is established.

        Args:
            network_id: the daemon's id of the network.
            ip, port: to which.
            who: the instance, in words.
            deadline: until when.
            scope: cancelling it ends the wait.
            repeats: whether a port that refuses is tried again until the deadline.
            on_refusals: called once, if the port has refused for some seconds; it may block for some more.

        Returns:
            The channel, and what has come through it already.

        Raises:
            PortRefused: nothing listens there.
            PortTimeout: the instance did not answer.
            NetworkLost: the daemon does not know the network any more, or can't be reached.
            NotRunning: the scope was cancelled.
        """
        asked = network_id, ip, port
        answer: SocketLost | None = None
        patience = Deadline(_REFUSALS_TOLD_SECONDS)
        while True:
            self._wait_for_unanswered(asked, who, deadline, scope, repeats)
            left = deadline.remaining()
            if left <= 0 and answer is not None:
                raise _failure(asked, answer, who) from answer
            if left <= 0:
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
                next_try = self._note(asked, error)
                if answer is None or _has_answered(error) or left >= _SHORT_TRY_SECONDS:
                    answer = error
                if not repeats or deadline.remaining() < next_try:
                    raise _failure(asked, answer, who) from error
                if on_refusals is not None and patience.passed and error.status == _REFUSED_STATUS:
                    on_refusals()
                    on_refusals = None
            scope.wait(min(_NEXT_TRY_SECONDS, deadline.remaining()))

    def _note(self, asked: Asked, error: SocketLost) -> float:
        """Remember a try that failed; returns in how many seconds there may be another one."""
        if _has_answered(error):
            return _NEXT_TRY_SECONDS
        now = time.monotonic()
        with self._lock:
            self._unanswered = {one: until for one, until in self._unanswered.items() if until > now}
            self._unanswered[asked] = now + _UNANSWERED_SECONDS
        return _UNANSWERED_SECONDS

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
                if wait_readable(channel, min(left, longest_slice())):
                    first += channel.receive()
                elif left <= 0:
                    raise _NoAnswer("no answer in time")
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


def _has_answered(error: SocketLost) -> bool:
    return error.status != _NO_ANSWER_STATUS and not isinstance(error, _NoAnswer)


def _failure(asked: Asked, answer: SocketLost, who: str) -> PortTimeout | PortRefused | NetworkLost:
    """What the caller gets whose last try had this answer."""
    if not _has_answered(answer):
        return _no_answer(asked, who)
    if answer.status == _REFUSED_STATUS:
        return PortRefused(
            f"port {asked[2]} of {who} refuses connections: no server listens there; start it before, or "
            "give it more time by a larger timeout; if it has ended, its log says why: "
            "machine.shell('cat /path/of/its/log')"
        )
    return NetworkLost(
        f"no connection to {who}: {answer}; `simple-golem doctor` looks what is wrong with the daemon"
    )


def _no_answer(asked: Asked, who: str) -> PortTimeout:
    return PortTimeout(
        f"port {asked[2]} of {who} did not answer in time: give a larger timeout; if it never answers, its "
        "provider is gone, and the instance is to be started again"
    )

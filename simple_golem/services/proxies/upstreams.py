"""Connections of an HTTP proxy to its instances: opened, kept for the next request, and closed."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

import h11

from ...background.cancellation import Deadline, Scope
from ...engine.network.place import Place
from ...engine.network.tunnel import Limits
from ...errors import NetworkError, NotRunning, PortTimeout
from ...yagna.transport.readiness import wait_readable
from ...yagna.transport.tcp_pair import reset_on_close
from .http_side import HttpSide
from .targets import Targets

# A server may close an idle connection, and the daemon does not show it.
_MOST_IDLE_SECONDS = 3.0
# What can't be repeated must not meet a closed one. Servers keep an idle connection for a second at least.
_MOST_IDLE_SECONDS_ONCE = 0.5
_SWITCHING_PROTOCOLS = 101
_LEAST_ERROR = 400


class Failed(Exception):
    """A request can't be answered.

    Attributes:
        status: the HTTP status for the client.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(eq=False)
class Upstream(HttpSide):
    """A connection to an instance.

    Attributes:
        place: the instance's.
        used_before: whether it has been open for a while: the instance may have ended it.
        idle_since: on the monotonic clock.
        early_answer: the head of an answer that has come before the end of the request.
    """

    place: Place
    used_before: bool = False
    idle_since: float = 0.0
    early_answer: Any = None

    def send_body(self, data: h11.Data) -> bool:
        """Send a part of a body; False: an error is the answer already, and the server perhaps reads no more.

        Raises:
            OSError, h11.ProtocolError: the connection is broken, or the server reads nothing for a while.
        """
        rest = memoryview(self.protocol.send(data) or b"")
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while rest and self.early_answer is None:
                ready = selector.select(self.socket.gettimeout())
                if not ready:
                    raise TimeoutError("the server reads nothing")
                if ready[0][1] & selectors.EVENT_READ:
                    self.receive()
                    self.early_answer = self._answer_at_hand()
                else:
                    rest = rest[self.socket.send(rest) :]
        if self.early_answer is not None and self.early_answer.status_code >= _LEAST_ERROR:
            return False
        self.socket.sendall(rest)
        return True

    def next_answer(self) -> Any:
        """Block for the head of the answer; raises as `next_event` does."""
        answer, self.early_answer = self.early_answer, None
        while answer is None:
            answer = self._answer_at_hand()
            if answer is None:
                self.receive()
        return answer

    def _answer_at_hand(self) -> Any:
        """Return the head of the answer if it is there, else None."""
        event: Any
        while (event := self.protocol.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("it closed the connection without an answer")
            if isinstance(event, h11.Response) or event.status_code == _SWITCHING_PROTOCOLS:
                return event
        return None


class Upstreams:
    """Gives out connections to instances in turn; used by any thread.

    Attributes:
        port: of the instances.
    """

    def __init__(self, targets: Targets, timeout: float | None, limits: Limits, scope: Scope) -> None:
        """Args:
        targets: the instances.
        timeout: seconds to connect.
        limits: of each connection.
        scope: cancelled when the proxy is closed.
        """
        self._targets = targets
        self.port = targets.port
        self._timeout = timeout
        self._limits = limits
        self._scope = scope
        self._lock = threading.Lock()
        self._idle: list[Upstream] = []
        self._timer = targets.connections.timer

    @property
    def closed(self) -> bool:
        """Whether the proxy was closed."""
        return self._scope.cancelled

    def get(self, *, can_repeat: bool) -> Upstream:
        """Return a connection to the next instance, or to another one if that refuses; blocks.

        Args:
            can_repeat: whether the request can be repeated if the instance has closed the connection.

        Raises:
            Failed: there is none.
        """
        deadline = Deadline(self._timeout)
        most_idle = _MOST_IDLE_SECONDS if can_repeat else _MOST_IDLE_SECONDS_ONCE
        try:
            return self._targets.reach(
                lambda place: self._kept(place, most_idle) or self._connected(place, deadline),
                deadline,
                self._scope,
            )
        except (NetworkError, NotRunning) as error:
            raise Failed(504 if isinstance(error, PortTimeout) else 502, str(error)) from error

    def _connected(self, place: Place, deadline: Deadline) -> Upstream:
        connection, is_new = place.connect(
            self._targets.port, deadline, self._limits, self._scope, repeats=False
        )
        return Upstream(connection, h11.Connection(h11.CLIENT), place, used_before=not is_new)

    def _kept(self, place: Place, most_idle: float) -> Upstream | None:
        with self._lock:
            found = [one for one in self._idle if one.place is place][-1:]
            for one in found:
                self._idle.remove(one)
        for one in found:
            # One that is too old is closed: a server of one connection after the other takes no second one.
            if time.monotonic() - one.idle_since < most_idle and not wait_readable(one.socket, 0):
                return one
            reset(one.socket)  # it has ended, or says what nobody has asked for
        return None

    def put_back(self, upstream: Upstream) -> None:
        """Keep a connection for the next request, if it can carry one; else close it."""
        protocol = upstream.protocol
        is_over = protocol.our_state is h11.DONE and protocol.their_state is h11.DONE
        # What a server says after its answer must not become the answer to another client.
        if is_over and protocol.trailing_data == (b"", False):
            protocol.start_next_cycle()
            upstream.used_before = True
            upstream.idle_since = time.monotonic()
            with self._lock:
                is_kept = not self._scope.cancelled
                if is_kept:
                    self._idle.append(upstream)
            if is_kept:
                self._timer.call_in(_MOST_IDLE_SECONDS, lambda: self._end_idle(upstream))
                return
        reset(upstream.socket)

    def _end_idle(self, upstream: Upstream) -> None:
        """Close a connection if nobody has used it for a while; on the thread of the timer."""
        with self._lock:
            until = time.monotonic() - _MOST_IDLE_SECONDS
            if upstream not in self._idle or upstream.idle_since > until:
                return
            self._idle.remove(upstream)
        reset(upstream.socket)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            reset(one.socket)


def reset(connection: socket.socket) -> None:
    """Close a connection so that its other side gets an error."""
    reset_on_close(connection)
    connection.close()

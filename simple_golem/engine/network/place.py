"""The place of one instance in a private network: the same address for all its lives."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...background.cancellation import Deadline, Scope
from ...errors import BadCommandList, BadNetwork, NotRunning
from ...model.commands.commands import Command, Deploy
from ...model.events.connections import ConnectionClosed, ConnectionOpened
from ...yagna.transport.readiness import wait_readable
from ...yagna.transport.tcp_pair import tcp_pair
from ..event_dispatcher import Emit
from .connector import Connector
from .network import Entry, PrivateNetwork
from .pump import Pump
from .tunnel import Limits, Tunnel

_MOST_PORT = 65535
# A server may close a connection that is not used, and the daemon does not show it.
_MOST_PARKED_SECONDS = 10.0


class Proxy(Protocol):
    """What has to be closed before the session ends."""

    def close(self) -> None: ...


class OpenProxies:
    """The proxies that are open; used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._proxies: list[Proxy] = []

    def add(self, proxy: Proxy) -> None:
        """Have a proxy closed at the end of the session, unless it is closed earlier."""
        with self._lock:
            self._proxies.append(proxy)

    def discard(self, proxy: Proxy) -> None:
        """Forget a proxy that was closed."""
        with self._lock:
            self._proxies = [one for one in self._proxies if one is not proxy]

    def close_all(self) -> None:
        """Close all; blocks for 2 seconds for each at most."""
        with self._lock:
            proxies = list(self._proxies)
        for proxy in proxies:
            proxy.close()


@dataclass(frozen=True, slots=True)
class Connections:
    """What connects to instances.

    Attributes:
        connector: opens connections.
        pump: serves them.
        scope: of the session.
        emit: gets an event for each connection.
        proxies: those that are open.
    """

    connector: Connector
    pump: Pump
    scope: Scope
    emit: Emit
    proxies: OpenProxies


@dataclass(frozen=True, slots=True)
class _Tie:
    """One life in the network."""

    entry: Entry
    scope: Scope


class Place:
    """An address and a host name, and the connections to the instance that has them.

    Attributes:
        network: the network.
        ip: the address.
        host_name: the name by which other instances of the network find it.
        name: of the instance, in events.
        connections: what connects to it.
    """

    def __init__(
        self,
        network: PrivateNetwork,
        ip: str,
        host_name: str,
        name: str,
        group: object,
        connections: Connections,
    ) -> None:
        self.network = network
        self.name = name
        self.ip = ip
        self.host_name = host_name
        self._group = group
        self.connections = connections
        self._lock = threading.Lock()
        self._tie: _Tie | None = None
        self._parked: dict[int, tuple[socket.socket, float]] = {}

    # --- on the life thread ----------------------------------------------------------------------------

    def join(self, node_id: str, commands: tuple[Command, ...], scope: Scope) -> tuple[Command, ...]:
        """Join the network, and return the commands of `deploy` with it; blocks for requests.

        Args:
            node_id: the provider.
            commands: what `deploy` of the service has returned.
            scope: cancelling it ends the requests.

        Raises:
            BadCommandList: none of the commands is a `Deploy`.
            NetworkLost: the network was closed.
        """
        if not any(isinstance(command, Deploy) for command in commands):
            raise BadCommandList(
                "deploy() returned no Deploy command, by which an instance joins its network: "
                "return [Deploy(…), Start()]"
            )
        entry = self.network.join(self.ip, node_id, self._group, scope)
        with self._lock:
            self._tie = _Tie(entry, Scope(self.connections.scope))
        return tuple(
            self._with_network(command, entry) if isinstance(command, Deploy) else command
            for command in commands
        )

    def _with_network(self, deploy: Deploy, entry: Entry) -> Deploy:
        hosts = {**self.network.hosts_for(self._group), **deploy.hosts}
        return dataclasses.replace(deploy, net=(*deploy.net, entry.net), hosts=hosts)

    def deployed(self, scope: Scope) -> None:
        """Tell the instance what it has missed; to be called after its deploy. Blocks for requests."""
        tie = self._tie
        if tie is not None:
            self.network.deployed(tie.entry, scope)

    def resumed(self, network_id: str) -> None:
        """Note that the instance is in the network, since an earlier session; `""` if that lost it."""
        if not network_id:
            return
        with self._lock:
            self._tie = _Tie(Entry(network_id, {}, 0), Scope(self.connections.scope))

    def life_ended(self, reason: str) -> None:
        """End all connections to the present life; does not block. A second call does nothing."""
        with self._lock:
            tie, self._tie = self._tie, None
            parked = list(self._parked.values())
            self._parked.clear()
        if tie is not None:
            tie.scope.cancel(reason)
            tie.scope.close()
        for one, _ in parked:
            one.close()

    def keep(self, agreement_id: str) -> dict[str, str]:
        """Leave the network alive for a suspended instance; returns what the next session has to know of it.

        Args:
            agreement_id: the agreement that is suspended.
        """
        tie = self._tie
        if tie is None:
            return {}
        network_id = tie.entry.network_id
        self.network.keep(network_id, agreement_id)
        return {"network_id": network_id, "network_ip": self.network.ip, "ip": self.ip}

    def give_back(self) -> None:
        """Give the address back: the instance has ended for good."""
        self.network.leave(self.ip)

    # --- from any thread -------------------------------------------------------------------------------

    def connect(
        self,
        port: int,
        deadline: Deadline,
        limits: Limits,
        stop: Scope | None = None,
        *,
        repeats: bool = True,
    ) -> socket.socket:
        """Connect to a port of the instance; blocks until the connection is established.

        Args:
            port: of the instance.
            deadline: until when it is tried.
            limits: of the connection.
            stop: cancelling it ends the wait, too.
            repeats: whether a port that refuses is tried again until the deadline.

        Raises:
            PortRefused, PortTimeout, NetworkLost, NotRunning: there is no connection.
            BadNetwork: there is no such port.
        """
        parked = self.unparked(port) if limits == Limits() and repeats else None
        if parked is not None:
            return parked
        ours: list[socket.socket] = []

        def ends() -> socket.socket:
            try:
                local, one = tcp_pair()
            except OSError as error:
                raise NotRunning(f"no connection to {self}: {error}") from error
            ours.append(one)
            return local

        self.attach(ends, port, deadline, limits, stop=stop, repeats=repeats)
        return ours[0]

    def connect_while_used(self, port: int, deadline: Deadline, idle_timeout: float | None) -> socket.socket:
        """Connect as `connect` does, until so many seconds have passed without data; None: without limit."""
        return self.connect(port, deadline, Limits(idle_timeout))

    def attach(
        self,
        local: Callable[[], socket.socket],
        port: int,
        deadline: Deadline,
        limits: Limits,
        on_end: Callable[[Tunnel], object] = lambda tunnel: None,
        stop: Scope | None = None,
        stays_until: Scope | None = None,
        repeats: bool = True,
    ) -> None:
        """Connect a local socket with a port of the instance; blocks until the connection is established.

        Args:
            local: returns the local socket; called when the connection is established.
            port: of the instance.
            deadline: until when it is tried.
            limits: of the connection.
            on_end: called when the connection has ended, by a thread that must not be blocked.
            stop: cancelling it ends the wait.
            stays_until: cancelling it ends the connection.
            repeats: whether a port that refuses is tried again until the deadline.

        Raises:
            PortRefused, PortTimeout, NetworkLost, NotRunning: there is no connection.
            BadNetwork: there is no such port.
        """
        check_port(port)
        tie = self._tie
        if tie is None:
            raise NotRunning(f"{self} is not deployed, or has ended: connect to it while it is running")
        connections = self.connections
        with Scope(tie.scope) as scope:
            forget_stop = stop.on_cancel(lambda: scope.cancel(stop.reason)) if stop is not None else None
            try:
                channel, first = connections.connector.open(
                    tie.entry.network_id,
                    self.ip,
                    port,
                    str(self),
                    deadline,
                    scope,
                    repeats=repeats,
                )
            finally:
                if forget_stop is not None:
                    forget_stop()
        forget: list[Callable[[], None]] = []

        def ended(tunnel: Tunnel) -> None:
            for one in forget:
                one()
            connections.emit(ConnectionClosed(self.name, port, tunnel.sent, tunnel.received))
            on_end(tunnel)

        def settle(tunnel: Tunnel) -> None:
            connections.pump.settle(tunnel, tie.entry.network_id, self.ip)

        try:
            tunnel = Tunnel(channel, local(), first, limits, ended, settle)
        except BaseException:
            channel.close()
            raise
        connections.emit(ConnectionOpened(self.name, port))
        if connections.pump.add(tunnel):
            for ending in (tie.scope, stays_until):
                if ending is not None:
                    forget.append(ending.on_cancel(lambda: connections.pump.end(tunnel, broken=True)))

    def wait_for_port(self, port: int, deadline: Deadline, stop: Scope | None = None) -> None:
        """Block until a port of the instance takes connections.

        The connection is kept for the next `connect`: a server that serves one connection after the other
        would wait for ever on one that is not used, since the daemon does not show it the end.

        Raises:
            PortRefused, PortTimeout, NetworkLost, NotRunning: it did not, in time.
            BadNetwork: there is no such port.
        """
        connection = self.unparked(port) or self.connect(port, deadline, Limits(), stop)
        with self._lock:
            before = self._parked.pop(port, None)
            is_alive = self._tie is not None
            if is_alive:
                self._parked[port] = connection, time.monotonic()
        if before is not None:
            before[0].close()
        if not is_alive:
            connection.close()

    def unparked(self, port: int) -> socket.socket | None:
        """Return the connection that `wait_for_port` has left; None if there is none that is new enough."""
        with self._lock:
            connection, since = self._parked.pop(port, (None, 0.0))
        if connection is None:
            return None
        if time.monotonic() - since < _MOST_PARKED_SECONDS and not _has_ended(connection):
            return connection
        connection.close()
        return None

    def __str__(self) -> str:
        return f"{self.host_name} ({self.ip})"


def check_port(port: int) -> None:
    """Raise `BadNetwork` if there is no such port."""
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= _MOST_PORT:
        raise BadNetwork(f"port is {port!r}: give a number from 1 to {_MOST_PORT}")


def _has_ended(connection: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        if not wait_readable(connection, 0):
            return False
        return connection.recv(1, socket.MSG_PEEK) == b""
    return True

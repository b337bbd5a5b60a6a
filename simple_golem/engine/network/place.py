"""The place of one instance in a private network: the same address for all its lives."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...background.cancellation import Deadline, Scope
from ...background.timer import Timer
from ...errors import BadCommandList, BadNetwork, NetworkLost, NotRunning
from ...model.commands.commands import Command, Deploy
from ...model.events.connections import ConnectionClosed, ConnectionOpened
from ...yagna.transport.socket_lost import SocketLost
from ...yagna.transport.tcp_pair import tcp_pair
from ..event_dispatcher import Emit
from .connector import Connector, Opened
from .network import Entry, PrivateNetwork
from .pump import Pump
from .tunnel import Limits, Tunnel

MOST_PORT = 65535
# A server may close a connection that is not used, and the daemon does not show it. Meanwhile nobody answers
# the daemon's pings, which it bears for 15 seconds.
_MOST_UNUSED_SECONDS = 10.0


class Proxy(Protocol):
    """What has to be closed before the session ends."""

    def close(self) -> None: ...


class OpenProxies:
    """The proxies that are open; used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._proxies: list[Proxy] = []
        self._closed = False

    def add(self, proxy: Proxy) -> None:
        """Have a proxy closed at the end of the session, unless it is closed earlier.

        Raises:
            NotRunning: the session has ended.
        """
        with self._lock:
            if self._closed:
                raise NotRunning("the Golem is closed: make a proxy while it is open")
            self._proxies.append(proxy)

    def discard(self, proxy: Proxy) -> None:
        """Forget a proxy that was closed."""
        with self._lock:
            self._proxies = [one for one in self._proxies if one is not proxy]

    def close_all(self) -> None:
        """Close all; blocks for 2 seconds for each at most."""
        with self._lock:
            self._closed = True
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
        timer: closes what nobody uses.
    """

    connector: Connector
    pump: Pump
    scope: Scope
    emit: Emit
    proxies: OpenProxies
    timer: Timer


@dataclass(frozen=True, slots=True)
class _Membership:
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
        self._membership: _Membership | None = None
        # What `wait_for_port` has left for the next connection, by port.
        self._unused: dict[int, Opened] = {}

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
            self._membership = _Membership(entry, Scope(self.connections.scope))
        return tuple(
            self._with_network(command, entry) if isinstance(command, Deploy) else command
            for command in commands
        )

    def _with_network(self, deploy: Deploy, entry: Entry) -> Deploy:
        hosts = {**self.network.hosts_for(self._group), **deploy.hosts}
        return dataclasses.replace(deploy, net=(*deploy.net, entry.net), hosts=hosts)

    def deployed(self, scope: Scope) -> None:
        """Tell the instance what it has missed; to be called after its deploy. Blocks for requests."""
        membership = self._membership
        if membership is not None:
            self.network.deployed(membership.entry, scope)

    def resumed(self, network_id: str) -> None:
        """Note that the instance is in the network, since an earlier session; `""` if that lost it."""
        if not network_id:
            return
        with self._lock:
            self._membership = _Membership(Entry(network_id, {}, 0), Scope(self.connections.scope))

    def life_ended(self, reason: str) -> None:
        """End all connections to the present life; does not block. A second call does nothing."""
        with self._lock:
            membership, self._membership = self._membership, None
            unused = list(self._unused.values())
            self._unused.clear()
        if membership is not None:
            membership.scope.cancel(reason)
            membership.scope.close()
        for channel, _ in unused:
            channel.close()

    def keep(self, agreement_id: str) -> dict[str, str]:
        """Leave the network alive for a suspended instance; returns what the next session has to know of it.

        Args:
            agreement_id: the agreement that is suspended.
        """
        membership = self._membership
        if membership is None:
            return {}
        network_id = membership.entry.network_id
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
    ) -> tuple[socket.socket, bool]:
        """Connect to a port of the instance; blocks until the connection is established.

        Args:
            port: of the instance.
            deadline: until when it is tried.
            limits: of the connection.
            stop: cancelling it ends the wait, and the connection.
            repeats: whether a port that refuses is tried again until the deadline.

        Returns:
            The socket, and whether the connection is new, as `attach` says it.

        Raises:
            PortRefused, PortTimeout, NetworkLost, NotRunning: there is no connection.
            BadNetwork: there is no such port.
        """
        ours: list[socket.socket] = []

        def ends() -> socket.socket:
            try:
                local, one = tcp_pair()
            except OSError as error:
                raise NetworkLost(f"no connection to {self}: {error}") from error
            ours.append(one)
            return local

        is_new = self.attach(ends, port, deadline, limits, stop=stop, repeats=repeats)
        return ours[0], is_new

    def connect_while_used(self, port: int, deadline: Deadline, idle_timeout: float | None) -> socket.socket:
        """Connect as `connect` does, until so many seconds have passed without data; None: without limit."""
        return self.connect(port, deadline, Limits(idle_timeout))[0]

    def attach(
        self,
        local: Callable[[], socket.socket],
        port: int,
        deadline: Deadline,
        limits: Limits,
        on_end: Callable[[Tunnel], object] = lambda tunnel: None,
        stop: Scope | None = None,
        repeats: bool = True,
    ) -> bool:
        """Connect a local socket with a port of the instance; blocks until the connection is established.

        Args:
            local: returns the local socket; called when the connection is established.
            port: of the instance.
            deadline: until when it is tried.
            limits: of the connection.
            on_end: called when the connection has ended, by a thread that must not be blocked.
            stop: cancelling it ends the wait, and the connection.
            repeats: whether a port that refuses is tried again until the deadline.

        Returns:
            Whether the connection is new; else `wait_for_port` has made it.

        Raises:
            PortRefused, PortTimeout, NetworkLost, NotRunning: there is no connection.
            BadNetwork: there is no such port.
        """
        membership = self._membership_for(port)
        unused = self._take_unused(port)
        channel, first = unused or self._open(membership, port, deadline, stop, repeats)
        connections = self.connections
        forget: list[Callable[[], None]] = []

        def ended(tunnel: Tunnel) -> None:
            for one in forget:
                one()
            connections.emit(ConnectionClosed(self.name, port, tunnel.sent, tunnel.received))
            on_end(tunnel)

        def confirm_order(tunnel: Tunnel) -> None:
            connections.pump.confirm_order(tunnel, membership.entry.network_id, self.ip)

        try:
            tunnel = Tunnel(channel, local(), first, limits, ended, confirm_order)
        except BaseException:
            channel.close()
            raise
        connections.emit(ConnectionOpened(self.name, port))
        if connections.pump.add(tunnel):
            for ending in (membership.scope, stop):
                if ending is not None:
                    forget.append(ending.on_cancel(lambda: connections.pump.end(tunnel, broken=True)))
            if tunnel.over:  # perhaps `ended` has not seen all that is to be forgotten
                for one in forget:
                    one()
        return unused is None

    def _membership_for(self, port: int) -> _Membership:
        check_port(port)
        membership = self._membership
        if membership is None:
            raise NotRunning(f"{self} is not deployed, or has ended: connect to it while it is running")
        return membership

    def _open(
        self,
        membership: _Membership,
        port: int,
        deadline: Deadline,
        stop: Scope | None,
        repeats: bool = True,
        on_refusals: Callable[[], object] | None = None,
    ) -> Opened:
        with Scope(membership.scope) as scope:
            forget_stop = stop.on_cancel(lambda: scope.cancel(stop.reason)) if stop is not None else None
            try:
                return self.connections.connector.open(
                    membership.entry.network_id,
                    self.ip,
                    port,
                    str(self),
                    deadline,
                    scope,
                    repeats=repeats,
                    on_refusals=on_refusals,
                )
            finally:
                if forget_stop is not None:
                    forget_stop()

    def wait_for_port(
        self,
        port: int,
        deadline: Deadline,
        stop: Scope | None = None,
        on_refusals: Callable[[], object] | None = None,
    ) -> None:
        """Block until a port of the instance takes connections: it makes one, whatever it has made before.

        The next connection uses it, within 10 seconds. A server that serves one connection after the other
        would wait for ever on one that is not used, since the daemon does not show it the end.

        Args:
            port: of the instance.
            deadline: until when.
            stop: cancelling it ends the wait.
            on_refusals: as of `Connector.open`.

        Raises:
            PortRefused, PortTimeout, NetworkLost, NotRunning: it did not, in time.
            BadNetwork: there is no such port.
        """
        membership = self._membership_for(port)
        self._close_unused(port)
        opened = self._open(membership, port, deadline, stop, on_refusals=on_refusals)
        with self._lock:
            is_alive = self._membership is membership
            left = self._unused.pop(port, None) if is_alive else opened
            if is_alive:
                self._unused[port] = opened
        if left is not None:
            left[0].close()
        if is_alive:
            self.connections.timer.call_in(_MOST_UNUSED_SECONDS, lambda: self._close_unused(port, opened))

    def _take_unused(self, port: int) -> Opened | None:
        """Return what `wait_for_port` has left, if the instance has not ended it."""
        with self._lock:
            unused = self._unused.pop(port, None)
        if unused is None:
            return None
        channel, first = unused
        try:
            return channel, [*first, *channel.receive()]
        except SocketLost:
            channel.close()
            return None

    def _close_unused(self, port: int, only: Opened | None = None) -> None:
        """Close what `wait_for_port` has left; does not block."""
        with self._lock:
            unused = self._unused.get(port)
            if unused is None or (only is not None and unused is not only):
                return
            del self._unused[port]
        unused[0].close()

    def __str__(self) -> str:
        return f"{self.host_name} ({self.ip})"


def check_port(port: int) -> None:
    """Raise `BadNetwork` if there is no such port."""
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= MOST_PORT:
        raise BadNetwork(f"port is {port!r}: give a number from 1 to {MOST_PORT}")
